// A guest but for QEMU, as a process of its own that a test can stop and let go on:
//
//   pseudo_guest VM_SOCKET NODE_SOCKET VECTORS
//
// A device of ivmqd at VM_SOCKET and an agent on it that serves NODE_SOCKET. Says "peer ID" once
// the agent has reached control, and stays until it is killed.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "tests/agent/pseudo_vm.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const ivmq::agent::PseudoGuest guest(argv[1], argv[2],
                                       static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  while (!guest.connected()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  std::printf("peer %u\n", guest.peer_id());
  std::fflush(stdout);
  for (;;) pause();
}

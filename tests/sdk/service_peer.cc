// One side of a service in a process of its own, so that it can be stopped and killed there.
//
//   sdk_service_peer serve SOCKET SERVICE   "ready", then answers with what it was asked; what
//                                           starts with "hold" never: it says "holding" instead
//   sdk_service_peer count SOCKET SERVICE   "ready", then answers with numbers without end
//   sdk_service_peer ask SOCKET SERVICE     asks "hold" and waits for ever

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "ivmq/ivmq.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

void Say(const char* line) {
  std::printf("%s\n", line);
  std::fflush(stdout);
}

Status Serve(BytesServerCall& call) {
  const std::string text(reinterpret_cast<const char*>(call.query().data()), call.query().size());
  if (text.starts_with("hold")) {
    Say("holding");
    for (;;) ::pause();
  }
  return call.Reply(call.query());
}

Status Count(BytesServerCall& call) {
  for (uint64_t i = 0;; ++i) {
    if (Status status = call.Write(AsBytes(std::to_string(i))); !status.ok()) return status;
  }
}

int Run(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string what = argv[1];
  auto node = Node::Open({.name = what + "-" + std::to_string(::getpid()), .socket_path = argv[2]});
  if (!node.ok()) return 1;
  if (what == "ask") {
    auto client = node->CreateClient(argv[3]);
    if (!client.ok()) return 1;
    return client->Call(AsBytes("hold"), 24h).ok() ? 0 : 1;
  }
  auto server = node->CreateBytesServer(argv[3], "", "", what == "count" ? Count : Serve);
  if (!server.ok()) return 1;
  Say("ready");
  return server->Run().ok() ? 0 : 1;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) { return ivmq::test::Run(argc, argv); }

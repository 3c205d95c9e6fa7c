#ifndef IVMQ_SDK_AGENT_FLAGS_H_
#define IVMQ_SDK_AGENT_FLAGS_H_

#include <optional>
#include <string>

#include "transport/log.h"
#include "transport/socket_access.h"

namespace ivmq::agent {

struct Flags {
  std::string device = "auto";  // or vfio:BDF, pci:BDF
  bool bind = false;            // give the device to vfio-pci first
  std::string node_socket;
  // Of the node socket. Everybody of this machine may attach unless told otherwise.
  transport::SocketAccess access = {.mode = 0666, .group = std::nullopt};
  LogLevel log_level = LogLevel::kInfo;
};

// Reads the command line. False: the program shall end with *exit_code (0 after --help and
// --version, 2 after a mistake, which has been explained on stderr).
bool ParseFlags(int argc, char** argv, Flags* flags, int* exit_code);

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_FLAGS_H_

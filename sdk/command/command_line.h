#ifndef IVMQ_SDK_COMMAND_COMMAND_LINE_H_
#define IVMQ_SDK_COMMAND_COMMAND_LINE_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace ivmq::command {

enum class Subcommand {
  kPub,
  kSub,
  kRealms,
  kPeers,
  kNodes,
  kTopics,
  kLinks,
  kAudit,
  kWatch,
  kEvictNode,
  kEvictPeer,
  kDoctor,
};

struct PubOptions {
  std::string topic;
  std::string type_name;             // empty: bytes
  std::optional<std::string> data;   // absent: lines of stdin, each a message
  std::optional<uint64_t> count;     // absent: 1, or all lines
  std::optional<double> rate_hz;     // absent: as fast as subscribers take them
  std::optional<size_t> size_bytes;  // data is repeated or cut to this
  uint32_t wait_subscribers = 0;
  std::chrono::nanoseconds timeout{};  // for subscribers to come, and for room in a link
};

struct SubOptions {
  std::string topic;
  std::optional<uint64_t> count;
  std::optional<std::chrono::nanoseconds> timeout;
};

struct WatchOptions {
  bool peers = false;
  bool nodes = false;
  bool topics = false;
  bool links = false;
};

// What was asked for, checked as far as it can be without a daemon.
struct CommandLine {
  Subcommand subcommand = Subcommand::kPeers;
  bool json = false;
  std::string admin_socket;
  bool admin_socket_given = false;  // by flag or environment: no falling back to the node socket
  std::string node_socket;          // empty: the SDK's own search
  std::string realm;                // empty: all, or the only one
  std::string topic;                // of links and audit; empty: all
  PubOptions pub;
  SubOptions sub;
  WatchOptions watch;
  uint64_t evict_id = 0;
};

// Where ivmqd listens for operators unless it is told otherwise.
std::string DefaultAdminSocket();

// False: the program shall end with *exit_code (0 after --help and version, 2 after a mistake,
// which has been explained on stderr).
bool ParseCommandLine(int argc, char** argv, CommandLine* line, int* exit_code);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_COMMAND_LINE_H_

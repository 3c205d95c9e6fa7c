#ifndef IVMQ_SDK_COMMAND_COMMAND_LINE_H_
#define IVMQ_SDK_COMMAND_COMMAND_LINE_H_

#include <ivmq/options.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace ivmq::command {

enum class Subcommand {
  kPub,
  kSub,
  kRequest,
  kReply,
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
  kBenchServe,
  kBenchThroughput,
  kBenchLatency,
  kBenchRequest,
};

// What is sent: one of the first four, or nothing.
struct Payload {
  std::optional<std::string> text;
  std::string file;                 // its content; "-": of the standard input
  bool lines = false;               // of the standard input, each a message
  std::optional<std::string> json;  // encoded as type_name; "-": lines of the standard input
  std::string type_name;            // empty: bytes; of json what the realm knows
  std::string descriptors;          // file with a FileDescriptorSet; empty: ask the realm

  bool given() const { return text || !file.empty() || lines || json; }
};

struct PubOptions {
  std::string topic;
  Payload payload;
  std::optional<uint64_t> count;     // absent: 1, or all lines
  std::optional<double> rate_hz;     // absent: as fast as subscribers take them
  std::optional<size_t> size_bytes;  // the message is repeated or cut to this
  uint32_t wait_subscribers = 0;
  uint32_t history = 0;
  bool timestamps = false;
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);  // for subscribers, and for room
};

struct SubOptions {
  std::string topic;
  std::string descriptors;
  std::optional<uint64_t> count;
  std::optional<std::chrono::nanoseconds> timeout;
  uint32_t history = 0;
  std::optional<uint32_t> keep_last;
  bool drop_newest = false;
  bool reliable = false;
  bool latency = false;
  std::chrono::nanoseconds every = std::chrono::seconds(5);  // of latency
};

struct RequestOptions {
  std::string service;
  Payload payload;
  std::optional<uint64_t> count;  // absent: 1, or all lines
  uint32_t wait_servers = 0;
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);
};

struct ReplyOptions {
  std::string service;
  Payload payload;  // no file, no lines; type_name is that of the replies
  bool echo = false;
  std::string command;  // for the shell
  std::optional<uint64_t> count;
};

struct BenchOptions {
  std::string server = "default";
  std::optional<uint64_t> count;  // runs of serve; the others are of a client
  uint64_t size_bytes = 64;
  uint64_t ring_bytes = 0;        // of throughput, as PublisherOptions::ring_bytes
  uint64_t batch = 0;             // messages of throughput a flush; 0: as the ring does by itself
  std::optional<double> rate_hz;  // absent: as fast as it goes
  Wait wait = Wait::kAdaptive;
  std::chrono::nanoseconds duration = std::chrono::seconds(10);
  std::chrono::nanoseconds timeout =
      std::chrono::seconds(5);  // for the server to be there, to begin
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
  RequestOptions request;
  ReplyOptions reply;
  WatchOptions watch;
  BenchOptions bench;
  uint64_t evict_id = 0;
};

// Where ivmqd listens for operators unless it is told otherwise.
std::string DefaultAdminSocket();

// False: the program shall end with *exit_code (0 after --help and version, 2 after a mistake,
// which has been explained on stderr).
bool ParseCommandLine(int argc, char** argv, CommandLine* line, int* exit_code);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_COMMAND_LINE_H_

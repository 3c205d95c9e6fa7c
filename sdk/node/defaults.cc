#include "sdk/node/defaults.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "ringbuf/ring_layout.h"

namespace ivmq::internal {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): only setenv() races
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

Status CheckRingBytes(size_t ring_bytes) {
  if (ring_bytes == 0 || ringbuf::IsValidCapacity(ring_bytes)) return {};
  return {Code::kInvalidArgument, "a ring of " + std::to_string(ring_bytes) +
                                      " bytes: a power of two from " +
                                      std::to_string(ringbuf::kMinCapacity) + " to " +
                                      std::to_string(ringbuf::kMaxCapacity) + " is allowed"};
}

SocketEnvironment CurrentSocketEnvironment() {
  SocketEnvironment environment;
  environment.node_socket = Environment("IVMQ_NODE_SOCKET");
  environment.runtime_dir = Environment("XDG_RUNTIME_DIR");
  environment.root = ::geteuid() == 0;
  return environment;
}

std::vector<std::string> NodeSocketPaths(std::string_view asked,
                                         const SocketEnvironment& environment) {
  if (!asked.empty()) return {std::string(asked)};
  if (!environment.node_socket.empty()) return {environment.node_socket};
  std::vector<std::string> paths = {"/run/ivmq/node.sock"};
  if (!environment.runtime_dir.empty()) {
    const auto where = environment.root ? paths.end() : paths.begin();
    paths.insert(where, environment.runtime_dir + "/ivmq/node.sock");
  }
  return paths;
}

SocketAge SocketAge::Of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {info.st_ino, info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
}

std::string DefaultNodeName() {
  const std::string pid = "-" + std::to_string(::getpid());
  std::string name = program_invocation_short_name;
  if (name.empty()) name = "node";
  for (char& c : name) {
    if (c <= ' ' || c > '~') c = '_';
  }
  name.resize(std::min(name.size(), kNodeNameBytesMax - pid.size()));
  return name + pid;
}

}  // namespace ivmq::internal

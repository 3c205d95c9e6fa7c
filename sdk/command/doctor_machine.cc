#include "sdk/command/doctor_machine.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>

namespace ivmq::command {
namespace {

// A process needs a dozen, and on a host one for each link.
constexpr uint64_t kFilesOfNode = 1024;
// QEMU's rule of thumb: 300 a client (peers times vectors, and room in flight).
constexpr uint64_t kFilesOfDaemon = 4096;

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> ListeningSockets(pid_t pid) {
  std::set<std::string> inodes;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), error)) {
    const std::string file = std::filesystem::read_symlink(entry.path(), error).string();
    constexpr std::string_view kSocket = "socket:[";
    if (!file.starts_with(kSocket)) continue;
    inodes.insert(file.substr(kSocket.size(), file.size() - kSocket.size() - 1));
  }
  std::vector<std::string> paths;
  std::istringstream table(ReadFile("/proc/net/unix"));
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string number, references, protocol, flags, type, state, inode, path;
    fields >> number >> references >> protocol >> flags >> type >> state >> inode >> path;
    if (flags == "00010000" && path.starts_with('/') && inodes.contains(inode)) {
      paths.push_back(path);
    }
  }
  return paths;
}

void ExamineMachine(bool guest, Findings* findings) {
  const unsigned cpus = std::max(1U, std::thread::hardware_concurrency());
  findings->Expect(
      cpus > 1 || guest, "processors", fmt::format("{}", cpus),
      "with one processor nobody can spin: expect the latency of a wake-up for each message");
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    findings->Expect(files.rlim_cur >= kFilesOfNode, "file limit",
                     fmt::format("{} open files for this shell's processes", files.rlim_cur),
                     fmt::format("ulimit -n {}", kFilesOfNode));
  }
}

void ExamineFileLimit(const std::string& what, pid_t pid, uint64_t needed, Findings* findings) {
  std::istringstream limits(ReadFile(fmt::format("/proc/{}/limits", pid)));
  const std::string title = "Max open files";
  const uint64_t wanted = needed == 0 ? kFilesOfDaemon : needed;
  for (std::string line; std::getline(limits, line);) {
    if (line.rfind(title, 0) != 0) continue;
    std::istringstream values(line.substr(title.size()));
    uint64_t soft = 0;
    if (!(values >> soft)) return;  // "unlimited"
    findings->Expect(soft >= wanted, "file limit",
                     fmt::format("{} open files for {} (pid {})", soft, what, pid),
                     fmt::format("give it at least {}: LimitNOFILE= in its unit, or ulimit -n "
                                 "before it starts",
                                 wanted));
    return;
  }
}

}  // namespace ivmq::command

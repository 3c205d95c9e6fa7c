#include "tests/sdk/process_figures.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace ivmq::test {

Activity ActivityOf(pid_t pid) {
  Activity activity;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    ++activity.threads;
    uint64_t ran_ns = 0;
    std::ifstream(task.path() / "schedstat") >> ran_ns;
    activity.cpu_ns += ran_ns;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      std::istringstream words(line);
      std::string key;
      uint64_t value = 0;
      words >> key >> value;
      if (key == "voluntary_ctxt_switches:") activity.sleeps += value;
    }
  }
  return activity;
}

uint64_t ResidentBytes(pid_t pid) {
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/smaps");
  uint64_t kilobytes = 0;
  bool memfd = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key.find('-') != std::string::npos && key.back() != ':') {
      memfd = line.find("/memfd:") != std::string::npos;
    } else if (key == "Rss:" && !memfd) {
      uint64_t more = 0;
      words >> more;
      kilobytes += more;
    }
  }
  return kilobytes * 1024;
}

}  // namespace ivmq::test

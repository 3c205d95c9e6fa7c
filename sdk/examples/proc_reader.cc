#include "proc_reader.h"

#include <array>
#include <fstream>
#include <sstream>
#include <utility>

namespace ivmq::examples {
namespace {

std::string HostName() {
  std::string name;
  std::ifstream("/proc/sys/kernel/hostname") >> name;
  return name;
}

}  // namespace

ProcReader::ProcReader(std::string host) : host_(host.empty() ? HostName() : std::move(host)) {}

ProcStat ProcReader::Read() {
  ProcStat stat;
  stat.set_host(host_);
  stat.set_sequence(++sequence_);
  double uptime = 0;
  double load = 0;
  std::ifstream("/proc/uptime") >> uptime;
  std::ifstream("/proc/loadavg") >> load;
  stat.set_uptime_seconds(uptime);
  stat.set_load_1min(load);
  ReadCpu(&stat);

  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  for (std::string line; std::getline(meminfo, line);) {
    if (!(std::istringstream(line) >> key >> kib)) continue;
    if (key == "MemTotal:") stat.set_memory_total_kib(kib);
    if (key == "MemAvailable:") stat.set_memory_available_kib(kib);
  }
  return stat;
}

void ProcReader::ReadCpu(ProcStat* stat) {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "ctxt") {
      uint64_t switches = 0;
      words >> switches;
      stat->set_context_switches(switches);
    } else if (key == "cpu") {
      // user nice system idle iowait irq softirq steal: see proc(5).
      std::array<uint64_t, 8> jiffies{};
      for (uint64_t& value : jiffies) words >> value;
      uint64_t total = 0;
      for (const uint64_t value : jiffies) total += value;
      const uint64_t idle = jiffies[3] + jiffies[4];
      const uint64_t passed = total - total_jiffies_before_;
      if (passed > 0) {
        const uint64_t busy = passed - (idle - idle_jiffies_before_);
        stat->set_cpu_busy(static_cast<double>(busy) / static_cast<double>(passed));
      }
      total_jiffies_before_ = total;
      idle_jiffies_before_ = idle;
    }
  }
}

}  // namespace ivmq::examples

#include "tests/keeper/qtest.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "transport/unix_socket.h"

namespace ivmq::broker {
namespace {

using transport::UniqueFd;

constexpr const char* kQemu = "/usr/bin/qemu-system-x86_64";
constexpr uint32_t kDeviceSlot = 5;
constexpr uint32_t kConfigAddressPort = 0xcf8;
constexpr uint32_t kConfigDataPort = 0xcfc;
constexpr uint32_t kCommandRegister = 0x04;
constexpr uint32_t kFirstBarRegister = 0x10;
constexpr uint32_t kCapabilityPointer = 0x34;
constexpr uint8_t kMsixCapability = 0x11;
constexpr uint32_t kMsixEnable = uint32_t{1} << 31;
constexpr uint32_t kMemoryAndBusMaster = 6;
constexpr int kAnswerMs = 60'000;

UniqueFd AcceptFrom(int listener, Process* process) {
  UniqueFd connection;
  WaitUntil([&] {
    connection = UniqueFd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    return connection || !process->running();
  });
  return connection;
}

}  // namespace

bool QtestVm::Available() { return access(kQemu, X_OK) == 0; }

QtestVm::QtestVm(const TemporaryDirectory& directory, const std::string& name,
                 const Options& options) {
  const std::string path = directory / (name + ".qtest");
  auto listener = transport::ListenUnix(path, transport::UnixSocketType::kStream);
  if (!listener.ok()) {
    std::fprintf(stderr, "%s\n", listener.status().message().c_str());
    std::abort();
  }
  process_.emplace(
      Process::Options{{kQemu, "-machine", "q35", "-accel", "tcg", "-S", "-m", "64", "-nodefaults",
                        "-display", "none", "-qtest", "unix:" + path, "-qtest-log", "none",
                        "-chardev", "socket,id=ivmq,path=" + options.vm_socket, "-device",
                        fmt::format("ivshmem-doorbell,chardev=ivmq,vectors={},addr={:#x}",
                                    options.vectors, kDeviceSlot)},
                       {},
                       directory / (name + ".log"),
                       options.open_files,
                       false});
  socket_ = AcceptFrom(listener.value().get(), &*process_);
}

std::optional<std::string> QtestVm::Command(const std::string& line) {
  const std::string request = line + "\n";
  if (send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return std::nullopt;
  for (;;) {
    const size_t end = received_.find('\n');
    if (end != std::string::npos) {
      const std::string answer = received_.substr(0, end);
      received_.erase(0, end + 1);
      if (answer.starts_with("OK")) return answer.size() > 3 ? answer.substr(3) : "";
      if (answer.starts_with("IRQ")) continue;
      return std::nullopt;
    }
    pollfd readable{socket_.get(), POLLIN, 0};
    char piece[4096];
    if (poll(&readable, 1, kAnswerMs) <= 0) return std::nullopt;
    const ssize_t size = recv(socket_.get(), piece, sizeof piece, 0);
    if (size <= 0) return std::nullopt;
    received_.append(piece, static_cast<size_t>(size));
  }
}

uint64_t QtestVm::Number(const std::string& line) {
  const auto answer = Command(line);
  return answer ? std::strtoull(answer->c_str(), nullptr, 0) : ~uint64_t{0};
}

uint32_t QtestVm::ReadConfig(uint32_t offset) {
  Command(fmt::format("outl {:#x} {:#x}", kConfigAddressPort,
                      uint32_t{1} << 31 | kDeviceSlot << 11 | offset));
  return static_cast<uint32_t>(Number(fmt::format("inl {:#x}", kConfigDataPort)));
}

void QtestVm::WriteConfig(uint32_t offset, uint32_t value) {
  Command(fmt::format("outl {:#x} {:#x}", kConfigAddressPort,
                      uint32_t{1} << 31 | kDeviceSlot << 11 | offset));
  Command(fmt::format("outl {:#x} {:#x}", kConfigDataPort, value));
}

uint32_t QtestVm::Read32(uint64_t address) {
  return static_cast<uint32_t>(Number(fmt::format("readl {:#x}", address)));
}

void QtestVm::Write32(uint64_t address, uint32_t value) {
  Command(fmt::format("writel {:#x} {:#x}", address, value));
}

uint64_t QtestVm::Read64(uint64_t address) { return Number(fmt::format("readq {:#x}", address)); }

uint64_t QtestVm::BarBytes(int bar) {
  const uint32_t low = kFirstBarRegister + 4 * static_cast<uint32_t>(bar);
  const uint32_t before = ReadConfig(low);
  const bool is_64_bit = (before & 6) == 4;
  WriteConfig(low, ~uint32_t{0});
  uint64_t mask = ~uint64_t{0} << 32 | (ReadConfig(low) & ~uint32_t{15});
  WriteConfig(low, before);
  if (is_64_bit) {
    const uint32_t high_before = ReadConfig(low + 4);
    WriteConfig(low + 4, ~uint32_t{0});
    mask = (mask & ~uint32_t{0}) | uint64_t{ReadConfig(low + 4)} << 32;
    WriteConfig(low + 4, high_before);
  }
  return ~mask + 1;
}

uint32_t QtestVm::FindCapability(uint8_t id) {
  uint32_t offset = ReadConfig(kCapabilityPointer) & 0xfc;
  for (int i = 0; i < 48 && offset != 0; ++i) {
    const uint32_t header = ReadConfig(offset);
    if ((header & 0xff) == id) return offset;
    offset = header >> 8 & 0xfc;
  }
  return 0;
}

void QtestVm::EnableDevice() {
  WriteConfig(kFirstBarRegister, kBar0);
  WriteConfig(kFirstBarRegister + 4, kBar1);
  WriteConfig(kFirstBarRegister + 8, kBar2);
  WriteConfig(kFirstBarRegister + 12, 0);
  WriteConfig(kCommandRegister, kMemoryAndBusMaster);
  const uint32_t msix = FindCapability(kMsixCapability);
  pending_bits_ = kBar1 + (ReadConfig(msix + 8) & ~uint32_t{7});
  WriteConfig(msix, ReadConfig(msix) | kMsixEnable);
}

bool QtestVm::Pending(uint32_t vector) {
  return (Read64(pending_bits_ + vector / 64 * 8) >> (vector % 64) & 1) != 0;
}

bool QtestVm::Answers() {
  return process_->running() && ReadConfig(0) == 0x11101af4;  // device and vendor
}

}  // namespace ivmq::broker

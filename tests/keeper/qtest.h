#ifndef IVMQ_TESTS_KEEPER_QTEST_H_
#define IVMQ_TESTS_KEEPER_QTEST_H_

#include <cstdint>
#include <optional>
#include <string>

#include "tests/keeper/daemon.h"
#include "transport/unique_fd.h"

namespace ivmq::broker {

// A stock QEMU without a guest, driven over its qtest protocol: the test is the CPU. It has one
// ivshmem-doorbell device, whose BARs the test maps and whose registers it reads and writes.
// When QEMU is gone, or does not answer in time, every read gives ones: look at Answers().
class QtestVm {
 public:
  struct Options {
    std::string vm_socket;
    uint32_t vectors = 2;
    std::optional<uint64_t> open_files = {};
  };

  // True if there is a QEMU on this machine.
  static bool Available();

  // Starts QEMU and waits until it answers. `directory` takes its socket and log.
  QtestVm(const TemporaryDirectory& directory, const std::string& name, const Options& options);

  // Finds the device, maps its BARs, and turns on memory, bus mastering and MSI-X, with all
  // vectors masked: a ring then stays visible as a pending bit.
  void EnableDevice();

  uint32_t ReadConfig(uint32_t offset);
  void WriteConfig(uint32_t offset, uint32_t value);
  uint32_t Read32(uint64_t address);
  void Write32(uint64_t address, uint32_t value);
  uint64_t Read64(uint64_t address);

  // Size of BAR 0, 1 or 2, by the PCI sizing handshake; restores the BAR.
  uint64_t BarBytes(int bar);
  uint32_t IvPosition() { return Read32(kBar0 + 8); }
  void RingDoorbell(uint32_t peer, uint32_t vector) { Write32(kBar0 + 12, peer << 16 | vector); }
  // Whether an interrupt of that vector is pending.
  bool Pending(uint32_t vector);

  // Whether QEMU runs and answers.
  bool Answers();
  Process& process() { return *process_; }
  std::string Stderr() const { return process_->Stderr(); }

  static constexpr uint64_t kBar0 = 0xc0000000;
  static constexpr uint64_t kBar1 = 0xc0100000;
  static constexpr uint64_t kBar2 = 0xd0000000;

 private:
  // Sends a line and returns the answer without "OK "; none if QEMU is gone.
  std::optional<std::string> Command(const std::string& line);
  uint64_t Number(const std::string& line);
  uint32_t FindCapability(uint8_t id);

  transport::UniqueFd socket_;
  std::string received_;
  std::optional<Process> process_;
  uint64_t pending_bits_ = 0;  // address of the MSI-X pending bit array
};

}  // namespace ivmq::broker

#endif  // IVMQ_TESTS_KEEPER_QTEST_H_

#ifndef IVMQ_TESTS_AGENT_PSEUDO_VM_H_
#define IVMQ_TESTS_AGENT_PSEUDO_VM_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/agent/agent_thread.h"
#include "tests/keeper/ivshmem_client.h"
#include "transport/device.h"
#include "transport/mapping.h"
#include "transport/memfd_device.h"

namespace ivmq::agent {

// A VM's ivshmem device without a VM: a client of ivmqd's VM socket, as QEMU is one. Like a real
// device it has a doorbell register; a thread reads it and rings the eventfds that ivmqd sent.
// The register holds one ring, as the real one does, so a second one that comes before the first
// was read is lost: doorbells are hints.
//
// Threads: as Device. Closing the VM socket, which the destructor does, is the VM's death.
class PseudoVmDevice : public transport::Device {
 public:
  // Connects and waits for the greeting. Throws if that fails. `interrupts`: like vfio; else like
  // sysfs.
  PseudoVmDevice(const std::string& vm_socket, uint32_t vectors, bool interrupts);
  ~PseudoVmDevice() override;

  // The VM is gone as far as the host can see; whoever maps its memory goes on.
  void Die();

  std::span<std::byte> region() const override;
  uint32_t peer_id() const override;
  uint32_t vector_count() const override;
  int vector_fd(uint32_t vector) const override;
  transport::Result<transport::Doorbell> OpenDoorbell(uint32_t peer,
                                                      uint32_t vector) const override;
  transport::Status Lend(uint32_t vector, transport::AttachMessage* welcome,
                         std::vector<int>* fds) const override;
  std::string description() const override { return "pseudo"; }

 private:
  void Run();
  void TakeRing();
  void TakeNews();

  const bool interrupts_;
  const uint32_t vectors_;
  broker::IvshmemClient client_;  // of the thread, once it runs
  std::shared_ptr<transport::MemfdDevice> memfd_;
  transport::UniqueFd registers_fd_;
  std::shared_ptr<transport::Mapping> registers_;
  std::atomic<bool> dead_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// The same with an agent: what a guest with ivmq-agent is to the host and to its own processes.
class PseudoGuest {
 public:
  PseudoGuest(const std::string& vm_socket, const std::string& node_socket, uint32_t vectors,
              bool interrupts = true)
      : device_(std::make_shared<PseudoVmDevice>(vm_socket, vectors, interrupts)),
        agent_(device_, {.node_socket = node_socket}) {}

  bool connected() const { return agent_.connected(); }
  uint32_t peer_id() const { return device_->peer_id(); }
  AgentThread& agent() { return agent_; }
  PseudoVmDevice& device() { return *device_; }

 private:
  std::shared_ptr<PseudoVmDevice> device_;
  AgentThread agent_;
};

}  // namespace ivmq::agent

#endif  // IVMQ_TESTS_AGENT_PSEUDO_VM_H_

#ifndef IVMQ_TRANSPORT_DEVICE_H_
#define IVMQ_TRANSPORT_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/attach_protocol.h"
#include "transport/doorbell.h"
#include "transport/status.h"

namespace ivmq::transport {

// One end of a realm: the mapped region, this peer's vectors, and doorbells to all peers.
//
// Implementations: VfioDevice and SysfsDevice (a guest's PCI device, opened by the agent),
// MemfdDevice (host side and tests: region memfd and eventfds), AttachedDevice (what a process
// got from its daemon). All pass tests/transport/device_conformance.
//
// Threads: all members may be called from any thread once the device is open. The region stays
// mapped (MADV_DONTFORK) until the device is destroyed; who keeps pointers into it keeps the
// device alive.
class Device {
 public:
  virtual ~Device() = default;

  // The whole region. Hostile memory: every member of the realm can write any byte at any time.
  virtual std::span<std::byte> region() const = 0;
  // Own peer ID (IVPosition); 0 on the host.
  virtual uint32_t peer_id() const = 0;
  // Vectors this device listens on; 0 where no interrupts reach user space: receive by polling.
  virtual uint32_t vector_count() const = 0;
  // Becomes readable when `vector` is rung. Never read it: register EPOLLIN|EPOLLET. Owned by the
  // device; -1 if vector >= vector_count() or this process was not given that vector.
  virtual int vector_fd(uint32_t vector) const = 0;
  // NOT_FOUND where this side has no way to ring that peer (host: its eventfd was not handed out).
  virtual Result<Doorbell> OpenDoorbell(uint32_t peer, uint32_t vector) const = 0;
  // Fills the device part of a welcome and the fds, owned by the device, that another process
  // needs to reach it (without the channel). `vector`: the one that the process shall listen on.
  virtual Status Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const = 0;
  // "vfio:0000:00:02.0", "pci:…", "memfd": for logs and doctor.
  virtual std::string description() const = 0;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_DEVICE_H_

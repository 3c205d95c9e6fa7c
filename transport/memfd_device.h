#ifndef IVMQ_TRANSPORT_MEMFD_DEVICE_H_
#define IVMQ_TRANSPORT_MEMFD_DEVICE_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/device.h"
#include "transport/mapping.h"
#include "transport/region.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

// A region memfd with eventfds: the host's end of a realm, and every end in in-process tests.
// Owns all fds given to it. Threads: any, AddDoorbell and RemovePeer included.
class MemfdDevice : public Device {
 public:
  struct Parts {
    UniqueFd region;  // the whole file is the region
    uint32_t peer_id = 0;
    std::vector<UniqueFd> vectors;  // own eventfds, in order
  };
  static Result<std::shared_ptr<MemfdDevice>> Open(Parts parts);

  // How to ring `vector` of `peer`. Replaces what was known of that vector.
  void AddDoorbell(uint32_t peer, uint32_t vector, UniqueFd eventfd);
  // Doorbells that are open keep their eventfds and ring nobody.
  void RemovePeer(uint32_t peer);

  std::span<std::byte> region() const override;
  uint32_t peer_id() const override;
  uint32_t vector_count() const override;
  int vector_fd(uint32_t vector) const override;
  // Own vectors can be rung as well: host processes share them.
  Result<Doorbell> OpenDoorbell(uint32_t peer, uint32_t vector) const override;
  Status Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const override;
  std::string description() const override;

  // For handing on to QEMU or to another process; owned by the device.
  int region_fd() const;

 private:
  using SharedFd = std::shared_ptr<const UniqueFd>;
  MemfdDevice(UniqueFd region_fd, std::shared_ptr<Mapping> mapping, uint32_t peer_id,
              std::vector<UniqueFd> vectors);

  // Constant after construction.
  const UniqueFd region_fd_;
  const std::shared_ptr<Mapping> mapping_;
  const uint32_t peer_id_;
  std::vector<SharedFd> vectors_;

  mutable std::mutex mutex_;
  std::map<uint32_t, std::map<uint32_t, SharedFd>> doorbells_;  // guarded by mutex_
};

// What the kernel could give without swapping (MemAvailable); 0 if it does not say.
uint64_t AvailableMemoryBytes();

// Which pages a region lies on, and when they are taken.
enum class RegionPages {
  kOnDemand,  // ordinary ones, when somebody touches them: for tests
  kNow,       // ordinary ones, all at once, so that nobody meets SIGBUS later
  kHuge       // of kHugePageBytes, from those that are reserved on this machine, all at once
};
inline constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;

// A new memfd of that size, sealed against shrinking, growing and unsealing, as QEMU's ivshmem
// device needs it: power of two, at least 1 MiB (kHuge: 2 MiB). INVALID_ARGUMENT;
// RESOURCE_EXHAUSTED if there is not that much memory, or not as many huge pages.
Result<UniqueFd> CreateRegionMemfd(const std::string& name, uint64_t region_bytes,
                                   RegionPages pages);

// `count` eventfds, non-blocking and close-on-exec.
Result<std::vector<UniqueFd>> CreateEventfds(uint32_t count);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_MEMFD_DEVICE_H_

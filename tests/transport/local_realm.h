#ifndef IVMQ_TESTS_TRANSPORT_LOCAL_REALM_H_
#define IVMQ_TESTS_TRANSPORT_LOCAL_REALM_H_

#include <fcntl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::transport {

// A realm inside one test process: a formatted region, and MemfdDevices with a mapping each, so
// that two peers never share an address. Every peer can ring every other.
// A failure to set it up throws: a test has nothing to say then.
class LocalRealm {
 public:
  explicit LocalRealm(uint64_t region_bytes = 4 << 20, uint32_t vectors = 2,
                      const std::string& name = "test")
      : vectors_(vectors),
        region_(Must(CreateRegionMemfd("ivmq-test", region_bytes, RegionPages::kOnDemand))) {
    const std::shared_ptr<Mapping> mapping = Must(Mapping::OfFile(region_.get(), 0, region_bytes));
    RegionParameters parameters{name, {}, vectors, 1};
    for (size_t i = 0; i < kUuidBytes; ++i) parameters.uuid[i] = static_cast<uint8_t>(i + 1);
    Must(FormatRegion(mapping->bytes(), parameters));
    info_ = Must(OpenRegion(mapping->bytes()));
  }

  // A new peer that knows, and is known to, all there are. Peer 0 is the host.
  std::shared_ptr<MemfdDevice> AddPeer(uint32_t peer) {
    MemfdDevice::Parts parts;
    parts.region = Copy(region_.get());
    parts.peer_id = peer;
    parts.vectors = Must(CreateEventfds(vectors_));
    std::shared_ptr<MemfdDevice> device = Must(MemfdDevice::Open(std::move(parts)));
    for (const auto& [other, other_device] : peers_) {
      Introduce(*device, *other_device);
      Introduce(*other_device, *device);
    }
    peers_[peer] = device;
    return device;
  }

  // A second process of that peer: its own mapping, the same eventfds.
  std::shared_ptr<MemfdDevice> AddSharer(uint32_t peer) {
    MemfdDevice::Parts parts;
    parts.region = Copy(region_.get());
    parts.peer_id = peer;
    for (uint32_t v = 0; v < vectors_; ++v) {
      parts.vectors.push_back(Copy(peers_.at(peer)->vector_fd(v)));
    }
    std::shared_ptr<MemfdDevice> device = Must(MemfdDevice::Open(std::move(parts)));
    for (const auto& [other, other_device] : peers_) {
      if (other != peer) Introduce(*device, *other_device);
    }
    return device;
  }

  const RegionInfo& info() const { return info_; }
  uint32_t vectors() const { return vectors_; }

  template <class T>
  static T Must(Result<T> result) {
    if (!result.ok()) throw std::runtime_error(result.status().message());
    return std::move(result).value();
  }
  static void Must(const Status& status) {
    if (!status.ok()) throw std::runtime_error(status.message());
  }
  static UniqueFd Copy(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

 private:
  // `device` learns how to ring `other`.
  void Introduce(MemfdDevice& device, const MemfdDevice& other) const {
    for (uint32_t v = 0; v < vectors_; ++v) {
      device.AddDoorbell(other.peer_id(), v, Copy(other.vector_fd(v)));
    }
  }

  uint32_t vectors_;
  UniqueFd region_;
  RegionInfo info_;
  std::map<uint32_t, std::shared_ptr<MemfdDevice>> peers_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TESTS_TRANSPORT_LOCAL_REALM_H_

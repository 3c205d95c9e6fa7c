#include "transport/memfd_device.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <fstream>
#include <utility>

namespace ivmq::transport {
namespace {

Status NoDoorbell(uint32_t peer, uint32_t vector) {
  return Status(Code::kNotFound, "no doorbell to vector " + std::to_string(vector) + " of peer " +
                                     std::to_string(peer));
}

}  // namespace

MemfdDevice::MemfdDevice(UniqueFd region_fd, std::shared_ptr<Mapping> mapping, uint32_t peer_id,
                         std::vector<UniqueFd> vectors)
    : region_fd_(std::move(region_fd)), mapping_(std::move(mapping)), peer_id_(peer_id) {
  for (UniqueFd& fd : vectors) vectors_.push_back(std::make_shared<const UniqueFd>(std::move(fd)));
}

Result<std::shared_ptr<MemfdDevice>> MemfdDevice::Open(Parts parts) {
  struct stat info {};
  if (::fstat(parts.region.get(), &info) != 0) {
    return ErrnoStatus(errno, "cannot tell the size of the region");
  }
  Result<std::shared_ptr<Mapping>> mapping =
      Mapping::OfFile(parts.region.get(), 0, static_cast<uint64_t>(info.st_size));
  if (!mapping.ok()) return mapping.status();
  return std::shared_ptr<MemfdDevice>(new MemfdDevice(std::move(parts.region),
                                                      std::move(mapping).value(), parts.peer_id,
                                                      std::move(parts.vectors)));
}

void MemfdDevice::AddDoorbell(uint32_t peer, uint32_t vector, UniqueFd eventfd) {
  auto shared = std::make_shared<const UniqueFd>(std::move(eventfd));
  const std::lock_guard lock(mutex_);
  doorbells_[peer][vector] = std::move(shared);
}

void MemfdDevice::RemovePeer(uint32_t peer) {
  const std::lock_guard lock(mutex_);
  doorbells_.erase(peer);
}

std::span<std::byte> MemfdDevice::region() const { return mapping_->bytes(); }
uint32_t MemfdDevice::peer_id() const { return peer_id_; }
uint32_t MemfdDevice::vector_count() const { return static_cast<uint32_t>(vectors_.size()); }

int MemfdDevice::vector_fd(uint32_t vector) const {
  return vector < vectors_.size() ? vectors_[vector]->get() : -1;
}

Result<Doorbell> MemfdDevice::OpenDoorbell(uint32_t peer, uint32_t vector) const {
  if (peer == peer_id_) {
    if (vector >= vectors_.size()) return NoDoorbell(peer, vector);
    return Doorbell::Eventfd(vectors_[vector]);
  }
  const std::lock_guard lock(mutex_);
  const auto vectors = doorbells_.find(peer);
  if (vectors == doorbells_.end()) return NoDoorbell(peer, vector);
  const auto eventfd = vectors->second.find(vector);
  if (eventfd == vectors->second.end()) return NoDoorbell(peer, vector);
  return Doorbell::Eventfd(eventfd->second);
}

Status MemfdDevice::Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const {
  if (vector >= vectors_.size()) {
    return Status(Code::kInvalidArgument, "vector " + std::to_string(vector) +
                                              " cannot be lent: the device has " +
                                              std::to_string(vectors_.size()));
  }
  welcome->region_access = RegionAccess::kMemfd;
  welcome->doorbell_access = DoorbellAccess::kEventfd;
  welcome->region_bytes = mapping_->bytes().size();
  welcome->region_map_offset = 0;
  welcome->peer_id = peer_id_;
  welcome->vector = vector;
  welcome->has_wake_fd = 1;
  fds->push_back(region_fd_.get());
  fds->push_back(vectors_[vector]->get());
  return Status();
}

std::string MemfdDevice::description() const { return "memfd"; }
int MemfdDevice::region_fd() const { return region_fd_.get(); }

uint64_t AvailableMemoryBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  uint64_t kibibytes = 0;
  std::string unit;
  while (meminfo >> key >> kibibytes) {
    if (key == "MemAvailable:") return kibibytes << 10;
    std::getline(meminfo, unit);
  }
  return 0;
}

namespace {

Status CheckRegionSize(uint64_t region_bytes, RegionPages pages) {
  const uint64_t least = pages == RegionPages::kHuge ? kHugePageBytes : kMinRegionBytes;
  if (region_bytes >= least && std::has_single_bit(region_bytes)) return Status();
  return Status(Code::kInvalidArgument,
                std::string(pages == RegionPages::kHuge ? "a region on huge pages" : "a region") +
                    " has a power of two of at least " + std::to_string(least) + " bytes, not " +
                    std::to_string(region_bytes));
}

Status NotAllocated(int error, uint64_t region_bytes, RegionPages pages) {
  if (pages == RegionPages::kHuge && (error == ENOSPC || error == ENOMEM)) {
    const std::string needed = std::to_string(region_bytes / kHugePageBytes);
    return Status(
        Code::kResourceExhausted,
        "there are fewer than the " + needed + " free huge pages of 2 MiB that a region of " +
            std::to_string(region_bytes) +
            " bytes needs; reserve them first, for instance with `sysctl vm.nr_hugepages=" +
            needed + "`");
  }
  return ErrnoStatus(error, "cannot allocate the region's " + std::to_string(region_bytes) +
                                " bytes; choose a smaller size");
}

}  // namespace

Result<UniqueFd> CreateRegionMemfd(const std::string& name, uint64_t region_bytes,
                                   RegionPages pages) {
  if (Status status = CheckRegionSize(region_bytes, pages); !status.ok()) return status;
  // A memfd has no limit of its own: taking the pages beyond this would end in the OOM killer.
  // Huge pages are set aside, and not part of it.
  const uint64_t available = pages == RegionPages::kNow ? AvailableMemoryBytes() : 0;
  if (available != 0 && region_bytes > available) {
    return Status(Code::kResourceExhausted,
                  "a region of " + std::to_string(region_bytes) + " bytes is more than the " +
                      std::to_string(available) +
                      " bytes of memory that are available; choose a smaller size");
  }
  const bool huge = pages == RegionPages::kHuge;
  UniqueFd fd(::memfd_create(
      name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0U)));
  if (!fd) return ErrnoStatus(errno, "cannot create the region's memfd");
  if (::ftruncate(fd.get(), static_cast<off_t>(region_bytes)) != 0) {
    return ErrnoStatus(errno, "cannot give the region " + std::to_string(region_bytes) + " bytes");
  }
  if (pages != RegionPages::kOnDemand &&
      ::fallocate(fd.get(), 0, 0, static_cast<off_t>(region_bytes)) != 0) {
    return NotAllocated(errno, region_bytes, pages);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return ErrnoStatus(errno, "cannot seal the region's memfd");
  }
  return fd;
}

Result<std::vector<UniqueFd>> CreateEventfds(uint32_t count) {
  std::vector<UniqueFd> fds;
  for (uint32_t i = 0; i < count; ++i) {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) return ErrnoStatus(errno, "cannot create eventfd " + std::to_string(i));
    fds.push_back(std::move(fd));
  }
  return fds;
}

}  // namespace ivmq::transport

#ifndef IVMQ_TRANSPORT_MAPPING_H_
#define IVMQ_TRANSPORT_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "transport/status.h"

namespace ivmq::transport {

// Memory shared through a file descriptor, read-write, unmapped with the last reference. Not
// inherited over fork (MADV_DONTFORK). The fd may be closed once the mapping exists.
// Threads: immutable; the memory is as shared as memory is.
class Mapping {
 public:
  // `offset` need not be page-aligned. A file that is shorter than offset + bytes is refused
  // (OUT_OF_RANGE): mapping it would work and then kill with SIGBUS.
  static Result<std::shared_ptr<Mapping>> OfFile(int fd, uint64_t offset, uint64_t bytes);
  // For fds whose fstat(2) says nothing, as VFIO devices. REQUIRES: the caller learnt from the
  // device that it reaches to offset + bytes.
  static Result<std::shared_ptr<Mapping>> OfDevice(int fd, uint64_t offset, uint64_t bytes);

  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  struct Region;
  Mapping(std::unique_ptr<Region> region, std::span<std::byte> bytes);

  std::unique_ptr<Region> region_;
  std::span<std::byte> bytes_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_MAPPING_H_

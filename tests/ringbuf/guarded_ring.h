// Memory for one ring that ends where an inaccessible page starts, so that an access beyond the
// ring is a crash. The memory is a memfd: it can be mapped a second time, in this process or
// another.
#ifndef IVMQ_TESTS_RINGBUF_GUARDED_RING_H_
#define IVMQ_TESTS_RINGBUF_GUARDED_RING_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "ringbuf/ring_layout.h"

namespace ivmq::ringbuf {

// One mapping, with a guard page on each side. Aborts if the system refuses.
class GuardedMapping {
 public:
  GuardedMapping(int fd, uint64_t capacity) : capacity_(capacity) {
    const size_t bytes = MappedBytes(capacity);
    reserved_bytes_ = bytes + 2 * kPage;
    void* reserved = mmap(nullptr, reserved_bytes_, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) std::abort();
    reserved_ = static_cast<std::byte*>(reserved);
    void* mapped =
        mmap(reserved_ + kPage, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    if (mapped == MAP_FAILED) std::abort();
    memory_ = static_cast<std::byte*>(mapped) + bytes - RingBytes(capacity);
  }
  ~GuardedMapping() { munmap(reserved_, reserved_bytes_); }
  GuardedMapping(const GuardedMapping&) = delete;
  GuardedMapping& operator=(const GuardedMapping&) = delete;

  RingView view() const { return RingAt(memory_, capacity_); }
  std::byte* memory() const { return memory_; }

  static constexpr size_t kPage = 4096;
  static size_t MappedBytes(uint64_t capacity) {
    return (RingBytes(capacity) + kPage - 1) / kPage * kPage;
  }

 private:
  uint64_t capacity_;
  size_t reserved_bytes_ = 0;
  std::byte* reserved_ = nullptr;
  std::byte* memory_ = nullptr;
};

// A memfd of the size of a ring.
class RingFile {
 public:
  explicit RingFile(uint64_t capacity) : fd_(memfd_create("ring", MFD_CLOEXEC)) {
    const auto bytes = static_cast<off_t>(GuardedMapping::MappedBytes(capacity));
    if (fd_ < 0 || ftruncate(fd_, bytes) != 0) std::abort();
  }
  ~RingFile() { close(fd_); }
  RingFile(const RingFile&) = delete;
  RingFile& operator=(const RingFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// An initialized ring in memory of its own.
class GuardedRing {
 public:
  explicit GuardedRing(uint64_t capacity)
      : file_(capacity), mapping_(file_.fd(), capacity), capacity_(capacity) {
    InitializeRing(mapping_.memory(), capacity);
  }
  void Reset() { InitializeRing(mapping_.memory(), capacity_); }
  RingView view() const { return mapping_.view(); }
  std::byte* memory() const { return mapping_.memory(); }
  int fd() const { return file_.fd(); }

 private:
  RingFile file_;
  GuardedMapping mapping_;
  uint64_t capacity_;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_GUARDED_RING_H_

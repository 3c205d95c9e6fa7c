// Shared memory that ends where an inaccessible page starts, so that an access beyond it is a
// crash. It is a memfd: it can be mapped a second time, in this process or another.
#ifndef IVMQ_TESTS_RINGBUF_GUARDED_MEMORY_H_
#define IVMQ_TESTS_RINGBUF_GUARDED_MEMORY_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace ivmq::ringbuf {

inline constexpr size_t kPage = 4096;

inline size_t WholePages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// A memfd with room for `bytes`. Aborts if the system refuses.
class MemoryFile {
 public:
  explicit MemoryFile(uint64_t bytes) : fd_(memfd_create("ring", MFD_CLOEXEC)) {
    if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(WholePages(bytes))) != 0) std::abort();
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// One mapping of it, with a guard page on each side; its last `bytes` are used. Aborts likewise.
class GuardedMemory {
 public:
  GuardedMemory(int fd, uint64_t bytes) : reserved_bytes_(WholePages(bytes) + 2 * kPage) {
    void* reserved = mmap(nullptr, reserved_bytes_, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) std::abort();
    reserved_ = static_cast<std::byte*>(reserved);
    void* mapped = mmap(reserved_ + kPage, WholePages(bytes), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_FIXED, fd, 0);
    if (mapped == MAP_FAILED) std::abort();
    memory_ = static_cast<std::byte*>(mapped) + WholePages(bytes) - bytes;
  }
  ~GuardedMemory() { munmap(reserved_, reserved_bytes_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  std::byte* memory() const { return memory_; }

 private:
  size_t reserved_bytes_;
  std::byte* reserved_ = nullptr;
  std::byte* memory_ = nullptr;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_GUARDED_MEMORY_H_

#ifndef IVMQ_TRANSPORT_DOORBELL_H_
#define IVMQ_TRANSPORT_DOORBELL_H_

#include <cstdint>
#include <memory>

#include "transport/unique_fd.h"

namespace ivmq::transport {

// Rings one vector of one peer. A hint, never a count: rings coalesce and may be lost.
// Copyable; copies share the eventfd or the mapping. Ring() may be called from any thread and
// cannot fail in a way that a caller could act on. It blocks only where Eventfd() says so.
class Doorbell {
 public:
  // Rings nothing: the other side polls.
  Doorbell() = default;
  // Writes 1 to an eventfd: one system call. Whether that may block is a flag that all who hold the
  // eventfd share, and QEMU clears it; so it blocks while a member of the realm has filled the
  // counter, which takes 2^64 rings or one malicious write.
  static Doorbell Eventfd(std::shared_ptr<const UniqueFd> eventfd);
  // The same for those who serve others as well: looks first whether the counter has room. Costs a
  // second system call, and blocks only if the counter is filled between the two.
  static Doorbell CarefulEventfd(std::shared_ptr<const UniqueFd> eventfd);
  // Stores peer << 16 | vector to a mapped ivshmem doorbell register. `mapping` keeps it mapped.
  static Doorbell Register(std::shared_ptr<void> mapping, volatile uint32_t* reg, uint32_t peer,
                           uint32_t vector);
  // The same through pwrite(2) where BAR 0 cannot be mapped.
  static Doorbell File(std::shared_ptr<const UniqueFd> device, uint64_t offset, uint32_t peer,
                       uint32_t vector);

  void Ring() const;

 private:
  std::shared_ptr<const UniqueFd> fd_;
  std::shared_ptr<void> mapping_;
  volatile uint32_t* register_ = nullptr;
  uint64_t offset_ = 0;
  uint32_t value_ = 0;
  bool is_eventfd_ = false;
  bool looks_first_ = false;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_DOORBELL_H_

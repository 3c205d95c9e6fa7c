#include "transport/doorbell.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <utility>

namespace ivmq::transport {
namespace {

uint32_t RegisterValue(uint32_t peer, uint32_t vector) {
  return (peer & 0xffff) << 16 | (vector & 0xffff);
}

}  // namespace

Doorbell Doorbell::Eventfd(std::shared_ptr<const UniqueFd> eventfd) {
  Doorbell bell;
  bell.fd_ = std::move(eventfd);
  bell.is_eventfd_ = true;
  return bell;
}

Doorbell Doorbell::CarefulEventfd(std::shared_ptr<const UniqueFd> eventfd) {
  Doorbell bell = Eventfd(std::move(eventfd));
  bell.looks_first_ = true;
  return bell;
}

Doorbell Doorbell::Register(std::shared_ptr<void> mapping, volatile uint32_t* reg, uint32_t peer,
                            uint32_t vector) {
  Doorbell bell;
  bell.mapping_ = std::move(mapping);
  bell.register_ = reg;
  bell.value_ = RegisterValue(peer, vector);
  return bell;
}

Doorbell Doorbell::File(std::shared_ptr<const UniqueFd> device, uint64_t offset, uint32_t peer,
                        uint32_t vector) {
  Doorbell bell;
  bell.fd_ = std::move(device);
  bell.offset_ = offset;
  bell.value_ = RegisterValue(peer, vector);
  return bell;
}

void Doorbell::Ring() const {
  if (register_ != nullptr) {
    // Stores before the ring must be seen before it. x86 keeps that order for an uncached store;
    // the fence makes the compiler keep it too.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    *register_ = value_;
    return;
  }
  if (fd_ == nullptr) return;
  // A failed write is a ring that was lost, which the contract allows: a full
  // counter means that the other side is being woken already.
  if (is_eventfd_) {
    if (looks_first_) {
      pollfd room{fd_->get(), POLLOUT, 0};
      if (::poll(&room, 1, 0) != 1) return;
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(fd_->get(), &one, sizeof(one));
  } else {
    [[maybe_unused]] const ssize_t written =
        ::pwrite(fd_->get(), &value_, sizeof(value_), static_cast<off_t>(offset_));
  }
}

}  // namespace ivmq::transport

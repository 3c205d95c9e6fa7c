#include "transport/wake.h"

#include <string>
#include <utility>

#include "transport/link_check.h"

namespace ivmq::transport {
namespace {

constexpr uint32_t kLeft = 2;  // wakers take it for 1: a doorbell too many

}  // namespace

Result<WakeTarget> WakeTarget::Open(std::span<std::byte> region, const WakeAddress& address,
                                    Doorbell doorbell) {
  Result<WakeBlock*> block = WakeBlockAt(region, address.wake_offset, "wake block");
  if (!block.ok()) return block.status();
  Result<ReadyByte*> ready = ReadyByteAt(region, address.ready_offset, "ready byte");
  if (!ready.ok()) return ready.status();
  WakeTarget target;
  target.ready_ = ready.value();
  target.sleep_ = &block.value()->sleep;
  target.polls_ = address.polls;
  if (!address.polls) target.doorbell_ = std::move(doorbell);
  return target;
}

bool WakeTarget::Wake() const {
  if (ready_ == nullptr) return false;
  // seq_cst, store then load. Pairs with NodeWake::BeginSleep() and the look at the ready bytes
  // that follows it: one of the two sees the other.
  ready_->store(1, std::memory_order_seq_cst);
  // Whatever a hostile peer puts there costs a doorbell too many or a second's delay.
  if (polls_ || sleep_->load(std::memory_order_seq_cst) == 0) return false;
  doorbell_.Ring();
  return true;
}

bool WakeTarget::left() const {
  // Pairs with the release in NodeWake::SayLeft().
  return sleep_ != nullptr && sleep_->load(std::memory_order_acquire) == kLeft;
}

Result<std::shared_ptr<NodeWake>> NodeWake::Open(std::shared_ptr<Device> device,
                                                 uint64_t wake_offset, uint32_t vector) {
  Result<WakeBlock*> block = WakeBlockAt(device->region(), wake_offset, "our wake block");
  if (!block.ok()) return block.status();
  const int vector_fd = device->vector_fd(vector);
  return std::shared_ptr<NodeWake>(new NodeWake(std::move(device), block.value(), vector_fd));
}

NodeWake::NodeWake(std::shared_ptr<Device> device, WakeBlock* block, int vector_fd)
    : device_(std::move(device)), block_(block), vector_fd_(vector_fd) {
  // Nobody relies on the word yet: we do not sleep.
  block_->sleep.store(0, std::memory_order_relaxed);
}

void NodeWake::BeginSleep() {
  if (!interrupts()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (sleepers_++ == 0) sleeps_.fetch_add(1, std::memory_order_relaxed);
  if (left_) return;
  // seq_cst, before the caller looks at its ready bytes. Pairs with the load in Wake().
  block_->sleep.store(1, std::memory_order_seq_cst);
}

void NodeWake::EndSleep() {
  if (!interrupts()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  // relaxed: a waker that still sees 1 rings once too often.
  if (--sleepers_ == 0 && !left_) block_->sleep.store(0, std::memory_order_relaxed);
}

void NodeWake::SayLeft() {
  const std::lock_guard<std::mutex> lock(mutex_);
  left_ = true;
  // All that we published comes before. Pairs with the acquire in left().
  block_->sleep.store(kLeft, std::memory_order_release);
}

}  // namespace ivmq::transport

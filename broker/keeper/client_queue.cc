#include "broker/keeper/client_queue.h"

#include <endian.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "transport/fd_passing.h"

namespace ivmq::broker {

void ClientQueue::PushValue(int64_t value) { items_.push_back({value, -1, nullptr, 0}); }

void ClientQueue::PushRegion(int fd) { items_.push_back({-1, fd, nullptr, 0}); }

void ClientQueue::PushPeer(uint32_t id, PeerVectors vectors) {
  items_.push_back({id, -1, std::move(vectors), 0});
}

void ClientQueue::PushGone(uint32_t id) {
  const auto announcement = std::find_if(items_.begin(), items_.end(), [id](const Item& item) {
    return item.vectors && item.value == id;
  });
  if (announcement != items_.end() && announcement->next_vector == 0 &&
      !(announcement == items_.begin() && sent_bytes_ > 0)) {
    items_.erase(announcement);
    return;
  }
  PushValue(id);
}

bool ClientQueue::RegionIsOut() const {
  const auto region = std::find_if(items_.begin(), items_.end(),
                                   [](const Item& item) { return item.region_fd >= 0; });
  // The fd goes with the first byte.
  return region == items_.end() || (region == items_.begin() && sent_bytes_ > 0);
}

ClientQueue::Step ClientQueue::SendOne(int socket) {
  Item& item = items_.front();
  const uint64_t wire = htole64(static_cast<uint64_t>(item.value));
  const int fd = item.vectors ? (*item.vectors)[item.next_vector].get() : item.region_fd;
  const std::span<const int> fds(&fd, fd >= 0 && sent_bytes_ == 0 ? 1 : 0);
  const ssize_t sent =
      transport::SendWithFds(socket, std::as_bytes(std::span(&wire, 1)).subspan(sent_bytes_), fds);
  if (sent < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Step::kFull;
    if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) return Step::kLater;
    return Step::kBroken;
  }
  sent_bytes_ += static_cast<size_t>(sent);
  if (sent_bytes_ < sizeof wire) return Step::kSent;
  sent_bytes_ = 0;
  if (!item.vectors || ++item.next_vector == item.vectors->size()) items_.pop_front();
  return Step::kSent;
}

}  // namespace ivmq::broker

#ifndef IVMQ_SDK_PUBSUB_MESSAGE_HISTORY_H_
#define IVMQ_SDK_PUBSUB_MESSAGE_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/link_writer.h"

namespace ivmq::internal {

// The last messages of a publisher, in private memory, for links that come later. Keeps the memory
// of messages that it forgets for those to come: once it has seen its largest ones it takes none.
// One thread at a time.
class MessageHistory {
 public:
  // `messages`: how many are kept; 0: none.
  explicit MessageHistory(size_t messages) : kept_(messages) {}

  bool keeps() const { return !kept_.empty(); }
  // As they are written to a link.
  void Push(std::span<const std::byte> record, uint8_t flags);
  // Writes the last `messages`, or as many as there are and as fit into `room_bytes` of a ring, to
  // a link that is still empty: the newest ones, in order.
  void Replay(uint64_t messages, uint64_t room_bytes, transport::LinkWriter* writer) const;

 private:
  struct Kept {
    std::vector<std::byte> record;
    uint8_t flags = 0;
  };
  // The newest is 0.
  const Kept& Recent(size_t age) const {
    return kept_[(next_ + kept_.size() - 1 - age) % kept_.size()];
  }

  std::vector<Kept> kept_;  // a circle
  size_t next_ = 0;         // the oldest, once all are there
  size_t size_ = 0;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBSUB_MESSAGE_HISTORY_H_

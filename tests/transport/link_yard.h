#ifndef IVMQ_TESTS_TRANSPORT_LINK_YARD_H_
#define IVMQ_TESTS_TRANSPORT_LINK_YARD_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "ringbuf/keep_last_layout.h"
#include "ringbuf/ring_layout.h"
#include "tests/transport/local_realm.h"
#include "transport/link_address.h"
#include "transport/link_reader.h"
#include "transport/link_writer.h"
#include "transport/wake.h"

namespace ivmq::transport {

// One node of a test: a process's device, and what it sleeps on.
struct YardNode {
  std::shared_ptr<Device> device;
  uint64_t wake_offset = 0;
  uint32_t vector = 0;
  std::shared_ptr<NodeWake> wake;
};

// Hands out places in a realm's arena as control does, never taking one back. One thread.
class LinkYard {
 public:
  explicit LinkYard(uint64_t region_bytes = 4 << 20) : realm(region_bytes) {
    host = realm.AddPeer(0);
    next_ = realm.info().arena_offset;
  }

  std::byte* At(uint64_t offset) const { return host->region().data() + offset; }

  uint64_t Allocate(uint64_t bytes, uint64_t alignment = kCacheLineBytes) {
    next_ = (next_ + alignment - 1) / alignment * alignment;
    if (next_ + bytes > host->region().size()) throw std::runtime_error("the yard is full");
    const uint64_t offset = next_;
    next_ += bytes;
    return offset;
  }

  // A node on `device`, sleeping on `vector`.
  YardNode MakeNode(std::shared_ptr<Device> device, uint32_t vector = 0) {
    YardNode node{std::move(device), Allocate(sizeof(WakeBlock)), vector, nullptr};
    node.wake = LocalRealm::Must(NodeWake::Open(node.device, node.wake_offset, vector));
    return node;
  }

  // A fresh ring and ready bytes for a link between two nodes.
  LinkAddress MakeLink(const YardNode& producer, const YardNode& consumer,
                       uint64_t capacity = ringbuf::kMinCapacity) {
    LinkAddress address = Sides(producer, consumer);
    address.ring_capacity = capacity;
    address.ring_offset = Allocate(ringbuf::RingBytes(capacity));
    ringbuf::InitializeRing(At(address.ring_offset), capacity);
    return address;
  }
  // The same with a fresh slot ring, which keeps the last `depth` messages.
  LinkAddress MakeKeepLastLink(const YardNode& producer, const YardNode& consumer, uint32_t depth,
                               uint64_t max_message_bytes = 64) {
    LinkAddress address = Sides(producer, consumer);
    address.depth = depth;
    address.max_message_bytes = max_message_bytes;
    address.ring_offset = Allocate(ringbuf::KeepLastBytes(depth, max_message_bytes));
    ringbuf::InitializeKeepLast(At(address.ring_offset), depth, max_message_bytes);
    return address;
  }

  static LinkWriter OpenWriter(const YardNode& node, const LinkAddress& address) {
    return LocalRealm::Must(LinkWriter::Open(node.device, address, Bell(node, address.consumer)));
  }
  static LinkReader OpenReader(const YardNode& node, const LinkAddress& address) {
    return LocalRealm::Must(LinkReader::Open(node.device, address, Bell(node, address.producer)));
  }
  static Doorbell Bell(const YardNode& from, const WakeAddress& to) {
    return LocalRealm::Must(from.device->OpenDoorbell(to.peer, to.vector));
  }

  LocalRealm realm;
  std::shared_ptr<MemfdDevice> host;

 private:
  LinkAddress Sides(const YardNode& producer, const YardNode& consumer) {
    LinkAddress address;
    address.link_id = ++last_link_;
    address.consumer = Side(consumer);
    address.producer = Side(producer);
    return address;
  }
  // Ready bytes of a node lie together, as control lays them.
  WakeAddress Side(const YardNode& node) {
    uint64_t& line = ready_[node.wake_offset];
    if (line % kCacheLineBytes == 0) line = Allocate(kCacheLineBytes);
    WakeAddress side;
    side.wake_offset = node.wake_offset;
    side.ready_offset = line++;
    side.peer = node.device->peer_id();
    side.vector = node.vector;
    side.polls = !node.wake->interrupts();
    return side;
  }

  uint64_t next_ = 0;
  uint64_t last_link_ = 0;
  std::map<uint64_t, uint64_t> ready_;  // by wake offset: the next free ready byte
};

// Generous: machines are busy, and nothing that works takes that long.
inline constexpr std::chrono::seconds kPatience{60};

inline std::chrono::steady_clock::time_point Soon() {
  return std::chrono::steady_clock::now() + kPatience;
}

// Until `condition` holds; false if it never does.
inline bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = Soon();
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

inline std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view Text(const RecordView& record) {
  return {reinterpret_cast<const char*>(record.data), record.size};
}

}  // namespace ivmq::transport

#endif  // IVMQ_TESTS_TRANSPORT_LINK_YARD_H_

#ifndef IVMQ_TESTS_TRANSPORT_DEVICE_PARTNER_H_
#define IVMQ_TESTS_TRANSPORT_DEVICE_PARTNER_H_

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "transport/device.h"

// The peer on the other side of a device under test: it obeys commands with a device of its own,
// either in a thread of this process or, through a mailbox in the region, in another guest.

namespace ivmq::transport::conformance {

// At the end of the region, where no realm under test has allocated anything.
inline constexpr uint64_t kScratchBytes = 64 << 10;
inline constexpr uint64_t kMailboxBytes = 4 << 10;
inline constexpr uint64_t kTailBytes = kScratchBytes + 2 * kMailboxBytes;
inline uint64_t ScratchOffset(const Device& device) { return device.region().size() - kTailBytes; }

enum class Op : uint64_t {
  kIdle = 0,
  kFill = 1,     // a: offset in the scratch area, b: bytes, c: seed
  kMatches = 2,  // the same; result 1 if all bytes are as kFill writes them
  kAnswer = 3,   // a: offset, b: rounds; answers 2n + 1 with 2n + 2; result: rounds done
  kRing = 4,     // a: peer, b: vector, c: how often; result: how often that was possible
  kRung = 5,     // a: bit mask of vectors to wait for; result: bit mask of those that were rung
  kQuit = 6,
};
struct Command {
  Op op = Op::kIdle;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
};

inline constexpr std::chrono::seconds kPatience{60};
// After what was waited for has come: how long something that must not come is given to do so.
inline constexpr int kQuietMilliseconds = 50;

inline volatile std::byte* ScratchBytes(const Device& device, uint64_t offset) {
  return device.region().data() + ScratchOffset(device) + offset;
}
inline std::atomic_ref<uint64_t> ScratchWord(const Device& device, uint64_t offset) {
  return std::atomic_ref<uint64_t>(
      *reinterpret_cast<uint64_t*>(device.region().data() + ScratchOffset(device) + offset));
}

inline bool TakeEvent(int fd, int milliseconds) {
  pollfd watched{fd, POLLIN, 0};
  if (::poll(&watched, 1, milliseconds) <= 0) return false;
  uint64_t count = 0;
  return ::read(fd, &count, sizeof(count)) == sizeof(count);
}

// Waits for all vectors of `expected`, then a moment for others. Forgets all of them.
inline uint64_t TakeRung(const Device& device, uint64_t expected) {
  uint64_t rung = 0;
  for (uint32_t v = 0; v < device.vector_count() && v < 64; ++v) {
    const uint64_t bit = uint64_t{1} << v;
    if ((expected & bit) == 0 || device.vector_fd(v) < 0) continue;
    if (TakeEvent(device.vector_fd(v), static_cast<int>(kPatience / std::chrono::milliseconds(1))))
      rung |= bit;
  }
  ::poll(nullptr, 0, kQuietMilliseconds);
  for (uint32_t v = 0; v < device.vector_count() && v < 64; ++v) {
    if (device.vector_fd(v) >= 0 && TakeEvent(device.vector_fd(v), 0)) rung |= uint64_t{1} << v;
  }
  return rung;
}

// One side of a ping-pong of `rounds`: waits for each value of its own parity. True if all came.
inline bool PingPong(const Device& device, uint64_t offset, uint64_t rounds, bool begins) {
  std::atomic_ref<uint64_t> word = ScratchWord(device, offset);
  // Plain data beside the word: it must be there when the word is.
  volatile std::byte* data = ScratchBytes(device, offset + 256);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (uint64_t round = 0; round < rounds; ++round) {
    const uint64_t sent = 2 * round + 1;
    if (begins) {
      data[0] = static_cast<std::byte>(sent);
      word.store(sent, std::memory_order_release);
    }
    const uint64_t awaited = begins ? sent + 1 : sent;
    while (word.load(std::memory_order_acquire) != awaited) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    if (data[0] != static_cast<std::byte>(awaited)) return false;
    if (!begins) {
      data[0] = static_cast<std::byte>(sent + 1);
      word.store(sent + 1, std::memory_order_release);
    }
  }
  return true;
}

inline uint64_t Execute(const Device& device, const Command& command) {
  switch (command.op) {
    case Op::kFill:
    case Op::kMatches: {
      std::mt19937_64 random(command.c);
      volatile std::byte* bytes = ScratchBytes(device, command.a);
      for (uint64_t i = 0; i < command.b; ++i) {
        const auto value = static_cast<std::byte>(random());
        if (command.op == Op::kFill) {
          bytes[i] = value;
        } else if (bytes[i] != value) {
          return 0;
        }
      }
      return 1;
    }
    case Op::kAnswer:
      return PingPong(device, command.a, command.b, false) ? command.b : 0;
    case Op::kRing: {
      const Result<Doorbell> bell =
          device.OpenDoorbell(static_cast<uint32_t>(command.a), static_cast<uint32_t>(command.b));
      if (!bell.ok()) return 0;
      for (uint64_t i = 0; i < command.c; ++i) bell.value().Ring();
      return command.c;
    }
    case Op::kRung:
      return TakeRung(device, command.a);
    case Op::kIdle:
    case Op::kQuit:
      break;
  }
  return 0;
}

class Partner {
 public:
  virtual ~Partner() = default;
  virtual uint32_t peer_id() const = 0;
  virtual uint32_t vector_count() const = 0;
  // Start one command, then Finish it; Do does both.
  virtual void Start(const Command& command) = 0;
  virtual uint64_t Finish() = 0;
  uint64_t Do(const Command& command) {
    Start(command);
    return Finish();
  }
};

// In a thread of this process.
class LocalPartner : public Partner {
 public:
  explicit LocalPartner(std::shared_ptr<const Device> device) : device_(std::move(device)) {}
  uint32_t peer_id() const override { return device_->peer_id(); }
  uint32_t vector_count() const override { return device_->vector_count(); }
  void Start(const Command& command) override {
    result_ = std::async(std::launch::async,
                         [device = device_, command] { return Execute(*device, command); });
  }
  uint64_t Finish() override { return result_.get(); }

 private:
  std::shared_ptr<const Device> device_;
  std::future<uint64_t> result_;
};

// What a program in another guest obeys. The check writes request, the partner the rest.
struct Mailbox {
  std::atomic<uint64_t> request;  // number of the command; 0 is none
  uint64_t op;
  uint64_t a;
  uint64_t b;
  uint64_t c;
  uint64_t padding[3];
  std::atomic<uint64_t> done;  // number of the last command obeyed
  uint64_t result;
  std::atomic<uint64_t> presence;  // peer ID << 32 | vectors, and a nonce of the partner's start
};

inline Mailbox* MailboxOf(const Device& device, uint32_t slot) {
  return reinterpret_cast<Mailbox*>(device.region().data() + ScratchOffset(device) + kScratchBytes +
                                    slot * kMailboxBytes);
}

// Obeys until kQuit.
inline void ServeMailbox(const Device& device, uint32_t slot) {
  Mailbox* box = MailboxOf(device, slot);
  uint64_t last = box->request.load(std::memory_order_acquire);
  box->done.store(last, std::memory_order_relaxed);
  box->presence.store(uint64_t{device.peer_id()} << 32 | device.vector_count(),
                      std::memory_order_release);
  for (;;) {
    const uint64_t request = box->request.load(std::memory_order_acquire);
    if (request == last) {
      ::poll(nullptr, 0, 1);
      continue;
    }
    const Command command{static_cast<Op>(box->op), box->a, box->b, box->c};
    box->result = Execute(device, command);
    last = request;
    if (command.op == Op::kQuit) box->presence.store(0, std::memory_order_relaxed);
    box->done.store(request, std::memory_order_release);
    if (command.op == Op::kQuit) return;
  }
}

class MailboxPartner : public Partner {
 public:
  // Waits until somebody serves the slot.
  MailboxPartner(std::shared_ptr<const Device> device, uint32_t slot)
      : device_(std::move(device)), box_(MailboxOf(*device_, slot)) {
    Await([this] { return (presence_ = box_->presence.load(std::memory_order_acquire)) != 0; },
          "nobody serves mailbox " + std::to_string(slot));
  }
  uint32_t peer_id() const override { return static_cast<uint32_t>(presence_ >> 32); }
  uint32_t vector_count() const override { return static_cast<uint32_t>(presence_); }
  void Start(const Command& command) override {
    box_->op = static_cast<uint64_t>(command.op);
    box_->a = command.a;
    box_->b = command.b;
    box_->c = command.c;
    number_ = box_->done.load(std::memory_order_acquire) + 1;
    box_->request.store(number_, std::memory_order_release);
  }
  uint64_t Finish() override {
    Await([this] { return box_->done.load(std::memory_order_acquire) == number_; },
          "the partner does not answer");
    return box_->result;
  }

 private:
  template <class Condition>
  static void Await(Condition condition, const std::string& complaint) {
    const auto deadline = std::chrono::steady_clock::now() + 2 * kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error(complaint);
      ::poll(nullptr, 0, 1);
    }
  }

  std::shared_ptr<const Device> device_;
  Mailbox* box_;
  uint64_t presence_ = 0;
  uint64_t number_ = 0;
};

}  // namespace ivmq::transport::conformance

#endif  // IVMQ_TESTS_TRANSPORT_DEVICE_PARTNER_H_

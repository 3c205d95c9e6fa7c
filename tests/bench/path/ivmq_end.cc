// The whole path of the SDK: a real daemon, whose node socket IVMQ_NODE_SOCKET names, and matched
// reliable links of 64 KiB, or of what larger messages need.
#include <optional>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/path/channel.h"
#include "tests/bench/path/must.h"

namespace ivmq::bench {
namespace {

// So many that what the first lap through a ring costs, when its pages are seen for the first time,
// does not count.
constexpr int kMessages = 400'000;
constexpr int kTrips = 25'000;
constexpr size_t kMessageOfDefaultRing = 8000;

// Flushes after `kTogether` messages or 64 KiB, as TCP's ends (sockets_end.cc) write. The ring
// makes them visible after 32 messages or 8 KiB anyway: what a longer batch saves is looks at who
// sleeps.
template <int kTogether, Wait kWait, size_t kRingBytes = 0>
class IvmqEnd {
 public:
  explicit IvmqEnd(const Meet& meet)
      : in_place_(meet.bytes >= kInPlace),
        node_(Must(Node::Open({.name = meet.end == End::kFirst ? "first" : "second"}))) {
    const bool first = meet.end == End::kFirst;
    const std::string there = "bench." + meet.name + ".there";
    const std::string back = "bench." + meet.name + ".back";
    SubscriberOptions taking;
    taking.wait = kWait;
    PublisherOptions giving;
    giving.ring_bytes = kRingBytes;
    if (meet.bytes > kMessageOfDefaultRing) giving.max_message_bytes = meet.bytes;
    publisher_.emplace(Must(node_.CreatePublisher(first ? there : back, giving)));
    subscriber_.emplace(Must(node_.CreateSubscriber(first ? back : there, taking)));
    const auto others = static_cast<uint32_t>(first ? 1 : meet.first_ends);
    Must(publisher_->WaitForSubscribers(others, kLong));
    while (subscriber_->publishers() < others) std::this_thread::yield();
  }

  void Send(std::span<const std::byte> message, bool more) {
    kept_ += message.size();
    const bool flush = !more || ++kept_messages_ == kTogether || kept_ >= kWritten;
    if (flush) {
      kept_ = 0;
      kept_messages_ = 0;
    }
    Require((flush ? publisher_->Publish(message) : publisher_->Write(message)).ok(), "publish");
  }

  int Receive(Messages* expected, int limit) {
    const auto take = [expected](const BytesMessage& message) {
      expected->Expect(message.bytes.data(), message.bytes.size());
    };
    for (;;) {
      if (limit > 1) {
        const auto taken = subscriber_->Poll(static_cast<size_t>(limit), take);
        Require(taken.ok(), "poll");
        if (*taken > 0) return static_cast<int>(*taken);
        if (kWait == Wait::kSpin) continue;
      }
      // A large message is read where it lies, as iceoryx has it.
      if (in_place_ && limit == 1) {
        const auto message = subscriber_->Borrow(kLong);
        Require(message.ok(), "borrow");
        expected->Expect(message->bytes().data(), message->bytes().size());
        return 1;
      }
      const auto message = subscriber_->Receive(kLong);
      Require(message.ok(), "receive");
      take(*message);
      return 1;
    }
  }

 private:
  static constexpr size_t kInPlace = 4096;
  static constexpr size_t kWritten = 65536;  // bytes at once
  const bool in_place_;
  Node node_;
  std::optional<BytesPublisher> publisher_;
  std::optional<BytesSubscriber> subscriber_;
  size_t kept_ = 0;  // bytes not yet visible
  int kept_messages_ = 0;
};

}  // namespace

void AddIvmq(std::vector<Contender>* to) {
  const auto add = [to](Contender contender, bool spins) {
    contender.one_to_many = true;
    contender.spins = spins;
    to->push_back(std::move(contender));
  };
  constexpr int kBatch = 32;
  constexpr int kAny = 1 << 30;
  // So that a flush does not find it full.
  constexpr size_t kRingOfBatched = 256 * 1024;
  constexpr Wait kAdaptive = Wait::kAdaptive;
  add(ContenderOf<IvmqEnd<kBatch, Wait::kSpin>>("ivmq", kMessages, kTrips), true);
  add(ContenderOf<IvmqEnd<1, Wait::kSpin>>("ivmq_each", kMessages, 0), true);
  add(ContenderOf<IvmqEnd<1, kAdaptive>>("ivmq_adaptive", kMessages, kTrips), false);
  add(ContenderOf<IvmqEnd<kBatch, kAdaptive>>("ivmq_adaptive_batch32", kMessages, 0), false);
  add(ContenderOf<IvmqEnd<kAny, kAdaptive, kRingOfBatched>>("ivmq_batched", kMessages, 0), false);
  add(ContenderOf<IvmqEnd<1, Wait::kBlock>>("ivmq_block", kMessages, 500), false);
}

}  // namespace ivmq::bench

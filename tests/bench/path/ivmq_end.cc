// The whole path of the SDK: a real daemon, whose node socket IVMQ_NODE_SOCKET names, and matched
// reliable links of 64 KiB.
#include <chrono>
#include <optional>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

constexpr auto kLong = std::chrono::seconds(10);
constexpr int kBatch = 32;

template <class T>
T Must(Result<T> result) {
  if (!result.ok()) Fail(result.status().ToString());
  return std::move(result).value();
}

// kFlushEach: every message is made visible at once, instead of up to 32 together.
template <bool kFlushEach, Wait kWait>
class IvmqEnd {
 public:
  explicit IvmqEnd(const Meet& meet)
      : node_(Must(Node::Open({.name = meet.end == End::kFirst ? "first" : "second"}))) {
    const bool first = meet.end == End::kFirst;
    const std::string there = "bench." + meet.name + ".there";
    const std::string back = "bench." + meet.name + ".back";
    SubscriberOptions taking;
    taking.wait = kWait;
    publisher_.emplace(Must(node_.CreatePublisher(first ? there : back)));
    subscriber_.emplace(Must(node_.CreateSubscriber(first ? back : there, taking)));
    const Status status = publisher_->WaitForSubscribers(1, kLong);
    if (!status.ok()) Fail(status.ToString());
    while (subscriber_->publishers() == 0) std::this_thread::yield();
  }

  void Send(std::span<const std::byte> message, bool more) {
    const bool flush = kFlushEach || !more || ++kept_ == kBatch;
    if (flush) kept_ = 0;
    Require((flush ? publisher_->Publish(message) : publisher_->Write(message)).ok(), "publish");
  }

  int Receive(Messages* expected, int limit) {
    if (limit == 1) {
      const auto message = subscriber_->Receive(kLong);
      Require(message.ok(), "receive");
      expected->Expect(message->bytes.data(), message->bytes.size());
      return 1;
    }
    for (;;) {
      const auto taken =
          subscriber_->Poll(static_cast<size_t>(limit), [&](const BytesMessage& message) {
            expected->Expect(message.bytes.data(), message.bytes.size());
          });
      Require(taken.ok(), "poll");
      if (*taken > 0) return static_cast<int>(*taken);
    }
  }

 private:
  Node node_;
  std::optional<BytesPublisher> publisher_;
  std::optional<BytesSubscriber> subscriber_;
  int kept_ = 0;
};

}  // namespace

void AddIvmq(std::vector<Contender>* to) {
  to->push_back(ContenderOf<IvmqEnd<false, Wait::kSpin>>("ivmq", 100'000, 5000));
  to->push_back(ContenderOf<IvmqEnd<true, Wait::kSpin>>("ivmq_each", 100'000, 5000));
  to->push_back(ContenderOf<IvmqEnd<true, Wait::kAdaptive>>("ivmq_adaptive", 100'000, 5000));
  to->push_back(ContenderOf<IvmqEnd<true, Wait::kBlock>>("ivmq_block", 100'000, 500));
}

}  // namespace ivmq::bench

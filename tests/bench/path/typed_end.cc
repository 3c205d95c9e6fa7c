// Typed publishers and subscribers of protobuf messages; and what protobuf alone takes, which is
// the least that they can add.
#include <ivmq/protobuf.h>

#include <array>
#include <optional>
#include <thread>

#include "ivmq/ivmq.h"
#include "path/bench_pipe.pb.h"
#include "tests/bench/path/channel.h"
#include "tests/bench/path/must.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

constexpr int kCount = 400'000;  // as many as of bytes (ivmq_end.cc)
constexpr int kTrips = 25'000;
constexpr size_t kLongest = 1024;

// As bytes, exactly `bytes`, of 39 to 165.
Reading ReadingOf(size_t bytes) {
  Reading reading;
  reading.set_x(1.5);
  reading.set_y(-2.5);
  reading.set_z(1e9);
  reading.set_sequence(1);
  const size_t numbers = reading.ByteSizeLong();
  reading.set_sensor(std::string(bytes - numbers - 2, 's'));
  if (reading.ByteSizeLong() != bytes) Fail("no reading has that size");
  return reading;
}

// The next that is due; `number` counts them.
void Expect(const Reading& reading, size_t bytes, uint64_t number) {
  if (reading.sequence() != number || reading.x() != static_cast<double>(number) ||
      reading.sensor().size() + 38 != bytes || reading.sensor().back() != 's') [[unlikely]] {
    Fail("a message is not the one that was due");
  }
}

template <bool kFlushEach>
class TypedEnd : public Channel {
 public:
  explicit TypedEnd(const Meet& meet)
      : bytes_(meet.bytes),
        message_(ReadingOf(meet.bytes)),
        node_(Must(Node::Open({.name = meet.end == End::kFirst ? "first" : "second"}))) {
    const bool first = meet.end == End::kFirst;
    const std::string there = "bench." + meet.name + ".there";
    const std::string back = "bench." + meet.name + ".back";
    SubscriberOptions taking;
    taking.wait = Wait::kSpin;
    publisher_.emplace(Must(node_.CreatePublisher<Reading>(first ? there : back)));
    subscriber_.emplace(Must(node_.CreateSubscriber<Reading>(first ? back : there, taking)));
    Must(publisher_->WaitForSubscribers(1, kLong));
    while (subscriber_->publishers() == 0) std::this_thread::yield();
  }
  void SendAll(int messages) override {
    for (int i = 1; i <= messages; ++i) Send(kFlushEach || i == messages || i % kBatch == 0);
    Receive();
  }
  void ReceiveAll(int messages) override {
    for (size_t left = static_cast<size_t>(messages); left > 0;) {
      left -= Must(subscriber_->Poll(left, [this](const Message<Reading>& message) {
        Expect(message.value(), bytes_, ++received_);
      }));
    }
    Send(true);
  }
  void SendOne(bool more) override { Send(!more); }
  void AwaitAnswers(int answers) override {
    for (int i = 0; i < answers; ++i) Receive();
  }
  void ToAndFro(int trips) override {
    for (int i = 0; i < trips; ++i) {
      Send(true);
      Receive();
    }
  }
  void FroAndTo(int trips) override {
    for (int i = 0; i < trips; ++i) {
      Receive();
      Send(true);
    }
  }

 private:
  static constexpr int kBatch = 32;

  void Send(bool flush) {
    message_.set_sequence(++sent_);
    message_.set_x(static_cast<double>(sent_));
    const auto sent = flush ? publisher_->Publish(message_) : publisher_->Write(message_);
    Require(sent.ok(), "publish");
  }
  void Receive() {
    const auto message = subscriber_->Receive(kLong);
    Require(message.ok(), "receive");
    Expect(message->value(), bytes_, ++received_);
  }

  size_t bytes_;
  Reading message_;
  Node node_;
  std::optional<Publisher<Reading>> publisher_;
  std::optional<Subscriber<Reading>> subscriber_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

// The same round trips of somebody who serialises and parses by hand, and sends bytes: what
// protobuf takes between two that wait for each other, where nothing is as warm as in a loop.
class ByHandEnd {
 public:
  explicit ByHandEnd(const Meet& meet)
      : bytes_(meet.bytes),
        message_(ReadingOf(meet.bytes)),
        node_(Must(Node::Open({.name = meet.end == End::kFirst ? "first" : "second"}))) {
    const bool first = meet.end == End::kFirst;
    const std::string there = "bench." + meet.name + ".there";
    const std::string back = "bench." + meet.name + ".back";
    SubscriberOptions taking;
    taking.wait = Wait::kSpin;
    publisher_.emplace(Must(node_.CreatePublisher(first ? there : back)));
    subscriber_.emplace(Must(node_.CreateSubscriber(first ? back : there, taking)));
    Must(publisher_->WaitForSubscribers(1, kLong));
    while (subscriber_->publishers() == 0) std::this_thread::yield();
  }
  void Send(std::span<const std::byte> /*message*/, bool /*more*/) {
    message_.set_sequence(++sent_);
    message_.set_x(static_cast<double>(sent_));
    const size_t size = message_.ByteSizeLong();
    Require(size <= buffer_.size(), "size");
    message_.SerializeWithCachedSizesToArray(buffer_.data());
    Require(publisher_->Publish(std::as_bytes(std::span(buffer_).first(size))).ok(), "publish");
  }
  int Receive(Messages* /*expected*/, int /*limit*/) {
    const auto got = subscriber_->Receive(kLong);
    Require(got.ok(), "receive");
    Reading message;
    Require(message.ParseFromArray(got->bytes.data(), static_cast<int>(got->bytes.size())),
            "parse");
    Expect(message, bytes_, ++received_);
    return 1;
  }

 private:
  size_t bytes_;
  Reading message_;
  std::array<uint8_t, kLongest> buffer_{};
  Node node_;
  std::optional<BytesPublisher> publisher_;
  std::optional<BytesSubscriber> subscriber_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

template <bool kFlushEach>
Contender TypedContender(std::string name) {
  return {std::move(name), kCount, kTrips,
          [](const Meet& meet) { return std::make_unique<TypedEnd<kFlushEach>>(meet); }};
}

}  // namespace

std::optional<double> ProtobufAloneNs(size_t bytes) {
  const Side side = [bytes]() -> std::function<void()> {
    return [bytes] {
      Reading message = ReadingOf(bytes);
      std::array<std::byte, kLongest> buffer{};
      for (uint64_t i = 1; i <= kCount; ++i) {
        message.set_sequence(i);
        message.set_x(static_cast<double>(i));
        Require(message.SerializeToArray(buffer.data(), static_cast<int>(bytes)), "serialise");
        asm volatile("" ::"r"(buffer.data()) : "memory");
        Reading parsed;
        Require(parsed.ParseFromArray(buffer.data(), static_cast<int>(bytes)), "parse");
        Expect(parsed, bytes, i);
      }
    };
  };
  const auto total = RunOnTwoCores(side, side);
  return total ? std::optional(*total / kCount) : std::nullopt;
}

void AddTyped(std::vector<Contender>* to) {
  to->push_back(TypedContender<false>("typed"));
  to->push_back(TypedContender<true>("typed_each"));
  to->push_back(ContenderOf<ByHandEnd>("typed_by_hand", 0, kTrips));
}

}  // namespace ivmq::bench

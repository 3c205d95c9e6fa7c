// Publishes and receives 64-byte messages in functions that callgrind can tell apart, see
// instructions.sh. Needs a daemon whose node socket IVMQ_NODE_SOCKET names.
#include <array>
#include <cstring>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/path/must.h"

namespace {

constexpr uint64_t kBatch = 32;
constexpr int kBatches = 64;
uint64_t sent = 0;
uint64_t received = 0;

std::span<const std::byte> Next() {
  static std::array<uint64_t, 8> message{};
  message.fill(++sent);
  return std::as_bytes(std::span(message));
}

}  // namespace

extern "C" {

[[gnu::noinline]] void PublishEach(ivmq::BytesPublisher* publisher) {
  for (uint64_t i = 0; i < kBatch; ++i) static_cast<void>(publisher->Publish(Next()));
}

[[gnu::noinline]] void PublishBatch(ivmq::BytesPublisher* publisher) {
  for (uint64_t i = 1; i < kBatch; ++i) static_cast<void>(publisher->Write(Next()));
  static_cast<void>(publisher->Publish(Next()));
}

[[gnu::noinline]] void PollBatch(ivmq::BytesSubscriber* subscriber) {
  const auto taken = subscriber->Poll(kBatch, [](const ivmq::BytesMessage& message) {
    uint64_t number = 0;
    std::memcpy(&number, message.bytes.data(), sizeof number);
    ivmq::bench::Require(number == ++received, "a message is not the one that was due");
  });
  ivmq::bench::Require(taken.ok() && *taken == kBatch, "poll");
}

[[gnu::noinline]] void ReceiveEach(ivmq::BytesSubscriber* subscriber) {
  for (uint64_t i = 0; i < kBatch; ++i) {
    const auto message = subscriber->Receive(std::chrono::seconds(1));
    ivmq::bench::Require(message.ok() && message->bytes.size() == 64, "receive");
    ++received;
  }
}

}  // extern "C"

int main() {
  using ivmq::bench::Must;
  ivmq::Node node = Must(ivmq::Node::Open({.name = "counted"}));
  auto publisher = Must(node.CreatePublisher("instructions"));
  auto subscriber = Must(node.CreateSubscriber("instructions"));
  Must(publisher.WaitForSubscribers(1, ivmq::bench::kLong));
  while (subscriber.publishers() == 0) std::this_thread::yield();
  for (int i = 0; i < kBatches; ++i) {
    PublishEach(&publisher);
    PollBatch(&subscriber);
    PublishBatch(&publisher);
    ReceiveEach(&subscriber);
  }
  return sent == received ? 0 : 1;
}

#include "sdk/node/convert.h"

#include <algorithm>
#include <cstdio>

namespace ivmq::internal {

Status FromTransport(const transport::Status& status) {
  if (status.ok()) return {};
  return {static_cast<Code>(status.code()), status.message()};  // the same numbers up to 16
}

Status FromFailure(const v1::Failure& failure) {
  constexpr int kLastGrpcCode = 16;
  const bool known = failure.code() > 0 && failure.code() <= kLastGrpcCode;
  return {known ? static_cast<Code>(failure.code()) : Code::kUnknown, failure.message()};
}

namespace {

transport::WakeAddress WakeAddressOf(const v1::WakeAddress& wake) {
  transport::WakeAddress address;
  address.wake_offset = wake.wake_offset();
  address.ready_offset = wake.ready_offset();
  address.peer = wake.peer_id();
  address.vector = wake.vector();
  address.polls = wake.polls();
  return address;
}

}  // namespace

transport::LinkAddress AddressOf(const v1::LinkUp& link) {
  transport::LinkAddress address;
  address.link_id = link.link_id();
  address.ring_offset = link.ring_offset();
  address.ring_capacity = link.ring_capacity();
  if (link.reliability() == v1::Qos::KEEP_LAST) {
    address.depth = link.depth();
    address.max_message_bytes = link.max_message_bytes();
  }
  address.consumer = WakeAddressOf(link.consumer());
  address.producer = WakeAddressOf(link.producer());
  return address;
}

std::string GoneText(v1::LinkDown::Reason reason) {
  switch (reason) {
    case v1::LinkDown::CLOSED:
      return "it was closed";
    case v1::LinkDown::DIED:
      return "its process or VM died";
    case v1::LinkDown::CORRUPT:
      return "it found nonsense in the link";
    case v1::LinkDown::EVICTED:
      return "an operator evicted it";
    case v1::LinkDown::LOST:
      return "its session is lost";
    default:
      return {};
  }
}

transport::WaitStrategy StrategyOf(Wait wait) {
  switch (wait) {
    case Wait::kAdaptive:
      return transport::WaitStrategy::kAdaptive;
    case Wait::kBlock:
      return transport::WaitStrategy::kBlock;
    case Wait::kSpin:
      return transport::WaitStrategy::kSpin;
  }
  return transport::WaitStrategy::kAdaptive;
}

std::chrono::steady_clock::time_point DeadlineAfter(std::chrono::nanoseconds timeout) {
  constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(24 * 365);
  const auto bounded = std::clamp(timeout, std::chrono::nanoseconds(0), kLongest);
  return std::chrono::steady_clock::now() + bounded;
}

std::string DurationText(std::chrono::nanoseconds duration) {
  const double ns = static_cast<double>(duration.count());
  char text[32];
  if (ns < 1e6) {
    std::snprintf(text, sizeof(text), "%.3g us", ns / 1e3);
  } else if (ns < 1e9) {
    std::snprintf(text, sizeof(text), "%.3g ms", ns / 1e6);
  } else {
    std::snprintf(text, sizeof(text), "%.3g s", ns / 1e9);
  }
  return text;
}

}  // namespace ivmq::internal

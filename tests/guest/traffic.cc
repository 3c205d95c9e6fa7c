#include "traffic.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace ivmq::test {
namespace {

// Bytes that a message spends besides its payload: sender, number, checksum, and the payload's tag
// and length (three bytes of length hold for all sizes up to 2 MiB). See protobuf's encoding.
constexpr size_t kFixedBytes = 2 + 9 + 9;
constexpr size_t kPayloadHeaderBytesMax = 1 + 3;

uint64_t Hash(uint32_t sender, uint64_t number, const std::string& payload) {
  return XXH3_64bits_withSeed(payload.data(), payload.size(), (uint64_t{sender} << 40) ^ number);
}

uint64_t Mix(uint64_t value) { return XXH3_64bits(&value, sizeof value); }

void FillPayload(uint64_t seed, size_t bytes, std::string* payload) {
  payload->resize(bytes);
  uint64_t word = Mix(seed);
  for (size_t at = 0; at < bytes; at += sizeof word) {
    std::memcpy(payload->data() + at, &word, std::min(sizeof word, bytes - at));
    word = std::rotr(word, 8) + 0x9e3779b97f4a7c15;
  }
}

}  // namespace

TrafficSource::TrafficSource(uint32_t sender, size_t max_bytes)
    : sender_(sender), max_bytes_(max_bytes) {}

const Traffic& TrafficSource::Next() {
  const uint64_t number = number_++;
  message_.Clear();
  if (number % kEmptyEvery == 0) return message_;
  message_.set_sender(sender_);
  message_.set_number(number);

  const size_t payload_max = max_bytes_ - kFixedBytes - kPayloadHeaderBytesMax;
  const uint64_t random = Mix((uint64_t{sender_} << 40) ^ number);
  size_t bytes = payload_max;
  if (number % kLargestEvery != 0) {
    // First the order of magnitude, then a size within it.
    const auto magnitude = random % (std::bit_width(payload_max) + 1u);
    bytes = (random >> 8) % ((size_t{1} << magnitude) + 1);
    if (bytes > payload_max) bytes = payload_max;
  }
  FillPayload(random, bytes, message_.mutable_payload());
  message_.set_checksum(Hash(sender_, number, message_.payload()));
  // The length may have taken less than was set aside: grow to the very largest message.
  while (number % kLargestEvery == 0 && message_.ByteSizeLong() < max_bytes_) {
    message_.mutable_payload()->push_back('+');
    message_.set_checksum(Hash(sender_, number, message_.payload()));
  }
  return message_;
}

std::string TrafficCheck::Take(const Traffic& message) {
  const uint64_t expected = next_++;
  const std::string place =
      "sender " + std::to_string(sender_) + ", message " + std::to_string(expected) + ": ";
  const size_t bytes = message.ByteSizeLong();
  if (bytes > largest_) largest_ = bytes;
  if (expected % kEmptyEvery == 0) {
    return bytes == 0 ? "" : place + "should be empty, has " + std::to_string(bytes) + " bytes";
  }
  if (sender_ == 0) sender_ = message.sender();
  if (message.sender() != sender_) {
    return place + "came from sender " + std::to_string(message.sender());
  }
  if (message.number() != expected) return place + "found " + std::to_string(message.number());
  if (message.checksum() != Hash(sender_, expected, message.payload())) {
    return place + "wrong checksum over " + std::to_string(message.payload().size()) + " bytes";
  }
  return "";
}

}  // namespace ivmq::test

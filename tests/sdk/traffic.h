#ifndef IVMQ_TESTS_SDK_TRAFFIC_H_
#define IVMQ_TESTS_SDK_TRAFFIC_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace ivmq::test {

// Messages that check themselves: number and stream they belong to, bytes that follow from both,
// and a checksum over all. Shorter than a header there is only the length, which also follows.
class Traffic {
 public:
  static constexpr size_t kHeaderBytes = 24;

  Traffic(uint64_t stream, size_t largest) : stream_(stream), largest_(largest) {}

  // From 0 to the largest, the ends often.
  size_t SizeOf(uint64_t number) const {
    const uint64_t random = Mix(stream_ * 1'000'003 + number);
    switch (random % 16) {
      case 0:
        return 0;
      case 1:
        return largest_;
      case 2:
        return Mix(random) % (largest_ + 1);
      default:
        return kHeaderBytes + Mix(random) % 200;
    }
  }
  std::span<const std::byte> Make(uint64_t number) {
    buffer_.resize(SizeOf(number));
    if (buffer_.size() < kHeaderBytes) return buffer_;
    for (size_t i = kHeaderBytes; i < buffer_.size(); ++i) {
      buffer_[i] = static_cast<std::byte>(Mix(number) >> (i % 8 * 8));
    }
    const uint64_t header[3] = {stream_, number, Checksum(stream_, number, buffer_)};
    std::memcpy(buffer_.data(), header, sizeof(header));
    return buffer_;
  }
  bool IsRight(uint64_t number, std::span<const std::byte> bytes) const {
    if (bytes.size() != SizeOf(number)) return false;
    if (bytes.size() < kHeaderBytes) return true;
    uint64_t header[3];
    std::memcpy(header, bytes.data(), sizeof(header));
    return header[0] == stream_ && header[1] == number &&
           header[2] == Checksum(stream_, number, bytes);
  }

 private:
  static uint64_t Mix(uint64_t value) {  // splitmix64
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }
  static uint64_t Checksum(uint64_t stream, uint64_t number, std::span<const std::byte> bytes) {
    uint64_t sum = Mix(stream) ^ Mix(number + 1);
    for (size_t i = kHeaderBytes; i < bytes.size(); ++i) {
      sum = (sum ^ static_cast<uint64_t>(bytes[i])) * 0x100000001b3;
    }
    return sum;
  }

  uint64_t stream_;
  size_t largest_;
  std::vector<std::byte> buffer_;
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_TRAFFIC_H_

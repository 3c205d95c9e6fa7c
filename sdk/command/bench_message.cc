#include "sdk/command/bench_message.h"

#include <algorithm>
#include <cstring>

namespace ivmq::command {
namespace {

constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
constexpr uint64_t kOfMessages = 0x6976'6d71'6265'6e63;
constexpr uint64_t kOfTheEnd = 0x6976'6d71'656e'6421;
constexpr size_t kWord = sizeof(uint64_t);

// Each bit of the result depends on each of the input (the end of SplitMix64).
uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

uint64_t HeadOf(uint32_t sequence, size_t bytes, uint64_t kind) {
  return sequence | Mix(Mix(kind + bytes) + sequence) << 32;
}

uint64_t WordAt(std::span<const std::byte> bytes, size_t offset) {
  uint64_t word = 0;
  std::memcpy(&word, bytes.data() + offset, kWord);
  return word;
}

void Put(uint64_t word, std::span<std::byte> out, size_t offset) {
  std::memcpy(out.data() + offset, &word, std::min(kWord, out.size() - offset));
}

// Of a message whose head is right.
bool BodyIsRight(std::span<const std::byte> message, uint32_t sequence) {
  uint64_t wrong = 0;
  uint64_t word = Mix(sequence);
  size_t at = kWord;
  for (; at + kWord <= message.size(); at += kWord, word += kStep) {
    wrong |= WordAt(message, at) ^ word;
  }
  return wrong == 0 && std::memcmp(message.data() + at, &word, message.size() - at) == 0;
}

}  // namespace

void FillBenchMessage(uint64_t sequence, std::span<std::byte> out) {
  const auto head = static_cast<uint32_t>(sequence);
  Put(HeadOf(head, out.size(), kOfMessages), out, 0);
  uint64_t word = Mix(head);
  size_t at = kWord;
  for (; at + kWord <= out.size(); at += kWord, word += kStep) {
    std::memcpy(out.data() + at, &word, kWord);
  }
  if (at < out.size()) Put(word, out, at);
}

void FillBenchEnd(uint64_t messages, std::span<std::byte> out) {
  Put(HeadOf(0, out.size(), kOfTheEnd), out, 0);
  Put(messages, out, kWord);
  Put(Mix(messages), out, 2 * kWord);
}

bool IsBenchEnd(std::span<const std::byte> message) {
  return message.size() == kBenchEndBytes &&
         WordAt(message, 0) == HeadOf(0, kBenchEndBytes, kOfTheEnd) &&
         WordAt(message, 2 * kWord) == Mix(WordAt(message, kWord));
}

BenchCheck::Saw BenchCheck::Look(std::span<const std::byte> message) {
  if (IsBenchEnd(message)) {
    const uint64_t sent = WordAt(message, kWord);
    if (sent > next_) counts_.lost += sent - next_;
    return Saw::kEnd;
  }
  uint32_t sequence = 0;
  if (message.size() == bytes_) std::memcpy(&sequence, message.data(), sizeof(sequence));
  if (message.size() != bytes_ || WordAt(message, 0) != HeadOf(sequence, bytes_, kOfMessages) ||
      !BodyIsRight(message, sequence)) {
    // Which one it was is not known: the one that was due.
    ++counts_.damaged;
    ++next_;
    return Saw::kBadMessage;
  }
  const auto ahead = static_cast<int32_t>(sequence - static_cast<uint32_t>(next_));
  if (ahead < 0) {
    ++counts_.misordered;
    return Saw::kBadMessage;
  }
  counts_.lost += static_cast<uint64_t>(ahead);
  next_ += static_cast<uint64_t>(ahead) + 1;
  ++counts_.messages;
  return Saw::kMessage;
}

}  // namespace ivmq::command

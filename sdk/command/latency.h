#ifndef IVMQ_SDK_COMMAND_LATENCY_H_
#define IVMQ_SDK_COMMAND_LATENCY_H_

#include <ivmq/message.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "sdk/command/latency_histogram.h"

namespace ivmq::command {

// How long messages were on their way, and how far that may be off because two clocks differ.
struct LatencyFigures {
  LatencyHistogram times;
  std::chrono::nanoseconds uncertainty{};  // the largest of any message
  uint64_t untimed = 0;                    // messages that did not say when they were published
  uint64_t lost = 0;                       // before them

  void Add(const BytesMessage& message);
  void Add(const LatencyFigures& other);
  void Clear();
  uint64_t messages() const { return times.count() + untimed; }

  // "1000 messages: min 9 us, p50 12.3 us, …, max 80 us, each ±2 us". The least may be below zero,
  // by no more than what all may be off.
  std::string ForPeople() const;
  // Members of a JSON object: "messages", "untimed", "lost", "min_ns", "p50_ns", "p99_ns",
  // "p999_ns", "max_ns", "uncertainty_ns".
  std::string ForPrograms() const;
};

// "850 ns", "12.3 us", "4.56 ms", "1.23 s", "-2.5 us".
std::string DurationText(std::chrono::nanoseconds time);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_LATENCY_H_

#include "sdk/command/pub.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWaitStep{100};
constexpr size_t kRingPerMessage = 8;  // a message takes an eighth of its ring at most
constexpr size_t kRingBytesMin = 64 << 10;

// A sleep that Ctrl-C ends.
class Pause {
 public:
  // False: it was ended.
  bool Until(Clock::time_point when) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_until(lock, when, [this] { return ended_; });
  }
  void End() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

// A ring that takes the message, where its size is known before it is made; 0: the SDK's default.
size_t RingBytesFor(const PubOptions& options) {
  if (!options.data) return 0;
  const size_t message_bytes = options.size_bytes.value_or(options.data->size());
  return std::max(kRingBytesMin, std::bit_ceil(message_bytes * kRingPerMessage));
}

// The messages to publish, one after the other.
class Source {
 public:
  explicit Source(const PubOptions& options)
      : left_(options.count), from_stdin_(!options.data.has_value()) {
    if (from_stdin_) return;
    if (!left_) left_ = 1;
    text_ = *options.data;
    if (options.size_bytes) {
      const std::string unit = text_.empty() ? "x" : text_;
      text_.clear();
      while (text_.size() < *options.size_bytes) text_ += unit;
      text_.resize(*options.size_bytes);
    }
  }
  // Null when there are no more.
  const std::string* Next() {
    if (left_ && (*left_)-- == 0) return nullptr;
    if (from_stdin_ && !std::getline(std::cin, text_)) return nullptr;
    return &text_;
  }

 private:
  std::optional<uint64_t> left_;
  const bool from_stdin_;
  std::string text_;
};

// Waits in steps, so that Ctrl-C is heard.
Status WaitForSubscribers(const PubOptions& options, BytesPublisher* publisher,
                          const Interrupt& interrupt) {
  const Clock::time_point deadline = Clock::now() + options.timeout;
  for (;;) {
    Status status = publisher->WaitForSubscribers(options.wait_subscribers, kWaitStep);
    if (status.ok() || interrupt.happened() || status.code() != Code::kDeadlineExceeded) {
      return status;
    }
    if (Clock::now() >= deadline) {
      return Status(Code::kDeadlineExceeded,
                    fmt::format("{} of {} subscribers came; start them, or give a longer --timeout",
                                publisher->subscribers(), options.wait_subscribers));
    }
  }
}

struct Sent {
  uint64_t messages = 0;
  uint64_t bytes = 0;
  uint32_t links = 0;  // of the last message
};

Status PublishAll(const PubOptions& options, BytesPublisher* publisher, Pause* pause,
                  const Interrupt& interrupt, Sent* sent) {
  Source source(options);
  const Clock::time_point begin = Clock::now();
  while (!interrupt.happened()) {
    const std::string* message = source.Next();
    if (message == nullptr) break;
    if (options.rate_hz) {
      const std::chrono::duration<double> after(static_cast<double>(sent->messages) /
                                                *options.rate_hz);
      if (!pause->Until(begin + std::chrono::duration_cast<Clock::duration>(after))) break;
    }
    const auto published = publisher->Publish(std::as_bytes(std::span(*message)));
    if (!published.ok()) return published.status();
    ++sent->messages;
    sent->bytes += message->size();
    sent->links = published->links;
  }
  return Status();
}

void Report(const std::string& topic, const Sent& sent, Clock::duration took) {
  const double seconds = std::chrono::duration<double>(took).count();
  fmt::print(stderr, "published {} ({}) to {} of '{}' in {:.3f} s\n",
             CountOf(sent.messages, "message"), HumanBytes(static_cast<double>(sent.bytes)),
             CountOf(sent.links, "subscriber"), topic, seconds);
  if (sent.links == 0 && sent.messages > 0) {
    fmt::print(stderr, "nobody subscribes to it: nothing was delivered; see --wait\n");
  }
}

}  // namespace

int RunPub(const CommandLine& line) {
  const PubOptions& options = line.pub;
  Pause pause;
  const Interrupt interrupt([&pause] { pause.End(); });
  auto node = Node::Open({.name = "ivmq-pub", .socket_path = line.node_socket});
  if (!node.ok()) {
    Complain(node.status().message());
    return kFailed;
  }
  auto publisher = node->CreateBytesPublisher(
      options.topic, options.type_name,
      {.reliability = Block(options.timeout), .ring_bytes = RingBytesFor(options)});
  if (!publisher.ok()) {
    Complain(publisher.status().message());
    return kFailed;
  }
  Status status;
  if (options.wait_subscribers > 0) {
    status = WaitForSubscribers(options, &publisher.value(), interrupt);
  }
  Sent sent;
  const Clock::time_point begin = Clock::now();
  if (status.ok()) status = PublishAll(options, &publisher.value(), &pause, interrupt, &sent);
  publisher->Close();
  if (status.ok() || sent.messages > 0) Report(options.topic, sent, Clock::now() - begin);
  if (status.ok()) return kDone;
  if (!interrupt.happened()) Complain(status.message());
  return kFailed;
}

}  // namespace ivmq::command

#include "sdk/command/pub.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <span>
#include <string>

#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"
#include "sdk/command/payload_source.h"
#include "sdk/command/payload_types.h"
#include "sdk/command/realm_view.h"
#include "sdk/command/ring_size.h"

namespace ivmq::command {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWaitStep{100};
constexpr size_t kLineBytes = 128 << 10;  // of messages whose size is not known yet
constexpr size_t kTimeBytes = 24;         // what a timestamp adds to a message

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

// Over all messages; subscribers come and go meanwhile.
struct Sent {
  uint64_t messages = 0;
  uint64_t bytes = 0;
  uint64_t written = 0;      // one for each link that a message was written to
  uint64_t dropped = 0;      // one for each link without room
  uint64_t untaken = 0;      // left in the links of subscribers that closed or died
  uint64_t overwritten = 0;  // unread on links that keep the last, as their subscribers have said
  uint32_t fewest = std::numeric_limits<uint32_t>::max();  // subscribers of a message
  uint32_t most = 0;

  void Add(size_t message_bytes, const Published& published) {
    ++messages;
    bytes += message_bytes;
    written += published.links;
    dropped += published.dropped;
    const uint32_t subscribers = published.links + published.dropped;
    fewest = std::min(fewest, subscribers);
    most = std::max(most, subscribers);
  }
};

Status PublishAll(const PubOptions& options, PayloadSource* source, BytesPublisher* publisher,
                  Pause* pause, const Interrupt& interrupt, Sent* sent) {
  const Clock::time_point begin = Clock::now();
  while (!interrupt.happened()) {
    const auto message = source->Next();
    if (!message.ok()) return message.status();
    if (message.value() == nullptr) break;
    if (options.rate_hz) {
      const std::chrono::duration<double> after(static_cast<double>(sent->messages) /
                                                *options.rate_hz);
      if (!pause->Until(begin + std::chrono::duration_cast<Clock::duration>(after))) break;
    }
    const auto published = publisher->Publish(std::as_bytes(std::span(*message.value())));
    if (!published.ok()) return published.status();
    sent->Add(message.value()->size(), *published);
  }
  return Status();
}

void Report(const CommandLine& line, const Sent& sent, Clock::duration took) {
  const std::string& topic = line.pub.topic;
  const double seconds = std::chrono::duration<double>(took).count();
  if (line.json) {
    return PrintLine(fmt::format(
        R"({{"topic":{},"messages":"{}","bytes":"{}","most_subscribers":{},"written":"{}",)"
        R"("dropped_full":"{}","overwritten":"{}","untaken":"{}","seconds":{:.6f}}})",
        JsonString(topic), sent.messages, sent.bytes, sent.most, sent.written, sent.dropped,
        sent.overwritten, sent.untaken, seconds));
  }
  std::string text = fmt::format(
      "published {} ({}) to {}{} of '{}' in {:.3f} s", CountOf(sent.messages, "message"),
      HumanBytes(static_cast<double>(sent.bytes)), sent.fewest < sent.most ? "at most " : "",
      CountOf(sent.most, "subscriber"), topic, seconds);
  if (sent.dropped > 0) text += fmt::format("; {} dropped: full", sent.dropped);
  if (sent.overwritten > 0) {
    text += fmt::format("; at least {} overwritten before they were read", sent.overwritten);
  }
  if (sent.untaken > 0) {
    text += fmt::format("; {} not taken by subscribers that left", sent.untaken);
  }
  PrintAside(text);
  if (sent.written > 0 || sent.messages == 0) return;
  PrintAside(sent.most == 0 ? "nobody subscribes to it: nothing was delivered; see --wait"
                            : "nothing was delivered");
}

// The type to encode JSON as: what the topic has, where none is given.
Result<std::string> TypeFor(const PubOptions& options, Node* node) {
  if (!options.payload.type_name.empty() || !options.payload.json) return options.payload.type_name;
  const auto realm = RealmView::Open(node);
  if (!realm.ok()) return realm.status();
  std::string type = realm->TypeOf(options.topic);
  if (!type.empty()) return type;
  return Status(
      Code::kInvalidArgument,
      fmt::format("--json: topic '{}' has no type that is known; give --type", options.topic));
}

}  // namespace

int RunPub(const CommandLine& line) {
  const PubOptions& options = line.pub;
  Pause pause;
  const Interrupt interrupt([&pause] { pause.End(); }, Interrupt::Output::kSilent);
  PayloadTypes types;
  if (const Status read = types.ReadFile(options.payload.descriptors); !read.ok()) {
    return Fail(read);
  }
  auto node = Node::Open({.name = "ivmq-pub", .socket_path = line.node_socket});
  if (!node.ok()) return Fail(node.status());
  types.AskRealm(&node.value());
  const auto type = TypeFor(options, &node.value());
  if (!type.ok()) return Fail(type.status());
  auto source = PayloadSource::Open(
      options.payload, options.count, options.size_bytes, interrupt.fd(),
      [&](const std::string& json) { return types.FromJson(type.value(), json); });
  if (!source.ok()) return Fail(source.status());
  PublisherOptions offer;
  offer.reliability = Block(options.timeout);
  offer.ring_bytes = RingBytesFor(source->size().value_or(kLineBytes),
                                  options.timestamps && source->size() ? kTimeBytes : 0);
  offer.history = History(options.history);
  offer.timestamps = options.timestamps;
  if (options.payload.json || !options.payload.descriptors.empty()) {
    offer.descriptors = types.DescriptorsOf(type.value());
  }
  auto publisher = node->CreateBytesPublisher(options.topic, type.value(), offer);
  if (!publisher.ok()) return Fail(publisher.status());
  Status status;
  if (options.wait_subscribers > 0) {
    status = WaitForSubscribers(options, &publisher.value(), interrupt);
  }
  Sent sent;
  const Clock::time_point begin = Clock::now();
  if (status.ok()) {
    status = PublishAll(options, &source.value(), &publisher.value(), &pause, interrupt, &sent);
  }
  publisher->Close();
  const PublisherCounters counters = publisher->counters();
  sent.untaken = counters.untaken;
  sent.overwritten = counters.overwritten;
  if (status.ok() || sent.messages > 0) Report(line, sent, Clock::now() - begin);
  if (interrupt.happened() && !status.ok() && sent.messages == 0) {
    status = Status(Code::kCancelled, "interrupted; nothing was published");
  } else if (interrupt.happened() && options.count && sent.messages < *options.count) {
    status = Status(Code::kCancelled, fmt::format("interrupted; {} of {} messages were published",
                                                  sent.messages, *options.count));
  }
  if (status.ok()) return kDone;
  Complain(status.message());
  return kFailed;
}

}  // namespace ivmq::command

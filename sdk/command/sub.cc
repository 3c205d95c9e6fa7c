#include "sdk/command/sub.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>

#include "sdk/command/interrupt.h"
#include "sdk/command/latency.h"
#include "sdk/command/output.h"
#include "sdk/command/payload_text.h"
#include "sdk/command/payload_types.h"

namespace ivmq::command {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kKeepLast = 16;
constexpr uint32_t kKeepLastMax = 1024;  // of --history; each takes a message's largest size
constexpr std::chrono::seconds kLookEvery{1};

bool IsFilter(const std::string& topic) { return topic.find_first_of("*>") != std::string::npos; }

// What goes with a message, as members of a JSON object with a comma in front.
std::string NotesForPrograms(const MessageInfo& info) {
  std::string members;
  if (!info.attributes().empty()) {
    for (const Attribute& attribute : info.attributes()) {
      members += (members.empty() ? ",\"attributes\":{" : ",") + JsonString(attribute.key) + ':' +
                 JsonString(attribute.value);
    }
    members += '}';
  }
  if (!info.traceparent().empty()) members += ",\"traceparent\":" + JsonString(info.traceparent());
  if (const auto published = info.publish_time()) {
    const auto since_epoch =
        std::chrono::duration_cast<std::chrono::nanoseconds>(published->when.time_since_epoch());
    members += fmt::format(",\"published_ns\":\"{}\"", since_epoch.count());
  }
  if (const auto latency = info.latency()) {
    members += fmt::format(R"(,"latency_ns":"{}","uncertainty_ns":"{}")", latency->value.count(),
                           latency->uncertainty.count());
  }
  return members;
}

// What shall be done with messages: shown, or timed.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void OnMessage(const BytesMessage& message) = 0;
  // Now and then, at least every second.
  virtual void OnTick() {}
  // Returns the exit status.
  virtual int OnEnd() { return kDone; }
};

class Printer final : public Sink {
 public:
  Printer(const CommandLine& line, PayloadTypes* types)
      : json_(line.json), names_topic_(IsFilter(line.sub.topic)), types_(types) {}

  void OnMessage(const BytesMessage& message) override {
    const MessageInfo& info = message.info;
    const ReceivedPayload payload{message.bytes, info.type_name(),
                                  types_->ToJson(info.type_name(), message.bytes, info.link_id)};
    if (json_) {
      return PrintLine(
          fmt::format(R"({{"topic":{},"link_id":"{}","sequence":"{}","gap":"{}",{}{}}})",
                      JsonString(info.topic), info.link_id, info.sequence, info.gap,
                      ForPrograms(payload), NotesForPrograms(info)));
    }
    if (info.gap > 0) {
      Complain(fmt::format("topic '{}': {} lost before the next one", info.topic,
                           CountOf(info.gap, "message")));
    }
    PrintLine(names_topic_ ? fmt::format("{} {}", info.topic, ForPeople(payload))
                           : ForPeople(payload));
  }

 private:
  const bool json_;
  const bool names_topic_;
  PayloadTypes* const types_;
};

class Timer final : public Sink {
 public:
  explicit Timer(const CommandLine& line)
      : json_(line.json),
        meanwhile_(line.json || ::isatty(STDOUT_FILENO) != 0),
        every_(line.sub.every),
        next_(Clock::now() + every_) {}

  void OnMessage(const BytesMessage& message) override {
    now_.Add(message);
    OnTick();
  }
  void OnTick() override {
    if (!meanwhile_ || Clock::now() < next_) return;
    next_ = Clock::now() + every_;
    Print(now_, false);
    total_.Add(now_);
    now_.Clear();
  }
  int OnEnd() override {
    total_.Add(now_);
    Print(total_, true);
    if (total_.times.count() > 0 || total_.messages() == 0) return kDone;
    Complain(
        "no message said when it was published: set timestamps of its publisher, as "
        "`ivmq pub --timestamps` does, and publish for a second or more where a guest has just "
        "begun: "
        "it has no time before it has compared its clock with the host's");
    return kFailed;
  }

 private:
  void Print(const LatencyFigures& figures, bool total) const {
    if (json_) {
      PrintLine(fmt::format(R"({{{},"total":{}}})", figures.ForPrograms(), total));
    } else {
      PrintLine((total && meanwhile_ ? "in all: " : "") + figures.ForPeople());
    }
  }

  const bool json_;
  const bool meanwhile_;
  const std::chrono::nanoseconds every_;
  Clock::time_point next_;
  LatencyFigures now_;
  LatencyFigures total_;
};

// Says on a terminal that nobody publishes, once each time.
class WaitingNote {
 public:
  explicit WaitingNote(const std::string& topic) : topic_(topic) {}
  void Look(uint32_t publishers) {
    if (publishers == 0 && !told_) {
      Note(fmt::format("nobody publishes '{}'; waiting for somebody who does (Ctrl-C ends)",
                       topic_));
    }
    told_ = publishers == 0;
  }

 private:
  const std::string& topic_;
  bool told_ = false;
};

// Receives until count, time or Ctrl-C ends it. Status: of the daemon, or OK.
Status ReceiveAll(const SubOptions& options, BytesSubscriber* subscriber, const Node& node,
                  const Interrupt& interrupt, Sink* sink, uint64_t* received) {
  const Clock::time_point begin = Clock::now();
  const std::chrono::nanoseconds look_every =
      options.latency ? std::min<std::chrono::nanoseconds>(kLookEvery, options.every) : kLookEvery;
  bool alone = false;  // told that the daemon has gone
  bool over = false;   // so have all publishers: only what they had published before is read
  WaitingNote waiting(options.topic);
  waiting.Look(subscriber->publishers());
  while (!interrupt.happened() && (!options.count || *received < *options.count)) {
    std::chrono::nanoseconds wait = over ? std::chrono::nanoseconds::zero() : look_every;
    if (options.timeout) {
      const std::chrono::nanoseconds left = *options.timeout - (Clock::now() - begin);
      if (left <= std::chrono::nanoseconds::zero()) return Status();
      wait = std::min(wait, left);
    }
    const auto got = subscriber->Receive(wait);
    if (got.ok()) {
      sink->OnMessage(*got);
      ++*received;
      continue;
    }
    if (got.status().code() != Code::kTimeout) return got.status();
    sink->OnTick();
    const uint32_t publishers = subscriber->publishers();
    if (node.connected()) {
      waiting.Look(publishers);
    } else if (publishers > 0) {
      if (!std::exchange(alone, true)) Complain(AloneText(publishers, "publisher"));
    } else if (std::exchange(over, true)) {
      return Status(Code::kUnavailable, "the daemon has gone away, and nobody publishes any more");
    }
  }
  return Status();
}

// Whoever only looks slows nobody down, unless told otherwise.
SubscriberOptions Ask(const SubOptions& options) {
  SubscriberOptions ask;
  ask.reliability = KeepLast(std::clamp(options.history, kKeepLast, kKeepLastMax));
  if (options.reliable) ask.reliability = Reliable();
  if (options.drop_newest) ask.reliability = DropNewest();
  if (options.keep_last) ask.reliability = KeepLast(*options.keep_last);
  ask.history = History(options.history);
  ask.on_event = [](const Event& event) {
    if (event.kind != Event::Kind::kIncompatible) return;
    Complain(fmt::format("left out: {}", event.detail));
  };
  return ask;
}

int Receive(const CommandLine& line, BytesSubscriber* subscriber, const Node& node,
            const Interrupt& interrupt, Sink* sink) {
  const SubOptions& options = line.sub;
  uint64_t received = 0;
  const Status status = ReceiveAll(options, subscriber, node, interrupt, sink, &received);
  const int exit_code = sink->OnEnd();
  if (!status.ok()) {
    Complain(status.message());
    return kFailed;
  }
  if (options.count && received < *options.count) {
    Complain(fmt::format("{} of {} messages came{}", received, *options.count,
                         interrupt.happened() ? "" : " in time"));
    return kFailed;
  }
  return exit_code;
}

}  // namespace

int RunSub(const CommandLine& line) {
  std::mutex mutex;
  BytesSubscriber* waiting = nullptr;  // guarded by mutex
  const Interrupt interrupt([&] {
    const std::lock_guard lock(mutex);
    if (waiting != nullptr) waiting->Interrupt();
  });
  const auto set_waiting = [&](BytesSubscriber* subscriber) {
    const std::lock_guard lock(mutex);
    waiting = subscriber;
  };
  PayloadTypes types;
  if (const Status read = types.ReadFile(line.sub.descriptors); !read.ok()) return Fail(read);
  auto node = Node::Open({.name = "ivmq-sub", .socket_path = line.node_socket});
  if (!node.ok()) return Fail(node.status());
  types.AskRealm(&node.value());
  auto subscriber = node->CreateBytesSubscriber(line.sub.topic, {}, Ask(line.sub));
  if (!subscriber.ok()) return Fail(subscriber.status());
  set_waiting(&subscriber.value());
  Printer printer(line, &types);
  Timer timer(line);
  Sink* const sink = line.sub.latency ? static_cast<Sink*>(&timer) : &printer;
  const int exit_code = Receive(line, &subscriber.value(), *node, interrupt, sink);
  set_waiting(nullptr);
  return exit_code;
}

}  // namespace ivmq::command

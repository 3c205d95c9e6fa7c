#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "sdk/command/bench_load.h"
#include "sdk/command/bench_pace.h"
#include "sdk/command/bench_protocol.h"
#include "sdk/command/bench_round_trips.h"

namespace ivmq::command {
namespace {

constexpr std::chrono::milliseconds kNoRoom{1};  // before it is looked again whether there is some
constexpr int kTurn = 16;                        // sent before it is looked what is back

// Sends messages to the server and takes them back, by two links. Without a rate each waits for the
// one before it. With one each is sent when it is due, whatever has become of those before it, and
// its time counts from then on: what waits because something else is late is late itself.
class LatencyLoad final : public RoundTripLoad {
 public:
  LatencyLoad(Node* node, const BenchOptions& options, uint64_t run, BytesPublisher to)
      : RoundTripLoad(options),
        node_(node),
        options_(options),
        back_topic_(BenchBackTopic(options.server, run)),
        to_(std::move(to)),
        check_(options.size_bytes) {
    if (options.rate_hz) pace_.emplace(*options.rate_hz, options.wait);
  }

  Status Join(std::chrono::nanoseconds timeout) override {
    SubscriberOptions options;
    options.reliability = Reliable();
    options.wait = options_.wait;
    options.join_timeout = timeout;
    auto back = node_->CreateBytesSubscriber(back_topic_, {}, options);
    if (!back.ok()) return back.status();
    back_.emplace(std::move(back).value());
    return Status();
  }

  Status Send(const BenchStop& stop) override {
    Begin();
    if (pace_) pace_->Start();
    came_ = BenchClock::now();
    const Status status = pace_ ? SendWhenDue(stop) : SendOneByOne(stop);
    Ended();
    if (!status.ok()) return status.code() == Code::kCancelled ? Status() : status;
    return Publish(kBenchEndBytes, [this](std::span<std::byte> out) {
      FillBenchEnd(sent_, out);
      return true;
    });
  }

 private:
  Status SendOneByOne(const BenchStop& stop) {
    while (!stop.finish.load(std::memory_order_relaxed)) {
      sent_at_ = BenchClock::now();
      if (Status status = PublishNext(); !status.ok()) return status;
      while (AreUnderWay()) {
        if (Status status = TakeOne(kBenchLookEvery, stop); !status.ok()) return status;
      }
    }
    return Status();
  }

  Status SendWhenDue(const BenchStop& stop) {
    while (!stop.finish.load(std::memory_order_relaxed)) {
      bool full = false;
      for (int i = 0; i < kTurn && !full && pace_->Due(sent_) <= BenchClock::now(); ++i) {
        Status status = PublishNext();
        full = status.code() == Code::kFull;
        if (!status.ok() && !full) return status;
      }
      if (!AreUnderWay()) {
        came_ = BenchClock::now();
        pace_->Await(sent_);
        continue;
      }
      const auto until_next = pace_->Due(sent_) - BenchClock::now();
      const auto wait =
          full ? kNoRoom : std::clamp<BenchClock::duration>(until_next, {}, kBenchLookEvery);
      if (Status status = TakeOne(wait, stop); !status.ok()) return status;
    }
    const uint64_t due = pace_->DueBy(BenchClock::now());
    if (due > sent_ + 1) SetUnsent(due - sent_ - 1);  // the last one may just have become due
    while (AreUnderWay()) {
      if (Status status = TakeOne(kBenchLookEvery, stop); !status.ok()) return status;
    }
    return Status();
  }

  bool AreUnderWay() const { return check_.next() < sent_; }

  Status PublishNext() {
    Status status = Publish(options_.size_bytes, fill_);
    if (status.ok()) ++sent_;
    return status;
  }

  Status Publish(size_t bytes, const BytesPublisher::Fill& fill) {
    const auto done = to_.PublishInPlace(bytes, fill);
    if (!done.ok()) return done.status();
    return done->links > 0 ? Status()
                           : Status(Code::kUnavailable, "the server takes no messages any more");
  }

  // OK also where nothing came. CANCELLED: the run is abandoned.
  Status TakeOne(std::chrono::nanoseconds wait, const BenchStop& stop) {
    const auto got = back_->Receive(wait);
    const auto now = BenchClock::now();
    if (got.ok()) {
      came_ = now;
      const bool good = check_.Look(got->bytes) == BenchCheck::Saw::kMessage;
      const auto from = pace_ && good ? pace_->Due(check_.next() - 1) : sent_at_;
      Add(good ? Back::kGood : Back::kBad, now - from, check_.counts());
      return Status();
    }
    if (got.status().code() != Code::kTimeout) return got.status();
    if (stop.abandon.load(std::memory_order_relaxed)) return Status(Code::kCancelled, "");
    if (now - came_ < kBenchPatience) return Status();
    return Status(
        Code::kDeadlineExceeded,
        fmt::format("{} did not come back for {} s",
                    sent_ - check_.next() == 1 ? "a message" : "messages", kBenchPatience.count()));
  }

  Node* const node_;
  const BenchOptions& options_;
  const std::string back_topic_;
  // The thread that sends.
  BytesPublisher to_;
  const BytesPublisher::Fill fill_ = [this](std::span<std::byte> out) {
    FillBenchMessage(sent_, out);
    return true;
  };
  std::optional<BytesSubscriber> back_;
  std::optional<BenchPace> pace_;
  BenchCheck check_;
  uint64_t sent_ = 0;
  BenchClock::time_point sent_at_;  // the latest one, where they go one by one
  BenchClock::time_point came_;     // the latest one, or when there was none to wait for
};

}  // namespace

BenchLoadResult MakeLatencyLoad(Node* node, const BenchOptions& options, uint64_t run) {
  // What finds no room waits here, where it is known since when it is due.
  auto to = node->CreateBytesPublisher(
      BenchTopic(options.server, run), {},
      BenchPublisherOptions(options.size_bytes, options.wait, ivmq::Fail()));
  if (!to.ok()) return to.status();
  return BenchLoadResult(std::make_unique<LatencyLoad>(node, options, run, std::move(to).value()));
}

}  // namespace ivmq::command

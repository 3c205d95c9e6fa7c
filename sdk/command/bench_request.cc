#include <algorithm>
#include <optional>
#include <utility>

#include "sdk/command/bench_load.h"
#include "sdk/command/bench_pace.h"
#include "sdk/command/bench_protocol.h"
#include "sdk/command/bench_round_trips.h"
#include "sdk/command/ring_size.h"
#include "sdk/services/request_wire.h"

namespace ivmq::command {
namespace {

// Asks the server one request after the other. With a rate the time of each counts from when it was
// due, so that those which wait for one before them are late as well.
class RequestLoad final : public RoundTripLoad {
 public:
  RequestLoad(Node* node, const BenchOptions& options, uint64_t run)
      : RoundTripLoad(options),
        node_(node),
        options_(options),
        service_(BenchTopic(options.server, run)),
        check_(options.size_bytes) {
    if (options.rate_hz) pace_.emplace(*options.rate_hz, options.wait);
  }

  Status Join(std::chrono::nanoseconds timeout) override {
    ClientOptions options;
    options.ring_bytes = RingBytesFor(std::max<size_t>(options_.size_bytes, kBenchEndBytes),
                                      internal::kRequestHeadBytes);
    options.wait = options_.wait;
    auto client = node_->CreateBytesClient(service_, {}, {}, options);
    if (!client.ok()) return client.status();
    client_.emplace(std::move(client).value());
    return client_->WaitForServers(1, timeout);
  }

  Status Send(const BenchStop& stop) override {
    const auto fill = [this](std::span<std::byte> out) {
      FillBenchMessage(sent_, out);
      return true;
    };
    BenchClock::time_point from;
    const auto take = [this, &from](std::span<const std::byte> reply) {
      const auto now = BenchClock::now();
      const bool good = check_.Look(reply) == BenchCheck::Saw::kMessage;
      Add(good ? Back::kGood : Back::kBad, now - from, check_.counts());
      return Status();
    };
    Begin();
    if (pace_) pace_->Start();
    while (!stop.finish.load(std::memory_order_relaxed)) {
      if (pace_ && pace_->Due(sent_) > BenchClock::now()) {
        pace_->Await(sent_);
        continue;
      }
      from = pace_ ? pace_->Due(sent_) : BenchClock::now();
      if (Status status = client_->Call(options_.size_bytes, fill, kBenchPatience, take);
          !status.ok()) {
        Ended();
        return stop.abandon.load(std::memory_order_relaxed) ? Status() : status;
      }
      ++sent_;
    }
    Ended();
    if (pace_) {
      const uint64_t due = pace_->DueBy(BenchClock::now());
      if (due > sent_ + 1) SetUnsent(due - sent_ - 1);  // the last one may just have become due
    }
    return End(stop);
  }

 private:
  Status End(const BenchStop& stop) {
    if (stop.abandon.load(std::memory_order_relaxed)) return Status();
    return client_->Call(
        kBenchEndBytes,
        [this](std::span<std::byte> out) {
          FillBenchEnd(sent_, out);
          return true;
        },
        kBenchPatience, [](std::span<const std::byte> /*reply*/) { return Status(); });
  }

  Node* const node_;
  const BenchOptions& options_;
  const std::string service_;
  // The thread that sends.
  std::optional<BytesClient> client_;
  std::optional<BenchPace> pace_;
  BenchCheck check_;
  uint64_t sent_ = 0;
};

}  // namespace

BenchLoadResult MakeRequestLoad(Node* node, const BenchOptions& options, uint64_t run) {
  return BenchLoadResult(std::make_unique<RequestLoad>(node, options, run));
}

}  // namespace ivmq::command

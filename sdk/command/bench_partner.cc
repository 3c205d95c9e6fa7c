#include "sdk/command/bench_partner.h"

#include <optional>
#include <utility>

namespace ivmq::command {
namespace {

constexpr size_t kBatch = 256;  // messages between two looks at the clock

// Takes and checks all that comes.
class Sink final : public BenchPartner {
 public:
  Sink(BytesSubscriber from, size_t bytes) : from_(std::move(from)), check_(bytes) {}

  Status Run(const std::atomic<bool>& stop, BenchTally* tally) override {
    bool ended = false;
    const BytesSubscriber::Handler take = [&](const BytesMessage& message) {
      ended = check_.Look(message.bytes) == BenchCheck::Saw::kEnd;
    };
    while (!ended && !stop.load(std::memory_order_relaxed)) {
      const auto got = from_.Receive(kBenchLookEvery);
      if (!got.ok() && got.status().code() == Code::kTimeout) continue;
      if (!got.ok()) return got.status();
      take(*got);
      if (!ended) {
        if (const auto more = from_.Poll(kBatch, take); !more.ok()) return more.status();
      }
      tally->Set(check_.counts(), BenchClock::now());
    }
    return Status();
  }

 private:
  BytesSubscriber from_;
  BenchCheck check_;
};

// Answers requests with themselves: the client checks them.
class Replier final : public BenchPartner {
 public:
  // Before Run.
  Status Serve(Node* node, const std::string& service, Wait wait) {
    ServerOptions options;
    options.wait = wait;
    auto server = node->CreateBytesServer(
        service, {}, {}, [this](BytesServerCall& call) { return Answer(call); }, options);
    if (!server.ok()) return server.status();
    server_.emplace(std::move(server).value());
    return Status();
  }

  Status Run(const std::atomic<bool>& stop, BenchTally* tally) override {
    while (!ended_ && !stop.load(std::memory_order_relaxed)) {
      Status status = server_->RunOnce(kBenchLookEvery);
      if (!status.ok() && status.code() == Code::kTimeout) continue;
      if (!status.ok()) return status;
      tally->Set(counts_, BenchClock::now());
    }
    return Status();
  }

 private:
  Status Answer(BytesServerCall& call) {
    ended_ = IsBenchEnd(call.query());
    if (!ended_) ++counts_.messages;
    return call.Reply(call.query());
  }

  BenchCounts counts_;
  bool ended_ = false;
  std::optional<BytesServer> server_;  // uses the others
};

SubscriberOptions SubscriberOptionsOf(const v1::BenchRun& run) {
  SubscriberOptions options;
  options.reliability = Reliable();
  options.wait = BenchWait(run.wait());
  return options;
}

BenchPartnerResult MakeSink(Node* node, const std::string& server, const v1::BenchRun& run) {
  auto from =
      node->CreateBytesSubscriber(BenchTopic(server, run.run()), {}, SubscriberOptionsOf(run));
  if (!from.ok()) return from.status();
  return BenchPartnerResult(std::make_unique<Sink>(std::move(from).value(), run.message_bytes()));
}

// Sends back what comes, as it came: the client checks it.
class Echo final : public BenchPartner {
 public:
  Echo(BytesSubscriber from, BytesPublisher back)
      : from_(std::move(from)), back_(std::move(back)) {}

  Status Run(const std::atomic<bool>& stop, BenchTally* tally) override {
    BenchCounts counts;
    while (!stop.load(std::memory_order_relaxed)) {
      const auto got = from_.Receive(kBenchLookEvery);
      if (!got.ok() && got.status().code() == Code::kTimeout) continue;
      if (!got.ok()) return got.status();
      if (IsBenchEnd(got->bytes)) return Status();
      auto sent = back_.Publish(got->bytes);
      while (sent.status().code() == Code::kFull && !stop.load(std::memory_order_relaxed)) {
        sent = back_.Publish(got->bytes);
      }
      if (!sent.ok() && sent.status().code() != Code::kFull) return sent.status();
      ++counts.messages;
      tally->Set(counts, BenchClock::now());
    }
    return Status();
  }

 private:
  BytesSubscriber from_;
  BytesPublisher back_;
};

BenchPartnerResult MakeEcho(Node* node, const std::string& server, const v1::BenchRun& run) {
  auto from =
      node->CreateBytesSubscriber(BenchTopic(server, run.run()), {}, SubscriberOptionsOf(run));
  if (!from.ok()) return from.status();
  auto back = node->CreateBytesPublisher(
      BenchBackTopic(server, run.run()), {},
      BenchPublisherOptions(run.message_bytes(), BenchWait(run.wait()), Block(kBenchLookEvery)));
  if (!back.ok()) return back.status();
  return BenchPartnerResult(
      std::make_unique<Echo>(std::move(from).value(), std::move(back).value()));
}

BenchPartnerResult MakeReplier(Node* node, const std::string& server, const v1::BenchRun& run) {
  auto replier = std::make_unique<Replier>();
  Status status = replier->Serve(node, BenchTopic(server, run.run()), BenchWait(run.wait()));
  return status.ok() ? BenchPartnerResult(std::move(replier)) : BenchPartnerResult(status);
}

}  // namespace

BenchPartnerResult MakeBenchPartner(Node* node, const std::string& server,
                                    const v1::BenchRun& run) {
  switch (run.kind()) {
    case v1::BenchRun::THROUGHPUT:
      return MakeSink(node, server, run);
    case v1::BenchRun::LATENCY:
      return MakeEcho(node, server, run);
    case v1::BenchRun::REQUEST:
      return MakeReplier(node, server, run);
    default:
      return Status(Code::kUnimplemented, "this server knows no such run; is it of an older ivmq?");
  }
}

}  // namespace ivmq::command

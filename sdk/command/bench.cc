#include "sdk/command/bench.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "ivmq/v1/bench.pb.h"
#include "sdk/command/bench_load.h"
#include "sdk/command/bench_protocol.h"
#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"
#include "sdk/command/realm_view.h"

namespace ivmq::command {
namespace {

using BenchClient = Client<v1::BenchRun, v1::BenchReport>;
using Reports = ReplyReader<v1::BenchReport>;

constexpr std::chrono::seconds kLineEvery{1};
// A failure of ours may come of the server's end, which is told a little later.
constexpr std::chrono::seconds kReasonWithin{1};
// How much longer than its duration a run may take.
constexpr std::chrono::minutes kOvertime{1};
constexpr std::string_view kComplete = "complete";

v1::BenchRun::Kind KindOf(Subcommand subcommand) {
  if (subcommand == Subcommand::kBenchLatency) return v1::BenchRun::LATENCY;
  return subcommand == Subcommand::kBenchRequest ? v1::BenchRun::REQUEST : v1::BenchRun::THROUGHPUT;
}

uint64_t RandomRun() {
  std::random_device device;
  return std::uniform_int_distribution<uint64_t>()(device);
}

double SecondsOf(BenchClock::duration time) { return std::chrono::duration<double>(time).count(); }

// A line for each second, and the end.
class Printer {
 public:
  Printer(const CommandLine& line, BenchLoad* load)
      : json_(line.json),
        kind_(BenchKindName(KindOf(line.subcommand))),
        options_(line.bench),
        load_(load) {}

  void Start() {
    start_ = BenchClock::now();
    next_ = start_ + kLineEvery;
  }
  void Tick() {
    const auto now = BenchClock::now();
    if (now < next_) return;
    next_ += kLineEvery;
    const BenchFigures figures = load_->Interval();
    if (json_) return PrintObject(figures, now, {});
    PrintAside(fmt::format("{:>5.0f} s  {}", SecondsOf(now - start_), figures.text));
  }
  // `how`: complete, interrupted or failed.
  void End(std::string_view how) const {
    const auto now = BenchClock::now();
    const BenchFigures figures = load_->Total();
    if (json_) return PrintObject(figures, now, how);
    const BenchCounts counts = load_->Counts();
    std::string text = figures.text;
    text.erase(0, text.find_first_not_of(' '));
    PrintLine(fmt::format(
        "{} with {}, {} bytes, {}, {:.1f} s: {}; {} lost, {} damaged, {} out of order",
        CountOf(counts.messages, "message"), Shortened(options_.server), options_.size_bytes,
        BenchWaitName(options_.wait), SecondsOf(figures.measured_for), text, counts.lost,
        counts.damaged, counts.misordered));
    if (how != kComplete) PrintLine(fmt::format("{} after {:.1f} s", how, SecondsOf(now - start_)));
    load_->TotalTable().Print();
  }

 private:
  // `ended`: how the whole run did; empty: of a second.
  void PrintObject(const BenchFigures& figures, BenchClock::time_point now,
                   std::string_view ended) const {
    const BenchCounts counts = load_->Counts();
    std::string asked;
    if (options_.rate_hz) asked += fmt::format(R"("rate":{},)", *options_.rate_hz);
    if (options_.ring_bytes != 0)
      asked += fmt::format(R"("ring_bytes":"{}",)", options_.ring_bytes);
    if (options_.batch != 0) asked += fmt::format(R"("batch":"{}",)", options_.batch);
    PrintLine(fmt::format(
        R"({{"bench":"{}","server":{},"size_bytes":"{}","wait":"{}",{}"seconds":{:.3f},)"
        R"("measured_seconds":{:.6f},{},"lost":"{}","damaged":"{}","misordered":"{}",{}"total":{}}})",
        kind_, JsonString(options_.server), options_.size_bytes, BenchWaitName(options_.wait),
        asked, SecondsOf(now - start_), SecondsOf(figures.measured_for), figures.json, counts.lost,
        counts.damaged, counts.misordered,
        ended.empty() ? "" : fmt::format(R"("ended":"{}",)", ended), !ended.empty()));
  }

  const bool json_;
  const char* const kind_;
  const BenchOptions& options_;
  BenchLoad* const load_;
  BenchClock::time_point start_;
  BenchClock::time_point next_;
};

// One run from its negotiation to its end. One thread.
class Session {
 public:
  Session(const CommandLine& line, BenchLoad* load, const Interrupt* interrupt)
      : options_(line.bench), load_(load), interrupt_(interrupt), printer_(line, load) {}

  // The server's part is ready when this returns OK.
  Status Negotiate(BenchClient* client, const v1::BenchRun& run) {
    auto reports = client->CallStream(run, options_.duration + options_.timeout + kOvertime);
    if (!reports.ok()) return reports.status();
    reports_.emplace(std::move(reports).value());
    const auto begin = BenchClock::now();
    bool told = false;
    for (;;) {
      const auto first = reports_->Next(kBenchLookEvery);
      if (first.ok() && first->has_value()) return load_->Join(options_.timeout);
      if (first.ok()) return Status(Code::kAborted, "the server has ended the run at once");
      if (first.status().code() != Code::kTimeout) return first.status();
      if (interrupt_->happened()) return Status(Code::kCancelled, "interrupted");
      const auto waited = BenchClock::now() - begin;
      if (!told && waited >= kLineEvery) {
        told = true;
        PrintAside(fmt::format("waiting for server {}, which is busy", Shortened(options_.server)));
      }
      if (waited < options_.timeout) continue;
      return Status(Code::kDeadlineExceeded,
                    fmt::format("server {} does not begin: it measures with one client at a time; "
                                "wait, or give a longer --timeout",
                                Shortened(options_.server)));
    }
  }

  // Until the time is over, Ctrl-C or a failure; then prints what was measured.
  Status Run() {
    printer_.Start();
    sending_ = std::async(std::launch::async, [this] { return load_->Send(stop_); });
    Status watched = Watch();
    stop_.abandon.store(true);
    stop_.finish.store(true);
    Status sent = sending_.valid() ? sending_.get() : failure_;
    printer_.End(!watched.ok() || !sent.ok() ? "failed"
                 : interrupt_->happened()    ? "interrupted"
                                             : kComplete);
    if (!watched.ok()) return watched;
    return sent;
  }

 private:
  // OK: the server has said its last.
  Status Watch() {
    const auto end = BenchClock::now() + options_.duration;
    auto heard = BenchClock::now();
    auto counted = heard;
    uint64_t messages = 0;
    for (;;) {
      const auto report = reports_->Next(kBenchLookEvery);
      const auto now = BenchClock::now();
      if (report.ok() && !report->has_value()) return Status();
      if (report.ok()) {
        load_->OnReport(**report);
        heard = now;
        if (!stop_.finish || (*report)->messages() != messages) counted = now;
        messages = (*report)->messages();
      } else if (report.status().code() != Code::kTimeout) {
        return report.status();
      }
      if (now - heard > kBenchPatience) return Silent("the server has said nothing");
      if (now - counted > kBenchPatience) return Silent("what was sent has not arrived");
      if (SendingHasFailed(now)) return failure_;
      if (now >= end || interrupt_->happened()) stop_.finish = true;
      printer_.Tick();
    }
  }

  static Status Silent(const char* what) {
    return Status(Code::kDeadlineExceeded,
                  fmt::format("{} for {} s", what, kBenchPatience.count()));
  }

  // True: a while ago, and the server goes on.
  bool SendingHasFailed(BenchClock::time_point now) {
    using std::chrono_literals::operator""s;
    if (sending_.valid() && sending_.wait_for(0s) == std::future_status::ready) {
      failure_ = sending_.get();
      failed_ = now;
    }
    return !failure_.ok() && now - failed_ > kReasonWithin;
  }

  const BenchOptions& options_;
  BenchLoad* const load_;
  const Interrupt* const interrupt_;
  Printer printer_;
  std::optional<Reports> reports_;
  BenchStop stop_;
  Status failure_;  // of sending
  BenchClock::time_point failed_;
  std::future<Status> sending_;  // waits for that thread, which uses the others
};

BenchLoadResult MakeLoad(const CommandLine& line, Node* node, uint64_t run) {
  if (line.subcommand == Subcommand::kBenchLatency) return MakeLatencyLoad(node, line.bench, run);
  if (line.subcommand == Subcommand::kBenchRequest) return MakeRequestLoad(node, line.bench, run);
  return MakeThroughputLoad(node, line.bench, run);
}

}  // namespace

int RunBench(const CommandLine& line) {
  const BenchOptions& options = line.bench;
  const Interrupt interrupt([] {});
  auto node = Node::Open({.name = "ivmq-bench", .socket_path = line.node_socket});
  if (!node.ok()) return Fail(node.status());
  const std::string service = BenchService(options.server);
  const auto realm = RealmView::Open(&node.value());
  if (!realm.ok()) return Fail(realm.status());
  auto client = node->CreateClient<v1::BenchRun, v1::BenchReport>(service, {.wait = Wait::kBlock});
  if (!client.ok()) return Fail(client.status());
  if (realm->AwaitService(service, 0, {}, interrupt).servers == 0) {
    PrintAside(fmt::format("waiting for a server {}", Shortened(options.server)));
  }
  if (realm->AwaitService(service, 1, options.timeout, interrupt).servers == 0) {
    if (interrupt.happened()) return Fail(Status(Code::kCancelled, "interrupted"));
    return Fail(Status(Code::kUnavailable,
                       fmt::format("there is no server {0}; start `ivmq bench serve --name {1}` on "
                                   "any machine of the realm",
                                   Shortened(options.server), options.server)));
  }
  if (Status status = client->WaitForServers(1, options.timeout); !status.ok()) return Fail(status);
  v1::BenchRun run;
  run.set_kind(KindOf(line.subcommand));
  run.set_run(RandomRun());
  run.set_message_bytes(static_cast<uint32_t>(options.size_bytes));
  run.set_wait(BenchWait(options.wait));
  auto load = MakeLoad(line, &node.value(), run.run());
  if (!load.ok()) return Fail(load.status());
  Session session(line, load->get(), &interrupt);
  if (const Status status = session.Negotiate(&client.value(), run); !status.ok()) {
    return Fail(status);
  }
  if (const Status status = session.Run(); !status.ok()) {
    // Of the call that the run is, whatever the run does; the server itself never says ABORTED.
    Complain(status.code() == Code::kAborted
                 ? fmt::format("ABORTED: server {} went away", Shortened(options.server))
                 : status.ToString());
    return kFailed;
  }
  if ((*load)->Counts().Good()) return kDone;
  Complain("messages were lost, damaged or out of order");
  return kFailed;
}

}  // namespace ivmq::command

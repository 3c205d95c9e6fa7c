#include "sdk/command/bench_serve.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <mutex>
#include <string>

#include "ivmq/v1/bench.pb.h"
#include "sdk/command/bench_partner.h"
#include "sdk/command/bench_protocol.h"
#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"
#include "sdk/command/realm_view.h"

namespace ivmq::command {
namespace {

constexpr std::chrono::seconds kLookEvery{1};

// Takes part in runs, and says what came of them. One thread.
class Host {
 public:
  Host(const CommandLine& line, Node* node, const Interrupt* interrupt)
      : json_(line.json), server_(line.bench.server), node_(node), interrupt_(interrupt) {}

  Status TakePart(const v1::BenchRun& run, ReplyStream<v1::BenchReport>& client) {
    if (Status status = CheckBenchRun(run); !status.ok()) return status;
    auto partner = MakeBenchPartner(node_, server_, run);
    if (!partner.ok()) return partner.status();
    BenchTally tally;
    std::atomic<bool> stop{false};
    Status told = client.Write(tally.Report());
    // Of its own: this one is in a handler, where nothing of the node may wait, and reports.
    auto ended = std::async(std::launch::async, [&] { return (*partner)->Run(stop, &tally); });
    while (ended.wait_for(kBenchReportEvery) != std::future_status::ready) {
      if (told.ok() && !client.context().cancelled() && !interrupt_->happened()) {
        told = client.Write(tally.Report());
      } else {
        stop.store(true, std::memory_order_relaxed);
      }
    }
    const Status status = ended.get();
    const v1::BenchReport last = tally.Report();
    ++runs_;
    Print(client.context().client(), run, last);
    if (interrupt_->happened()) return Status(Code::kUnavailable, "the server was told to end");
    return status.ok() ? client.Write(last) : status;
  }

  uint64_t runs() const { return runs_; }

 private:
  void Print(const std::string& client, const v1::BenchRun& run,
             const v1::BenchReport& report) const {
    if (json_) {
      return PrintLine(fmt::format(
          R"({{"client":{},"bench":"{}","size_bytes":"{}","messages":"{}","lost":"{}",)"
          R"("damaged":"{}","misordered":"{}","elapsed_ns":"{}"}})",
          JsonString(client), BenchKindName(run.kind()), run.message_bytes(), report.messages(),
          report.lost(), report.damaged(), report.misordered(), report.elapsed_ns()));
    }
    PrintLine(fmt::format("{} with {}: {} of {} bytes in {:.1f} s", BenchKindName(run.kind()),
                          Shortened(client), CountOf(report.messages(), "message"),
                          run.message_bytes(), static_cast<double>(report.elapsed_ns()) / 1e9));
  }

  const bool json_;
  const std::string& server_;
  Node* const node_;
  const Interrupt* const interrupt_;
  uint64_t runs_ = 0;
};

Status ServeAll(const BenchOptions& options, Server* server, const Node& node, const Host& host,
                const Interrupt& interrupt) {
  while (!interrupt.happened() && (!options.count || host.runs() < *options.count)) {
    Status status = server->RunOnce(kLookEvery);
    if (!status.ok() && status.code() != Code::kTimeout) return status;
    if (!node.connected() && server->clients() == 0) {
      return Status(Code::kUnavailable, "the daemon has gone away, and no client is left");
    }
  }
  return Status();
}

}  // namespace

int RunBenchServe(const CommandLine& line) {
  const BenchOptions& options = line.bench;
  std::mutex mutex;
  Server* serving = nullptr;  // guarded by mutex
  const Interrupt interrupt([&] {
    const std::lock_guard lock(mutex);
    if (serving != nullptr) serving->Interrupt();
  });
  const auto set_serving = [&](Server* server) {
    const std::lock_guard lock(mutex);
    serving = server;
  };
  auto node = Node::Open({.name = "ivmq-bench-serve", .socket_path = line.node_socket});
  if (!node.ok()) return Fail(node.status());
  const std::string service = BenchService(options.server);
  const auto realm = RealmView::Open(&node.value());
  if (!realm.ok()) return Fail(realm.status());
  // Clients would meet one of the two by chance.
  if (realm->AwaitService(service, 0, {}, interrupt).servers > 0) {
    return Fail(Status(Code::kAlreadyExists,
                       fmt::format("there is a server {} already; give this one another --name",
                                   Shortened(options.server))));
  }
  Host host(line, &node.value(), &interrupt);
  ServerOptions own;
  own.wait = Wait::kBlock;  // it waits beside runs
  own.write_timeout = kBenchPatience;
  auto server = node->CreateServer<v1::BenchRun, v1::BenchReport>(
      service,
      [&host](const v1::BenchRun& run, ReplyStream<v1::BenchReport>& client) {
        return host.TakePart(run, client);
      },
      own);
  if (!server.ok()) return Fail(server.status());
  Complain(fmt::format("serving '{}'; Ctrl-C ends", service));
  set_serving(&server.value());
  const Status status = ServeAll(options, &server.value(), *node, host, interrupt);
  set_serving(nullptr);
  server->Close();
  if (!status.ok()) return Fail(status);
  return options.count && host.runs() < *options.count ? kFailed : kDone;
}

}  // namespace ivmq::command

// One subscriber with many links, of which one is busy or all are: 64 bytes, in batches of 32, from
// a process with a publisher for each link. Needs a daemon whose node socket IVMQ_NODE_SOCKET
// names.
//
//   links_bench [--rounds N] [--seconds S] [--quick] [FILTER]
#include <array>
#include <cstring>
#include <memory>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/child.h"
#include "tests/bench/path/meetings.h"
#include "tests/bench/path/must.h"
#include "tests/bench/rounds.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

constexpr uint64_t kMessages = 192'000;  // of all links together
constexpr uint64_t kBatch = 32;
// Of each busy link, before the time is taken: a lap through its ring, whose pages are new to both
// sides.
constexpr uint64_t kWarmUp = 1024;

struct Message {
  uint64_t link;
  uint64_t number;  // on its link, from 1
  std::array<uint64_t, 6> rest;
};
static_assert(sizeof(Message) == 64);

struct What {
  uint32_t links;
  uint32_t busy;          // the first so many
  size_t ring_bytes = 0;  // 0: the default, 64 KiB
};

std::function<void()> Receiver(const What& what, const std::string& name) {
  auto node = std::make_shared<Node>(Must(Node::Open({.name = "receiver"})));
  SubscriberOptions options;
  options.reliability = Reliable();
  options.wait = Wait::kSpin;
  auto subscriber =
      std::make_shared<BytesSubscriber>(Must(node->CreateSubscriber(name + ".*", options)));
  while (subscriber->publishers() < what.links) std::this_thread::yield();
  auto seen = std::make_shared<std::vector<uint64_t>>(what.links);
  const auto receive = [node, subscriber, seen](uint64_t messages) {
    const auto take = [&seen = *seen](const BytesMessage& got) {
      Message message;
      Require(got.bytes.size() == sizeof message, "size");
      std::memcpy(&message, got.bytes.data(), sizeof message);
      Require(message.link < seen.size() && message.number == ++seen[message.link] &&
                  message.rest[5] == message.number,
              "a message is not the one that was due");
    };
    for (uint64_t got = 0; got < messages;) got += Must(subscriber->Poll(256, take));
  };
  receive(kWarmUp * what.busy);
  return [receive] { receive(kMessages); };
}

std::function<void()> Sender(const What& what, const std::string& name) {
  auto node = std::make_shared<Node>(Must(Node::Open({.name = "sender"})));
  auto publishers = std::make_shared<std::vector<BytesPublisher>>();
  PublisherOptions options;
  options.ring_bytes = what.ring_bytes;
  for (uint32_t i = 0; i < what.links; ++i) {
    publishers->push_back(Must(node->CreatePublisher(name + "." + std::to_string(i), options)));
  }
  for (BytesPublisher& publisher : *publishers) Must(publisher.WaitForSubscribers(1, kLong));
  const auto send = [node, publishers, busy = what.busy](uint64_t from, uint64_t to) {
    for (uint64_t i = from / kBatch; i < to / kBatch; ++i) {
      const uint64_t link = i % busy;
      BytesPublisher& publisher = (*publishers)[link];
      for (uint64_t k = 1; k <= kBatch; ++k) {
        Message message{link, i / busy * kBatch + k, {}};
        message.rest.fill(message.number);
        const auto bytes = std::as_bytes(std::span(&message, 1));
        Require((k == kBatch ? publisher.Publish(bytes) : publisher.Write(bytes)).ok(), "publish");
      }
    }
  };
  const uint64_t warm_up = kWarmUp * what.busy;
  send(0, warm_up);
  return [send, warm_up] { send(warm_up, warm_up + kMessages); };
}

Case CaseOf(const What& what, Meetings* meetings) {
  const std::string kind = what.ring_bytes > 0 ? "all_busy_4k"
                           : what.busy > 1     ? "all_busy"
                                               : "one_busy";
  return {kind + "/" + std::to_string(what.links), [=]() -> std::optional<double> {
            const std::string name = "bench." + meetings->Next();
            const auto figures = InAChild([&]() -> std::optional<Figures> {
              const auto total = RunOnTwoCores([&] { return Receiver(what, name); },
                                               [&] { return Sender(what, name); },
                                               Apart::kProcesses, Preempted::kCounts);
              return total ? std::optional(Figures{*total / kMessages}) : std::nullopt;
            });
            return figures ? std::optional(figures->front()) : std::nullopt;
          }};
}

int Main(const Arguments& arguments) {
  Meetings meetings;
  std::vector<Case> cases;
  const std::vector<uint32_t> counts =
      arguments.quick ? std::vector<uint32_t>{1, 1000} : std::vector<uint32_t>{1, 10, 100, 1000};
  for (const uint32_t links : counts) {
    cases.push_back(CaseOf({links, 1}, &meetings));
    if (links > 1) cases.push_back(CaseOf({links, links}, &meetings));
    if (links > 1) cases.push_back(CaseOf({links, links, 4096}, &meetings));
  }
  return RunRounds("scale", std::move(cases), arguments);
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::RunMain(argc, argv, ivmq::bench::Main); }

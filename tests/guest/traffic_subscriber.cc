// Receives what ivmq_traffic_publisher sends, from any number of them, and checks every message.
//
//   ivmq_traffic_subscriber TOPIC COUNT SILENCE_SECONDS [KEEP_LAST]
//
// TOPIC may be a filter. Asks for reliable links; with KEEP_LAST for such as keep so many messages.
// Says "subscribed" once it is, "at N" every so often, and after COUNT messages, those included
// that its links say they lost (0: at SIGTERM, once what is left has been taken), a line "TOPIC: N"
// for each topic, "lost of FIRST to LAST" if any were (their sequences, where one link lost them)
// and "received N links L largest B lost G". With KEEP_LAST also "gap G" where a link has wrapped.
// Exit status 1 and a sentence on the first message that is wrong, or when nothing comes for
// SILENCE_SECONDS although COUNT is not reached.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "stop_signal.h"
#include "traffic.h"

namespace ivmq::test {
namespace {

int Fail(const std::string& why) {
  std::fprintf(stderr, "traffic_subscriber: %s\n", why.c_str());
  return 1;
}

struct Job {
  std::string topic;
  uint64_t count = 0;  // 0: until SIGTERM
  std::chrono::seconds silence_max{};
  uint32_t keep_last = 0;  // 0: reliable
};

// What came, by whichever link.
class Tally {
 public:
  explicit Tally(const Job& job)
      : keep_last_(job.keep_last),
        progress_every_(job.count == 0 ? 1000 : std::max<uint64_t>(job.count / 20, 1)) {}

  // Empty, or what is wrong with the message.
  std::string Take(const Message<Traffic>& message) {
    const uint64_t gap = message.gap();
    if (gap != 0 && keep_last_ == 0) return "a reliable link lost " + std::to_string(gap);
    if (gap > keep_last_) Say("gap", gap);
    TrafficCheck& check = links_[message.info().link_id];
    check.Skip(gap);
    if (auto wrong = check.Take(message.value()); !wrong.empty()) return wrong;
    largest_ = std::max(largest_, check.largest());
    ++topics_[std::string(message.info().topic)];
    ++received_;
    if (gap != 0) {
      const uint64_t sequence = message.info().sequence;
      if (lost_ == 0) first_lost_ = sequence - gap;
      last_lost_ = sequence - 1;
    }
    lost_ += gap;
    if (passed() / progress_every_ != (passed() - gap - 1) / progress_every_) {
      Say("at", passed() / progress_every_ * progress_every_);
    }
    return "";
  }
  // Received or lost.
  uint64_t passed() const { return received_ + lost_; }

  void Print() const {
    for (const auto& [topic, count] : topics_) {
      std::printf("%s: %llu\n", topic.c_str(), static_cast<unsigned long long>(count));
    }
    if (lost_ > 0) {
      std::printf("lost of %llu to %llu\n", static_cast<unsigned long long>(first_lost_),
                  static_cast<unsigned long long>(last_lost_));
    }
    std::printf("received %llu links %zu largest %zu lost %llu\n",
                static_cast<unsigned long long>(received_), links_.size(), largest_,
                static_cast<unsigned long long>(lost_));
  }

 private:
  static void Say(const char* what, uint64_t number) {
    std::printf("%s %llu\n", what, static_cast<unsigned long long>(number));
    std::fflush(stdout);
  }

  const uint64_t keep_last_;
  const uint64_t progress_every_;
  std::map<uint64_t, TrafficCheck> links_;
  std::map<std::string, uint64_t> topics_;
  size_t largest_ = 0;
  uint64_t received_ = 0;
  uint64_t lost_ = 0;
  uint64_t first_lost_ = 0;  // sequences, of the link that lost last
  uint64_t last_lost_ = 0;
};

int Run(const Job& job) {
  using std::chrono_literals::operator""s;
  auto node = Node::Open({.name = "traffic-subscriber", .timeout = 60s});
  if (!node.ok()) return Fail(node.status().ToString());
  const Reliability wish = job.keep_last == 0 ? Reliable() : KeepLast(job.keep_last);
  auto subscriber =
      node->CreateSubscriber<Traffic>(job.topic, {.reliability = wish, .join_timeout = 60s});
  if (!subscriber.ok()) return Fail(subscriber.status().ToString());
  std::puts("subscribed");

  Tally tally(job);
  auto heard = std::chrono::steady_clock::now();
  while (job.count == 0 || tally.passed() < job.count) {
    const auto got = subscriber->Receive(1s);
    const auto now = std::chrono::steady_clock::now();
    if (got.ok()) {
      if (const auto wrong = tally.Take(*got); !wrong.empty()) return Fail(wrong);
      heard = now;
    } else if (got.status().code() != Code::kTimeout) {
      return Fail(got.status().ToString());
    } else if (stop_requested != 0) {
      break;
    } else if (job.count != 0 && now - heard > job.silence_max) {
      return Fail("silence after " + std::to_string(tally.passed()) + " of " +
                  std::to_string(job.count));
    }
  }
  tally.Print();
  return 0;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::fprintf(stderr, "usage: %s TOPIC COUNT SILENCE_SECONDS [KEEP_LAST]\n", argv[0]);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ivmq::test::StopOnSigterm();
  return ivmq::test::Run(
      {.topic = argv[1],
       .count = std::strtoull(argv[2], nullptr, 10),
       .silence_max = std::chrono::seconds(std::strtoul(argv[3], nullptr, 10)),
       .keep_last = argc > 4 ? static_cast<uint32_t>(std::strtoul(argv[4], nullptr, 10)) : 0});
}

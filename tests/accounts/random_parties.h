#ifndef IVMQ_TESTS_ACCOUNTS_RANDOM_PARTIES_H_
#define IVMQ_TESTS_ACCOUNTS_RANDOM_PARTIES_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "ivmq/ivmq.h"

namespace ivmq::test {

// What the link between two is by the table of docs/messaging.md.
enum class Quality { kRefused, kReliable, kDropNewest, kKeepLast };

// A publisher that numbers its messages. One thread.
struct Talker {
  static constexpr size_t kMessageBytes = 512;  // the largest of the smallest ring

  Talker(BytesPublisher made, const Reliability& offer, const History& keeps, uint64_t number)
      : publisher(std::move(made)), offered(offer), history(keeps), id(number) {}

  // FULL only where it offers to be reliable.
  Result<Published> Publish();
  // How many messages come first to a subscriber with that history who comes now.
  uint64_t KeptFor(const History& asked) const {
    return std::min<uint64_t>({history.messages(), asked.messages(), published});
  }

  BytesPublisher publisher;
  const Reliability offered;
  const History history;
  const uint64_t id;
  uint64_t published = 0;
};

// A subscriber, on the caller's thread or one of its own, that checks each message: nothing twice,
// nothing missing but what was told, in order, from the first one that was promised to it.
class Taker {
 public:
  // Of one link.
  struct Link {
    uint64_t talker = 0;
    uint64_t next = 0;   // sequence
    uint64_t first = 0;  // number of the message that has sequence 0
    uint64_t received = 0;
    uint64_t missing = 0;  // as it was told
  };

  Taker(const SubscriberOptions& asked, bool by_filter) : asked_(asked), by_filter_(by_filter) {}
  ~Taker() { StopThread(); }

  Quality LinkWith(const Reliability& offered, const History& kept) const;
  // They are both there from now on; the last `kept` messages come first. False: they do not fit.
  bool Meet(const Talker& talker, uint64_t kept);
  // The talker leaves. `settled`: what it wrote last was not dropped on any link.
  void Part(const Talker& talker, bool settled);

  void StartThread();
  // By then it is the caller's again.
  void StopThread();
  bool has_thread() const { return thread_.joinable(); }
  // Everything that is there. REQUIRES: no thread.
  void TakeAll();

  // What has not come yet and must; empty: nothing.
  std::string Missing() const;
  size_t met() const { return met_.size(); }
  // By link ID.
  const std::map<uint64_t, Link>& links() const { return links_; }

  std::optional<BytesSubscriber> subscriber;

 private:
  // What is known of a talker.
  struct Met {
    Quality quality = Quality::kRefused;
    uint64_t first = 0;              // number of the first message that comes
    const Talker* talker = nullptr;  // while it is there
    uint64_t published = 0;          // by the time that it left
    bool settled = false;
  };

  void Take(const BytesMessage& message);

  const SubscriberOptions asked_;
  const bool by_filter_;
  std::map<uint64_t, Met> met_;  // by the talker's ID
  // Of whoever receives: the thread, or the caller while there is none.
  std::map<uint64_t, Link> links_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_ACCOUNTS_RANDOM_PARTIES_H_

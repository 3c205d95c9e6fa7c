#include "tests/accounts/random_parties.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

namespace ivmq::test {

using std::chrono_literals::operator""s;

Result<Published> Talker::Publish() {
  std::vector<std::byte> message(kMessageBytes);
  const std::array<uint64_t, 2> words{id, published};
  std::memcpy(message.data(), words.data(), sizeof(words));
  auto sent = publisher.Publish(message);
  if (sent.ok()) {
    ++published;
  } else {
    EXPECT_EQ(sent.status().code(), Code::kFull) << sent.status().ToString();
    EXPECT_TRUE(offered.kind() == Reliability::Kind::kFail ||
                offered.kind() == Reliability::Kind::kBlock);
  }
  return sent;
}

Quality Taker::LinkWith(const Reliability& offered, const History& kept) const {
  using Kind = Reliability::Kind;
  if (asked_.history.messages() > 0 && kept.messages() == 0) return Quality::kRefused;
  const Quality offer = offered.kind() == Kind::kDropNewest ? Quality::kDropNewest
                        : offered.kind() == Kind::kKeepLast ? Quality::kKeepLast
                                                            : Quality::kReliable;
  if (!asked_.reliability) return by_filter_ ? Quality::kKeepLast : offer;
  switch (asked_.reliability->kind()) {
    case Kind::kReliable:
      return offer == Quality::kReliable ? offer : Quality::kRefused;
    case Kind::kDropNewest:
      return Quality::kDropNewest;
    case Kind::kKeepLast:
      return Quality::kKeepLast;
    default:
      return offer;
  }
}

bool Taker::Meet(const Talker& talker, uint64_t kept) {
  const Quality quality = LinkWith(talker.offered, talker.history);
  if (quality == Quality::kRefused) return false;
  if (quality == Quality::kKeepLast) {
    // The subscriber's wish goes before the publisher's offer.
    const bool own =
        asked_.reliability && asked_.reliability->kind() == Reliability::Kind::kKeepLast;
    const uint64_t depth = own                                 ? asked_.reliability->depth()
                           : !asked_.reliability && by_filter_ ? 16
                                                               : talker.offered.depth();
    kept = std::min(kept, depth);
  }
  met_[talker.id] = {quality, talker.published - kept, &talker, 0, false};
  return true;
}

void Taker::Part(const Talker& talker, bool settled) {
  const auto met = met_.find(talker.id);
  if (met == met_.end()) return;
  met->second.talker = nullptr;
  met->second.published = talker.published;
  met->second.settled = settled;
}

void Taker::StartThread() {
  stop_ = false;
  thread_ = std::thread([this] {
    while (!stop_) {
      const auto got = subscriber->Receive(1s);
      if (got.ok()) Take(*got);
    }
  });
}

void Taker::StopThread() {
  if (!has_thread()) return;
  stop_ = true;
  subscriber->Interrupt();
  thread_.join();
  // An interrupt that the thread did not need any more would make the next look one in vain.
  const auto got = subscriber->Receive(0s);
  if (got.ok()) Take(*got);
}

void Taker::TakeAll() {
  for (;;) {
    const auto got = subscriber->Receive(0s);
    if (!got.ok()) break;
    Take(*got);
  }
}

void Taker::Take(const BytesMessage& message) {
  std::array<uint64_t, 2> words{};
  ASSERT_EQ(message.bytes.size(), Talker::kMessageBytes);
  std::memcpy(words.data(), message.bytes.data(), sizeof(words));
  const uint64_t number = words[1];
  const bool is_new = links_.count(message.info.link_id) == 0;
  Link& link = links_[message.info.link_id];
  if (is_new) {
    link.talker = words[0];
    link.first = number - message.info.sequence;
  }
  EXPECT_EQ(words[0], link.talker);
  EXPECT_EQ(message.info.sequence, link.next + message.gap());
  EXPECT_EQ(number, link.first + message.info.sequence) << "what is missing is what was told";
  link.next = message.info.sequence + 1;
  ++link.received;
  link.missing += message.gap();
}

std::string Taker::Missing() const {
  std::string missing;
  for (const auto& [id, met] : met_) {
    const uint64_t published = met.talker != nullptr ? met.talker->published : met.published;
    uint64_t next = met.first;
    for (const auto& [link_id, link] : links_) {
      if (link.talker != id) continue;
      EXPECT_EQ(link.first, met.first) << "talker " << id;
      if (met.quality == Quality::kReliable) {
        EXPECT_EQ(link.missing, 0u) << "talker " << id;
      }
      next = link.first + link.next;
    }
    EXPECT_LE(next, published) << "talker " << id;
    const bool told = met.talker != nullptr || met.settled || met.quality != Quality::kDropNewest;
    if (next < published && told) {
      missing += "of talker " + std::to_string(id) + " came " + std::to_string(next) + " of " +
                 std::to_string(published) + "; ";
    }
  }
  return missing;
}

}  // namespace ivmq::test

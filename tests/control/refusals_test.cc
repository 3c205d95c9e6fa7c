#include "broker/control/refusals.h"

#include <gtest/gtest.h>

#include <vector>

namespace ivmq::control {
namespace {

Refusals::Record MakeRecord(uint64_t endpoint, uint64_t publisher, uint64_t subscriber) {
  Refusals::Record record;
  record.endpoint_id = endpoint;
  record.link.set_link_id(1000 + endpoint * 100 + publisher);
  record.link.set_publisher_node_id(publisher);
  record.link.set_subscriber_node_id(subscriber);
  record.link.set_state(v1::Link::REFUSED);
  return record;
}

const Refusals::Gone kNobody = [](const Refusals::Record&) { ADD_FAILURE(); };

TEST(RefusalsTest, KeepsTheLast256AndTellsWhichOneGoes) {
  Refusals refusals;
  std::vector<uint64_t> gone;
  const auto note = [&](const Refusals::Record& record) { gone.push_back(record.endpoint_id); };
  for (uint64_t i = 1; i <= 256; ++i) refusals.Add(MakeRecord(i, i, 9999), note);
  EXPECT_TRUE(gone.empty());
  refusals.Add(MakeRecord(257, 257, 9999), note);
  EXPECT_EQ(gone, std::vector<uint64_t>{1});
  EXPECT_EQ(refusals.records().size(), 256u);
  EXPECT_EQ(refusals.records().front().endpoint_id, 2u);
}

TEST(RefusalsTest, OneWhoTriesAgainAndAgainIsRecordedOnce) {
  Refusals refusals;
  const uint64_t first = refusals.Add(MakeRecord(1, 2, 3), kNobody).link.link_id();
  for (int i = 0; i < 1000; ++i) refusals.Add(MakeRecord(1, 2, 3), kNobody);
  EXPECT_EQ(refusals.records().size(), 1u);
  EXPECT_EQ(refusals.records().front().link.link_id(), first);
}

TEST(RefusalsTest, ARecordGoesWithItsEndpointAndWithItsNodes) {
  Refusals refusals;
  refusals.Add(MakeRecord(1, 10, 20), kNobody);
  refusals.Add(MakeRecord(2, 11, 20), kNobody);
  refusals.Add(MakeRecord(3, 12, 21), kNobody);
  std::vector<uint64_t> gone;
  const auto note = [&](const Refusals::Record& record) { gone.push_back(record.endpoint_id); };
  refusals.RemoveEndpoint(1, note);
  refusals.RemoveNode(12, note);
  EXPECT_EQ(gone, (std::vector<uint64_t>{1, 3}));
  refusals.RemoveNode(20, note);
  EXPECT_TRUE(refusals.records().empty());
}

}  // namespace
}  // namespace ivmq::control

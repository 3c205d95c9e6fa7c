#include "transport/region.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

#include "tests/transport/local_realm.h"

namespace ivmq::transport {
namespace {

class RegionTest : public testing::Test {
 protected:
  void SetUp() override {
    const Result<UniqueFd> fd = CreateRegionMemfd("region-test", kBytes, RegionPages::kOnDemand);
    ASSERT_TRUE(fd.ok()) << fd.status().message();
    Result<std::shared_ptr<Mapping>> mapping = Mapping::OfFile(fd.value().get(), 0, kBytes);
    ASSERT_TRUE(mapping.ok()) << mapping.status().message();
    mapping_ = mapping.value();
    parameters_.realm_name = "plant";
    parameters_.vectors = 8;
    parameters_.generation = 7;
    parameters_.uuid[0] = 0xaa;
    parameters_.uuid[15] = 0x55;
  }

  std::span<std::byte> region() const { return mapping_->bytes(); }
  RegionHeader& header() const { return *HeaderOf(region()); }
  void Format() {
    const Status status = FormatRegion(region(), parameters_);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  // What OpenRegion says of a formatted region after `damage`.
  Status OpenAfter(const std::function<void(RegionHeader&)>& damage) {
    Format();
    damage(header());
    return OpenRegion(region()).status();
  }

  static constexpr uint64_t kBytes = 4 << 20;
  std::shared_ptr<Mapping> mapping_;
  RegionParameters parameters_;
};

TEST_F(RegionTest, OpensWhatWasFormatted) {
  Format();
  const Result<RegionInfo> opened = OpenRegion(region());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const RegionInfo& info = opened.value();
  EXPECT_EQ(info.region_bytes, kBytes);
  EXPECT_EQ(info.realm_name, "plant");
  EXPECT_EQ(info.uuid, parameters_.uuid);
  EXPECT_EQ(info.vectors, 8U);
  EXPECT_EQ(info.generation, 7U);
  EXPECT_EQ(info.peer_slots, PeerSlotsFor(kBytes));
  EXPECT_EQ(info.arena_offset % 4096, 0U);
  EXPECT_EQ(info.arena_offset + info.arena_bytes, kBytes);
}

TEST_F(RegionTest, GrowsPeerSlotsWithTheRegionBetweenBounds) {
  EXPECT_EQ(PeerSlotsFor(1 << 20), 64U);
  EXPECT_EQ(PeerSlotsFor(16 << 20), 64U);
  EXPECT_EQ(PeerSlotsFor(32 << 20), 128U);
  EXPECT_EQ(PeerSlotsFor(256 << 20), 1024U);
  EXPECT_EQ(PeerSlotsFor(uint64_t{1} << 40), 1024U);
}

TEST_F(RegionTest, RefusesMemoryThatIsNotOurs) {
  const Status empty = OpenRegion(region()).status();
  EXPECT_EQ(empty.code(), Code::kFailedPrecondition);
  EXPECT_NE(empty.message().find("not an ivmq region"), std::string::npos) << empty.message();
  EXPECT_NE(empty.message().find("not formatted"), std::string::npos) << empty.message();

  const Status foreign = OpenAfter([](RegionHeader& header) { header.magic = 0x1234; });
  EXPECT_EQ(foreign.code(), Code::kFailedPrecondition);
  EXPECT_NE(foreign.message().find("0x0000000000001234"), std::string::npos) << foreign.message();
  EXPECT_NE(foreign.message().find("0x314e4752514d5649"), std::string::npos) << foreign.message();
}

TEST_F(RegionTest, RefusesAnotherLayoutVersionNamingBoth) {
  const Status status = OpenAfter([](RegionHeader& header) { header.layout_version = 9; });
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("expected " + std::to_string(kLayoutVersion)), std::string::npos)
      << status.message();
  EXPECT_NE(status.message().find("found 9"), std::string::npos) << status.message();
}

TEST_F(RegionTest, RefusesHostileHeaderValues) {
  const std::vector<std::function<void(RegionHeader&)>> damages = {
      [](RegionHeader& h) { h.header_bytes = 0; },
      [](RegionHeader& h) { h.header_bytes = 0xffffffff; },
      [](RegionHeader& h) { h.region_bytes = kBytes * 2; },
      [](RegionHeader& h) { h.region_bytes = kBytes / 2; },
      [](RegionHeader& h) { std::memset(h.realm_name, 'x', sizeof(h.realm_name)); },
      [](RegionHeader& h) { h.realm_name[0] = '\0'; },
      [](RegionHeader& h) { h.vectors = 0; },
      [](RegionHeader& h) { h.vectors = kMaxVectors + 1; },
      [](RegionHeader& h) { h.peer_slots = 0; },
      [](RegionHeader& h) { h.peer_slots = 0xffffffff; },
      [](RegionHeader& h) { h.peer_table_offset = 0; },
      [](RegionHeader& h) { h.peer_table_offset += 1; },
      [](RegionHeader& h) { h.peer_table_offset = kBytes - 64; },
      [](RegionHeader& h) { h.peer_table_offset = ~uint64_t{0} - 255; },
      [](RegionHeader& h) { h.arena_offset = 0; },
      [](RegionHeader& h) { h.arena_offset += 64; },
      [](RegionHeader& h) { h.arena_offset = kBytes; },
      [](RegionHeader& h) { h.arena_offset = ~uint64_t{0} - 4095; },
      [](RegionHeader& h) { h.arena_bytes = 0; },
      [](RegionHeader& h) { h.arena_bytes += 1; },
      [](RegionHeader& h) { h.arena_bytes = ~uint64_t{0}; },
  };
  for (size_t i = 0; i < damages.size(); ++i) {
    const Status status = OpenAfter(damages[i]);
    EXPECT_EQ(status.code(), Code::kDataLoss) << "damage " << i << ": " << status.message();
  }
}

TEST_F(RegionTest, NeverLeavesTheMappingWhateverTheHeaderSays) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    Format();
    for (int writes = 0; writes < 2; ++writes) {
      const size_t word = 1 + random() % 23;  // anything but the magic
      const uint64_t value = random() >> random() % 64;
      std::memcpy(region().data() + word * 8, &value, sizeof(value));
    }
    const Result<RegionInfo> opened = OpenRegion(region());
    if (!opened.ok()) continue;
    const RegionInfo& info = opened.value();
    EXPECT_NE(PeerEntryAt(region(), info, info.peer_slots - 1), nullptr);
    EXPECT_EQ(PeerEntryAt(region(), info, info.peer_slots), nullptr);
    EXPECT_NE(CheckedRange(region(), info.arena_offset, info.arena_bytes, 4096), nullptr);
  }
}

TEST_F(RegionTest, FormatsOnlyWithinTheRules) {
  for (const uint64_t bytes : {uint64_t{0}, kMinRegionBytes / 2, kBytes - 4096}) {
    EXPECT_EQ(FormatRegion(region().first(bytes), parameters_).code(), Code::kInvalidArgument);
  }
  EXPECT_TRUE(FormatRegion(region().first(kMinRegionBytes), parameters_).ok());
  for (const std::string& name : {std::string(), std::string(64, 'n'), std::string("a\0b", 3)}) {
    RegionParameters wrong = parameters_;
    wrong.realm_name = name;
    EXPECT_EQ(FormatRegion(region(), wrong).code(), Code::kInvalidArgument) << name;
  }
  RegionParameters longest = parameters_;
  longest.realm_name = std::string(63, 'n');
  EXPECT_TRUE(FormatRegion(region(), longest).ok());
  for (const uint32_t vectors : {0U, 257U}) {
    RegionParameters wrong = parameters_;
    wrong.vectors = vectors;
    EXPECT_EQ(FormatRegion(region(), wrong).code(), Code::kInvalidArgument) << vectors;
  }
}

TEST_F(RegionTest, ChecksRangesAtBothEnds) {
  const std::span<std::byte> all = region();
  EXPECT_EQ(CheckedRange(all, 0, kBytes, 64), all.data());
  EXPECT_EQ(CheckedRange(all, kBytes - 64, 64, 64), all.data() + kBytes - 64);
  EXPECT_EQ(CheckedRange(all, kBytes - 63, 64, 1), nullptr);
  EXPECT_EQ(CheckedRange(all, kBytes, 0, 1), all.data() + kBytes);
  EXPECT_EQ(CheckedRange(all, kBytes + 1, 0, 1), nullptr);
  EXPECT_EQ(CheckedRange(all, 0, kBytes + 1, 1), nullptr);
  EXPECT_EQ(CheckedRange(all, ~uint64_t{0}, 2, 1), nullptr);
  EXPECT_EQ(CheckedRange(all, 64, ~uint64_t{0}, 1), nullptr);
  EXPECT_EQ(CheckedRange(all, 32, 64, 64), nullptr);
}

TEST_F(RegionTest, FindsTheEntryOfAPeer) {
  Format();
  const RegionInfo info = OpenRegion(region()).value();
  EXPECT_EQ(FindPeerSlot(region(), info, 0), std::nullopt);
  EXPECT_EQ(FindPeerSlot(region(), info, 5), std::nullopt);
  PeerEntry* last = PeerEntryAt(region(), info, info.peer_slots - 1);
  ASSERT_NE(last, nullptr);
  last->peer_id = 5;
  EXPECT_EQ(FindPeerSlot(region(), info, 5), std::nullopt) << "the entry is still free";
  last->state = static_cast<uint32_t>(PeerState::kConnected);
  EXPECT_EQ(FindPeerSlot(region(), info, 5), info.peer_slots - 1);
  EXPECT_EQ(PeerEntryAt(region(), info, info.peer_slots), nullptr);
  EXPECT_EQ(PeerEntryAt(region(), info, 0xffffffff), nullptr);
}

}  // namespace
}  // namespace ivmq::transport

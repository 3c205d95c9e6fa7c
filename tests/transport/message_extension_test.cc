#include "transport/message_extension.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace ivmq::transport {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// An exact copy on the heap, so that a sanitizer sees a read beyond it.
struct Decoded {
  explicit Decoded(std::span<const std::byte> record)
      : copy(std::make_unique<std::byte[]>(record.size())) {
    if (!record.empty()) std::memcpy(copy.get(), record.data(), record.size());
    result = DecodeExtension({copy.get(), record.size()}, &array, &extension, &bytes);
  }
  std::unique_ptr<std::byte[]> copy;
  AttributeArray array;
  MessageExtension extension;
  size_t bytes = 0;
  ExtensionResult result;
};

std::vector<std::byte> Encode(const MessageExtension& extension) {
  std::vector<std::byte> block(ExtensionBytes(extension), std::byte{0xEE});
  EncodeExtension(extension, block);
  return block;
}

void ExpectSame(const MessageExtension& got, const MessageExtension& expected) {
  EXPECT_EQ(got.publish_time, expected.publish_time);
  EXPECT_EQ(got.trace_parent, expected.trace_parent);
  EXPECT_EQ(got.dropped, expected.dropped);
  ASSERT_EQ(got.attributes.size(), expected.attributes.size());
  for (size_t i = 0; i < got.attributes.size(); ++i) {
    EXPECT_EQ(got.attributes[i].key, expected.attributes[i].key);
    const auto value = got.attributes[i].value;
    const auto wanted = expected.attributes[i].value;
    EXPECT_TRUE(std::equal(value.begin(), value.end(), wanted.begin(), wanted.end()));
  }
}

void ExpectRoundTrip(const MessageExtension& extension) {
  std::vector<std::byte> record = Encode(extension);
  const size_t bytes = record.size();
  EXPECT_EQ(bytes % 8, 0u);
  for (const size_t payload : {0, 1, 100}) {
    record.resize(bytes + payload);
    const Decoded decoded(record);
    ASSERT_EQ(decoded.result, ExtensionResult::kOk) << Describe(decoded.result);
    EXPECT_EQ(decoded.bytes, bytes);
    ExpectSame(decoded.extension, extension);
  }
}

// As many attributes, with all of the bytes that there may be.
struct ManyAttributes {
  ManyAttributes(size_t count, size_t bytes) {
    for (size_t i = 0; i < count; ++i) keys.push_back("k" + std::to_string(1000 + i));
    value.resize(bytes - count * 5);
    for (size_t i = 0; i < count; ++i) list.push_back({keys[i], {}});
    if (count > 0) list.back().value = value;
  }
  std::vector<std::string> keys;
  std::vector<std::byte> value;
  std::vector<Attribute> list;
};

MessageExtension Full(std::span<const Attribute> attributes) {
  MessageExtension all;
  all.publish_time = PublishTime{INT64_MAX, 0xFFFFFFFF};
  all.attributes = attributes;
  all.trace_parent = TraceParent{0, {1, 2, 3, 15}, {7, 8}, 1};
  all.dropped = ~uint64_t{0};
  return all;
}

TEST(MessageExtensionTest, NothingToSayTakesNoBytes) {
  EXPECT_EQ(ExtensionBytes(MessageExtension()), 0u);
}

TEST(MessageExtensionTest, CarriesEachEntryAloneAndAllTogether) {
  const std::vector<Attribute> attributes = {{"key", Bytes("value")}, {"\xC3\xA4", {}}};
  const MessageExtension full = Full(attributes);
  for (int only = 0; only < 4; ++only) {
    MessageExtension one;
    if (only == 0) one.publish_time = full.publish_time;
    if (only == 1) one.attributes = full.attributes;
    if (only == 2) one.trace_parent = full.trace_parent;
    if (only == 3) one.dropped = full.dropped;
    ExpectRoundTrip(one);
  }
  ExpectRoundTrip(full);
}

TEST(MessageExtensionTest, LooksAsItIsDrawn) {
  MessageExtension extension;
  extension.publish_time = PublishTime{2, 1};
  const std::vector<std::byte> block = Encode(extension);
  const uint8_t expected[24] = {24, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 0,
                                1,  0, 0, 0, 2, 0, 0, 0, 0, 0, 0,  0};
  ASSERT_EQ(block.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(block.data(), expected, sizeof(expected)), 0);
}

TEST(MessageExtensionTest, TakesAsManyAttributesAsAllowedAndNotOneMore) {
  const ManyAttributes most(kMaxAttributes, kMaxAttributeBytes);
  EXPECT_TRUE(CheckAttributes(most.list).ok());
  EXPECT_EQ(ExtensionBytes(Full(most.list)), 4432u);
  ExpectRoundTrip(Full(most.list));
  EXPECT_TRUE(CheckAttributes({}).ok());

  const Status many = CheckAttributes(ManyAttributes(kMaxAttributes + 1, 1000).list);
  EXPECT_EQ(many.code(), Code::kInvalidArgument);
  EXPECT_EQ(many.message(), "65 attributes: at most 64 are allowed");
  const Status large = CheckAttributes(ManyAttributes(2, kMaxAttributeBytes + 1).list);
  EXPECT_EQ(large.code(), Code::kInvalidArgument);
  EXPECT_EQ(large.message(),
            "attributes of 4097 bytes, keys and values together: at most 4096 are allowed");
}

TEST(MessageExtensionTest, RefusesKeysThatAreEmptyTwiceThereOrNotUtf8) {
  EXPECT_EQ(CheckAttributes(std::vector<Attribute>{{"a", {}}, {"", {}}}).message(),
            "attribute 2 of 2 has an empty key");
  EXPECT_EQ(CheckAttributes(std::vector<Attribute>{{"a", {}}, {"b", {}}, {"a", {}}}).message(),
            "attribute 3 of 3 has a key that was given before");
  for (const std::string_view bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xE2\x82",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xC3("}) {
    EXPECT_EQ(CheckAttributes(std::vector<Attribute>{{bad, {}}}).message(),
              "attribute 1 of 1 has a key that is not UTF-8");
  }
  for (const std::string_view good :
       {"a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(CheckAttributes(std::vector<Attribute>{{good, {}}}).ok());
  }
}

class HostileExtensionTest : public testing::Test {
 protected:
  void Put16(size_t offset, uint16_t value) { std::memcpy(&block_[offset], &value, 2); }
  void Put32(size_t offset, uint32_t value) { std::memcpy(&block_[offset], &value, 4); }
  ExtensionResult Decode() { return Decoded(block_).result; }
  // A block with one entry of this kind and size.
  void Entry(uint16_t kind, uint16_t bytes) {
    block_.assign(8 + (4 + bytes + 7) / 8 * 8, std::byte{0});
    Put32(0, static_cast<uint32_t>(block_.size()));
    Put16(8, kind);
    Put16(10, bytes);
  }

  std::vector<std::byte> block_;
};

TEST_F(HostileExtensionTest, SizesThatCannotBeAreRefused) {
  for (size_t size = 0; size < 8; ++size) {
    block_.assign(size, std::byte{8});
    EXPECT_EQ(Decode(), ExtensionResult::kBadSize) << size;
  }
  block_.assign(8, std::byte{0});
  Put32(0, 8);
  EXPECT_EQ(Decode(), ExtensionResult::kOk) << "nothing in it";
  for (const uint32_t size : {0U, 4U, 7U, 9U, 12U, 16U, 8200U, 0xFFFFFFF8U, 0x80000000U}) {
    Put32(0, size);
    EXPECT_EQ(Decode(), ExtensionResult::kBadSize) << size;
  }
  Put32(0, 8);
  Put32(4, 1);
  EXPECT_EQ(Decode(), ExtensionResult::kBadSize);
}

TEST_F(HostileExtensionTest, TheLargestBlockIsReadAndNotALargerOne) {
  Entry(1000, kMaxExtensionBytes - 8 - 4);
  EXPECT_EQ(block_.size(), kMaxExtensionBytes);
  EXPECT_EQ(Decode(), ExtensionResult::kOk);
  Entry(1000, kMaxExtensionBytes - 8 - 4 + 1);
  EXPECT_EQ(Decode(), ExtensionResult::kBadSize);
}

TEST_F(HostileExtensionTest, UnknownKindsAreSkippedAndKindZeroIsRefused) {
  for (const uint16_t kind : {5, 63, 64, 65, 0xFFFF}) {
    for (const uint16_t bytes : {0, 1, 4, 5, 100}) {
      Entry(kind, bytes);
      EXPECT_EQ(Decode(), ExtensionResult::kOk) << kind << " " << bytes;
    }
  }
  Entry(0, 0);
  EXPECT_EQ(Decode(), ExtensionResult::kBadEntry);
}

TEST_F(HostileExtensionTest, EntriesOfAnotherLengthThanTheirKindAreRefused) {
  const std::pair<uint16_t, uint16_t> lengths[] = {{1, 12}, {3, 26}, {4, 8}};
  for (const auto& [kind, right] : lengths) {
    for (uint16_t bytes = 0; bytes < 40; ++bytes) {
      Entry(kind, bytes);
      EXPECT_EQ(Decode(), bytes == right ? ExtensionResult::kOk : ExtensionResult::kBadEntry)
          << kind << " " << bytes;
    }
  }
}

TEST_F(HostileExtensionTest, ATimeBeforeTheEpochIsRefused) {
  Entry(1, 12);
  Put32(16, 0);
  Put32(20, 0x7FFFFFFF);
  EXPECT_EQ(Decode(), ExtensionResult::kOk);
  Put32(20, 0x80000000);
  EXPECT_EQ(Decode(), ExtensionResult::kBadEntry);
}

TEST_F(HostileExtensionTest, AnEntryBeyondTheBlockIsRefused) {
  Entry(7, 4);
  Put16(10, 5);
  EXPECT_EQ(Decode(), ExtensionResult::kBadEntry);
  Put16(10, 0xFFFF);
  EXPECT_EQ(Decode(), ExtensionResult::kBadEntry);
}

TEST_F(HostileExtensionTest, TwoEntriesOfAKnownKindAreRefused) {
  Entry(4, 8);
  const std::vector<std::byte> entry(block_.begin() + 8, block_.end());
  block_.insert(block_.end(), entry.begin(), entry.end());
  Put32(0, static_cast<uint32_t>(block_.size()));
  EXPECT_EQ(Decode(), ExtensionResult::kDuplicate);
}

TEST_F(HostileExtensionTest, AttributesThatNoEncoderWritesAreRefused) {
  Entry(2, 0);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes) << "none";
  Entry(2, 3);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes) << "half a header";
  Entry(2, 5);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes) << "an empty key";
  Put16(12, 1);
  EXPECT_EQ(Decode(), ExtensionResult::kOk) << "a key of one zero byte is UTF-8";
  Put16(12, 2);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes);
  Put16(12, 0xFFFF);
  Put16(14, 0xFFFF);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes);
  const ManyAttributes many(kMaxAttributes + 1, 1000);
  MessageExtension extension;
  extension.attributes = many.list;
  block_ = Encode(extension);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes);
  const ManyAttributes large(2, kMaxAttributeBytes + 1);
  extension.attributes = large.list;
  block_ = Encode(extension);
  EXPECT_EQ(Decode(), ExtensionResult::kBadAttributes);
}

// What is good survives encoding; what is broken anywhere is refused or read, never beyond its end.
TEST(MessageExtensionFuzzTest, RandomBlocksAndRandomDamage) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  std::mt19937_64 random(seed);
  uint64_t refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    const size_t count = random() % 4 == 0 ? random() % (kMaxAttributes + 1) : random() % 3;
    const ManyAttributes attributes(count, count * 5 + (count > 0 ? random() % 200 : 0));
    MessageExtension extension = Full(attributes.list);
    if (random() % 2 == 0) extension.publish_time.reset();
    if (random() % 2 == 0) extension.trace_parent.reset();
    if (random() % 2 == 0) extension.dropped.reset();
    if (ExtensionBytes(extension) == 0) continue;  // then there is none
    std::vector<std::byte> record = Encode(extension);
    const Decoded whole(record);
    ASSERT_EQ(whole.result, ExtensionResult::kOk);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(whole.extension, extension));
    for (uint64_t i = random() % 8; i > 0; --i) {
      record[random() % record.size()] =
          static_cast<std::byte>(random() % 3 ? random() % 32 : 0xFF);
    }
    if (random() % 4 == 0) record.resize(random() % (record.size() + 1));
    const Decoded broken(record);
    refused += broken.result != ExtensionResult::kOk;
    if (broken.result != ExtensionResult::kOk) continue;
    ASSERT_LE(broken.bytes, record.size());
    ASSERT_TRUE(CheckAttributes(broken.extension.attributes).ok());
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace ivmq::transport

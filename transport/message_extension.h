// The optional extension of a message: a block at the start of a record's payload that the record's
// kFlagExtension announces. What follows it is the message itself. Little-endian.
//
//   Offset  Size  Field
//        0     4  bytes      of the block, this included: a multiple of 8, 8 to kMaxExtensionBytes
//        4     4  (zero)
//        8     -  entries, each at a multiple of 8, at most one of a kind
//
// An entry:
//
//   Offset  Size  Field
//        0     2  kind       not 0; a kind that is not known is skipped
//        2     2  bytes      of the value
//        4     -  value, then a gap up to the next multiple of 8
//
//   kind  bytes  value
//      1     12  publish time   u32 uncertainty in ns, i64 realm time in ns
//      2      -  attributes     of each: u16 bytes of key, u16 bytes of value, key, value
//      3     26  traceparent    u8 version, 16 bytes trace id, 8 bytes span id, u8 flags
//      4      8  dropped        u64 messages that this link dropped right before this one
//   5, 6                        had a meaning once: never to be used again
#ifndef IVMQ_TRANSPORT_MESSAGE_EXTENSION_H_
#define IVMQ_TRANSPORT_MESSAGE_EXTENSION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "transport/status.h"

namespace ivmq::transport {

inline constexpr size_t kMaxAttributes = 64;
// Keys and values of all attributes together.
inline constexpr size_t kMaxAttributeBytes = 4096;
// What a decoder takes: more than today's entries can fill (4432), so that new kinds have room.
inline constexpr size_t kMaxExtensionBytes = 8192;

struct PublishTime {
  int64_t realm_time_ns = 0;    // since the epoch, by the host's clock
  uint32_t uncertainty_ns = 0;  // either way

  friend bool operator==(const PublishTime&, const PublishTime&) = default;
};

// Borrowed, as the attributes of a MessageExtension are.
struct Attribute {
  std::string_view key;  // UTF-8, not empty, each only once
  std::span<const std::byte> value;
};

// W3C trace context, level 1: the four fields of `traceparent`, handed through unchecked.
struct TraceParent {
  uint8_t version = 0;
  std::array<uint8_t, 16> trace_id = {};
  std::array<uint8_t, 8> span_id = {};
  uint8_t flags = 0;

  friend bool operator==(const TraceParent&, const TraceParent&) = default;
};

// What an extension says. Empty members are not in it.
struct MessageExtension {
  std::optional<PublishTime> publish_time;
  std::span<const Attribute> attributes;
  std::optional<TraceParent> trace_parent;
  std::optional<uint64_t> dropped;
};

// Whether these attributes may be sent: INVALID_ARGUMENT, saying what was asked and what is
// allowed.
Status CheckAttributes(std::span<const Attribute> attributes);

// Bytes of the block, a multiple of 8; 0 where there is nothing to say, and no block.
// REQUIRES: CheckAttributes() of its attributes is ok.
size_t ExtensionBytes(const MessageExtension& extension);

// Writes the block to the start of a claimed record. Does not allocate.
// REQUIRES: ExtensionBytes() of it, not 0, is the size of `out`; its attributes do not lie there.
void EncodeExtension(const MessageExtension& extension, std::span<std::byte> out);

enum class ExtensionResult : uint8_t {
  kOk,
  kBadSize,       // no block of that size lies in the record
  kBadEntry,      // an entry that ends beyond the block, or not as long as its kind is, or no kind
  kDuplicate,     // two entries of one kind
  kBadAttributes  // what CheckAttributes() refuses, or lengths that do not fit
};
std::string_view Describe(ExtensionResult result);

using AttributeArray = std::array<Attribute, kMaxAttributes>;

// Reads the block at the start of `record`, which may hold anything, but must be a private copy:
// the attributes are views into it. `*attributes` is where they are listed. On kOk, the message
// itself starts `*bytes` behind the start of the record; otherwise the outputs mean nothing.
// Bounded work; does not allocate.
[[nodiscard]] ExtensionResult DecodeExtension(std::span<const std::byte> record,
                                              AttributeArray* attributes,
                                              MessageExtension* extension, size_t* bytes);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_MESSAGE_EXTENSION_H_

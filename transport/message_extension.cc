#include "transport/message_extension.h"

#include <cstring>
#include <string>
#include <type_traits>

#include "transport/utf8.h"

namespace ivmq::transport {
namespace {

enum class Kind : uint16_t { kPublishTime = 1, kAttributes = 2, kTraceParent = 3, kDropped = 4 };

constexpr size_t kBlockHeaderBytes = 8;
constexpr size_t kEntryHeaderBytes = 4;
constexpr size_t kAttributeHeaderBytes = 4;

constexpr size_t kPublishTimeBytes = 12;
constexpr size_t kTraceParentBytes = 26;
constexpr size_t kDroppedBytes = 8;

constexpr size_t RoundUp(size_t bytes) { return (bytes + 7) / 8 * 8; }
constexpr size_t EntryBytes(size_t value) { return RoundUp(kEntryHeaderBytes + value); }

constexpr size_t kFullestBytes =
    kBlockHeaderBytes + EntryBytes(kPublishTimeBytes) +
    EntryBytes(kMaxAttributes * kAttributeHeaderBytes + kMaxAttributeBytes) +
    EntryBytes(kTraceParentBytes) + EntryBytes(kDroppedBytes);
static_assert(kFullestBytes == 4432 && kFullestBytes <= kMaxExtensionBytes);

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    char32_t character = 0;
    const size_t length = DecodeUtf8(text, &character);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool IsGivenBefore(std::span<const Attribute> attributes, size_t index) {
  for (size_t i = 0; i < index; ++i) {
    if (attributes[i].key == attributes[index].key) return true;
  }
  return false;
}

// Of all attributes; saturates, so that no sum wraps around.
size_t TextBytes(std::span<const Attribute> attributes) {
  size_t bytes = 0;
  for (const Attribute& attribute : attributes) {
    for (const size_t part : {attribute.key.size(), attribute.value.size()}) {
      bytes = part > SIZE_MAX - bytes ? SIZE_MAX : bytes + part;
    }
  }
  return bytes;
}

// Writes one after the other to a place that is large enough.
class Writer {
 public:
  explicit Writer(std::byte* place) : place_(place) {}

  template <class T>
  Writer& Put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return Put(&value, sizeof(value));
  }
  Writer& Put(const void* from, size_t bytes) {
    if (bytes != 0) std::memcpy(place_ + at_, from, bytes);
    at_ += bytes;
    return *this;
  }
  Writer& Entry(Kind kind, size_t bytes) {
    return Put(static_cast<uint16_t>(kind)).Put(static_cast<uint16_t>(bytes));
  }
  // Zeros up to the next multiple of 8.
  void Pad() {
    while (at_ % 8 != 0) Put(std::byte{0});
  }

 private:
  std::byte* place_;
  size_t at_ = 0;
};

// Reads one after the other; whoever asks has checked that there is enough.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t left() const { return bytes_.size(); }
  std::span<const std::byte> Take(size_t bytes) {
    const std::span<const std::byte> taken = bytes_.first(bytes);
    bytes_ = bytes_.subspan(bytes);
    return taken;
  }
  template <class T>
  Reader& Get(T* value) {
    std::memcpy(value, Take(sizeof(T)).data(), sizeof(T));
    return *this;
  }

 private:
  std::span<const std::byte> bytes_;
};

size_t AttributesValueBytes(std::span<const Attribute> attributes) {
  return attributes.size() * kAttributeHeaderBytes + TextBytes(attributes);
}

void PutAttributes(std::span<const Attribute> attributes, Writer* out) {
  out->Entry(Kind::kAttributes, AttributesValueBytes(attributes));
  for (const Attribute& attribute : attributes) {
    out->Put(static_cast<uint16_t>(attribute.key.size()))
        .Put(static_cast<uint16_t>(attribute.value.size()))
        .Put(attribute.key.data(), attribute.key.size())
        .Put(attribute.value.data(), attribute.value.size());
  }
  out->Pad();
}

// Lists the attributes of an entry. False if it is not one that an encoder writes.
bool ReadAttributes(Reader value, AttributeArray* array, std::span<const Attribute>* listed) {
  size_t count = 0;
  while (value.left() > 0) {
    if (count == kMaxAttributes || value.left() < kAttributeHeaderBytes) return false;
    uint16_t key_bytes = 0;
    uint16_t value_bytes = 0;
    value.Get(&key_bytes).Get(&value_bytes);
    if (size_t{key_bytes} + value_bytes > value.left()) return false;
    const std::span<const std::byte> key = value.Take(key_bytes);
    (*array)[count].key = {reinterpret_cast<const char*>(key.data()), key.size()};
    (*array)[count].value = value.Take(value_bytes);
    ++count;
  }
  *listed = std::span(*array).first(count);
  if (count == 0 || TextBytes(*listed) > kMaxAttributeBytes) return false;
  for (size_t i = 0; i < count; ++i) {
    const std::string_view key = (*array)[i].key;
    if (key.empty() || !IsUtf8(key) || IsGivenBefore(*listed, i)) return false;
  }
  return true;
}

// Reads one entry whose kind has not been there yet.
ExtensionResult ReadEntry(Kind kind, Reader value, AttributeArray* attributes,
                          MessageExtension* extension) {
  const size_t bytes = value.left();
  switch (kind) {
    case Kind::kPublishTime: {
      if (bytes != kPublishTimeBytes) return ExtensionResult::kBadEntry;
      PublishTime& time = extension->publish_time.emplace();
      value.Get(&time.uncertainty_ns).Get(&time.realm_time_ns);
      // Before 1970 nobody publishes; and whoever subtracts such a time from ours would overflow.
      return time.realm_time_ns >= 0 ? ExtensionResult::kOk : ExtensionResult::kBadEntry;
    }
    case Kind::kAttributes:
      return ReadAttributes(value, attributes, &extension->attributes)
                 ? ExtensionResult::kOk
                 : ExtensionResult::kBadAttributes;
    case Kind::kTraceParent: {
      if (bytes != kTraceParentBytes) return ExtensionResult::kBadEntry;
      TraceParent& trace = extension->trace_parent.emplace();
      value.Get(&trace.version).Get(&trace.trace_id).Get(&trace.span_id).Get(&trace.flags);
      return ExtensionResult::kOk;
    }
    case Kind::kDropped:
      if (bytes != kDroppedBytes) return ExtensionResult::kBadEntry;
      value.Get(&extension->dropped.emplace());
      return ExtensionResult::kOk;
  }
  return ExtensionResult::kOk;  // a kind of a later version
}

}  // namespace

Status CheckAttributes(std::span<const Attribute> attributes) {
  if (attributes.size() > kMaxAttributes) {
    return Status(Code::kInvalidArgument, std::to_string(attributes.size()) +
                                              " attributes: at most " +
                                              std::to_string(kMaxAttributes) + " are allowed");
  }
  const size_t bytes = TextBytes(attributes);
  if (bytes > kMaxAttributeBytes) {
    return Status(Code::kInvalidArgument, "attributes of " + std::to_string(bytes) +
                                              " bytes, keys and values together: at "
                                              "most " +
                                              std::to_string(kMaxAttributeBytes) + " are allowed");
  }
  for (size_t i = 0; i < attributes.size(); ++i) {
    const std::string_view key = attributes[i].key;
    const char* wrong = key.empty()                    ? " has an empty key"
                        : !IsUtf8(key)                 ? " has a key that is not UTF-8"
                        : IsGivenBefore(attributes, i) ? " has a key that was given before"
                                                       : nullptr;
    if (wrong == nullptr) continue;
    return Status(Code::kInvalidArgument, "attribute " + std::to_string(i + 1) + " of " +
                                              std::to_string(attributes.size()) + wrong);
  }
  return Status();
}

size_t ExtensionBytes(const MessageExtension& extension) {
  size_t bytes = 0;
  if (extension.publish_time) bytes += EntryBytes(kPublishTimeBytes);
  if (!extension.attributes.empty()) {
    bytes += EntryBytes(AttributesValueBytes(extension.attributes));
  }
  if (extension.trace_parent) bytes += EntryBytes(kTraceParentBytes);
  if (extension.dropped) bytes += EntryBytes(kDroppedBytes);
  return bytes == 0 ? 0 : kBlockHeaderBytes + bytes;
}

void EncodeExtension(const MessageExtension& extension, std::span<std::byte> out) {
  Writer writer(out.data());
  writer.Put(static_cast<uint32_t>(out.size())).Put(uint32_t{0});
  if (const auto& time = extension.publish_time) {
    writer.Entry(Kind::kPublishTime, kPublishTimeBytes)
        .Put(time->uncertainty_ns)
        .Put(time->realm_time_ns)
        .Pad();
  }
  if (!extension.attributes.empty()) PutAttributes(extension.attributes, &writer);
  if (const auto& trace = extension.trace_parent) {
    writer.Entry(Kind::kTraceParent, kTraceParentBytes)
        .Put(trace->version)
        .Put(trace->trace_id)
        .Put(trace->span_id)
        .Put(trace->flags)
        .Pad();
  }
  if (extension.dropped) {
    writer.Entry(Kind::kDropped, kDroppedBytes).Put(*extension.dropped).Pad();
  }
}

std::string_view Describe(ExtensionResult result) {
  switch (result) {
    case ExtensionResult::kOk:
      return "a good extension";
    case ExtensionResult::kBadSize:
      return "an extension whose size cannot be";
    case ExtensionResult::kBadEntry:
      return "an extension with an entry whose size or value cannot be";
    case ExtensionResult::kDuplicate:
      return "an extension with two entries of one kind";
    case ExtensionResult::kBadAttributes:
      return "an extension with attributes beyond 64 keys or 4096 bytes, or malformed ones";
  }
  return "a broken extension";
}

ExtensionResult DecodeExtension(std::span<const std::byte> record, AttributeArray* attributes,
                                MessageExtension* extension, size_t* bytes) {
  if (record.size() < kBlockHeaderBytes) return ExtensionResult::kBadSize;
  uint32_t size = 0;
  uint32_t zero = 0;
  Reader(record).Get(&size).Get(&zero);
  if (size < kBlockHeaderBytes || size > kMaxExtensionBytes || size % 8 != 0 ||
      size > record.size() || zero != 0) {
    return ExtensionResult::kBadSize;
  }
  *extension = MessageExtension();
  uint64_t seen = 0;  // a bit for each known kind
  Reader block(record.subspan(kBlockHeaderBytes, size - kBlockHeaderBytes));
  while (block.left() > 0) {  // a multiple of 8
    uint16_t kind = 0;
    uint16_t value_bytes = 0;
    block.Get(&kind).Get(&value_bytes);
    const size_t padded = EntryBytes(value_bytes) - kEntryHeaderBytes;
    if (kind == 0 || padded > block.left()) return ExtensionResult::kBadEntry;
    const Reader value(block.Take(padded).first(value_bytes));
    if (kind > static_cast<uint16_t>(Kind::kDropped)) continue;
    if ((seen >> kind & 1) != 0) return ExtensionResult::kDuplicate;
    seen |= uint64_t{1} << kind;
    const ExtensionResult result = ReadEntry(static_cast<Kind>(kind), value, attributes, extension);
    if (result != ExtensionResult::kOk) return result;
  }
  *bytes = size;
  return ExtensionResult::kOk;
}

}  // namespace ivmq::transport

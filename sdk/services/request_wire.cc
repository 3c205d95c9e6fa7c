#include "sdk/services/request_wire.h"

#include <array>
#include <cstring>

namespace ivmq::internal {
namespace {

// As they lie in a record; x86-64 is little-endian.
struct RequestBytes {
  uint64_t id;
  union {
    uint64_t timeout_ns;
    uint32_t credit[2];
  };
  uint8_t kind;
  std::array<uint8_t, 7> zero;
};
static_assert(sizeof(RequestBytes) == kRequestHeadBytes);
static_assert(offsetof(RequestBytes, kind) == 16);

struct ReplyBytes {
  uint64_t id;
  uint8_t code;
  uint8_t kind;
  std::array<uint8_t, 6> zero;
};
static_assert(sizeof(ReplyBytes) == kReplyHeadBytes);
static_assert(offsetof(ReplyBytes, kind) == 9);

template <class Bytes>
bool Copy(uint8_t flags, std::span<const std::byte> record, Bytes* bytes) {
  if (flags != kRequestFlag || record.size() < sizeof(Bytes)) return false;
  std::memcpy(bytes, record.data(), sizeof(Bytes));
  return bytes->zero == decltype(bytes->zero){};
}

}  // namespace

void WriteHead(const RequestHead& head, std::byte* out) {
  RequestBytes bytes{};
  bytes.id = head.id;
  bytes.kind = static_cast<uint8_t>(head.kind);
  if (head.kind == RequestHead::Kind::kCredit) {
    bytes.credit[0] = head.credit.messages;
    bytes.credit[1] = head.credit.bytes;
  } else {
    bytes.timeout_ns = head.timeout_ns;
  }
  std::memcpy(out, &bytes, sizeof(bytes));
}

void WriteHead(const ReplyHead& head, std::byte* out) {
  ReplyBytes bytes{};
  bytes.id = head.id;
  bytes.code = head.code;
  bytes.kind = static_cast<uint8_t>(head.kind);
  std::memcpy(out, &bytes, sizeof(bytes));
}

bool ReadHead(uint8_t flags, std::span<const std::byte> record, RequestHead* head) {
  RequestBytes bytes;
  if (!Copy(flags, record, &bytes)) return false;
  head->id = bytes.id;
  head->kind = static_cast<RequestHead::Kind>(bytes.kind);
  switch (head->kind) {
    case RequestHead::Kind::kRequest:
      head->timeout_ns = bytes.timeout_ns;
      return true;
    case RequestHead::Kind::kCancel:
      return record.size() == sizeof(bytes);
    case RequestHead::Kind::kCredit:
      head->credit = {bytes.credit[0], bytes.credit[1]};
      return record.size() == sizeof(bytes);
  }
  return false;
}

bool ReadHead(uint8_t flags, std::span<const std::byte> record, ReplyHead* head) {
  ReplyBytes bytes;
  if (!Copy(flags, record, &bytes)) return false;
  head->id = bytes.id;
  head->code = bytes.code;
  head->kind = static_cast<ReplyHead::Kind>(bytes.kind);
  switch (head->kind) {
    case ReplyHead::Kind::kLast:
      return true;
    case ReplyHead::Kind::kMore:
      return head->code == 0;
    case ReplyHead::Kind::kEnd:
      return head->code == 0 && record.size() == sizeof(bytes);
  }
  return false;
}

}  // namespace ivmq::internal

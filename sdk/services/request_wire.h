// What the records of a client's and a server's two links hold. Each starts with a head that says
// which request it is about; the body, if any, lies behind it. Such a record carries kRequestFlag.
//
//   request link, client to server            reply link, server to client
//
//   Offset  Size                              Offset  Size
//        0     8  id, the client's choice          0     8  id of the request
//        8     8  kRequest: timeout in ns          8     1  status code, 0: fine
//                 kCredit: 4 bytes messages,       9     1  kind
//                 4 bytes bytes of body           10     6  zero
//       16     1  kind                            16     -  body; with a code: text
//       17     7  zero
//       24     -  body of a kRequest
//
// A timeout, not a deadline: the two sides' clocks have nothing in common. Who gives a request up
// says so by kCancel, which a server that reads ahead meets before it starts on a stale request.
//
// A kMore costs the server one message and its body's bytes of credit; a request
// starts with kStreamWindow. A server may write as long as both are above zero.
#ifndef IVMQ_SDK_SERVICES_REQUEST_WIRE_H_
#define IVMQ_SDK_SERVICES_REQUEST_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace ivmq::internal {

// In the header of each record (ringbuf/ring_layout.h); without it, or with others, the record is
// nonsense.
inline constexpr uint8_t kRequestFlag = 0x02;
inline constexpr size_t kRequestHeadBytes = 24;
inline constexpr size_t kReplyHeadBytes = 16;

struct Credit {
  uint32_t messages = 0;
  uint32_t bytes = 0;
};
inline constexpr Credit kStreamWindow{64, 256 << 10};

struct RequestHead {
  enum class Kind : uint8_t { kRequest = 0, kCancel = 1, kCredit = 2 };
  uint64_t id = 0;
  Kind kind = Kind::kRequest;
  uint64_t timeout_ns = 0;
  Credit credit;
};

struct ReplyHead {
  enum class Kind : uint8_t {
    kLast = 0,  // the reply, or the failure, and the end of the request
    kMore = 1,  // a reply of several
    kEnd = 2    // the end of a streamed reply; no body
  };
  uint64_t id = 0;
  uint8_t code = 0;  // 0, but for kLast
  Kind kind = Kind::kLast;
};

// REQUIRES: `out` has room for the head.
void WriteHead(const RequestHead& head, std::byte* out);
void WriteHead(const ReplyHead& head, std::byte* out);

// Copies the head first and looks at the copy only: `record` may be borrowed from a ring. False:
// nonsense.
[[nodiscard]] bool ReadHead(uint8_t flags, std::span<const std::byte> record, RequestHead* head);
[[nodiscard]] bool ReadHead(uint8_t flags, std::span<const std::byte> record, ReplyHead* head);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_REQUEST_WIRE_H_

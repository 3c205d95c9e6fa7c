// What the servers of a client send.

#include <algorithm>
#include <string>
#include <utility>

#include "sdk/services/client_impl.h"

namespace ivmq::internal {
namespace {

constexpr size_t kErrorTextBytesMax = 1024;

Code CodeOf(uint8_t code) {
  constexpr uint8_t kLastGrpcCode = 16;
  return code <= kLastGrpcCode ? static_cast<Code>(code) : Code::kUnknown;
}

}  // namespace

bool ClientImpl::ReadReply() {
  transport::LinkReader* reader = nullptr;
  transport::RecordView record;
  const bool got = poller_.Next(&reader, &record);
  std::string detail = "the server wrote nonsense into the ring";
  if (got) {
    Server* const server = static_cast<Server*>(reader->context());
    ReplyHead head;
    if (ReadHead(record.flags, {record.data, record.size}, &head)) {
      const auto body = std::span(record.data, record.size).subspan(kReplyHeadBytes);
      if (OnReply(server, head, body)) {
        reader->Release();
        return true;
      }
      detail = "the server wrote more of a stream than it had credit for";
    } else {
      detail = "a record that is no reply";
    }
    Leave(server, Status(Code::kDataLoss, "service '" + service_ + "': " + detail), &detail);
    return true;
  }
  if (!poller_.has_corrupt()) return false;
  for (const auto& corrupt : poller_.TakeCorrupt()) {
    Leave(static_cast<Server*>(corrupt.reader->context()),
          Status(Code::kDataLoss, "service '" + service_ + "': " + detail), &detail);
  }
  return true;
}

bool ClientImpl::OnReply(Server* server, const ReplyHead& head, std::span<const std::byte> body) {
  Request* const request = Find(head.id);
  if (request == nullptr || request->state != Request::State::kSent || request->server != server) {
    ++counted_.late_replies;
    return true;
  }
  switch (head.kind) {
    case ReplyHead::Kind::kMore:
      return OnPiece(request, body);
    case ReplyHead::Kind::kLast:
      OnLast(request, head, body);
      return true;
    case ReplyHead::Kind::kEnd:
      break;
  }
  ++counted_.replies;
  const bool stream = request->kind == Request::Kind::kStream;
  // Who streams and has nothing to say looks the same from here.
  Finish(request,
         stream ? Status()
                : Status(Code::kFailedPrecondition,
                         "service '" + service_ +
                             "' gave no reply: its handler returned OK without one, or streams its "
                             "replies (CallStream) and had none"));
  return true;
}

bool ClientImpl::OnPiece(Request* request, std::span<const std::byte> body) {
  if (request->kind != Request::Kind::kStream) {
    ++counted_.replies;
    GiveUp(request, Status(Code::kFailedPrecondition,
                           "service '" + service_ + "' streams its replies: CallStream"));
    return true;
  }
  if (request->window_messages <= 0 || request->window_bytes <= 0) return false;
  --request->window_messages;
  request->window_bytes -= static_cast<int64_t>(body.size());
  request->stream.emplace_back(body.begin(), body.end());
  crew_.Wake(&request->member);
  return true;
}

void ClientImpl::OnLast(Request* request, const ReplyHead& head, std::span<const std::byte> body) {
  ++counted_.replies;
  if (head.code != 0) {
    const auto text = body.first(std::min(body.size(), kErrorTextBytesMax));
    Finish(request, Status(CodeOf(head.code),
                           std::string(reinterpret_cast<const char*>(text.data()), text.size())));
    return;
  }
  if (request->kind == Request::Kind::kStream) {
    request->stream.emplace_back(body.begin(), body.end());
  } else {
    request->reply.assign(body.begin(), body.end());
  }
  Finish(request, {});
}

}  // namespace ivmq::internal

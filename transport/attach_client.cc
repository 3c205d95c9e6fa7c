#include "transport/attach_client.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "transport/attached_device.h"
#include "transport/fd_passing.h"
#include "transport/unix_socket.h"

namespace ivmq::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRetryPause{50};
// Where every version of the message says what it is: magic, version, kind.
constexpr size_t kPrefixBytes = 16;
// Longer than our message, so that a longer one of another version is seen as what it is.
constexpr size_t kBufferBytes = 4096;

struct Packet {
  AttachMessage message{};
  std::vector<UniqueFd> fds;
};

std::string TextOf(const AttachMessage& message) {
  const auto* end = std::find(std::begin(message.text), std::end(message.text), '\0');
  std::string text(std::begin(message.text), end);
  // It may end on a terminal.
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; }, '?');
  return text;
}

Status CheckPacket(std::span<const std::byte> bytes, const AttachMessage& message,
                   size_t fd_count) {
  if (bytes.size() < kPrefixBytes || message.magic != kAttachMagic) {
    return Status(Code::kFailedPrecondition,
                  "what listens there does not speak ivmq's attach protocol");
  }
  if (message.version != kAttachVersion) {
    return Status(Code::kFailedPrecondition,
                  "attach protocol version: expected " + std::to_string(kAttachVersion) +
                      ", found " + std::to_string(message.version) +
                      "; library and daemon need the same version of ivmq");
  }
  if (bytes.size() != sizeof(AttachMessage)) {
    return Status(Code::kInvalidArgument,
                  "the daemon's message is wrong: " + std::to_string(sizeof(AttachMessage)) +
                      " bytes expected, found " + std::to_string(bytes.size()));
  }
  if (message.fd_count != fd_count) {
    return Status(Code::kInvalidArgument, "the daemon's message is wrong: it announces " +
                                              std::to_string(message.fd_count) + " fds, " +
                                              std::to_string(fd_count) + " came");
  }
  return Status();
}

// False if nothing is there to receive.
Result<bool> ReceivePacket(int connection, Packet* packet) {
  std::array<std::byte, kBufferBytes> buffer;
  const ReceivedWithFds received = ReceiveWithFds(connection, buffer, kMaxAttachFds, &packet->fds);
  if (received.bytes < 0 && received.error == EAGAIN) return false;
  if (received.bytes == 0 || (received.bytes < 0 && received.error == ECONNRESET)) {
    return Status(Code::kUnavailable, "the daemon closed the connection");
  }
  if (received.bytes < 0) return ErrnoStatus(received.error, "cannot hear the daemon");
  if (received.fds_lost) {
    return Status(Code::kResourceExhausted,
                  "the daemon's fds were lost: this process is at its open-file limit (ulimit -n)");
  }
  const auto bytes = std::span(buffer).first(static_cast<size_t>(received.bytes));
  std::memcpy(&packet->message, bytes.data(), std::min(bytes.size(), sizeof(AttachMessage)));
  if (Status status = CheckPacket(bytes, packet->message, packet->fds.size()); !status.ok()) {
    return status;
  }
  return true;
}

Result<Packet> AwaitPacket(int connection, Clock::time_point deadline) {
  for (;;) {
    Packet packet;
    const Result<bool> received = ReceivePacket(connection, &packet);
    if (!received.ok()) return received.status();
    if (received.value()) return packet;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      return Status(Code::kDeadlineExceeded,
                    "the daemon accepts connections but says nothing; "
                    "is it stuck or stopped, or has no place free (`ivmq nodes`)?");
    }
    pollfd watched{connection, POLLIN, 0};
    ::poll(&watched, 1, static_cast<int>(std::min<int64_t>(left.count(), 3600 * 1000)));
  }
}

Status CheckRegion(const AttachMessage& welcome, const RegionInfo& region) {
  if (!std::equal(region.uuid.begin(), region.uuid.end(), std::begin(welcome.realm_uuid)) ||
      region.generation != welcome.generation || region.vectors != welcome.vectors) {
    return Status(Code::kFailedPrecondition,
                  "the daemon announces another realm than the one whose region it lends: "
                  "generation expected " +
                      std::to_string(welcome.generation) + ", found " +
                      std::to_string(region.generation) + "; vectors expected " +
                      std::to_string(welcome.vectors) + ", found " +
                      std::to_string(region.vectors));
  }
  return Status();
}

Result<Attached> AttachOnce(const std::string& socket_path, Clock::time_point deadline) {
  Result<UniqueFd> connection = ConnectUnix(socket_path, UnixSocketType::kSeqpacket, deadline);
  if (!connection.ok()) return connection.status();
  Result<Packet> packet = AwaitPacket(connection.value().get(), deadline);
  if (!packet.ok()) return packet.status();
  const AttachMessage& welcome = packet.value().message;
  std::vector<UniqueFd> fds = std::move(packet.value().fds);
  if (welcome.kind == AttachKind::kRefused) {
    const bool known = welcome.code >= 1 && welcome.code <= static_cast<uint32_t>(Code::kDataLoss);
    return Status(known ? static_cast<Code>(welcome.code) : Code::kUnknown, TextOf(welcome));
  }
  if (welcome.kind != AttachKind::kWelcome || fds.size() < 2) {
    return Status(Code::kInvalidArgument,
                  "the daemon's first message is wrong: kind expected 1 (welcome), found " +
                      std::to_string(static_cast<uint32_t>(welcome.kind)) + " with " +
                      std::to_string(fds.size()) + " fds");
  }
  Attached attached;
  attached.welcome = welcome;
  attached.connection = std::move(connection).value();
  attached.channel = std::move(fds[1]);
  fds.erase(fds.begin() + 1);
  Result<std::shared_ptr<AttachedDevice>> device = AttachedDevice::Open(welcome, std::move(fds));
  if (!device.ok()) return device.status();
  Result<RegionInfo> region = OpenRegion(device.value()->region());
  if (!region.ok()) return region.status();
  if (Status status = CheckRegion(welcome, region.value()); !status.ok()) return status;
  attached.device = std::move(device).value();
  attached.region = std::move(region).value();
  return attached;
}

// The daemon may be starting, or be between two lives of its other half.
bool MayMend(Code code) { return code == Code::kUnavailable || code == Code::kNotFound; }

}  // namespace

Result<Attached> Attach(const std::string& socket_path, Clock::time_point deadline) {
  Status reason;
  for (;;) {
    Result<Attached> attached = AttachOnce(socket_path, deadline);
    if (attached.ok()) return attached;
    const Status status = attached.status();
    const bool mends = MayMend(status.code());
    // A last attempt that the deadline cut short says less than the one before it did.
    if (reason.ok() || status.code() != Code::kDeadlineExceeded) {
      reason = Status(mends ? Code::kUnavailable : status.code(), status.message());
    }
    if (status.code() == Code::kPermissionDenied) {
      reason = Status(status.code(),
                      status.message() + "; on a host, ivmqd --socket-group lets a group in");
    }
    const auto left = deadline - Clock::now();
    if (!mends || left <= Clock::duration::zero()) break;
    const auto pause = std::min<Clock::duration>(left, kRetryPause);
    ::poll(nullptr, 0,
           static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(pause).count()));
  }
  if (reason.message().find(socket_path) != std::string::npos) return reason;
  return Status(reason.code(), socket_path + ": " + reason.message());
}

}  // namespace ivmq::transport

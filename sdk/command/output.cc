#include "sdk/command/output.h"

#include <fmt/core.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <system_error>

#include "transport/utf8.h"

namespace ivmq::command {

namespace {

std::atomic<int> no_more_waiting{-1};

// What was begun and found no room any more, so that nothing is put behind half a line.
struct Stream {
  explicit Stream(int number) : fd(number) {}

  const int fd;
  std::mutex mutex;  // lines of several threads stay whole
  bool cut = false;
};
Stream out(STDOUT_FILENO);
Stream err(STDERR_FILENO);

// Waits for room only as long as it may. 0, or an errno: ECANCELED where there was no room.
int WriteLine(Stream* stream, std::string_view line) {
  const std::lock_guard lock(stream->mutex);
  const std::string whole = fmt::format("{}{}\n", stream->cut ? "\n" : "", line);
  std::string_view text = whole;
  const int fd = stream->fd;
  while (!text.empty()) {
    // poll() passes over what is negative.
    std::array<pollfd, 2> fds{{{fd, POLLOUT, 0}, {no_more_waiting.load(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[0].revents == 0) {
      stream->cut = stream->cut || text.size() < whole.size();
      return ECANCELED;
    }
    // A pipe with any room takes so much without waiting, and whole.
    const ssize_t written = ::write(fd, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR && errno != EAGAIN) return errno;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  stream->cut = false;
  return 0;
}

}  // namespace

void StopWaitingForRoomOnce(int readable) { no_more_waiting.store(readable); }

void PrintLine(std::string_view line) {
  const int error = WriteLine(&out, line);
  if (error == 0 || error == ECANCELED) return;
  if (error == EPIPE) std::_Exit(kDone);
  Complain("cannot write the output: " + std::generic_category().message(error));
  std::_Exit(kFailed);
}

void Complain(std::string_view message) { PrintAside(fmt::format("ivmq: {}", message)); }

void PrintAside(std::string_view line) { static_cast<void>(WriteLine(&err, line)); }

void Note(std::string_view message) {
  if (::isatty(STDERR_FILENO) != 0) Complain(message);
}

int Fail(const Status& status) {
  Complain(status.message());
  return status.code() == Code::kInvalidArgument ? kMisused : kFailed;
}

std::string JsonString(std::string_view text) {
  std::string json = "\"";
  while (!text.empty()) {
    char32_t point = 0;
    const size_t length = transport::DecodeUtf8(text, &point);
    if (length == 0) {
      json += "\xef\xbf\xbd";
    } else if (point == '"' || point == '\\') {
      json += '\\';
      json += static_cast<char>(point);
    } else if (point < 0x20 || point == 0x7f) {
      json += fmt::format("\\u{:04x}", static_cast<unsigned>(point));
    } else {
      json += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return json + '"';
}

bool ToJson(const google::protobuf::Message& message, std::string* json) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  return google::protobuf::util::MessageToJsonString(message, json, options).ok();
}

std::string ToJsonLine(const google::protobuf::Message& message) {
  std::string json;
  if (ToJson(message, &json)) return json;
  Complain("cannot print a message as JSON: " + message.GetTypeName());
  return "{}";
}

std::string Shortened(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string shown(text.substr(0, kLongest));
  // A character that was cut through would be no text any more.
  while (text.size() > kLongest && !shown.empty() && !IsPrintableUtf8(shown)) shown.pop_back();
  return fmt::format("'{}{}'", shown, text.size() > kLongest ? "…" : "");
}

bool IsPrintableUtf8(std::string_view text) {
  while (!text.empty()) {
    char32_t point = 0;
    const size_t length = transport::DecodeUtf8(text, &point);
    if (length == 0 || !(point == '\t' || transport::IsPrintable(point))) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string HumanBytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  const bool whole = std::fabs(bytes - std::round(bytes)) < 0.05;
  return whole ? fmt::format("{:.0f} {}", bytes, kUnits[unit])
               : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string CountOf(uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string AloneText(uint64_t count, std::string_view what) {
  return fmt::format(
      "the daemon has gone away; {} left, and nobody notices if one is killed (Ctrl-C ends)",
      CountOf(count, what));
}

std::string HumanDuration(uint64_t milliseconds) {
  const uint64_t seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h {}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d {}h", seconds / 86400, seconds / 3600 % 24);
}

}  // namespace ivmq::command

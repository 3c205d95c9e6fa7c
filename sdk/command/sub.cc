#include "sdk/command/sub.h"

#include <absl/strings/escaping.h>
#include <fmt/core.h>
#include <ivmq/ivmq.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLookEvery{1};
constexpr size_t kShownBytes = 32;

// Text as it is; what is none as its size and its first bytes.
std::string ForPeople(std::string_view data) {
  if (IsPrintableUtf8(data)) return std::string(data);
  const std::string_view shown = data.substr(0, kShownBytes);
  return fmt::format("<{} bytes> {}{}", data.size(),
                     absl::BytesToHexString(absl::string_view(shown.data(), shown.size())),
                     shown.size() < data.size() ? "…" : "");
}

// "text" where the bytes are printable UTF-8, else "base64".
std::string ForPrograms(const BytesMessage& message) {
  const std::string_view data = message.text();
  const std::string payload =
      IsPrintableUtf8(data)
          ? "\"text\":" + JsonString(data)
          : "\"base64\":\"" +
                std::string(absl::Base64Escape(absl::string_view(data.data(), data.size()))) + '"';
  return fmt::format(R"({{"topic":{},"link_id":"{}","sequence":"{}","gap":"{}","bytes":{},{}}})",
                     JsonString(message.info.topic), message.info.link_id, message.info.sequence,
                     message.info.gap, data.size(), payload);
}

// Receives until count, time or Ctrl-C ends it. Status: of the daemon, or OK.
Status ReceiveAll(const CommandLine& line, BytesSubscriber* subscriber, const Node& node,
                  const Interrupt& interrupt, uint64_t* received) {
  const SubOptions& options = line.sub;
  const Clock::time_point begin = Clock::now();
  while (!interrupt.happened() && (!options.count || *received < *options.count)) {
    std::chrono::nanoseconds wait = kLookEvery;
    if (options.timeout) {
      const std::chrono::nanoseconds left = *options.timeout - (Clock::now() - begin);
      if (left <= std::chrono::nanoseconds::zero()) return Status();
      wait = std::min(wait, left);
    }
    const auto got = subscriber->Receive(wait);
    if (got.ok()) {
      PrintLine(line.json ? ForPrograms(*got) : ForPeople(got->text()));
      ++*received;
    } else if (got.status().code() != Code::kTimeout) {
      return got.status();
    } else if (!node.connected() && subscriber->publishers() == 0) {
      return Status(Code::kUnavailable, "the daemon has gone away, and nobody publishes any more");
    }
  }
  return Status();
}

}  // namespace

int RunSub(const CommandLine& line) {
  std::mutex mutex;
  BytesSubscriber* waiting = nullptr;  // guarded by mutex
  const Interrupt interrupt([&] {
    const std::lock_guard lock(mutex);
    if (waiting != nullptr) waiting->Interrupt();
  });
  const auto set_waiting = [&](BytesSubscriber* subscriber) {
    const std::lock_guard lock(mutex);
    waiting = subscriber;
  };
  auto node = Node::Open({.name = "ivmq-sub", .socket_path = line.node_socket});
  if (!node.ok()) {
    Complain(node.status().message());
    return kFailed;
  }
  auto subscriber = node->CreateBytesSubscriber(line.sub.topic, {});
  if (!subscriber.ok()) {
    Complain(subscriber.status().message());
    return kFailed;
  }
  set_waiting(&subscriber.value());
  uint64_t received = 0;
  const Status status = ReceiveAll(line, &subscriber.value(), *node, interrupt, &received);
  set_waiting(nullptr);
  if (!status.ok()) {
    Complain(status.message());
    return kFailed;
  }
  if (line.sub.count && received < *line.sub.count) {
    Complain(fmt::format("{} of {} messages came{}", received, *line.sub.count,
                         interrupt.happened() ? "" : " in time"));
    return kFailed;
  }
  return kDone;
}

}  // namespace ivmq::command

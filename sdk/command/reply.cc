#include "sdk/command/reply.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"
#include "sdk/command/payload_text.h"
#include "sdk/command/payload_types.h"
#include "sdk/command/ring_size.h"
#include "sdk/command/shell_command.h"
#include "sdk/services/request_wire.h"

namespace ivmq::command {
namespace {

constexpr std::chrono::seconds kLookEvery{1};
constexpr size_t kRingBytesOfCommands = 1 << 20;  // each client has one

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Answers requests in the way that was asked for, and prints them. One thread.
class Responder {
 public:
  Responder(const CommandLine& line, PayloadTypes* types, const Interrupt* interrupt)
      : json_(line.json), options_(line.reply), types_(types), interrupt_(interrupt) {}

  // Makes the reply that is always the same.
  Status Prepare() {
    const Payload& payload = options_.payload;
    if (payload.text) constant_ = *payload.text;
    if (!payload.json) return {};
    auto encoded = types_->FromJson(payload.type_name, *payload.json);
    if (!encoded.ok()) return encoded.status();
    constant_ = std::move(encoded).value();
    return {};
  }

  size_t ring_bytes() const {
    if (!options_.command.empty()) return kRingBytesOfCommands;
    return RingBytesFor(constant_.value_or("").size(), internal::kReplyHeadBytes);
  }

  Status Answer(BytesServerCall& call) {
    ++answered_;
    const std::string& type = call.query_type();
    // Who asks may have come with another description than the one before.
    const ReceivedPayload query{call.query(), type, types_->ToJson(type, call.query(), answered_)};
    Print(call.client(), query);
    if (options_.echo) return call.Reply(call.query());
    if (constant_) return call.Reply(BytesOf(*constant_));
    auto output = Run(call, query);
    if (output.ok() && !options_.payload.type_name.empty()) {
      output = types_->FromJson(options_.payload.type_name, output.value());
      if (!output.ok()) output = Status(Code::kInternal, output.status().message());
    }
    if (!output.ok()) {
      Complain(fmt::format("request of '{}': {}", call.client(), output.status().ToString()));
      return output.status();
    }
    const Status replied = call.Reply(BytesOf(output.value()));
    if (!replied.ok()) {
      Complain(fmt::format("request of '{}': {}", call.client(), replied.ToString()));
    }
    return replied;
  }

  uint64_t answered() const { return answered_; }

 private:
  void Print(const std::string& client, const ReceivedPayload& query) const {
    if (json_) {
      return PrintLine(fmt::format(R"({{"service":{},"client":{},{}}})",
                                   JsonString(options_.service), JsonString(client),
                                   ForPrograms(query)));
    }
    PrintLine(ForPeople(query));
  }

  Result<std::string> Run(const BytesServerCall& call, const ReceivedPayload& query) const {
    ShellCommand command;
    command.command = options_.command;
    command.output_bytes_max =
        ringbuf::MaxMessage(kRingBytesOfCommands) - internal::kReplyHeadBytes;
    command.environment = {"IVMQ_SERVICE=" + options_.service, "IVMQ_CLIENT=" + call.client()};
    return RunShellCommand(command, query.json ? BytesOf(*query.json) : query.bytes,
                           [&] { return call.cancelled() || interrupt_->happened(); });
  }

  const bool json_;
  const ReplyOptions& options_;
  PayloadTypes* const types_;
  const Interrupt* const interrupt_;
  std::optional<std::string> constant_;
  uint64_t answered_ = 0;
};

Status ServeAll(const ReplyOptions& options, BytesServer* server, const Node& node,
                const Responder& responder, const Interrupt& interrupt) {
  bool alone = false;  // told that the daemon has gone
  while (!interrupt.happened() && (!options.count || responder.answered() < *options.count)) {
    Status status = server->RunOnce(kLookEvery);
    if (status.ok()) continue;
    if (status.code() != Code::kTimeout) return status;
    if (node.connected()) continue;
    const uint32_t clients = server->clients();
    if (clients == 0) {
      return Status(Code::kUnavailable, "the daemon has gone away, and no client is left");
    }
    if (!std::exchange(alone, true)) Complain(AloneText(clients, "client"));
  }
  return Status();
}

}  // namespace

int RunReply(const CommandLine& line) {
  const ReplyOptions& options = line.reply;
  std::mutex mutex;
  BytesServer* serving = nullptr;  // guarded by mutex
  const Interrupt interrupt([&] {
    const std::lock_guard lock(mutex);
    if (serving != nullptr) serving->Interrupt();
  });
  const auto set_serving = [&](BytesServer* server) {
    const std::lock_guard lock(mutex);
    serving = server;
  };
  PayloadTypes types;
  if (const Status read = types.ReadFile(options.payload.descriptors); !read.ok()) {
    return Fail(read);
  }
  auto node = Node::Open({.name = "ivmq-reply", .socket_path = line.node_socket});
  if (!node.ok()) return Fail(node.status());
  types.AskRealm(&node.value());
  Responder responder(line, &types, &interrupt);
  if (const Status prepared = responder.Prepare(); !prepared.ok()) return Fail(prepared);
  const std::string& type = options.payload.type_name;
  ServerOptions own;
  own.ring_bytes = responder.ring_bytes();
  own.descriptors = types.DescriptorsOf(type);
  auto server = node->CreateBytesServer(
      options.service, options.echo ? type : std::string(), type,
      [&](BytesServerCall& call) { return responder.Answer(call); }, own);
  if (!server.ok()) return Fail(server.status());
  Complain(fmt::format("serving '{}'; Ctrl-C ends", options.service));
  set_serving(&server.value());
  const Status status = ServeAll(options, &server.value(), *node, responder, interrupt);
  set_serving(nullptr);
  server->Close();
  if (status.ok()) {
    const bool short_of = options.count && responder.answered() < *options.count;
    return short_of ? kFailed : kDone;
  }
  Complain(status.message());
  return kFailed;
}

}  // namespace ivmq::command

#include "sdk/command/request.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "sdk/command/interrupt.h"
#include "sdk/command/output.h"
#include "sdk/command/payload_source.h"
#include "sdk/command/payload_text.h"
#include "sdk/command/payload_types.h"
#include "sdk/command/realm_view.h"
#include "sdk/command/ring_size.h"
#include "sdk/services/request_wire.h"

namespace ivmq::command {
namespace {

constexpr std::chrono::milliseconds kLookEvery{100};
constexpr size_t kLineBytes = 100 << 10;  // of requests whose size is not known yet

// What the request is encoded as.
Result<std::string> TypeFor(const RequestOptions& options, const RealmView::Service& service) {
  if (!options.payload.type_name.empty() || !options.payload.json) return options.payload.type_name;
  if (!service.request_type.empty()) return service.request_type;
  if (service.servers == 0) {
    return Status(Code::kUnavailable,
                  fmt::format("service '{}': nobody serves it, or says what type it takes; start "
                              "a server, or give --type",
                              options.service));
  }
  return Status(
      Code::kInvalidArgument,
      fmt::format("--json: service '{}' takes bytes; give MESSAGE or --type", options.service));
}

class Replies {
 public:
  Replies(const CommandLine& line, const std::string& type, PayloadTypes* types)
      : json_(line.json), service_(line.request.service), type_(type), types_(types) {}

  // Prints what comes until it ends.
  Status Print(BytesReplyReader* reader, uint64_t request, const Interrupt& interrupt) {
    for (uint64_t reply = 0;;) {
      if (interrupt.happened()) return Status(Code::kCancelled, "interrupted");
      auto next = reader->Next(kLookEvery);
      if (!next.ok() && next.status().code() == Code::kTimeout) continue;
      if (!next.ok()) return next.status();
      if (!next->has_value()) return Status();
      PrintOne(next->value(), request, reply++);
    }
  }

 private:
  void PrintOne(const Bytes& bytes, uint64_t request, uint64_t reply) {
    const ReceivedPayload payload{bytes, type_, types_->ToJson(type_, bytes, 0)};
    if (json_) {
      return PrintLine(fmt::format(R"({{"service":{},"request":"{}","reply":"{}",{}}})",
                                   JsonString(service_), request, reply, ForPrograms(payload)));
    }
    PrintLine(LinesForPeople(payload));
  }

  const bool json_;
  const std::string& service_;
  const std::string& type_;
  PayloadTypes* const types_;
};

Status AskAll(const RequestOptions& options, PayloadSource* source, BytesClient* client,
              Replies* replies, const Interrupt& interrupt) {
  for (uint64_t i = 0; !interrupt.happened(); ++i) {
    const auto query = source->Next();
    if (!query.ok()) return query.status();
    if (query.value() == nullptr) break;
    auto reader = client->CallStream(std::as_bytes(std::span(*query.value())), options.timeout);
    if (!reader.ok()) return reader.status();
    if (Status status = replies->Print(&reader.value(), i, interrupt); !status.ok()) return status;
  }
  if (interrupt.happened() && options.count) return Status(Code::kCancelled, "interrupted");
  return Status();
}

}  // namespace

int RunRequest(const CommandLine& line) {
  const RequestOptions& options = line.request;
  const Interrupt interrupt([] {});
  PayloadTypes types;
  if (const Status read = types.ReadFile(options.payload.descriptors); !read.ok()) {
    return Fail(read);
  }
  auto node = Node::Open({.name = "ivmq-request", .socket_path = line.node_socket});
  if (!node.ok()) return Fail(node.status());
  types.AskRealm(&node.value());
  const auto realm = RealmView::Open(&node.value());
  if (!realm.ok()) return Fail(realm.status());
  const RealmView::Service service =
      realm->AwaitService(options.service, options.wait_servers, options.timeout, interrupt);
  if (service.servers < options.wait_servers && interrupt.happened()) {
    return Fail(Status(Code::kCancelled, "interrupted"));
  }
  if (service.servers < options.wait_servers) {
    return Fail(Status(Code::kDeadlineExceeded,
                       fmt::format("{} of {} servers of '{}' came; start them, or give a longer "
                                   "--timeout",
                                   service.servers, options.wait_servers, options.service)));
  }
  const auto type = TypeFor(options, service);
  if (!type.ok()) return Fail(type.status());
  auto source = PayloadSource::Open(
      options.payload, options.count, {}, interrupt.fd(),
      [&](const std::string& json) { return types.FromJson(type.value(), json); });
  if (!source.ok()) return Fail(source.status());
  ClientOptions own;
  own.ring_bytes = RingBytesFor(source->size().value_or(kLineBytes), internal::kRequestHeadBytes);
  auto client = node->CreateBytesClient(options.service, type.value(), service.reply_type, own);
  if (!client.ok()) return Fail(client.status());
  Replies replies(line, service.reply_type, &types);
  const Status status = AskAll(options, &source.value(), &client.value(), &replies, interrupt);
  if (status.ok()) return kDone;
  Complain(status.ToString());
  return kFailed;
}

}  // namespace ivmq::command

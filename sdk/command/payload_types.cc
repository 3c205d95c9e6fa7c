#include "sdk/command/payload_types.h"

#include <fmt/core.h>
#include <google/protobuf/util/json_util.h>

#include <limits>
#include <utility>

#include "sdk/command/output.h"
#include "sdk/command/payload_source.h"

namespace ivmq::command {

using google::protobuf::Message;

Status PayloadTypes::ReadFile(const std::string& path) {
  if (path.empty()) return {};
  auto set = ReadWholeFile(path);
  if (!set.ok()) return Status(Code::kInvalidArgument, "--descriptors: " + set.status().message());
  auto book = DescriptorBook::Parse(set.value());
  if (!book.ok()) {
    return Status(Code::kInvalidArgument,
                  fmt::format("--descriptors: '{}' has {}", path, book.status().message()));
  }
  path_ = path;
  file_ = std::move(book).value();
  return {};
}

Status PayloadTypes::LookUp(const std::string& name, Type* type) {
  std::string file_said;
  if (file_ != nullptr) {
    const auto found = file_->Find(name);
    if (found.ok()) {
      type->book = file_.get();
      type->message.reset(found.value()->New());
      return {};
    }
    file_said = fmt::format("'{}': {}; ", path_, found.status().message());
  }
  if (node_ == nullptr) return Status(Code::kNotFound, file_said + "no realm was asked");
  const auto described = node_->DescribeType(name);
  if (!described.ok())
    return Status(described.status().code(), file_said + described.status().message());
  auto book = DescriptorBook::Parse(described.value());
  if (!book.ok()) return Status(Code::kNotFound, "the realm has " + book.status().message());
  const auto found = book.value()->Find(name);
  if (!found.ok()) return Status(Code::kNotFound, "the realm: " + found.status().message());
  type->message.reset(found.value()->New());
  type->own_book = std::move(book).value();
  type->book = type->own_book.get();
  return {};
}

PayloadTypes::Type* PayloadTypes::Find(std::string_view name, uint64_t origin) {
  auto found = types_.find(name);
  if (found == types_.end()) {
    found = types_.emplace(name, Type()).first;
  } else if (found->second.message != nullptr || found->second.asked_for == origin) {
    return &found->second;
  }
  Type* const type = &found->second;
  type->why = LookUp(found->first, type);
  type->asked_for = origin;
  return type;
}

std::optional<std::string> PayloadTypes::ToJson(std::string_view name,
                                                std::span<const std::byte> payload,
                                                uint64_t origin) {
  if (name.empty() || payload.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return std::nullopt;
  }
  Type* const type = Find(name, origin);
  if (type->message == nullptr) {
    if (!type->told) {
      Complain(fmt::format("type '{}' is not known: {}; --descriptors FILE tells it", name,
                           type->why.message()));
    }
    type->told = true;
    return std::nullopt;
  }
  std::string json;
  const int bytes = static_cast<int>(payload.size());
  if (!type->message->ParseFromArray(payload.data(), bytes) ||
      !command::ToJson(*type->message, &json)) {
    return std::nullopt;
  }
  return json;
}

Result<std::string> PayloadTypes::FromJson(const std::string& name, const std::string& json) {
  Type* const type = Find(name, 0);
  if (type->message == nullptr) {
    if (file_ == nullptr) {
      return Status(type->why.code(), type->why.message() + "; give --descriptors FILE");
    }
    return Status(Code::kInvalidArgument, type->why.message() + "; give --type as FILE has it");
  }
  type->message->Clear();
  const auto status = google::protobuf::util::JsonStringToMessage(json, type->message.get());
  if (!status.ok()) {
    // A second and third line would point at the place.
    const std::string what(status.message());
    return Status(Code::kInvalidArgument, fmt::format("{} is no {}: {}", Shortened(json), name,
                                                      what.substr(0, what.find('\n'))));
  }
  return type->message->SerializeAsString();
}

std::string PayloadTypes::DescriptorsOf(const std::string& name) {
  if (name.empty()) return {};
  const Type* const type = Find(name, 0);
  if (type->message == nullptr) return {};
  std::string set = type->book->SetOf(name);
  if (set.size() <= kMaxDescriptorBytes) return set;
  Complain(
      fmt::format("type '{}' takes {} bytes to describe, a realm keeps at most {}: others will "
                  "see bytes, unless they have --descriptors FILE",
                  name, set.size(), kMaxDescriptorBytes));
  return {};
}

}  // namespace ivmq::command

#include "broker/control/type_book.h"

#include <fmt/core.h>
#include <google/protobuf/descriptor.pb.h>

#include <utility>

#include "broker/control/topic_name.h"
#include "transport/log.h"

namespace ivmq::control {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::FileDescriptorSet;

// Takes the first part off a dotted name.
std::string_view TakePart(std::string_view* name) {
  const size_t dot = name->find('.');
  const std::string_view part = name->substr(0, dot);
  *name = dot == std::string_view::npos ? std::string_view() : name->substr(dot + 1);
  return part;
}

// `name` relative to these messages; no deeper than it has parts.
template <class Messages>
bool Holds(const Messages& messages, std::string_view name) {
  const std::string_view first = TakePart(&name);
  for (const DescriptorProto& message : messages) {
    if (message.name() != first) continue;
    if (name.empty() || Holds(message.nested_type(), name)) return true;
  }
  return false;
}

bool Holds(const FileDescriptorSet& set, std::string_view type) {
  for (const auto& file : set.file()) {
    std::string_view name = type;
    if (!file.package().empty()) {
      const std::string prefix = file.package() + ".";
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
    }
    if (Holds(file.message_type(), name)) return true;
  }
  return false;
}

}  // namespace

absl::Status TypeBook::Validate(std::string_view set, const std::vector<std::string>& types) {
  if (set.empty()) return absl::OkStatus();
  if (set.size() > kMaxSetBytes) {
    return absl::InvalidArgumentError(fmt::format(
        "a file descriptor set of {} bytes; at most {} are allowed", set.size(), kMaxSetBytes));
  }
  FileDescriptorSet parsed;
  if (!parsed.ParseFromArray(set.data(), static_cast<int>(set.size()))) {
    return absl::InvalidArgumentError(
        fmt::format("{} bytes that are no serialized google.protobuf.FileDescriptorSet were given "
                    "as one",
                    set.size()));
  }
  bool has_type = false;
  for (const std::string& type : types) {
    has_type = has_type || !type.empty();
    if (type.empty() || Holds(parsed, type)) continue;
    return absl::InvalidArgumentError(
        fmt::format("the file descriptor set has {} files, but type {} is in none of them",
                    parsed.file_size(), Quoted(type)));
  }
  if (has_type) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "a file descriptor set without a type name; bytes need no description");
}

void TypeBook::Add(uint64_t endpoint_id, const std::vector<std::string>& types,
                   const std::string& set) {
  const auto kept = set.empty() ? nullptr : std::make_shared<const std::string>(set);
  for (const std::string& name : types) {
    if (name.empty()) continue;
    Type& type = types_[name];
    if (!type.endpoints.insert(endpoint_id).second) continue;  // requests and replies of one type
    types_of_[endpoint_id].push_back(name);
    if (idle_.erase(std::exchange(type.idle_number, 0)) > 0 && kept != nullptr) {
      // Nobody is left who meant the old one.
      used_bytes_ -= type.set->size();
      type.set = nullptr;
    }
    if (kept != nullptr) Describe(name, kept, &type);
  }
}

void TypeBook::Describe(const std::string& name, const std::shared_ptr<const std::string>& set,
                        Type* type) {
  if (type->set != nullptr) {
    if (*type->set == *set) return;
    if (conflicts_++ == 0) {
      LogWarning("type {} is described in different ways; the first that came counts (said once)",
                 Quoted(name));
    }
    return;
  }
  MakeRoom(set->size());
  type->had_no_room = used_bytes_ + set->size() > total_bytes_;
  if (type->had_no_room) return;
  type->set = set;
  used_bytes_ += set->size();
}

void TypeBook::MakeRoom(size_t bytes) {
  while (!idle_.empty() && (used_bytes_ + bytes > total_bytes_ || idle_.size() > kMaxIdle)) {
    Forget(idle_.begin()->second);
  }
}

void TypeBook::Forget(std::string_view name) {
  const auto found = types_.find(name);
  idle_.erase(found->second.idle_number);
  if (found->second.set != nullptr) used_bytes_ -= found->second.set->size();
  types_.erase(found);
}

void TypeBook::Remove(uint64_t endpoint_id) {
  const auto of_endpoint = types_of_.extract(endpoint_id);
  if (of_endpoint.empty()) return;
  for (const std::string& name : of_endpoint.mapped()) {
    const auto found = types_.find(name);
    Type& type = found->second;
    type.endpoints.erase(endpoint_id);
    if (!type.endpoints.empty()) continue;
    if (type.set == nullptr) {
      types_.erase(found);
      continue;
    }
    type.idle_number = ++last_idle_number_;
    idle_[type.idle_number] = name;
    MakeRoom(0);
  }
}

absl::StatusOr<std::shared_ptr<const std::string>> TypeBook::Find(std::string_view name) const {
  const auto found = types_.find(name);
  if (found == types_.end()) {
    return absl::NotFoundError(fmt::format("nobody publishes or serves type {}", Quoted(name)));
  }
  const Type& type = found->second;
  if (type.set != nullptr) return type.set;
  return absl::NotFoundError(
      type.had_no_room
          ? fmt::format("type {} was described, but {} of {} bytes for descriptions were in use",
                        Quoted(name), used_bytes_, total_bytes_)
          : fmt::format("nobody who publishes or serves type {} described it; what takes more than "
                        "{} bytes to describe is not",
                        Quoted(name), kMaxSetBytes));
}

}  // namespace ivmq::control

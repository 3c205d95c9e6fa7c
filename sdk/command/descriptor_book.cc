#include "sdk/command/descriptor_book.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

namespace ivmq::command {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::Message;

constexpr size_t kTypesNamed = 8;

// Those it needs first.
void AddFile(const FileDescriptor* file, std::set<const FileDescriptor*>* seen,
             FileDescriptorSet* set) {
  if (!seen->insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), seen, set);
  file->CopyTo(set->add_file());
}

}  // namespace

void DescriptorBook::FirstError::AddError(const std::string& file, const std::string& element,
                                          const Message* /*descriptor*/, ErrorLocation /*location*/,
                                          const std::string& message) {
  if (text_.empty()) text_ = fmt::format("{}: {}: {}", file, element, message);
}

Result<std::unique_ptr<DescriptorBook>> DescriptorBook::Parse(std::string_view set) {
  FileDescriptorSet parsed;
  if (set.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !parsed.ParseFromArray(set.data(), static_cast<int>(set.size()))) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{} bytes that are no google.protobuf.FileDescriptorSet; `protoc "
                              "--include_imports -o FILE` writes one",
                              set.size()));
  }
  if (parsed.file().empty()) {
    return Status(Code::kInvalidArgument, "a google.protobuf.FileDescriptorSet without a file");
  }
  return std::unique_ptr<DescriptorBook>(new DescriptorBook(parsed));
}

DescriptorBook::DescriptorBook(const FileDescriptorSet& set)
    : protobufs_(*google::protobuf::DescriptorPool::generated_pool()),
      all_(&own_, &protobufs_),
      pool_(&all_, &error_),
      factory_(&pool_) {
  std::set<std::string> seen;
  for (const FileDescriptorProto& file : set.file()) {
    if (seen.insert(file.name()).second && own_.Add(file)) files_.push_back(file.name());
  }
}

DescriptorBook::~DescriptorBook() = default;

Result<const Message*> DescriptorBook::Find(const std::string& type) {
  error_.Clear();  // of another type
  const Descriptor* const descriptor = pool_.FindMessageTypeByName(type);
  if (descriptor != nullptr) return factory_.GetPrototype(descriptor);
  if (!error_.text().empty()) {
    return Status(Code::kNotFound, fmt::format("type '{}': {}", type, error_.text()));
  }
  return Status(Code::kNotFound, fmt::format("type '{}' is in none of {} files, which hold {}",
                                             type, files_.size(), Contents()));
}

std::string DescriptorBook::Contents() const {
  std::string names;
  size_t count = 0;
  for (const std::string& name : files_) {
    const FileDescriptor* const file = pool_.FindFileByName(name);
    for (int i = 0; file != nullptr && i < file->message_type_count(); ++i) {
      if (++count > kTypesNamed) return names + ", …";
      names += (names.empty() ? "" : ", ") + file->message_type(i)->full_name();
    }
  }
  return names.empty() ? "none" : names;
}

std::string DescriptorBook::SetOf(const std::string& type) const {
  std::set<const FileDescriptor*> seen;
  FileDescriptorSet set;
  AddFile(pool_.FindMessageTypeByName(type)->file(), &seen, &set);
  return set.SerializeAsString();
}

}  // namespace ivmq::command

#ifndef IVMQ_SDK_COMMAND_PAYLOAD_TYPES_H_
#define IVMQ_SDK_COMMAND_PAYLOAD_TYPES_H_

#include <google/protobuf/message.h>
#include <ivmq/ivmq.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sdk/command/descriptor_book.h"

namespace ivmq::command {

// Turns payloads into JSON and back, by what a file holds of their types, else by what publishers
// and servers told the realm. One thread.
class PayloadTypes {
 public:
  // Takes types from this file first; an empty path is none. INVALID_ARGUMENT: it cannot be read,
  // or is no FileDescriptorSet.
  Status ReadFile(const std::string& path);
  // Asks this node for the others; it outlives this.
  void AskRealm(Node* node) { node_ = node; }

  // The payload as one line of JSON. Nothing: of bytes; where the type is not known, which is said
  // once on stderr; where these bytes are none of it. `origin`: the link that brought it; for
  // another one a type that was not known is asked for again.
  std::optional<std::string> ToJson(std::string_view type, std::span<const std::byte> payload,
                                    uint64_t origin);
  // NOT_FOUND: the type is not known, and why. INVALID_ARGUMENT: the JSON does not fit it, or the
  // file that was read does not have the type.
  Result<std::string> FromJson(const std::string& type, const std::string& json);
  // A serialized FileDescriptorSet with the type, or nothing where it is not known.
  std::string DescriptorsOf(const std::string& type);

 private:
  struct Type {
    std::unique_ptr<DescriptorBook> own_book;  // null: the file's
    DescriptorBook* book = nullptr;
    std::unique_ptr<google::protobuf::Message> message;  // used again; null: not known
    Status why;                                          // it is not known
    uint64_t asked_for = 0;                              // origin, when it was not
    bool told = false;                                   // that it is not
  };
  // Looks it up the first time, and again where it was not known for another origin.
  Type* Find(std::string_view name, uint64_t origin);
  Status LookUp(const std::string& name, Type* type);

  std::string path_;
  std::unique_ptr<DescriptorBook> file_;
  Node* node_ = nullptr;
  std::map<std::string, Type, std::less<>> types_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_PAYLOAD_TYPES_H_

#ifndef IVMQ_SDK_COMMAND_DESCRIPTOR_BOOK_H_
#define IVMQ_SDK_COMMAND_DESCRIPTOR_BOOK_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <ivmq/status.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ivmq::command {

// The types of one google.protobuf.FileDescriptorSet, which may be a peer's word: its files in any
// order, several times, or nonsense. Files that it lacks and protobuf has itself, as
// google/protobuf/timestamp.proto, are protobuf's. One thread.
class DescriptorBook {
 public:
  // INVALID_ARGUMENT: it is none, or holds no file.
  static Result<std::unique_ptr<DescriptorBook>> Parse(std::string_view set);
  ~DescriptorBook();
  DescriptorBook(const DescriptorBook&) = delete;
  DescriptorBook& operator=(const DescriptorBook&) = delete;

  // An empty message of the type, which lives as long as the book. NOT_FOUND: it is not in here,
  // saying what is; or what it needs is missing or wrong.
  Result<const google::protobuf::Message*> Find(const std::string& type);
  // A serialized set of the type's file and all that it needs. REQUIRES: Find() found it.
  std::string SetOf(const std::string& type) const;

 private:
  // The first error, instead of all of them on stderr.
  class FirstError : public google::protobuf::DescriptorPool::ErrorCollector {
   public:
    void AddError(const std::string& file, const std::string& element,
                  const google::protobuf::Message* descriptor, ErrorLocation location,
                  const std::string& message) override;
    const std::string& text() const { return text_; }
    void Clear() { text_.clear(); }

   private:
    std::string text_;
  };

  explicit DescriptorBook(const google::protobuf::FileDescriptorSet& set);
  std::string Contents() const;

  std::vector<std::string> files_;
  google::protobuf::SimpleDescriptorDatabase own_;
  google::protobuf::DescriptorPoolDatabase protobufs_;
  google::protobuf::MergedDescriptorDatabase all_;
  FirstError error_;
  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;  // last: its messages need the pool
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DESCRIPTOR_BOOK_H_

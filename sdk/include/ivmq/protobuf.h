#ifndef IVMQ_PROTOBUF_H_
#define IVMQ_PROTOBUF_H_

// Lets publishers and subscribers carry protobuf messages. Header-only: compiled against the
// protobuf that the application uses.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <ivmq/codec.h>

#include <limits>
#include <set>
#include <span>
#include <string>
#include <type_traits>

namespace ivmq {

template <class T>
struct Codec<T, std::enable_if_t<std::is_base_of_v<google::protobuf::MessageLite, T>>> {
  static std::string TypeName() { return T::default_instance().GetTypeName(); }
  // The file of T and all that it needs; empty for messages without reflection.
  static std::string Descriptors() {
    std::string serialized;
    if constexpr (std::is_base_of_v<google::protobuf::Message, T>) {
      google::protobuf::FileDescriptorSet files;
      std::set<const google::protobuf::FileDescriptor*> seen;
      AddFile(T::descriptor()->file(), &seen, &files);
      files.SerializeToString(&serialized);
    }
    return serialized;
  }
  static size_t Size(const T& value) { return value.ByteSizeLong(); }
  // Uses the sizes that Size() has just cached.
  static bool Encode(const T& value, std::span<std::byte> out) {
    if (out.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return false;
    auto* begin = reinterpret_cast<uint8_t*>(out.data());
    return value.SerializeWithCachedSizesToArray(begin) == begin + out.size();
  }
  static bool Decode(std::span<const std::byte> in, T* value) {
    if (in.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return false;
    return value->ParseFromArray(in.data(), static_cast<int>(in.size()));
  }

 private:
  // Those it needs first.
  static void AddFile(const google::protobuf::FileDescriptor* file,
                      std::set<const google::protobuf::FileDescriptor*>* seen,
                      google::protobuf::FileDescriptorSet* files) {
    if (!seen->insert(file).second) return;
    for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), seen, files);
    file->CopyTo(files->add_file());
  }
};

}  // namespace ivmq

#endif  // IVMQ_PROTOBUF_H_

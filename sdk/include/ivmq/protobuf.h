#ifndef IVMQ_PROTOBUF_H_
#define IVMQ_PROTOBUF_H_

// Lets publishers and subscribers carry protobuf messages. Header-only: compiled against the
// protobuf that the application uses.

#include <google/protobuf/message_lite.h>
#include <ivmq/codec.h>

#include <limits>
#include <span>
#include <string>
#include <type_traits>

namespace ivmq {

template <class T>
struct Codec<T, std::enable_if_t<std::is_base_of_v<google::protobuf::MessageLite, T>>> {
  static std::string TypeName() { return T::default_instance().GetTypeName(); }
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
};

}  // namespace ivmq

#endif  // IVMQ_PROTOBUF_H_

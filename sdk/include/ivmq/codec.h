#ifndef IVMQ_CODEC_H_
#define IVMQ_CODEC_H_

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace ivmq {

// A message without a type: what `ivmq pub` and `ivmq sub` use.
using Bytes = std::vector<std::byte>;

// How a T becomes bytes and back. <ivmq/protobuf.h> provides it for every protobuf message;
// specialise it for a format of your own. A T that is received has to be default-constructible,
// movable and assignable from a T that goes away.
//
//   static std::string TypeName();                        // compared when a link is made
//   static size_t Size(const T& value);                   // exact
//   static bool Encode(const T& value, std::span<std::byte> out);   // out.size() == Size(value)
//   static bool Decode(std::span<const std::byte> in, T* value);    // false: not a T
//   static std::string Descriptors();   // optional: a serialized google.protobuf.FileDescriptorSet
template <class T, class Enable = void>
struct Codec;

template <>
struct Codec<Bytes> {
  static std::string TypeName() { return {}; }
  static size_t Size(const Bytes& value) { return value.size(); }
  static bool Encode(const Bytes& value, std::span<std::byte> out) {
    if (!value.empty()) std::memcpy(out.data(), value.data(), value.size());
    return true;
  }
  static bool Decode(std::span<const std::byte> in, Bytes* value) {
    value->assign(in.begin(), in.end());
    return true;
  }
};

}  // namespace ivmq

#endif  // IVMQ_CODEC_H_

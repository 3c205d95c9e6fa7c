#ifndef IVMQ_TESTS_SDK_TEXTS_H_
#define IVMQ_TESTS_SDK_TEXTS_H_

#include <cstddef>
#include <span>
#include <string_view>

namespace ivmq::test {

// The bytes of a text, for as long as the text lives.
inline std::span<const std::byte> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_TEXTS_H_

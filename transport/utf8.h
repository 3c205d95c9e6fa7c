#ifndef IVMQ_TRANSPORT_UTF8_H_
#define IVMQ_TRANSPORT_UTF8_H_

#include <cstddef>
#include <string_view>

// Names and texts come from peers: what of them is text, and what may be shown. Any thread.

namespace ivmq::transport {

// Bytes of the UTF-8 character at the start of `text`, its code point in *character; 0 if there is
// none: overlong forms, surrogates and what lies beyond U+10FFFF are none.
// REQUIRES: `text` is not empty.
size_t DecodeUtf8(std::string_view text, char32_t* character);

// No control character, no separator of lines or paragraphs, no noncharacter.
bool IsPrintable(char32_t character);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_UTF8_H_

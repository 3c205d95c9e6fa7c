#include "transport/utf8.h"

#include <array>

namespace ivmq::transport {

size_t DecodeUtf8(std::string_view text, char32_t* character) {
  const auto byte = [text](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    *character = first;
    return 1;
  }
  const size_t length = (first & 0xe0) == 0xc0   ? 2
                        : (first & 0xf0) == 0xe0 ? 3
                        : (first & 0xf8) == 0xf0 ? 4
                                                 : 0;
  if (length == 0 || text.size() < length) return 0;
  char32_t value = first & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kSmallest[length] || value > 0x10ffff || surrogate) return 0;
  *character = value;
  return length;
}

bool IsPrintable(char32_t character) {
  if (character < 0x20 || (character >= 0x7f && character < 0xa0)) return false;  // C0, DEL, C1
  if (character == 0x2028 || character == 0x2029) return false;  // line and paragraph separators
  if (character >= 0xfdd0 && character <= 0xfdef) return false;  // noncharacters
  return (character & 0xfffe) != 0xfffe;
}

}  // namespace ivmq::transport

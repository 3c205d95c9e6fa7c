#include "transport/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace ivmq::transport {
namespace {

TEST(Utf8Test, DecodesCharactersOfEveryLengthAtBothEnds) {
  const struct {
    std::string text;
    char32_t character;
  } cases[] = {
      {std::string(1, '\0'), 0},
      {"\x7f", 0x7f},
      {"\xc2\x80", 0x80},
      {"\xdf\xbf", 0x7ff},
      {"\xe0\xa0\x80", 0x800},
      {"\xed\x9f\xbf", 0xd7ff},
      {"\xee\x80\x80", 0xe000},
      {"\xef\xbf\xbf", 0xffff},
      {"\xf0\x90\x80\x80", 0x10000},
      {"\xf4\x8f\xbf\xbf", 0x10ffff},
  };
  for (const auto& one : cases) {
    char32_t character = 0;
    EXPECT_EQ(DecodeUtf8(one.text + "x", &character), one.text.size())
        << testing::PrintToString(one.text);
    EXPECT_TRUE(character == one.character) << testing::PrintToString(one.text);
  }
}

TEST(Utf8Test, RefusesWhatIsNoCharacter) {
  const std::string cases[] = {
      "\x80",                  // the middle of one
      "\xff",                  // in no character
      "\xc1\xbf",              // overlong
      "\xe0\x9f\xbf",          // overlong
      "\xf0\x8f\xbf\xbf",      // overlong
      "\xed\xa0\x80",          // the first surrogate
      "\xed\xbf\xbf",          // the last one
      "\xf4\x90\x80\x80",      // beyond Unicode
      "\xf8\x88\x80\x80\x80",  // five bytes
      "\xe2\x82",              // cut short
      "\xe2\x82x",             // ended by another
  };
  for (const std::string& text : cases) {
    char32_t character = 0;
    EXPECT_EQ(DecodeUtf8(text, &character), 0u) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, KnowsWhatCanBeShown) {
  for (const char32_t character : {0x20, 0x7e, 0xa0, 0x2027, 0x202a, 0xfdcf, 0xfdf0, 0xfffd}) {
    EXPECT_TRUE(IsPrintable(character)) << std::hex << static_cast<uint32_t>(character);
  }
  for (const char32_t character : {0x00, 0x1f, 0x7f, 0x9f, 0x2028, 0x2029, 0xfdd0, 0xfdef, 0xfffe,
                                   0xffff, 0x1fffe, 0x10ffff}) {
    EXPECT_FALSE(IsPrintable(character)) << std::hex << static_cast<uint32_t>(character);
  }
}

}  // namespace
}  // namespace ivmq::transport

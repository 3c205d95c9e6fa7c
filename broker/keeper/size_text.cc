#include <fmt/core.h>

#include <array>
#include <charconv>
#include <limits>

#include "broker/keeper/config.h"

namespace ivmq::broker {
namespace {

struct Unit {
  std::string_view suffix;
  uint64_t bytes;
};
// Largest first, so that FormatSize() takes the largest that fits.
constexpr std::array<Unit, 4> kUnits = {
    {{"GiB", uint64_t{1} << 30}, {"MiB", uint64_t{1} << 20}, {"KiB", uint64_t{1} << 10}, {"", 1}}};

}  // namespace

transport::Result<uint64_t> ParseSize(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc()) {
    const std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
    for (const Unit& unit : kUnits) {
      if (suffix == unit.suffix && number <= std::numeric_limits<uint64_t>::max() / unit.bytes) {
        return number * unit.bytes;
      }
    }
  }
  return transport::Status(
      transport::Code::kInvalidArgument,
      fmt::format("\"{}\" is not a size: write bytes, or a number with KiB, MiB or GiB (256MiB)",
                  text));
}

std::string FormatSize(uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes >= unit.bytes && bytes % unit.bytes == 0) {
      return fmt::format("{}{}", bytes / unit.bytes, unit.suffix.empty() ? " B" : unit.suffix);
    }
  }
  return "0 B";
}

}  // namespace ivmq::broker

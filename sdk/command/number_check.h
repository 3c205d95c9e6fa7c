#ifndef IVMQ_SDK_COMMAND_NUMBER_CHECK_H_
#define IVMQ_SDK_COMMAND_NUMBER_CHECK_H_

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>

// Checks of the command line's numbers that say what was given and what is allowed.
namespace ivmq::command {

// CLI11 takes -1 and what overflows for the largest number there is.
inline bool CanBeCounted(const std::string& text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return false;
  errno = 0;
  static_cast<void>(std::strtoull(text.c_str(), nullptr, 0));
  return errno == 0;
}

// CLI11's own checks of a number print the bounds of its type, which for a double has 309 digits.
template <class Number>
CLI::Validator Within(Number least, Number most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    constexpr bool kWhole = std::is_integral_v<Number>;
    Number value{};
    // What is no number compares as false with both bounds.
    if ((!kWhole || CanBeCounted(text)) && CLI::detail::lexical_cast(text, value) &&
        value >= least && value <= most) {
      return {};
    }
    return kWhole ? fmt::format("'{}' is not a whole number from {} to {}", text, least, most)
                  : fmt::format("'{}' is not a number from {:.10g} to {:.10g}", text,
                                static_cast<double>(least), static_cast<double>(most));
  };
  return CLI::Validator(check, "");
}

inline CLI::Validator Counted(uint64_t least) {
  return Within(least, std::numeric_limits<uint64_t>::max());
}

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_NUMBER_CHECK_H_

#include "sdk/command/findings.h"

#include <fmt/core.h>

#include "sdk/command/output.h"

namespace ivmq::command {

void Findings::Print(const std::string& level, const std::string& check, const std::string& found,
                     const std::string& mend) const {
  if (json_) {
    return PrintLine(fmt::format(R"({{"level":{},"check":{},"found":{},"mend":{}}})",
                                 JsonString(level), JsonString(check), JsonString(found),
                                 JsonString(mend)));
  }
  PrintLine(fmt::format("{:<5}{:<18}{}", level == "fail" ? "FAIL" : level, check, found));
  if (!mend.empty()) PrintLine(fmt::format("{:<23}-> {}", "", mend));
}

void Findings::PrintSummary() const {
  if (json_) return;
  if (failures_ == 0 && warnings_ == 0) return PrintLine("all is well");
  PrintLine(fmt::format("{} failure{}, {} warning{}", failures_, failures_ == 1 ? "" : "s",
                        warnings_, warnings_ == 1 ? "" : "s"));
}

}  // namespace ivmq::command

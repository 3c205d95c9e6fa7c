#ifndef IVMQ_SDK_COMMAND_FINDINGS_H_
#define IVMQ_SDK_COMMAND_FINDINGS_H_

#include <cstddef>
#include <string>

namespace ivmq::command {

// What doctor finds, printed as it is found: for people a line and the mend below it, for programs
// {"level":"ok|warn|fail","check":…,"found":…,"mend":…}. One thread.
class Findings {
 public:
  explicit Findings(bool json) : json_(json) {}

  void Ok(const std::string& check, const std::string& found) { Print("ok", check, found, ""); }
  // Works, but worse than it could.
  void Warn(const std::string& check, const std::string& found, const std::string& mend) {
    ++warnings_;
    Print("warn", check, found, mend);
  }
  // Does not work.
  void Fail(const std::string& check, const std::string& found, const std::string& mend) {
    ++failures_;
    Print("fail", check, found, mend);
  }
  // Ok if `good`, else Warn.
  void Expect(bool good, const std::string& check, const std::string& found,
              const std::string& mend) {
    good ? Ok(check, found) : Warn(check, found, mend);
  }

  size_t failures() const { return failures_; }
  size_t warnings() const { return warnings_; }
  // For people: how many of each.
  void PrintSummary() const;

 private:
  void Print(const std::string& level, const std::string& check, const std::string& found,
             const std::string& mend) const;

  const bool json_;
  size_t warnings_ = 0;
  size_t failures_ = 0;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_FINDINGS_H_

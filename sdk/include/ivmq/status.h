#ifndef IVMQ_STATUS_H_
#define IVMQ_STATUS_H_

#include <ivmq/export.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace ivmq {

// What went wrong. Values up to 16 are gRPC's.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,   // the request can never succeed as it was made
  kDeadlineExceeded = 4,  // the daemon or a peer did not answer in time
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,   // the region, or a limit, is used up
  kFailedPrecondition = 9,  // e.g. types that differ, a node used after fork
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,  // no daemon, or it went away
  kDataLoss = 15,     // a peer wrote nonsense into a link; the link is closed
  // The data path's own answers.
  kTimeout = 64,  // nothing arrived within the time given
  kFull = 65,     // a link has no room; the message was written to none
  kClosed = 66,   // the node, publisher or subscriber is closed
};

// "INVALID_ARGUMENT", "FULL", …; never null.
IVMQ_API const char* CodeName(Code code);

// A code and, unless ok, a sentence that says what was given, what is allowed and what to do.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // "OK", or "FULL: …".
  std::string ToString() const {
    return ok() ? std::string("OK") : std::string(CodeName(code_)) + ": " + message_;
  }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

namespace internal {
// Writes the status to stderr and aborts: value() was called on a failure.
[[noreturn]] IVMQ_API void DieOfValueOnFailure(const Status& status);
}  // namespace internal

// A T, or the status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor): both convert, so that a function can return either.
  Result(T value) : state_(std::in_place_index<1>, std::move(value)) {}
  Result(Status status) : state_(std::in_place_index<0>, std::move(status)) {}
  // NOLINTEND(google-explicit-constructor)
  // A value made of `arguments` where it stays: for what is not cheap to move.
  template <class... Arguments>
  explicit Result(std::in_place_t /*in_place*/, Arguments&&... arguments)
      : state_(std::in_place_index<1>, std::forward<Arguments>(arguments)...) {}

  bool ok() const { return state_.index() == 1; }
  explicit operator bool() const { return ok(); }
  Status status() const { return ok() ? Status() : std::get<0>(state_); }
  // Aborts with the status on stderr unless ok().
  T& value() & {
    Check();
    return std::get<1>(state_);
  }
  const T& value() const& {
    Check();
    return std::get<1>(state_);
  }
  T&& value() && {
    Check();
    return std::get<1>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  void Check() const {
    if (!ok()) internal::DieOfValueOnFailure(std::get<0>(state_));
  }
  std::variant<Status, T> state_;
};

}  // namespace ivmq

#endif  // IVMQ_STATUS_H_

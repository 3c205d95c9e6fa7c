#ifndef IVMQ_TRANSPORT_LOG_H_
#define IVMQ_TRANSPORT_LOG_H_

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

// A daemon's log: one line an event, on stderr. Any thread. A library of its own (ivmq_log):
// neither transport nor libivmq logs or links what it needs.

namespace ivmq {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning" or "error"; false for anything else.
bool ParseLogLevel(std::string_view text, LogLevel* level);
// As ParseLogLevel reads it.
const char* LogLevelText(LogLevel level);

// The daemon's name, in every line. Before there are threads.
void SetLogName(const std::string& name);
// kInfo until then.
void SetLogLevel(LogLevel level);
bool IsLogged(LogLevel level);
void Log(LogLevel level, const std::string& line);

template <class... Args>
void LogDebug(fmt::format_string<Args...> format, Args&&... args) {
  if (!IsLogged(LogLevel::kDebug)) return;
  Log(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogInfo(fmt::format_string<Args...> format, Args&&... args) {
  if (!IsLogged(LogLevel::kInfo)) return;
  Log(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogWarning(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogError(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace ivmq

#endif  // IVMQ_TRANSPORT_LOG_H_

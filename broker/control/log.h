#ifndef IVMQ_BROKER_CONTROL_LOG_H_
#define IVMQ_BROKER_CONTROL_LOG_H_

#include <fmt/core.h>

#include <string>
#include <utility>

// Control's log: one line an event, on stderr, which it shares with the keeper. Any thread.

namespace ivmq::control {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

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

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_LOG_H_

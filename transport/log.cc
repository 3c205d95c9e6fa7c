#include "transport/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace ivmq {
namespace {

std::shared_ptr<spdlog::logger> NewLogger(const std::string& name) {
  auto made = std::make_shared<spdlog::logger>(
      name, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %^%l%$ %v");
  made->set_level(spdlog::level::info);
  return made;
}

std::shared_ptr<spdlog::logger>& Logger() {
  static std::shared_ptr<spdlog::logger> logger = NewLogger("ivmq");
  return logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

bool ParseLogLevel(std::string_view text, LogLevel* level) {
  if (text == "debug") {
    *level = LogLevel::kDebug;
  } else if (text == "info") {
    *level = LogLevel::kInfo;
  } else if (text == "warning") {
    *level = LogLevel::kWarning;
  } else if (text == "error") {
    *level = LogLevel::kError;
  } else {
    return false;
  }
  return true;
}

void SetLogName(const std::string& name) { Logger() = NewLogger(name); }
void SetLogLevel(LogLevel level) { Logger()->set_level(ToSpdlog(level)); }
bool IsLogged(LogLevel level) { return Logger()->should_log(ToSpdlog(level)); }
void Log(LogLevel level, const std::string& line) { Logger()->log(ToSpdlog(level), line); }

}  // namespace ivmq

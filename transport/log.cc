#include "transport/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <iterator>
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

struct NamedLevel {
  const char* text;
  spdlog::level::level_enum spdlog;
};
// By LogLevel.
constexpr NamedLevel kLevels[] = {{"debug", spdlog::level::debug},
                                  {"info", spdlog::level::info},
                                  {"warning", spdlog::level::warn},
                                  {"error", spdlog::level::err}};
static_assert(std::size(kLevels) == static_cast<size_t>(LogLevel::kError) + 1);

const NamedLevel& Named(LogLevel level) { return kLevels[static_cast<size_t>(level)]; }

}  // namespace

bool ParseLogLevel(std::string_view text, LogLevel* level) {
  for (size_t i = 0; i < std::size(kLevels); ++i) {
    if (text != kLevels[i].text) continue;
    *level = static_cast<LogLevel>(i);
    return true;
  }
  return false;
}

const char* LogLevelText(LogLevel level) { return Named(level).text; }

void SetLogName(const std::string& name) { Logger() = NewLogger(name); }
void SetLogLevel(LogLevel level) { Logger()->set_level(Named(level).spdlog); }
bool IsLogged(LogLevel level) { return Logger()->should_log(Named(level).spdlog); }
void Log(LogLevel level, const std::string& line) { Logger()->log(Named(level).spdlog, line); }

}  // namespace ivmq

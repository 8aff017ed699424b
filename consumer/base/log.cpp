#include "base/log.h"

#include <unistd.h>

#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace towline {
namespace {

// Function-local so that nothing depends on the order of static construction.
struct LogState {
  std::mutex mutex;
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;
  std::string status_line;
};
LogState& State() {
  static auto* state = new LogState;
  return *state;
}

const char* LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "";
}

void WriteAll(absl::string_view text) {
  while (!text.empty()) {
    ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;  // nowhere left to complain to
    text.remove_prefix(static_cast<size_t>(written));
  }
}

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  LogState& state = State();
  std::lock_guard lock(state.mutex);
  if (level < state.level) return;
  std::string line;
  if (!state.status_line.empty()) line.append("\r\033[K");
  std::string now = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  if (state.format == LogFormat::kJson) {
    // Text that is not UTF-8 is replaced, not thrown at: the log must always go through.
    nlohmann::ordered_json object = {
        {"time", now}, {"level", LevelName(level)}, {"message", std::string(message)}};
    for (const LogField& field : fields) object[std::string(field.key)] = field.value;
    line.append(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    line.push_back('\n');
  } else {
    absl::StrAppend(&line, now, " ", LevelName(level), ": ", message);
    for (const LogField& field : fields) absl::StrAppend(&line, " ", field.key, "=", field.value);
    line.push_back('\n');
  }
  line.append(state.status_line);
  WriteAll(line);
}

}  // namespace

void InitLog(LogFormat format, LogLevel level) {
  LogState& state = State();
  std::lock_guard lock(state.mutex);
  state.format = format;
  state.level = level;
}

void LogDebug(absl::string_view message, std::initializer_list<LogField> fields) {
  Log(LogLevel::kDebug, message, fields);
}
void LogInfo(absl::string_view message, std::initializer_list<LogField> fields) {
  Log(LogLevel::kInfo, message, fields);
}
void LogWarning(absl::string_view message, std::initializer_list<LogField> fields) {
  Log(LogLevel::kWarning, message, fields);
}
void LogError(absl::string_view message, std::initializer_list<LogField> fields) {
  Log(LogLevel::kError, message, fields);
}

void SetStatusLine(absl::string_view text) {
  LogState& state = State();
  std::lock_guard lock(state.mutex);
  std::string out = state.status_line.empty() && text.empty() ? "" : "\r\033[K";
  state.status_line = std::string(text);
  out.append(state.status_line);
  WriteAll(out);
}

}  // namespace towline

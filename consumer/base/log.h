// The log, on standard error: text lines for people or one JSON object a line (--log-format json).
// A message says what happened; fields carry what varies (stage, table, lsn). No row values, no
// secrets. Thread-safe. Return an error or log it, never both.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

enum class LogFormat { kText, kJson };
enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogField {
  absl::string_view key;
  std::string value;
};

// Once, before other threads start. Until then: text, info.
void InitLog(LogFormat format, LogLevel level);

void LogDebug(absl::string_view message, std::initializer_list<LogField> fields = {});
void LogInfo(absl::string_view message, std::initializer_list<LogField> fields = {});
void LogWarning(absl::string_view message, std::initializer_list<LogField> fields = {});
void LogError(absl::string_view message, std::initializer_list<LogField> fields = {});

// A line that redraws itself at the foot of a terminal; log lines scroll above it. An empty text
// takes it away. Only for a terminal: the caller asks isatty.
void SetStatusLine(absl::string_view text);

}  // namespace towline

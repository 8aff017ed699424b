// Runs another program without a shell and takes what it writes. Only pg_dump is run so.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/shutdown.h"

namespace towline {

struct ChildProcess {
  std::vector<std::string> arguments;  // the first is the program's path
  // Added to our own environment; secrets go here, as arguments can be read by every user.
  std::vector<std::pair<std::string, std::string>> environment;
  size_t output_bytes_max = 0;  // more is an error: kResourceExhausted
  // Which lines of its standard error are kept; null: all.
  bool (*is_error)(absl::string_view line) = nullptr;
};

struct ChildResult {
  int exit_status = 0;  // 128 + signal if it was killed by one
  std::string output;
  std::string errors;  // the last 64 KiB
};

// Waits for its end. A shutdown ends it (SIGTERM) and gives kCancelled. kNotFound if it cannot be
// started.
absl::StatusOr<ChildResult> RunChildProcess(const ChildProcess& child, const Shutdown& shutdown);

}  // namespace towline

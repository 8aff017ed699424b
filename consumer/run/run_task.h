// One task from start to stop: the supervisor around the attempts, the only place that retries
// (DESIGN 7: connection failures for one window, other errors for a shorter one).
#pragma once

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "config/config.h"

namespace towline {

// Runs until shutdown (OK or kCancelled), a pause, or an error that no retry mends. Says on the log
// what is left on both servers when it returns.
absl::Status RunTask(const Config& config, Shutdown& shutdown);

}  // namespace towline

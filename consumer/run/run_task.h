// One task from start to stop: the supervisor around the attempts, the only place that retries
// (DESIGN 7: connection failures for one window, other errors for a shorter one).
#pragma once

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "config/config.h"

namespace towline {

// Runs until shutdown (OK) or an error that no retry mends; a paused task stays here and waits for
// its resume. Says on the log what is left on the source when it returns. A shutdown lasts at most
// five seconds; where a silent network would hold it longer the process is ended from here.
absl::Status RunTask(const Config& config, Shutdown& shutdown);

}  // namespace towline

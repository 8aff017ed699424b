// `verify --continuous`: compares all tables round after round, until the wish to stop. Each round
// is a run of its own in towline_state; one that is interrupted, by a lost connection or the end of
// the process, goes on where it was.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "verify/verify.h"

namespace towline {

// What was found in all rounds, with the last look at each table. An error: it cannot go on.
absl::StatusOr<VerifyReport> VerifyContinuously(
    const VerifyOptions& options, const std::function<void(const VerifyProgress&)>& on_progress,
    const Shutdown& shutdown);

}  // namespace towline

// The clock by which everything waits, limits and measures. The system's is set, by hand or by its
// servers, forward and back: a limit of ten minutes must neither be over at once nor last a day.
// absl::Now() is for the time of day alone (tests/lint/clocks names where).
#pragma once

#include "absl/time/time.h"

namespace towline {

// Only differences mean something; it says nothing of the time of day. A default absl::Time lies
// years before.
absl::Time SteadyNow();

}  // namespace towline

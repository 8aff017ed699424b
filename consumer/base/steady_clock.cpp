#include "base/steady_clock.h"

#include <chrono>

namespace towline {
namespace {

// The clock begins when the machine does, and what never happened must not look recent then.
constexpr absl::Duration kYears = absl::Hours(24 * 365 * 10);

}  // namespace

absl::Time SteadyNow() {
  return absl::UnixEpoch() + kYears +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace towline

#include "base/pace.h"

#include <algorithm>

#include "base/steady_clock.h"

namespace towline {
namespace {

// How soon a share that has grown is noticed by somebody who rests.
constexpr absl::Duration kSliceMax = absl::Milliseconds(200);

}  // namespace

void PaceControl::Note(bool suffers, absl::Time now) {
  if (suffers) {
    const bool is_due = share_ == 1 || now - changed_at_ >= kHalveInterval;
    suffered_at_ = now;
    if (!is_due) return;
    share_ = std::max(kShareMin, share_ / 2);
    changed_at_ = now;
  } else if (share_ < 1 && now - std::max(changed_at_, suffered_at_) >= kDoubleInterval) {
    share_ = std::min(1.0, share_ * 2);
    changed_at_ = now;
  }
}

bool Pace::Rest(absl::Duration worked, const Shutdown& shutdown) const {
  const absl::Time began = SteadyNow();
  while (true) {
    const double now = share();
    if (now >= 1) return true;
    const absl::Duration rest = std::min(kRestMax, worked * (1 / now - 1));
    const absl::Duration left = rest - (SteadyNow() - began);
    if (left <= absl::ZeroDuration()) return true;
    if (!shutdown.SleepFor(std::min(left, kSliceMax))) return false;
  }
}

}  // namespace towline

// When the next status update is due: by the interval, so that the source does not take us for dead
// (hazards B8), and sooner when the durable position has moved, because the source frees WAL by it
// and its orderly shutdown waits for it. Pure; time is passed in.
#pragma once

#include <algorithm>

#include "absl/time/time.h"
#include "base/lsn.h"

namespace towline {

class StatusClock {
 public:
  StatusClock(absl::Duration interval, absl::Time start)
      : interval_(interval), sent_at_(start - interval) {}

  absl::Duration UntilDue(absl::Time now, Lsn durable_lsn) const {
    absl::Duration wait = durable_lsn > sent_durable_ ? std::min(kMovedMin, interval_) : interval_;
    return std::max(absl::ZeroDuration(), sent_at_ + wait - now);
  }
  bool IsDue(absl::Time now, Lsn durable_lsn) const {
    return UntilDue(now, durable_lsn) == absl::ZeroDuration();
  }
  void Sent(absl::Time now, Lsn durable_lsn) {
    sent_at_ = now;
    sent_durable_ = durable_lsn;
  }

 private:
  // Often enough for a shutdown of the source to feel immediate, seldom enough to cost nothing.
  static constexpr absl::Duration kMovedMin = absl::Milliseconds(500);

  absl::Duration interval_;
  absl::Time sent_at_;
  Lsn sent_durable_;
};

}  // namespace towline

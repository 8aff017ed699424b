// Holds work back to a share of its own speed: whoever works rests in proportion to how long his
// work took. So nothing need be known of how fast that is, and it acts within a step of the work.
#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "base/shutdown.h"

namespace towline {

// What share is right while something suffers, and when it does no more. Pure: time is passed in.
//
// Halved at once and again every few seconds as long as it suffers, doubled for each longer time
// that it does not. Never zero: work that stands still would hold for ever what it holds (a
// snapshot), which makes others suffer more.
class PaceControl {
 public:
  // One look, several in a second or one in several.
  void Note(bool suffers, absl::Time now);
  double share() const { return share_; }
  bool is_held_back() const { return share_ < 1; }

  static constexpr double kShareMin = 1.0 / 16;
  // As long as it takes to see what the last change has done.
  static constexpr absl::Duration kHalveInterval = absl::Seconds(3);
  static constexpr absl::Duration kDoubleInterval = absl::Seconds(10);

 private:
  double share_ = 1;
  absl::Time changed_at_;   // the share
  absl::Time suffered_at_;  // at the last look that said so
};

// Any thread.
class Pace {
 public:
  void SetShare(double share) { share_.store(share, std::memory_order_relaxed); }
  double share() const { return share_.load(std::memory_order_relaxed); }

  // Rests after so long a piece of work; notices soon when the share grows. False: woken by
  // `shutdown`.
  bool Rest(absl::Duration worked, const Shutdown& shutdown) const;

  // Of one rest: a step that took long for reasons of its own.
  static constexpr absl::Duration kRestMax = absl::Seconds(5);

 private:
  std::atomic<double> share_{1};
};

}  // namespace towline

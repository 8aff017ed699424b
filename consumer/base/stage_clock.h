// Where the time of one thread goes: the thread says which stage it enters, and the clock adds up
// the wall time of each. A stage within a stage is counted once, to the inner one. A switch costs
// two looks at a clock and a lock that nobody else holds for long, so it is meant for batches and
// gathers, not for rows.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace towline {

enum class Stage : unsigned char {
  kNone,       // counted nowhere: the thread does not run
  kReceive,    // the receiver's thread: a message has come, until it is queued
  kQueueFull,  // the receiver waits for room in the queue: what comes behind it is slower
  kWait,       // the applier's thread: nothing has arrived
  kAssemble,   // decodes frames and gathers transactions
  kFold,       // changes of a table to net changes
  kApply,      // sends rows and waits for the destination
  kCommit,     // waits for COMMIT
};
inline constexpr size_t kStageCount = static_cast<size_t>(Stage::kCommit) + 1;
const char* NameOf(Stage stage);

class StageClock {
 public:
  using Seconds = std::array<double, kStageCount>;  // by stage

  // The thread's own. Returns the stage it was in.
  Stage Enter(Stage stage);
  // Any thread. The stage that goes on is counted up to now.
  Seconds Read() const;

 private:
  using Clock = std::chrono::steady_clock;

  mutable absl::Mutex mutex_;
  Stage stage_ ABSL_GUARDED_BY(mutex_) = Stage::kNone;
  Clock::time_point since_ ABSL_GUARDED_BY(mutex_);
  std::array<Clock::duration, kStageCount> spent_ ABSL_GUARDED_BY(mutex_) = {};
};

// The stage of a block. Without a clock nothing is counted.
class ScopedStage {
 public:
  ScopedStage(StageClock* clock, Stage stage)
      : clock_(clock), outer_(clock == nullptr ? Stage::kNone : clock->Enter(stage)) {}
  ~ScopedStage() {
    if (clock_ != nullptr) clock_->Enter(outer_);
  }
  ScopedStage(const ScopedStage&) = delete;
  ScopedStage& operator=(const ScopedStage&) = delete;

 private:
  StageClock* const clock_;
  const Stage outer_;
};

}  // namespace towline

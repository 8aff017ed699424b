// Slows the copy down while the source suffers: more sessions at work there than the user allows
// (pt-online-schema-change's --max-load), or a standby that falls behind (gh-ost's
// --max-lag-millis). Off without limits. Who suffers is for the user to say: how many sessions a
// server bears nobody else knows.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/pace.h"
#include "observe/task_status.h"
#include "pg/connection.h"

namespace towline {

struct SourceLimits {
  int64_t active_max = 0;  // sessions of others at work; 0: none
  absl::Duration lag_max;  // of the source's standbys; zero: none

  bool has_any() const { return active_max > 0 || lag_max > absl::ZeroDuration(); }
};

// What one look has found.
struct SourceLoad {
  int64_t active = 0;
  absl::Duration standby_lag;
  bool is_hidden = false;  // the role may not see what other sessions do
};

// "31 active sessions at the source > 20"; empty: nothing is above its limit. Pure.
std::string DescribeSuffering(const SourceLoad& load, const SourceLimits& limits);

// Any thread.
class CopyBrake {
 public:
  void SetLimits(const SourceLimits& limits);
  SourceLimits limits() const;

  // What those who copy keep to.
  const Pace& pace() const { return pace_; }

  // Asks the source, sets the pace and shows it. While rows are copied; quick, call it every
  // second.
  absl::Status Look(Connection& source, StatusBoard& board);
  // Nothing is copied any more.
  void End(StatusBoard& board);

 private:
  void Tell(const std::string& suffering, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Show(const std::string& suffering, StatusBoard& board) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Pace pace_;
  mutable absl::Mutex mutex_;
  SourceLimits limits_ ABSL_GUARDED_BY(mutex_);
  PaceControl control_ ABSL_GUARDED_BY(mutex_);
  absl::Time held_back_since_ ABSL_GUARDED_BY(mutex_);
  absl::Time told_at_ ABSL_GUARDED_BY(mutex_);
  bool is_told_ ABSL_GUARDED_BY(mutex_) = false;  // that it is held back now
  bool is_hidden_told_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace towline

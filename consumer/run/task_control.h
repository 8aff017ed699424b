// The wish of the person at the control socket: run, or pause. It outlives attempts, so that a task
// that is just retrying can be paused too. Thread-safe.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace towline {

class TaskControl {
 public:
  // Control socket's thread. kFailedPrecondition while the copy runs: its snapshot lives only as
  // long as its sessions, so that a pause would throw the copy away.
  absl::Status RequestPause();
  absl::Status RequestResume();

  // Supervisor's thread. What the task row says counts until somebody has asked for something.
  void AdoptStored(bool is_paused);
  void set_is_copying(bool is_copying);
  bool wants_pause() const;

 private:
  mutable absl::Mutex mutex_;
  bool was_asked_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_pause_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_copying_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace towline

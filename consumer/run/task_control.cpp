#include "run/task_control.h"

#include "base/error.h"

namespace towline {

absl::Status TaskControl::RequestPause() {
  absl::MutexLock lock(&mutex_);
  if (is_copying_) {
    return WithHint(absl::FailedPreconditionError("a copy is running and cannot pause"),
                    "Wait until the state is catching_up or streaming. To give the copy up, stop "
                    "the process: the next start begins the copy again.");
  }
  was_asked_ = true;
  wants_pause_ = true;
  return absl::OkStatus();
}

absl::Status TaskControl::RequestResume() {
  absl::MutexLock lock(&mutex_);
  was_asked_ = true;
  wants_pause_ = false;
  return absl::OkStatus();
}

void TaskControl::AdoptStored(bool is_paused) {
  absl::MutexLock lock(&mutex_);
  if (!was_asked_) wants_pause_ = is_paused;
}

void TaskControl::set_is_copying(bool is_copying) {
  absl::MutexLock lock(&mutex_);
  is_copying_ = is_copying;
}

bool TaskControl::wants_pause() const {
  absl::MutexLock lock(&mutex_);
  return wants_pause_;
}

}  // namespace towline

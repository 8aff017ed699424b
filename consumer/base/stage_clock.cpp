#include "base/stage_clock.h"

#include <utility>

namespace towline {

const char* NameOf(Stage stage) {
  switch (stage) {
    case Stage::kNone:
      return "none";
    case Stage::kReceive:
      return "receive";
    case Stage::kQueueFull:
      return "queue_full";
    case Stage::kWait:
      return "wait";
    case Stage::kAssemble:
      return "assemble";
    case Stage::kFold:
      return "fold";
    case Stage::kApply:
      return "apply";
    case Stage::kCommit:
      return "commit";
  }
  return "none";
}

Stage StageClock::Enter(Stage stage) {
  const Clock::time_point now = Clock::now();
  absl::MutexLock lock(&mutex_);
  spent_[static_cast<size_t>(stage_)] += now - since_;
  since_ = now;
  return std::exchange(stage_, stage);
}

StageClock::Seconds StageClock::Read() const {
  const Clock::time_point now = Clock::now();
  absl::MutexLock lock(&mutex_);
  Seconds seconds = {};
  for (size_t i = 1; i < kStageCount; ++i) {
    Clock::duration spent = spent_[i];
    if (i == static_cast<size_t>(stage_)) spent += now - since_;
    seconds[i] = std::chrono::duration<double>(spent).count();
  }
  return seconds;
}

}  // namespace towline

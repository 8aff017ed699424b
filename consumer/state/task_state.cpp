#include "state/task_state.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace towline {

bool IsPhase(TaskState state) {
  switch (state) {
    case TaskState::kNew:
    case TaskState::kChecking:
    case TaskState::kCopyingSchema:
    case TaskState::kCopying:
    case TaskState::kIndexing:
    case TaskState::kCatchingUp:
    case TaskState::kConstraints:
    case TaskState::kStreaming:
    case TaskState::kCutOver:
    case TaskState::kHealing:
      return true;
    case TaskState::kPaused:
    case TaskState::kRetrying:
    case TaskState::kWaiting:
    case TaskState::kNeedsHeal:
    case TaskState::kFailed:
      return false;
  }
  return false;
}

absl::string_view TaskStateName(TaskState state) {
  switch (state) {
    case TaskState::kNew:
      return "new";
    case TaskState::kChecking:
      return "checking";
    case TaskState::kCopyingSchema:
      return "copying_schema";
    case TaskState::kCopying:
      return "copying";
    case TaskState::kIndexing:
      return "indexing";
    case TaskState::kCatchingUp:
      return "catching_up";
    case TaskState::kConstraints:
      return "constraints";
    case TaskState::kStreaming:
      return "streaming";
    case TaskState::kCutOver:
      return "cut_over";
    case TaskState::kPaused:
      return "paused";
    case TaskState::kRetrying:
      return "retrying";
    case TaskState::kWaiting:
      return "waiting";
    case TaskState::kHealing:
      return "healing";
    case TaskState::kNeedsHeal:
      return "needs_heal";
    case TaskState::kFailed:
      return "failed";
  }
  return "";
}

absl::StatusOr<TaskState> ParseTaskState(absl::string_view name) {
  for (int i = 0; i <= static_cast<int>(TaskState::kFailed); ++i) {
    if (TaskStateName(static_cast<TaskState>(i)) == name) return static_cast<TaskState>(i);
  }
  return WithHint(absl::FailedPreconditionError(
                      absl::StrCat("towline_state.task holds an unknown state \"", name, "\"")),
                  "Run the version of towline that wrote it, or a newer one.");
}

}  // namespace towline

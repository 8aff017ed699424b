// The states of a task, in the order a task goes through them (DESIGN 7). All are durable: stored in
// towline_state.task before they are acted on.
//
//   new ─▶ checking ─▶ copying_schema ─▶ copying ─▶ indexing ─▶ catching_up ─▶ streaming ─▶ cut_over
//
// Everything is copied under one snapshot, so indexes and constraints can be built before catching
// up; with a snapshot per piece they come after it (hazards A3). A crash in copying_schema or
// copying starts the copy again under a new snapshot; in indexing it goes on at the next statement.
// From any state: paused, retrying (kept in memory only, shown by status), waiting, failed, and for
// later work healing, needs_heal.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace towline {

enum class TaskState {
  kNew,
  kChecking,
  kCopyingSchema,
  kCopying,
  kIndexing,
  kCatchingUp,
  kStreaming,
  kCutOver,
  kPaused,
  kRetrying,
  kWaiting,
  kHealing,
  kNeedsHeal,
  kFailed,
};

absl::string_view TaskStateName(TaskState state);
absl::StatusOr<TaskState> ParseTaskState(absl::string_view name);

}  // namespace towline

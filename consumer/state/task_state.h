// The states of a task, in the order a task goes through them (DESIGN 7). All are durable: stored
// in towline_state.task before they are acted on.
//
//   new ─▶ checking ─▶ copying_schema ─▶ copying ─▶ indexing ─▶ catching_up ─▶ streaming ─▶
//   cut_over
//
// Everything is copied under one snapshot, so indexes and constraints can be built before catching
// up; with a snapshot per piece they come after it (hazards A3). A crash in copying_schema or
// copying starts the copy again under a new snapshot; in indexing it goes on at the next statement.
// These are the phases. From any of them: paused, failed, needs_heal, and for later work healing;
// the row keeps the phase beside such a state, so that the next start knows where the work stands.
// Retrying and waiting are kept in memory only, for `status`.
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

// A step of the work, as opposed to an interruption of it.
bool IsPhase(TaskState state);
absl::string_view TaskStateName(TaskState state);
absl::StatusOr<TaskState> ParseTaskState(absl::string_view name);

}  // namespace towline

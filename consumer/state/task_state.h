// The states of a task, in the order a task goes through them (DESIGN 7). All are durable: stored
// in towline_state.task before they are acted on.
//
//   new ─▶ checking ─▶ copying_schema ─▶ copying ─▶ indexing ─▶ catching_up ─▶ constraints ─▶
//   catching_up ─▶ streaming ─▶ cut_over
//
// A table has one snapshot, so its unique constraints can be built before catching up. What looks
// at rows of more than one table, foreign keys above all, is made when the stream has passed the
// copy (hazards A3): in constraints, where there is any. A crash in copying_schema starts the copy
// again; in copying, where the position may move already (snapshot/copy_companion.h), the tables
// that are done stay and the others are copied under a new snapshot;
// in indexing it goes on at the next statement; in constraints it catches up again and then goes on
// at the next statement. From catching_up on, when the slot does not lead on from the position any
// more: healing, which begins again after a crash, and then catching_up. These are the phases. From
// any of them: paused, failed, needs_heal; the row keeps the phase beside such a state, so that the
// next start knows where the work stands. Retrying and waiting are kept in memory only, for
// `status`.
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
  kConstraints,
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

// What is made only when the stream has passed the copy and the destination equals the source as it
// was after some commit (I3): foreign keys, the contents of materialized views, event triggers; and
// unique indexes and exclusion constraints of tables that were copied in ranges of a key. Before,
// tables may contradict one another, as rows of one were copied under an older snapshot than those
// of another, and so may ranges (hazards A3). The stream stands still meanwhile: no transaction of
// the applier may hold the locks that a foreign key needs, and its knowledge of the tables is read
// anew.
#pragma once

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "snapshot/copier.h"
#include "state/state_store.h"

namespace towline {

absl::StatusOr<bool> HasConstraintsLeft(StateStore& store);

// Goes on where an earlier try has ended. Nothing of ours streams meanwhile.
absl::Status BuildConstraints(const CopierOptions& options, StateStore& store,
                              CopyProgress& progress, const Shutdown& shutdown);

}  // namespace towline

// Copies tables, the stream beside it: first those that are one piece each (piece_copier.h),
// then those in ranges of their keys, one source transaction for each range:
//
//   lock the table (which takes no snapshot) ─▶ take the snapshot ─▶ same file and columns as
//   before? ─▶ does it hold what the stream has passed over (model/live_copy.h)? ─▶ store the
//   snapshot, durably ─▶ copy the rows, and mark the range with them ─▶ let go
//
// Between two ranges nothing of ours is held at the source: no snapshot, and no lock that a user's
// ALTER TABLE would wait for. A range is done when it is committed at the destination; what was
// begun and is not committed left nothing, so a copy that goes on only copies the ranges that are
// not marked, each under a new snapshot (I4 judges every change by its range's own:
// assemble/ranged_changes.h). The marker has been waited for in this attempt, and each snapshot
// comes after it (hazards A1).
//
// The stream takes part in a table once its key is there. In a table of many ranges the key is made
// before the rows, and each range joins by itself; in others after them, which is faster, and the
// table joins when it is whole. Until then the stream waits at a change that is news to them.
//
// TRUNCATE and rewrites are not MVCC-safe, and no range could tell which of its rows were there
// before one. They change the file that the first range saw; whoever finds another one under its
// lock has the table copied again, whole (copy_again.h; hazards A6, A7).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "model/key_field.h"
#include "model/table.h"
#include "snapshot/copier.h"
#include "snapshot/copy_companion.h"
#include "snapshot/copy_statements.h"
#include "state/state_store.h"

namespace towline {

struct RangedCopy {
  Table table;  // of the source, as it is published
  CopyTarget target;
  std::optional<ChunkKey> key;   // none: one piece, with one range
  std::string source_form;       // range_plan.h
  std::vector<RangeRow> ranges;  // stored; none: not divided yet
};

// So many that a table's key is made before its rows: longer than for so much data the stream does
// not wait for a table. Measured: docs/decisions/008.
inline constexpr size_t kKeyFirstRanges = 32;

// One failure ends all workers; what they have not committed is left to the next attempt. In ranges
// of keys that are not done there are no rows, nor in whole tables that are not.
absl::Status CopyRanges(const CopierOptions& options, std::vector<RangedCopy> tables,
                        StateStore& store, CopyProgress& progress, CopyCompanion& companion,
                        const Shutdown& shutdown);

}  // namespace towline

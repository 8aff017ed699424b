// Copies tables that are one piece each, the stream beside it: a large one that cannot be divided
// by a key, in ranges of its pages by all workers, or a group of small ones, each by one worker.
// One group after the other, each under an exported snapshot of its own:
//
//   lock the tables, in the exporter ─▶ announce ─▶ snapshot, export ─▶ readers join and lock ─▶
//   does it hold what the stream has passed over (model/live_copy.h)? ─▶ store the snapshot,
//   durably ─▶ copy the rows; the last part's end marks range and table at once ─▶ let go
//
// So what is old at the source, and what an ALTER TABLE has to wait for, is one group's and no
// more. Ranges of pages are one piece (hazards A4): without its mark the table is emptied and
// copied from its beginning under another snapshot.
//
// Within the table all is as it was at one moment, so all its unique indexes and exclusion
// constraints may be made before the stream has passed anything (hazards A3). A TRUNCATE or rewrite
// before the snapshot does no harm, and during the copy the lock keeps them out.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "model/live_copy.h"
#include "snapshot/copier.h"
#include "snapshot/live_source.h"
#include "snapshot/range_copier.h"
#include "state/state_store.h"

namespace towline {

struct OwnPiece {
  RangedCopy copy;   // without key, one range
  size_t place = 0;  // in `live`
};

// Where schema changes are followed, a table that joins is copied as what it is under the snapshot.
// The stream brings the destination's there (docs/decisions/019):
//
//   catch up ─▶ lock, announce, snapshot, as ever ─▶ has the stream reached lsn_after? else all is
//   let go of, and a user's ALTER TABLE passes ─▶ plan ─▶ copy
struct FollowedPiece {
  // Nothing is held. Until the stream has come there; invalid: to what the source has written by
  // now.
  std::function<absl::Status(Lsn until)> catch_up;
  // Whether all that was committed before is at the destination.
  std::function<absl::StatusOr<bool>(Lsn lsn)> is_reached;
  // Then, with the session that holds lock and snapshot.
  std::function<absl::StatusOr<RangedCopy>(Connection& locked)> plan;
  // Before the mark, when all is read; any thread. An error: the rows are worth nothing.
  std::function<absl::Status()> check_read;
};

struct PieceCopy {
  const CopierOptions& options;
  StateStore& store;
  CopyProgress& progress;
  LiveCopy& live;
  LiveSource& source;
  bool has_ctid_ranges = true;  // of the source (copy_plan.h)
  // Several times a second; an error ends the copy.
  std::function<absl::Status()> on_tick;
  // There is a snapshot, and the rows come next.
  std::function<absl::Status()> on_snapshot = [] { return absl::OkStatus(); };
  const FollowedPiece* followed = nullptr;  // then of one piece at a time
};

// By how much the numbers of the workers' origins begin behind those of the small tables. Two sets
// take turns: those who have just ended hold theirs for a moment. `number`: of the group, or of all
// for whoever follows them.
int OriginsBehind(int workers, size_t number);

// One group, not empty, the number-th of those that follow one another. At the destination the
// tables are empty, from on_snapshot() on. When it returns the rows are committed, and the pieces
// are taken: each may be finished when its key is there.
absl::Status CopyPieces(const PieceCopy& copy, const std::vector<OwnPiece>& pieces, size_t number,
                        const Shutdown& shutdown);

}  // namespace towline

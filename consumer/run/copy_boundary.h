// What the stored pieces and snapshots of the copy mean for the stream (I4).
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "model/live_copy.h"
#include "model/name.h"
#include "model/oid.h"
#include "model/snapshot.h"
#include "state/state_store.h"

namespace towline {

// None once the snapshots are forgotten. kDataLoss where the snapshot of a copied piece or range is
// missing: changes could not be told from what it holds. `live`: the copy of the ranges goes on and
// knows each by its place in `ranges`; null: it is complete.
absl::StatusOr<std::optional<CopyBoundary>> BoundaryOf(const std::vector<SnapshotRow>& snapshots,
                                                       const std::vector<PieceRow>& pieces,
                                                       const std::vector<RangeRow>& ranges,
                                                       LiveCopy* live);

// While tables that join are copied: they are known by their OIDs, as the stream may rename them.
struct JoiningPlace {
  size_t place = 0;  // in the LiveCopy
  TableName name;    // for people
};
using JoiningPlaces = std::map<Oid, JoiningPlace>;

CopyBoundary BoundaryOfJoining(const JoiningPlaces& places, LiveCopy* live);

}  // namespace towline

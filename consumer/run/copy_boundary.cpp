#include "run/copy_boundary.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {

absl::StatusOr<std::optional<CopyBoundary>> BoundaryOf(const std::vector<SnapshotRow>& snapshots,
                                                       const std::vector<PieceRow>& pieces) {
  if (snapshots.empty()) return std::optional<CopyBoundary>();
  CopyBoundary boundary;
  std::map<int, size_t> indexes;
  for (const SnapshotRow& row : snapshots) {
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(row.text));
    indexes[row.number] = boundary.snapshots.size();
    boundary.snapshots.push_back({std::move(snapshot), row.lsn_after});
  }
  for (const PieceRow& piece : pieces) {
    if (piece.state == "streamed") continue;
    auto found = indexes.find(piece.snapshot_number);
    if (found == indexes.end()) {
      return WithHint(
          absl::DataLossError(absl::StrCat(
              "towline_state.snapshot lacks number ", piece.snapshot_number, ", under which table ",
              QuoteQualified(piece.table.schema, piece.table.name), " was copied")),
          "Somebody has edited towline_state: drop the task (towline drop) and copy "
          "anew.");
    }
    boundary.of_table[piece.source_oid] = found->second;
  }
  return std::optional<CopyBoundary>(std::move(boundary));
}

}  // namespace towline

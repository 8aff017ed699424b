#include "run/copy_boundary.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

absl::Status Missing(absl::string_view what, const TableName& table) {
  return WithHint(
      absl::DataLossError(absl::StrCat("towline_state lacks ", what, ", under which table ",
                                       QuoteQualified(table.schema, table.name), " was copied")),
      "Somebody has edited towline_state: drop the task (towline drop) and copy "
      "anew.");
}

// With the snapshots of its ranges appended to `snapshots`.
absl::StatusOr<RangedTable> RangedTableOf(const PieceRow& piece,
                                          const std::vector<const RangeRow*>& ranges,
                                          std::vector<CopySnapshot>* snapshots) {
  std::vector<KeyRange> keys;
  std::vector<size_t> places;
  for (const RangeRow* range : ranges) {
    if (range->state != "copied" || range->snapshot.empty()) {
      return Missing(absl::StrCat("the snapshot of range ", range->ordinal), piece.table);
    }
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(range->snapshot));
    keys.push_back(range->keys);
    places.push_back(snapshots->size());
    snapshots->push_back({std::move(snapshot), range->lsn_after});
  }
  if (keys.empty()) return Missing("the ranges of keys", piece.table);
  absl::StatusOr<KeyRanges> made = KeyRanges::Make(piece.key->type, std::move(keys));
  if (!made.ok()) {
    return WithContext(
        made.status(),
        absl::StrCat("the ranges of table ", QuoteQualified(piece.table.schema, piece.table.name),
                     " in towline_state"));
  }
  return RangedTable{*piece.key, *std::move(made), std::move(places)};
}

}  // namespace

absl::StatusOr<std::optional<CopyBoundary>> BoundaryOf(const std::vector<SnapshotRow>& snapshots,
                                                       const std::vector<PieceRow>& pieces,
                                                       const std::vector<RangeRow>& ranges) {
  if (snapshots.empty()) return std::optional<CopyBoundary>();
  CopyBoundary boundary;
  std::map<TableName, std::vector<const RangeRow*>> by_table;
  for (const RangeRow& range : ranges) by_table[range.table].push_back(&range);
  for (const PieceRow& piece : pieces) {
    if (!piece.key.has_value()) continue;
    TOWLINE_ASSIGN_OR_RETURN(RangedTable table,
                             RangedTableOf(piece, by_table[piece.table], &boundary.snapshots));
    boundary.ranged.emplace(piece.source_oid, std::move(table));
  }
  std::map<int, size_t> indexes;
  for (const SnapshotRow& row : snapshots) {
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(row.text));
    indexes[row.number] = boundary.snapshots.size();
    boundary.snapshots.push_back({std::move(snapshot), row.lsn_after});
  }
  for (const PieceRow& piece : pieces) {
    if (piece.state == "streamed" || piece.key.has_value()) continue;
    auto found = indexes.find(piece.snapshot_number);
    if (found == indexes.end()) {
      return Missing(absl::StrCat("snapshot ", piece.snapshot_number), piece.table);
    }
    boundary.of_table[piece.source_oid] = found->second;
  }
  return std::optional<CopyBoundary>(std::move(boundary));
}

}  // namespace towline

#include "run/copy_boundary.h"

#include <map>
#include <string>
#include <utility>

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

// Text and lsn_after of snapshots that have been appended to a boundary, and their index there.
using Taken = std::map<std::pair<std::string, Lsn>, size_t>;

// A table that is one piece of its own. Where that is complete its snapshot is appended.
absl::Status AddOwnPiece(const PieceRow& piece, const std::vector<RangeRow>& ranges,
                         const std::vector<size_t>& places, Taken* taken, CopyBoundary* boundary) {
  if (places.size() != 1) return Missing("the snapshot of its own", piece.table);
  if (boundary->live != nullptr) {
    boundary->live_tables[piece.source_oid] = places.front();
    return absl::OkStatus();
  }
  const RangeRow& range = ranges[places.front()];
  if (range.state != "copied" || range.snapshot.empty()) {
    return Missing("the snapshot of its own", piece.table);
  }
  // Tables of a group have one: each transaction is held against all that are here.
  auto [known, is_new] =
      taken->try_emplace({range.snapshot, range.lsn_after}, boundary->snapshots.size());
  if (is_new) {
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(range.snapshot));
    boundary->snapshots.push_back({std::move(snapshot), range.lsn_after});
  }
  boundary->of_table[piece.source_oid] = known->second;
  return absl::OkStatus();
}

// `places`: of its ranges in `ranges`. With their snapshots appended to `snapshots`, where they are
// complete.
absl::StatusOr<RangedTable> RangedTableOf(const PieceRow& piece,
                                          const std::vector<RangeRow>& ranges,
                                          std::vector<size_t> places, bool is_live,
                                          std::vector<CopySnapshot>* snapshots) {
  std::vector<KeyRange> keys;
  for (size_t& place : places) {
    const RangeRow& range = ranges[place];
    keys.push_back(range.keys);
    if (is_live) continue;
    if (range.state != "copied" || range.snapshot.empty()) {
      return Missing(absl::StrCat("the snapshot of range ", range.ordinal), piece.table);
    }
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(range.snapshot));
    place = snapshots->size();
    snapshots->push_back({std::move(snapshot), range.lsn_after});
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

// The first copy is passed, and single tables are copied by themselves. To all others everything is
// news: they follow a snapshot that holds nothing.
absl::StatusOr<std::optional<CopyBoundary>> BoundaryOfJoined(
    const std::vector<PieceRow>& pieces, const std::vector<RangeRow>& ranges,
    std::map<TableName, std::vector<size_t>> places, LiveCopy* live) {
  CopyBoundary boundary;
  boundary.live = live;
  Taken taken;
  for (const PieceRow& piece : pieces) {
    auto own = places.find(piece.table);
    if (own == places.end() || !piece.is_own_piece()) continue;
    if (live == nullptr && piece.is_out_of_stream()) continue;
    TOWLINE_RETURN_IF_ERROR(AddOwnPiece(piece, ranges, own->second, &taken, &boundary));
  }
  if (live == nullptr && boundary.of_table.empty()) return std::optional<CopyBoundary>();
  boundary.snapshots.emplace_back();
  return std::optional<CopyBoundary>(std::move(boundary));
}

}  // namespace

CopyBoundary BoundaryOfJoining(const JoiningPlaces& places, LiveCopy* live) {
  CopyBoundary boundary;
  boundary.live = live;
  for (const auto& [oid, place] : places) {
    boundary.live_tables[oid] = place.place;
    boundary.names[oid] = place.name;
  }
  boundary.snapshots.emplace_back();
  boundary.is_of_joined = true;
  return boundary;
}

absl::StatusOr<std::optional<CopyBoundary>> BoundaryOf(const std::vector<SnapshotRow>& snapshots,
                                                       const std::vector<PieceRow>& pieces,
                                                       const std::vector<RangeRow>& ranges,
                                                       LiveCopy* live) {
  std::map<TableName, std::vector<size_t>> places;
  for (size_t i = 0; i < ranges.size(); ++i) places[ranges[i].table].push_back(i);
  if (snapshots.empty()) return BoundaryOfJoined(pieces, ranges, std::move(places), live);
  CopyBoundary boundary;
  boundary.live = live;
  Taken taken;
  for (const PieceRow& piece : pieces) {
    if (piece.is_out_of_stream()) continue;
    if (piece.is_own_piece()) {
      TOWLINE_RETURN_IF_ERROR(AddOwnPiece(piece, ranges, places[piece.table], &taken, &boundary));
    }
    if (!piece.key.has_value()) continue;
    TOWLINE_ASSIGN_OR_RETURN(RangedTable table,
                             RangedTableOf(piece, ranges, std::move(places[piece.table]),
                                           live != nullptr, &boundary.snapshots));
    boundary.ranged.emplace(piece.source_oid, std::move(table));
  }
  std::map<int, size_t> indexes;
  for (const SnapshotRow& row : snapshots) {
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(row.text));
    indexes[row.number] = boundary.snapshots.size();
    boundary.snapshots.push_back({std::move(snapshot), row.lsn_after});
  }
  for (const PieceRow& piece : pieces) {
    if (piece.state == "streamed" || piece.is_out_of_stream()) continue;
    if (piece.key.has_value() || piece.is_own_piece()) continue;
    auto found = indexes.find(piece.snapshot_number);
    if (found == indexes.end()) {
      return Missing(absl::StrCat("snapshot ", piece.snapshot_number), piece.table);
    }
    boundary.of_table[piece.source_oid] = found->second;
  }
  return std::optional<CopyBoundary>(std::move(boundary));
}

}  // namespace towline

#include "verify/table_pairs.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "schema/catalog_reader.h"
#include "schema/table_fit.h"

namespace towline {
namespace {

constexpr int kTriesMax = 12;
constexpr absl::Duration kPause = absl::Milliseconds(200);

bool IsAmong(const std::vector<SourceTable>& tables, const TablePair& pair) {
  return std::any_of(tables.begin(), tables.end(), [&pair](const SourceTable& candidate) {
    return candidate.table.name == pair.source.name && candidate.shape == pair.shape.source;
  });
}

bool Fits(const TablePair& pair) { return pair.destination.oid != 0 && pair.misfit.empty(); }

absl::StatusOr<std::vector<TablePair>> Match(const std::vector<SourceTable>& tables,
                                             Connection& destination) {
  std::vector<TableName> names;
  for (const SourceTable& source : tables) names.push_back(source.table.name);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> others, ReadTablesByName(destination, names));
  std::vector<TablePair> pairs;
  for (size_t i = 0; i < tables.size(); ++i) {
    PairShape shape{tables[i].shape, ShapeOf(others[i])};
    TablePair pair{tables[i].table, std::move(others[i]), {}, "", std::move(shape)};
    if (pair.destination.oid != 0) pair.misfit = DescribeMisfit(pair.source, pair.destination);
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace

absl::StatusOr<std::vector<TablePair>> ReadTablePairs(
    const std::function<absl::StatusOr<std::vector<SourceTable>>()>& read_source,
    Connection& source, Connection& destination, Follower follower, const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SourceTable> tables, read_source());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TablePair> pairs, Match(tables, destination));
  if (!follower.has_task()) return pairs;
  for (int tried = 0; !std::all_of(pairs.begin(), pairs.end(), Fits); ++tried) {
    TOWLINE_RETURN_IF_ERROR(FlushLog(source));
    TOWLINE_ASSIGN_OR_RETURN(Lsn lsn, ReadInsertLsn(source));
    TOWLINE_ASSIGN_OR_RETURN(bool has_passed, follower.WaitPassed(lsn, destination));
    TOWLINE_ASSIGN_OR_RETURN(pairs, Match(tables, destination));
    TOWLINE_ASSIGN_OR_RETURN(std::vector<SourceTable> now, read_source());
    bool is_settled = true;
    for (TablePair& pair : pairs) {
      if (Fits(pair)) continue;
      if (!has_passed) {
        pair.undecided = follower.stand_note();
      } else if (!IsAmong(now, pair)) {
        pair.undecided = "its columns were changed between every two looks at them";
        is_settled = false;
      }
    }
    if (is_settled || tried == kTriesMax) break;
    if (!shutdown.SleepFor(kPause)) return absl::CancelledError("shutting down");
    tables = std::move(now);
    TOWLINE_ASSIGN_OR_RETURN(pairs, Match(tables, destination));
  }
  return pairs;
}

}  // namespace towline

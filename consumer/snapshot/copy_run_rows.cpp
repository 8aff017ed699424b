#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "schema/table_fit.h"
#include "snapshot/copy_finish.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_run.h"
#include "snapshot/copy_statements.h"
#include "snapshot/existing_tables.h"
#include "snapshot/exported_snapshot.h"
#include "snapshot/idle_indexer.h"
#include "snapshot/large_objects.h"
#include "state/column_types.h"

namespace towline {
namespace {

ServerPair PairOf(const Connection& source, const Connection& destination) {
  return MakePair(source.server_version(), source.server_encoding(), destination.server_version(),
                  destination.server_encoding());
}

constexpr char kPlannedBefore[] = "the copy that was interrupted was planned so";

}  // namespace

// Before the rows: once the last table is marked as copied nothing of this is done again.
absl::Status CopyRun::CopyObjects(Connection& session, CopyStart& start) {
  TOWLINE_RETURN_IF_ERROR(RemoveLargeObjects(session, store_.claim()));
  if (!options_.copies_large_objects) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(
      LargeObjectCounts copied,
      CopyLargeObjects(start.snapshot.connection(), session, store_.claim(),
                       {options_.schema.with_owners, options_.schema.with_privileges}));
  if (copied.objects > 0) summary_.EndStep("large objects", {.bytes = copied.bytes});
  return absl::OkStatus();
}

// What the pieces say of those with snapshots of their own, whose copy comes later.
absl::StatusOr<std::map<TableName, RangedCopy>> CopyRun::ReadRanged(
    const std::vector<PieceRow>& pieces) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> ranges, store_.ReadRanges());
  std::map<TableName, RangedCopy> ranged;
  for (const PieceRow& piece : pieces) {
    if (!piece.has_own_snapshots() || piece.state == "copied") continue;
    RangedCopy& copy = ranged[piece.table];
    copy.key = piece.key;
    copy.source_form = piece.source_form;
  }
  for (const RangeRow& range : ranges) {
    auto found = ranged.find(range.table);
    if (found != ranged.end()) found->second.ranges.push_back(range);
  }
  return ranged;
}

// In the progress: all tables, however each is copied.
void CopyRun::ShowPlan(const TableCopyJob& job, const std::map<TableName, RangedCopy>& ranged) {
  std::set<size_t> divided;
  for (const CopyPart& part : job.parts) {
    if (!part.is_whole) divided.insert(part.table);
  }
  std::vector<TableProgress::Planned> planned;
  int64_t bytes_total = kept_.bytes;
  for (size_t i = 0; i < job.tables.size(); ++i) {
    const Table& table = job.tables[i];
    if (!HasRowsToCopy(table)) continue;
    bytes_total += table.total_bytes;
    auto own = ranged.find(table.name);
    const bool has_key = own != ranged.end() && own->second.key.has_value();
    planned.push_back({table.name, table.total_bytes, table.estimated_rows,
                       has_key               ? "keys"
                       : divided.contains(i) ? "ctid"
                                             : "whole",
                       reasons_.contains(table.name) ? reasons_[table.name] : kPlannedBefore});
  }
  progress_.tables_total = kept_.tables + static_cast<int64_t>(planned.size());
  progress_.tables.Plan(std::move(planned));
  progress_.bytes_total = bytes_total;
  progress_.tables_done = kept_.tables;
  progress_.bytes_done = kept_.bytes;
  progress_.rows_done = kept_.rows;
}

// Indexes are built by workers that have no rows left.
absl::Status CopyRun::CopyTablesAndIndex(TableCopyJob job, const std::vector<StagedTable>& staged,
                                         const std::vector<PieceRow>& pieces, CopyStart& start) {
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run,
                           PreparePostData(options_, kPostSection, store_, progress_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           store_.ReadSchemaStatements(kPostSection));
  std::set<TableName> unplaced;
  for (const StagedTable& table : staged) unplaced.insert(table.destination.name);
  IdleIndexer indexer(
      {static_cast<size_t>(std::max(options_.index_workers, 1)), options_.index_memory},
      store_.claim(), std::move(run), std::move(statements), SizesOf(pieces), unplaced);
  job.on_idle = [&indexer](Connection& destination, auto is_copied, auto is_copying) {
    return indexer.Run(destination, is_copied, is_copying);
  };
  return CopyTables(options_, job, start.snapshot, std::move(start.readers), store_, progress_,
                    shutdown_);
}

absl::Status CopyRun::CopyRows(Connection& session, const std::vector<Table>& tables,
                               CopyStart& start) {
  ExportedSnapshot& snapshot = start.snapshot;
  TableCopyJob job;
  job.tables = tables;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, job.tables));
  TOWLINE_RETURN_IF_ERROR(CheckFit(job.tables, there, /*all_exist=*/true));
  TOWLINE_RETURN_IF_ERROR(StoreColumnTypes(session, store_.claim(), job.tables, there,
                                           /*keeps_others=*/kept_.tables > 0));
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<PieceRow> pieces, store_.ReadPieces());
  using Ranged = std::map<TableName, RangedCopy>;
  TOWLINE_ASSIGN_OR_RETURN(Ranged ranged, ReadRanged(pieces));

  std::vector<StagedTable> staged;
  const ServerPair pair = PairOf(snapshot.connection(), session);
  for (size_t i = 0; i < job.tables.size(); ++i) {
    CopyTarget target =
        MakeTarget(job.tables[i], there[i], FindRule(options_.rules, job.tables[i]), pair);
    bool is_staged = HasRowsToCopy(job.tables[i]) && policies_[there[i].name] == "append";
    if (is_staged) {
      target.relation = StagingName(store_.task(), staged.size());
      staged.push_back({there[i], target, StagedKey(job.tables[i], there[i], target)});
    }
    auto found = ranged.find(job.tables[i].name);
    if (found != ranged.end()) {
      found->second.table = job.tables[i];
      found->second.target = target;
    }
    job.targets.push_back(std::move(target));
    job.is_staged.push_back(is_staged);
  }
  PlanOptions plan;
  plan.part_bytes = SharedPartBytes(job.tables, options_.part_bytes);
  plan.has_ctid_ranges = snapshot.connection().server_version() >= kCtidRangesVersionMin;
  job.parts = PlanParts(job.tables, plan);
  ShowPlan(job, ranged);
  std::erase_if(job.parts,
                [&](const CopyPart& part) { return ranged.contains(job.tables[part.table].name); });

  TOWLINE_RETURN_IF_ERROR(CreateStaging(session, store_.claim(), staged));
  TOWLINE_RETURN_IF_ERROR(store_.SetState(TaskState::kCopying));
  LogInfo("copying rows", {{"tables", absl::StrCat(progress_.tables_total - kept_.tables)},
                           {"parts", absl::StrCat(job.parts.size())},
                           {"size", FormatBytes(progress_.bytes_total - kept_.bytes)},
                           {"lsn_after", snapshot.lsn_after().ToString()}});
  TOWLINE_RETURN_IF_ERROR(CopyTablesAndIndex(std::move(job), staged, pieces, start));
  TOWLINE_RETURN_IF_ERROR(MoveStaged(session, store_.claim(), staged));
  // What is left has snapshots of its own.
  for (auto& [name, copy] : ranged) ranges_left_.push_back(std::move(copy));
  return absl::OkStatus();
}

}  // namespace towline

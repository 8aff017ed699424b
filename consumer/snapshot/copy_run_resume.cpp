#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "schema/table_fit.h"
#include "snapshot/copy_resume.h"
#include "snapshot/copy_run.h"
#include "snapshot/existing_tables.h"
#include "snapshot/exported_snapshot.h"
#include "snapshot/range_plan.h"
#include "snapshot/table_copier.h"

namespace towline {

// A copy without a stream that was cut short has added its rows to those that were there, where
// they cannot be told apart any more.
absl::Status CopyRun::CheckNoneAppended(const std::vector<PieceRow>& pieces) const {
  for (const PieceRow& piece : pieces) {
    if (piece.existing != "append" || piece.state != "copied") continue;
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "an earlier copy without a stream has added rows to ",
            QuoteQualified(piece.table.schema, piece.table.name), " and was interrupted")),
        "Drop the task (towline drop), put the table right by hand, and begin again.");
  }
  return absl::OkStatus();
}

// An extension's own rows are made by CREATE EXTENSION alone: without its condition they would be
// emptied with ours.
absl::Status CopyRun::CheckKnowsExtensionRows(Connection& session,
                                              const std::vector<Table>& tables) const {
  std::map<std::string, const Table*> by_oid;
  ArrayLiteral oids;
  for (const Table& table : tables) {
    if (table.oid == 0 || options_.extension_rows.contains(table.name)) continue;
    by_oid[absl::StrCat(table.oid)] = &table;
    oids.Add(absl::StrCat(table.oid));
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result found, session.Query("SELECT objid FROM pg_catalog.pg_depend WHERE classid = "
                                  "'pg_catalog.pg_class'::regclass AND objid = ANY ($1::oid[]) "
                                  "AND deptype = 'e' ORDER BY objid LIMIT 1",
                                  {oids.ToString()}));
  if (found.row_count() == 0) return absl::OkStatus();
  const TableName& name = by_oid.at(found.GetString(0, 0))->name;
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      QuoteQualified(name.schema, name.name),
                      " belongs to an extension, was copied in part and is not copied any more: "
                      "emptying it would take the extension's own rows")),
                  "Run with extension_tables and the tables of the first start, or drop the task "
                  "(towline drop) and delete the copied rows by hand.");
}

// False: it has to start over, and the log says why.
absl::StatusOr<bool> CopyRun::Resume(const std::vector<PieceRow>& pieces) {
  auto start_over = [](const std::string& why) {
    LogStartOver(why);
    return false;
  };
  // Tables of several snapshots contradict one another until a stream has passed the last.
  if (options_.is_once) return start_over("no stream follows it: all tables need one snapshot");
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SnapshotRow> snapshots, store_.ReadSnapshots());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> ranges, store_.ReadRanges());
  std::string why = WhyStartOver(pieces, snapshots, ranges);
  if (!why.empty()) return start_over(why);
  TOWLINE_ASSIGN_OR_RETURN(CopyStart start, ResumeAtSource(options_, shutdown_, on_wait_));
  const ExportedSnapshot& snapshot = start.snapshot;
  const std::string shape = ShapeOf(snapshot.tables());
  why = WhyStartOver(pieces, snapshots, snapshot.tables(), shape, options_.rules);
  if (!why.empty()) return start_over(why);
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<Table> tables,
                           PublishTables(start.snapshot.connection(), options_.rules,
                                         snapshot.tables(), AssignmentCheck::kSkip));
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(why, LookAtOurs(session, pieces, ranges, tables));
  if (!why.empty()) return start_over(why);

  std::vector<Table> unfinished;
  std::set<TableName> left;
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<PieceRow> looked_at, store_.ReadPieces());
  for (const PieceRow& piece : looked_at) {
    if (piece.state == "copied" || piece.state == "streamed") {
      ++kept_.tables;
      kept_.bytes += piece.bytes_total;
      kept_.rows += piece.rows_done;
      continue;
    }
    left.insert(piece.table);
    // A range of keys that is not done has left no rows, and those that are done stay.
    if (!piece.key.has_value()) ours_.insert(piece.table);
  }
  for (const Table& table : tables) {
    if (left.contains(table.name)) unfinished.push_back(table);
  }
  LogWarning("the copy was interrupted and goes on under a new snapshot",
             {{"tables_kept", absl::StrCat(kept_.tables)},
              {"tables_left", absl::StrCat(unfinished.size())}});
  TOWLINE_RETURN_IF_ERROR(EmptyBegun(session));
  FaultPoint("copy:resume-emptied");
  TOWLINE_RETURN_IF_ERROR(store_.ResumeCopy(
      {snapshots.back().number + 1, snapshot.text(), snapshot.lsn_after(), shape}));
  FaultPoint("copy:resume-stored");
  TOWLINE_RETURN_IF_ERROR(CopyRows(session, unfinished, start));
  return true;
}

// Why the destination is not as an interrupted copy leaves it; empty: it is. People are told to
// drop a table that does not take the rows, or empty all before another try.
absl::StatusOr<std::string> CopyRun::LookAtOurs(Connection& session,
                                                const std::vector<PieceRow>& pieces,
                                                const std::vector<RangeRow>& ranges,
                                                const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  if (absl::Status fit = CheckFit(tables, there, /*all_exist=*/true); !fit.ok()) {
    return absl::StrCat("the destination was changed: ", fit.message());
  }
  std::map<TableName, const PieceRow*> by_name;
  bool may_have_streamed = false;
  for (const PieceRow& piece : pieces) {
    by_name[piece.table] = &piece;
    may_have_streamed |= piece.state == "again" || piece.has_own_snapshots();
  }
  std::map<TableName, int64_t> rows_in_ranges;
  for (const RangeRow& range : ranges) rows_in_ranges[range.table] += range.rows_done;
  std::vector<Table> filled;
  std::vector<Table> unfinished;
  for (size_t i = 0; i < tables.size(); ++i) {
    auto piece = by_name.find(tables[i].name);
    if (piece == by_name.end()) continue;
    const bool is_copied = piece->second->state == "copied";
    if (!is_copied && !piece->second->key.has_value()) unfinished.push_back(there[i]);
    const int64_t rows = is_copied ? piece->second->rows_done : rows_in_ranges[tables[i].name];
    if (rows > 0) filled.push_back(there[i]);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string why,
                           LookAtFilled(session, std::move(filled), may_have_streamed));
  if (!why.empty()) return why;
  // Where foreign keys act on our deletions (no right to the replica role), emptying one of these
  // could take rows of a table that is done.
  TOWLINE_ASSIGN_OR_RETURN(std::string role, session.QueryValue("SELECT pg_catalog.current_setting("
                                                                "'session_replication_role')"));
  if (role == "replica") return std::string();
  TOWLINE_ASSIGN_OR_RETURN(bool are_referenced, AreReferenced(session, unfinished));
  return std::string(are_referenced ? "others refer to tables that are not done" : "");
}

// Tables that had rows. One that has none any more: the stream may have deleted them, or somebody
// has. As that cannot be told, it is copied again.
absl::StatusOr<std::string> CopyRun::LookAtFilled(Connection& session, std::vector<Table> filled,
                                                  bool may_have_streamed) {
  std::map<TableName, Oid> source_oids;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  for (const PieceRow& piece : pieces) source_oids[piece.table] = piece.source_oid;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(TableName emptied, FindEmptied(session, filled));
    if (emptied.name.empty()) return std::string();
    const std::string name = QuoteQualified(emptied.schema, emptied.name);
    if (!may_have_streamed) {
      return absl::StrCat("somebody has emptied table ", name, " of the destination");
    }
    LogInfo(
        "a table is empty at the destination, by what was streamed or by somebody else, and is "
        "copied again",
        {{"table", name}});
    TOWLINE_RETURN_IF_ERROR(store_.CopyAgain(source_oids.at(emptied)));
    std::erase_if(filled, [&emptied](const Table& table) { return table.name == emptied; });
  }
}

void CopyRun::LogStartOver(const std::string& why) {
  LogWarning("the copy was interrupted and starts again", {{"because", why}});
}

}  // namespace towline

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
#include "schema/post_data.h"
#include "schema/shared_rows.h"
#include "schema/table_fit.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_resume.h"
#include "snapshot/copy_run.h"
#include "snapshot/existing_tables.h"
#include "snapshot/exported_snapshot.h"
#include "snapshot/key_choice.h"
#include "snapshot/key_reader.h"
#include "snapshot/missing_roles.h"
#include "snapshot/range_plan.h"
#include "snapshot/table_copier.h"
#include "state/other_writer.h"

namespace towline {
namespace {

// So many lines the log has of tables that are copied again.
constexpr size_t kToldMax = 100;

constexpr char kWhyReferenced[] = "others refer to tables that are not done";
// With captured commands, of which each snapshot holds some: one that only some tables' hold has no
// place among the rows (docs/decisions/004).
constexpr char kWhyNotBetween[] =
    "the source's schema has changed, and with ddl a change cannot lie between two snapshots";

}  // namespace

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
  auto start_over = [this](const std::string& why) {
    LogStartOver(why);
    return false;
  };
  // Tables of several snapshots contradict one another until a stream has passed the last.
  if (options_.is_once) return start_over("no stream follows it: all tables need one snapshot");
  Left left;
  left.pieces = pieces;
  TOWLINE_ASSIGN_OR_RETURN(left.snapshots, store_.ReadSnapshots());
  TOWLINE_ASSIGN_OR_RETURN(left.ranges, store_.ReadRanges());
  TOWLINE_ASSIGN_OR_RETURN(left.shapes, store_.ReadShapes());
  std::string why = WhyStartOver(left.pieces, left.snapshots, left.ranges);
  if (!why.empty()) return start_over(why);
  std::optional<std::string> begun;
  {
    TOWLINE_ASSIGN_OR_RETURN(CopyStart start, ResumeAtSource(options_, shutdown_, on_wait_));
    TOWLINE_ASSIGN_OR_RETURN(begun, GoOn(left, start));
  }
  if (!begun.has_value()) return GoOnWithNewSchema(left);
  return begun->empty() ? true : start_over(*begun);
}

bool CopyRun::HasCommandsBetween(const Left& left, const CopyStart& start) const {
  return options_.follows_ddl && start.catalogs != left.snapshots.back().catalogs;
}

// Nothing: tables are not what they were, at either end. Else why it must start over; empty: it has
// gone on.
absl::StatusOr<std::optional<std::string>> CopyRun::GoOn(const Left& left, CopyStart& start) {
  const ExportedSnapshot& snapshot = start.snapshot;
  if (HasCommandsBetween(left, start)) return std::optional<std::string>(kWhyNotBetween);
  const std::string shape = ShapeOf(snapshot.tables());
  again_ = ChangedTables(left.pieces, left.shapes, snapshot.tables(), options_.rules);
  if (!again_.empty() || shape != left.snapshots.back().shape) return std::optional<std::string>();
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<Table> tables,
                           PublishTables(start.snapshot.connection(), options_.rules,
                                         snapshot.tables(), AssignmentCheck::kSkip));
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  if (!CheckFit(tables, there, /*all_exist=*/true).ok()) return std::optional<std::string>();
  TOWLINE_RETURN_IF_ERROR(CheckSharedFit(session, options_.rules, tables, there));
  TOWLINE_RETURN_IF_ERROR(AddEmptied(session, left, there));
  // One that somebody has made anew lacks the keys, whose statements are done.
  if (!again_.empty()) return std::optional<std::string>();
  for (const PieceRow& piece : left.pieces) {
    if (piece.state != "again") continue;
    again_[piece.table] = piece.reason.empty() ? "as was said before" : piece.reason;
  }

  std::vector<Table> unfinished;
  std::set<TableName> kept;
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<PieceRow> looked_at, store_.ReadPieces());
  for (const PieceRow& piece : looked_at) {
    if (piece.state == "copied" || piece.state == "streamed" || piece.is_out_of_stream()) {
      kept.insert(piece.table);
    } else if (!piece.key.has_value()) {
      // A range of keys that is not done has left no rows, and those that are done stay.
      ours_.insert(piece.table);
    }
  }
  for (const Table& table : tables) {
    if (HasRowsToCopy(table) && !kept.contains(table.name)) unfinished.push_back(table);
  }
  TOWLINE_ASSIGN_OR_RETURN(const bool may_be_emptied, MayBeEmptied(session, ours_));
  if (!may_be_emptied) return std::optional<std::string>(kWhyReferenced);
  NoteKept(looked_at, kept);
  LogGoingOn(unfinished.size());
  TOWLINE_RETURN_IF_ERROR(EmptyBegun(session));
  FaultPoint("copy:resume-emptied");
  TOWLINE_RETURN_IF_ERROR(store_.ResumeCopy({left.snapshots.back().number + 1, snapshot.text(),
                                             snapshot.lsn_after(), shape, start.catalogs}));
  FaultPoint("copy:resume-stored");
  TOWLINE_RETURN_IF_ERROR(CopyRows(session, unfinished, start));
  return std::optional<std::string>("");
}

// The schema is dumped again, because the statements of the first dump do not fit any more. False:
// it has to start over.
absl::StatusOr<bool> CopyRun::GoOnWithNewSchema(const Left& left) {
  TOWLINE_ASSIGN_OR_RETURN(CopyStart start, StartAtSource(options_, shutdown_, on_wait_));
  std::string why;
  if (HasCommandsBetween(left, start)) why = kWhyNotBetween;
  if (why.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(why, CopyOthersAgain(left, start));
  }
  if (why.empty()) return true;
  ours_.clear();
  streamed_.clear();
  existed_.clear();
  kept_pieces_.clear();
  policies_.clear();
  adjusted_.clear();
  LogStartOver(why);
  return false;
}

// Why it must start over; empty: all is done. Whatever it refuses it refuses before it has changed
// anything.
absl::StatusOr<std::string> CopyRun::CopyOthersAgain(const Left& left, CopyStart& start) {
  const ExportedSnapshot& snapshot = start.snapshot;
  is_partial_ = start.is_partial;
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<Table> tables,
                           PublishTables(start.snapshot.connection(), options_.rules,
                                         snapshot.tables(), AssignmentCheck::kSkip));
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  TOWLINE_RETURN_IF_ERROR(CheckSharedFit(session, options_.rules, tables, there));
  again_ = ChangedTables(left.pieces, left.shapes, snapshot.tables(), options_.rules);
  for (size_t i = 0; i < tables.size(); ++i) {
    if (!HasRowsToCopy(tables[i])) continue;
    if (there[i].oid == 0) {
      again_.emplace(there[i].name, "the destination does not have it");
    } else if (!DescribeMisfit(tables[i], there[i]).empty()) {
      again_.emplace(there[i].name, "the destination's has been altered");
    }
  }
  TOWLINE_RETURN_IF_ERROR(AddEmptied(session, left, there));
  std::map<TableName, std::string> rules;
  for (const Table& table : tables) rules[table.name] = RuleText(FindRule(options_.rules, table));
  std::set<TableName> kept;
  for (const PieceRow& piece : left.pieces) {
    auto rule = rules.find(piece.table);
    const bool is_same_rule = rule != rules.end() && rule->second == piece.rule;
    if (is_same_rule && left.shapes.contains(piece.table)) adjusted_.insert(piece.table);
    if (piece.state == "again") again_.emplace(piece.table, piece.reason);
    if (again_.contains(piece.table) || !IsWorthKeeping(piece)) continue;
    kept_pieces_.emplace(piece.table, piece);
    kept.insert(piece.table);
  }
  if (kept.empty()) {
    return absl::StrCat("of the tables that were done none can stay; ",
                        DescribeGoingOn(0, static_cast<int64_t>(left.pieces.size()), again_));
  }
  begun_ = left.pieces;
  TakeOurs();
  TOWLINE_RETURN_IF_ERROR(LookAtDestination(session, tables));
  std::vector<Table> others, others_there, unfinished;
  for (size_t i = 0; i < tables.size(); ++i) {
    auto found = kept_pieces_.find(tables[i].name);
    const bool is_kept = found != kept_pieces_.end();
    if (!is_kept && HasRowsToCopy(tables[i]) && policies_[tables[i].name] == "append") {
      return absl::StrCat("rows of table ",
                          QuoteQualified(tables[i].name.schema, tables[i].name.name),
                          ", which is copied now, are kept (append)");
    }
    if (!is_kept || (found->second.state != "copied" && !found->second.is_out_of_stream())) {
      unfinished.push_back(tables[i]);
    }
    if (is_kept) continue;
    others.push_back(tables[i]);
    others_there.push_back(there[i]);
  }
  std::set<TableName> emptied = ours_;
  for (const Table& table : others_there) {
    if (policies_[table.name] == "truncate") emptied.insert(table.name);
  }
  TOWLINE_ASSIGN_OR_RETURN(const bool may_be_emptied, MayBeEmptied(session, emptied));
  if (!may_be_emptied) return std::string(kWhyReferenced);
  TOWLINE_ASSIGN_OR_RETURN(ranged_, PlanRanged(options_, start.snapshot.connection(), session,
                                               others, others_there, start.dump.post, &reasons_));
  std::map<TableName, RangedPlan> plans = ranged_;
  TOWLINE_ASSIGN_OR_RETURN(const std::string unclear, PlanKept(tables, start, &plans));
  if (!unclear.empty()) return unclear;
  TOWLINE_RETURN_IF_ERROR(LeaveOutMissingRoles(session, &start.dump));
  NoteKept(left.pieces, kept);
  // What a crash has kept from being begun is no news, and has not changed.
  std::erase_if(again_, [](const auto& table) { return table.second == kTableNotBegun; });
  LogGoingOn(
      static_cast<size_t>(std::count_if(unfinished.begin(), unfinished.end(), HasRowsToCopy)));
  TOWLINE_RETURN_IF_ERROR(store_.ForgetPieces(kept));
  TOWLINE_RETURN_IF_ERROR(EmptyBegun(session));
  FaultPoint("copy:resume-emptied");
  TOWLINE_RETURN_IF_ERROR(NoteMade());
  const int number = left.snapshots.back().number + 1;
  TOWLINE_RETURN_IF_ERROR(store_.RestartCopy(
      kept, PiecesOf(snapshot.tables(), number),
      StatementsOf(start.dump, snapshot.tables(), plans, /*is_at_once=*/false),
      {number, snapshot.text(), snapshot.lsn_after(), ShapeOf(snapshot.tables()), start.catalogs}));
  FaultPoint("copy:schema-stored");
  TOWLINE_RETURN_IF_ERROR(CheckSharedAlone(session, options_.task, options_.rules));
  TOWLINE_RETURN_IF_ERROR(EmptyAsAsked(session, others));
  TOWLINE_RETURN_IF_ERROR(MakeSchema(session, tables));
  TOWLINE_RETURN_IF_ERROR(StoreShapes(snapshot.tables()));
  FaultPoint("copy:after-pre-data");
  TOWLINE_RETURN_IF_ERROR(CopyRows(session, unfinished, start));
  return std::string();
}

// The unique indexes of a table that stays and is divided by a key wait for the stream as they did.
// Returns why that cannot be; empty: it can.
absl::StatusOr<std::string> CopyRun::PlanKept(const std::vector<Table>& tables, CopyStart& start,
                                              std::map<TableName, RangedPlan>* plans) const {
  std::vector<Oid> divided;
  for (const Table& table : tables) {
    auto kept = kept_pieces_.find(table.name);
    if (kept != kept_pieces_.end() && kept->second.key.has_value()) divided.push_back(table.oid);
  }
  if (divided.empty()) return std::string();
  Connection& source = start.snapshot.connection();
  using Candidates = std::map<Oid, std::vector<KeyCandidate>>;
  TOWLINE_ASSIGN_OR_RETURN(Candidates candidates, ReadKeyCandidates(source, divided));
  for (const Table& table : tables) {
    if (std::find(divided.begin(), divided.end(), table.oid) == divided.end()) continue;
    const PieceRow& piece = kept_pieces_.at(table.name);
    const std::string label = QuoteQualified(table.name.schema, table.name.name);
    // Another key may be closer to the order of the rows by now; the column is to be one still.
    Table divided_by = table;
    std::erase_if(divided_by.unique_indexes, [&piece](const UniqueIndex& index) {
      return index.columns != std::vector<std::string>{piece.key->column};
    });
    const KeyChoice choice = ChooseKey(divided_by, FindRule(options_.rules, table),
                                       candidates[table.oid], source.server_encoding());
    if (!choice.key.has_value()) {
      return absl::StrCat("table ", label, " was divided by column ",
                          QuoteIdentifier(piece.key->column),
                          ", which is no key for that any more");
    }
    std::set<std::string> early = KeyIndexes(table, *choice.key, choice.index);
    const std::string needed = UniqueThatCannotWait(start.dump.post, table.name, early);
    if (!needed.empty()) {
      return absl::StrCat("something else needs unique index ", QuoteIdentifier(needed),
                          " of table ", label, ", which is copied in ranges of its key");
    }
    (*plans)[table.name] = {piece.key, piece.source_form, std::move(early)};
  }
  return std::string();
}

// Tables that had rows. One that has none any more: the stream may have deleted them, or somebody
// has. As that cannot be told, it is copied again.
absl::Status CopyRun::AddEmptied(Connection& session, const Left& left,
                                 const std::vector<Table>& there) {
  std::map<TableName, int64_t> rows;
  for (const RangeRow& range : left.ranges) rows[range.table] += range.rows_done;
  for (const PieceRow& piece : left.pieces) {
    if (piece.state == "copied") rows[piece.table] = piece.rows_done;
    if (piece.state == "again" || piece.is_out_of_stream()) rows[piece.table] = 0;
  }
  std::vector<Table> filled;
  for (const Table& table : there) {
    if (table.oid == 0 || again_.contains(table.name) || rows[table.name] == 0) continue;
    filled.push_back(table);
  }
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(TableName emptied, FindEmptied(session, filled, options_.own_rows));
    if (emptied.name.empty()) return absl::OkStatus();
    again_[emptied] = "it is empty at the destination, by what was streamed or by somebody else";
    std::erase_if(filled, [&emptied](const Table& table) { return table.name == emptied; });
  }
}

// Where foreign keys act on our deletions (no right to the replica role), emptying one of `names`
// could take rows of a table that stays.
absl::StatusOr<bool> CopyRun::MayBeEmptied(Connection& session, const std::set<TableName>& names) {
  TOWLINE_ASSIGN_OR_RETURN(std::string role, session.QueryValue("SELECT pg_catalog.current_setting("
                                                                "'session_replication_role')"));
  if (role == "replica") return true;
  TOWLINE_ASSIGN_OR_RETURN(
      std::vector<Table> tables,
      ReadTablesByName(session, std::vector<TableName>(names.begin(), names.end())));
  std::erase_if(tables, [](const Table& table) { return table.oid == 0; });
  TOWLINE_ASSIGN_OR_RETURN(const bool are_referenced, AreReferenced(session, tables));
  return !are_referenced;
}

void CopyRun::NoteKept(const std::vector<PieceRow>& pieces, const std::set<TableName>& kept) {
  for (const PieceRow& piece : pieces) {
    if (!kept.contains(piece.table) || (piece.state != "copied" && piece.state != "streamed")) {
      continue;
    }
    ++kept_.tables;
    kept_.bytes += piece.bytes_total;
    kept_.rows += piece.rows_done;
  }
}

void CopyRun::LogGoingOn(size_t tables_left) {
  const auto left = static_cast<int64_t>(tables_left);
  LogWarning("the copy was interrupted and goes on under a new snapshot",
             {{"tables_kept", absl::StrCat(kept_.tables)}, {"tables_left", absl::StrCat(left)}});
  size_t told = 0;
  for (const auto& [table, why] : again_) {
    if (++told > kToldMax) break;
    LogWarning(why == kTableIsGone  ? "a table does not belong to the copy any more"
               : why == kTableIsNew ? "a table is copied as well"
                                    : "a table is copied again",
               {{"table", QuoteQualified(table.schema, table.name)}, {"because", why}});
  }
  progress_.SetNote(absl::StrCat("it was interrupted: ",
                                 DescribeGoingOn(kept_.tables, kept_.tables + left, again_)));
}

void CopyRun::LogStartOver(const std::string& why) {
  LogWarning("the copy was interrupted and starts again", {{"because", why}});
  progress_.SetNote("it was interrupted and has started again: " + why);
}

}  // namespace towline

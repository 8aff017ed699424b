#include "snapshot/copier.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/copy_again.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "schema/post_data.h"
#include "schema/table_fit.h"
#include "snapshot/append_staging.h"
#include "snapshot/copy_finish.h"
#include "snapshot/copy_resume.h"
#include "snapshot/copy_start.h"
#include "snapshot/copy_summary.h"
#include "snapshot/existing_tables.h"
#include "snapshot/idle_indexer.h"
#include "snapshot/large_objects.h"
#include "snapshot/missing_roles.h"
#include "snapshot/post_data_runner.h"
#include "snapshot/range_copier.h"
#include "snapshot/range_plan.h"
#include "snapshot/schema_runner.h"
#include "snapshot/table_copier.h"
#include "state/column_types.h"

namespace towline {
namespace {

ServerPair PairOf(const Connection& source, const Connection& destination) {
  return MakePair(source.server_version(), source.server_encoding(), destination.server_version(),
                  destination.server_encoding());
}

std::set<TableName> PartitionedOf(const std::vector<Table>& tables) {
  std::set<TableName> names;
  for (const Table& table : tables) {
    if (table.kind == 'p') names.insert(table.name);
  }
  return names;
}

// `is_at_once`: nothing waits for a stream.
std::vector<SchemaStatement> StatementsOf(const SchemaDump& dump, const std::vector<Table>& tables,
                                          bool is_at_once) {
  std::vector<SchemaStatement> statements;
  auto add = [&statements](const char* section, const std::vector<DumpStatement>& dumped) {
    int64_t ordinal = 0;
    for (const DumpStatement& statement : dumped) {
      statements.push_back({section, ++ordinal, statement.is_setting, statement.text, false});
    }
  };
  add("pre", dump.pre);
  if (is_at_once) {
    add(kPostSection, dump.post);
    return statements;
  }
  SplitPostData split = SplitByTime(dump.post, PartitionedOf(tables));
  add(kPostSection, split.indexing);
  add(kFinalSection, split.final);
  return statements;
}

constexpr char kPlannedBefore[] = "the copy that was interrupted was planned so";

void LogStartOver(const std::string& why) {
  LogWarning("the copy was interrupted and starts again", {{"because", why}});
}

class CopyRun {
 public:
  CopyRun(const CopierOptions& options, StateStore& store, CopyProgress& progress,
          CopyCompanion& companion, const Shutdown& shutdown,
          absl::FunctionRef<void(const std::string&)> on_wait)
      : options_(options),
        store_(store),
        progress_(progress),
        companion_(companion),
        shutdown_(shutdown),
        on_wait_(on_wait) {}

  absl::Status Run();
  absl::Status RunSchemaOnly();

 private:
  absl::StatusOr<bool> Resume(const std::vector<PieceRow>& pieces);
  absl::Status CheckNoneAppended(const std::vector<PieceRow>& pieces) const;
  absl::Status CheckKnowsExtensionRows(Connection& session, const std::vector<Table>& tables) const;
  absl::StatusOr<std::string> LookAtOurs(Connection& session, const std::vector<PieceRow>& pieces,
                                         const std::vector<RangeRow>& ranges,
                                         const std::vector<Table>& tables);
  absl::StatusOr<std::string> LookAtFilled(Connection& session, std::vector<Table> filled,
                                           bool may_have_streamed);
  absl::Status StartOver();
  absl::Status LookAtDestination(Connection& session, const std::vector<Table>& tables);
  absl::Status StoreSchema(const CopyStart& start);
  absl::Status EmptyBegun(Connection& session);
  absl::Status EmptyAsAsked(Connection& session, const std::vector<Table>& tables);
  absl::Status MakeSchema(Connection& session, const std::vector<Table>& tables);
  absl::Status CopyObjects(Connection& session, CopyStart& start);
  absl::Status AdjustTables(Connection& session, const std::vector<Table>& tables);
  absl::Status CopyRows(Connection& session, const std::vector<Table>& tables, CopyStart& start);
  absl::Status IndexCopied();
  absl::Status CopyInRanges();
  absl::Status Finish();

  std::string EffectivePolicy(const Table& destination) const;
  absl::StatusOr<std::vector<Table>> ReadDestination(Connection& session,
                                                     const std::vector<Table>& tables);

  const CopierOptions& options_;
  StateStore& store_;
  CopyProgress& progress_;
  CopyCompanion& companion_;
  const Shutdown& shutdown_;
  absl::FunctionRef<void(const std::string&)> on_wait_;

  std::vector<PieceRow> begun_;   // pieces of an earlier try, whose rows are ours
  std::set<TableName> ours_;      // their names
  std::set<TableName> streamed_;  // begun_ too, but the tables came by the stream
  std::set<TableName> existed_;   // tables at the destination before pre-data
  std::map<TableName, std::string> policies_;
  std::map<TableName, RangedPlan> ranged_;  // of a copy that starts; then the pieces know
  std::vector<RangedCopy> ranges_left_;     // when all other tables are copied
  std::map<TableName, std::string> reasons_;
  bool is_partial_ = false;
  struct Kept {
    int64_t tables = 0;
    int64_t bytes = 0;
    int64_t rows = 0;
  };
  Kept kept_;  // done by an earlier try
  CopySummary summary_;
};

absl::Status CopyRun::Run() {
  TOWLINE_ASSIGN_OR_RETURN(TaskRow task, store_.ReadTask());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  bool is_begun = task.phase == TaskState::kCopyingSchema || task.phase == TaskState::kCopying;
  bool is_copied = task.phase == TaskState::kCopying && !pieces.empty();
  for (const PieceRow& piece : pieces) {
    is_copied = is_copied && (piece.state == "copied" || piece.state == "streamed");
  }
  if (task.phase == TaskState::kNew || task.phase == TaskState::kChecking ||
      (is_begun && !is_copied)) {
    bool is_resumed = false;
    if (task.phase == TaskState::kCopying) {
      TOWLINE_ASSIGN_OR_RETURN(is_resumed, Resume(pieces));
    } else if (is_begun) {
      LogStartOver("the schema was not made");
    }
    if (!is_resumed) {
      if (!is_begun) TOWLINE_RETURN_IF_ERROR(CheckNoneAppended(pieces));
      // Also of a copy without a stream that was cut short: the slot that was made since has put
      // the task back to its checks.
      begun_ = std::move(pieces);
      TOWLINE_RETURN_IF_ERROR(StartOver());
    }
    TOWLINE_RETURN_IF_ERROR(CopyInRanges());
    summary_.EndStep("rows", {.rows = progress_.rows_done,
                              .bytes = progress_.bytes_total,
                              .tables = progress_.tables_total,
                              .workers = options_.workers});
    LogSlowestTables(progress_.tables);
    TOWLINE_RETURN_IF_ERROR(store_.EndRows());
  } else if (is_copied) {
    // Every piece's mark came with its rows, and the snapshot was stored before the first row.
    TOWLINE_RETURN_IF_ERROR(store_.EndRows());
  } else if (task.phase != TaskState::kIndexing) {
    return absl::OkStatus();
  }
  return Finish();
}

absl::Status CopyRun::RunSchemaOnly() {
  TOWLINE_ASSIGN_OR_RETURN(CopyStart start, StartAtSource(options_, shutdown_, on_wait_));
  is_partial_ = start.is_partial;
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there,
                           ReadDestination(session, start.snapshot.tables()));
  for (const Table& table : there) {
    if (table.oid != 0) existed_.insert(table.name);
  }
  TOWLINE_RETURN_IF_ERROR(LeaveOutMissingRoles(session, &start.dump));
  // Without pieces, and never in the state indexing: a start that wants rows as well begins anew.
  TOWLINE_RETURN_IF_ERROR(store_.StartCopy({}, StatementsOf(start.dump, {}, /*is_at_once=*/true),
                                           std::nullopt, TaskState::kCopyingSchema));
  FaultPoint("copy:schema-stored");
  for (const char* section : {"pre", kPostSection}) {
    SchemaRun run;
    run.section = section;
    run.existed = existed_;
    run.is_partial = is_partial_;
    run.batch_max = 100;
    TOWLINE_RETURN_IF_ERROR(RunSchemaStatements(session, store_, run));
  }
  return store_.StartCopy({}, {}, std::nullopt, TaskState::kNew);
}

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

absl::Status CopyRun::StartOver() {
  // An append piece holds rows that are not ours, and none of ours before all are moved.
  // Nor has one that came by the stream: somebody else has made it here.
  for (const PieceRow& piece : begun_) {
    const bool is_streamed = piece.state == "streamed" && piece.snapshot_number == 0;
    if (is_streamed) streamed_.insert(piece.table);
    if (piece.existing != "append" && !is_streamed) ours_.insert(piece.table);
  }
  TOWLINE_ASSIGN_OR_RETURN(CopyStart start, StartAtSource(options_, shutdown_, on_wait_));
  // From here on a table is what is published of it.
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<Table> tables,
                           PublishTables(start.snapshot.connection(), options_.rules,
                                         start.snapshot.tables(), AssignmentCheck::kSkip));
  is_partial_ = start.is_partial;
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  TOWLINE_RETURN_IF_ERROR(LookAtDestination(session, tables));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  TOWLINE_ASSIGN_OR_RETURN(ranged_, PlanRanged(options_, start.snapshot.connection(), session,
                                               tables, there, &reasons_));
  // Whoever finds tables emptied and not stored anew must not go on with them.
  if (!ours_.empty()) TOWLINE_RETURN_IF_ERROR(store_.SetState(TaskState::kCopyingSchema));
  TOWLINE_RETURN_IF_ERROR(EmptyBegun(session));
  TOWLINE_RETURN_IF_ERROR(LeaveOutMissingRoles(session, &start.dump));
  TOWLINE_RETURN_IF_ERROR(StoreSchema(start));
  FaultPoint("copy:schema-stored");
  TOWLINE_RETURN_IF_ERROR(EmptyAsAsked(session, tables));
  TOWLINE_RETURN_IF_ERROR(MakeSchema(session, tables));
  summary_.EndStep("schema", {.statements = static_cast<int64_t>(start.dump.pre.size())});
  FaultPoint("copy:after-pre-data");
  TOWLINE_RETURN_IF_ERROR(CopyObjects(session, start));
  return CopyRows(session, tables, start);
}

absl::StatusOr<std::vector<Table>> CopyRun::ReadDestination(Connection& session,
                                                            const std::vector<Table>& tables) {
  std::vector<TableName> names;
  names.reserve(tables.size());
  for (const Table& table : tables) names.push_back(table.name);
  absl::StatusOr<std::vector<Table>> there = ReadTablesByName(session, names);
  if (!there.ok()) return WithContext(there.status(), "looking at the destination's tables");
  return there;
}

std::string CopyRun::EffectivePolicy(const Table& destination) const {
  std::string policy = options_.existing(destination.name);
  // Rows of a table that we have made ourselves are ours to empty after a crash.
  bool is_ours = destination.oid == 0 || ours_.contains(destination.name);
  return policy == "append" && is_ours ? "stop" : policy;
}

absl::Status CopyRun::LookAtDestination(Connection& session, const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  std::vector<Table> looked_at = there;
  if (!begun_.empty()) {
    // A crash may have come between their creation and AdjustTables().
    for (size_t i = 0; i < tables.size(); ++i) {
      if (FindRule(options_.rules, tables[i]) != nullptr) looked_at[i].oid = 0;
    }
  }
  TOWLINE_RETURN_IF_ERROR(CheckFit(tables, looked_at, /*all_exist=*/!options_.copies_schema));
  TOWLINE_RETURN_IF_ERROR(CheckExistingRows(
      session, tables, there, {options_.existing, ours_, options_.extension_rows, streamed_}));
  for (const Table& table : there) {
    if (table.oid != 0) existed_.insert(table.name);
    policies_[table.name] = EffectivePolicy(table);
  }
  return absl::OkStatus();
}

absl::Status CopyRun::StoreSchema(const CopyStart& start) {
  const ExportedSnapshot& snapshot = start.snapshot;
  std::vector<SchemaStatement> statements =
      StatementsOf(start.dump, snapshot.tables(), options_.is_once);
  std::vector<PieceRow> pieces;
  for (const Table& table : snapshot.tables()) {
    if (table.persistence == 'u') {
      LogWarning("an unlogged table is created empty: its changes are not in the log",
                 {{"table", QuoteQualified(table.name.schema, table.name.name)}});
    }
    if (!HasRowsToCopy(table)) continue;
    auto ranged = ranged_.find(table.name);
    const bool is_ranged = ranged != ranged_.end();
    pieces.push_back({table.name, table.oid, policies_[table.name], "pending", table.total_bytes, 0,
                      0, RuleText(FindRule(options_.rules, table)), /*snapshot_number=*/1,
                      is_ranged ? ranged->second.key : std::nullopt,
                      is_ranged ? ranged->second.source_form : ""});
  }
  LogInfo("schema read", {{"tables", absl::StrCat(snapshot.tables().size())},
                          {"statements", absl::StrCat(statements.size())}});
  return store_.StartCopy(
      pieces, statements,
      SnapshotRow{1, snapshot.text(), snapshot.lsn_after(), ShapeOf(snapshot.tables())},
      TaskState::kCopyingSchema);
}

// Before StartCopy() forgets them: a piece whose table the source has dropped since is ours as
// well.
absl::Status CopyRun::EmptyBegun(Connection& session) {
  if (ours_.empty()) return absl::OkStatus();
  std::vector<TableName> names(ours_.begin(), ours_.end());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTablesByName(session, names));
  TOWLINE_RETURN_IF_ERROR(CheckKnowsExtensionRows(session, tables));
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_.claim()));
  TOWLINE_RETURN_IF_ERROR(EmptyTables(session, tables, options_.extension_rows));
  return session.Exec("COMMIT").status();
}

// After StartCopy(): from then on these tables are ours, and a crash empties them again.
absl::Status CopyRun::EmptyAsAsked(Connection& session, const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  std::vector<Table> asked;
  for (Table& table : there) {
    if (policies_[table.name] == "truncate") asked.push_back(std::move(table));
  }
  if (asked.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_.claim()));
  TOWLINE_RETURN_IF_ERROR(EmptyTables(session, asked, options_.extension_rows));
  return session.Exec("COMMIT").status();
}

absl::Status CopyRun::MakeSchema(Connection& session, const std::vector<Table>& tables) {
  SchemaRun run;
  run.section = "pre";
  run.existed = existed_;
  run.is_partial = is_partial_;
  run.is_repeated = !begun_.empty();
  run.batch_max = 100;
  TOWLINE_RETURN_IF_ERROR(RunSchemaStatements(session, store_, run));
  return AdjustTables(session, tables);
}

// The dump makes tables as they are at the source. What the destination still lacks for what is
// published follows from what is there, so a crash in between does no harm; a table that was there
// before us fits already.
absl::Status CopyRun::AdjustTables(Connection& session, const std::vector<Table>& tables) {
  if (options_.rules.empty()) return absl::OkStatus();
  FaultPoint("copy:before-adjusting");
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  std::vector<std::string> statements;
  for (size_t i = 0; i < tables.size(); ++i) {
    if (there[i].oid == 0 || FindRule(options_.rules, tables[i]) == nullptr) continue;
    for (std::string& statement : AdjustingStatements(tables[i], there[i])) {
      if (std::find(statements.begin(), statements.end(), statement) == statements.end()) {
        statements.push_back(std::move(statement));
      }
    }
  }
  if (statements.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_.claim()));
  for (const std::string& statement : statements) {
    LogInfo("a table is adjusted to its rule", {{"statement", statement}});
    absl::Status done = session.Exec(statement).status();
    if (!done.ok()) {
      return WithHint(WithContext(done, absl::StrCat("adjusting a table to its rule: ", statement)),
                      "Mend the cause, or adjust the table at the destination yourself, then run "
                      "towline again.");
    }
  }
  return session.Exec("COMMIT").status();
}

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

absl::Status CopyRun::CopyRows(Connection& session, const std::vector<Table>& tables,
                               CopyStart& start) {
  ExportedSnapshot& snapshot = start.snapshot;
  TableCopyJob job;
  job.tables = tables;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, job.tables));
  TOWLINE_RETURN_IF_ERROR(CheckFit(job.tables, there, /*all_exist=*/true));
  TOWLINE_RETURN_IF_ERROR(StoreColumnTypes(session, store_.claim(), job.tables, there,
                                           /*keeps_others=*/kept_.tables > 0));

  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> ranges, store_.ReadRanges());
  std::map<TableName, RangedCopy> ranged;
  for (PieceRow& piece : pieces) {
    if (!piece.has_own_snapshots() || piece.state == "copied") continue;
    RangedCopy& copy = ranged[piece.table];
    copy.key = piece.key;
    copy.source_form = piece.source_form;
  }
  for (const RangeRow& range : ranges) {
    auto found = ranged.find(range.table);
    if (found != ranged.end()) found->second.ranges.push_back(range);
  }

  std::vector<StagedTable> staged;
  int64_t bytes_total = 0;
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
    if (HasRowsToCopy(job.tables[i])) bytes_total += job.tables[i].total_bytes;
  }
  PlanOptions plan;
  plan.part_bytes = SharedPartBytes(job.tables, options_.part_bytes);
  plan.has_ctid_ranges = snapshot.connection().server_version() >= kCtidRangesVersionMin;
  job.parts = PlanParts(job.tables, plan);
  int64_t table_count = kept_.tables;
  std::vector<TableProgress::Planned> planned;
  std::set<size_t> divided;
  for (const CopyPart& part : job.parts) {
    if (!part.is_whole) divided.insert(part.table);
  }
  std::erase_if(job.parts,
                [&](const CopyPart& part) { return ranged.contains(job.tables[part.table].name); });
  for (size_t i = 0; i < job.tables.size(); ++i) {
    const Table& table = job.tables[i];
    if (!HasRowsToCopy(table)) continue;
    ++table_count;
    auto own = ranged.find(table.name);
    const bool has_key = own != ranged.end() && own->second.key.has_value();
    planned.push_back({table.name, table.total_bytes, table.estimated_rows,
                       has_key               ? "keys"
                       : divided.contains(i) ? "ctid"
                                             : "whole",
                       reasons_.contains(table.name) ? reasons_[table.name] : kPlannedBefore});
  }
  progress_.tables.Plan(std::move(planned));
  progress_.tables_total = table_count;
  progress_.bytes_total = kept_.bytes + bytes_total;
  progress_.tables_done = kept_.tables;
  progress_.bytes_done = kept_.bytes;
  progress_.rows_done = kept_.rows;

  TOWLINE_RETURN_IF_ERROR(CreateStaging(session, store_.claim(), staged));
  TOWLINE_RETURN_IF_ERROR(store_.SetState(TaskState::kCopying));
  LogInfo("copying rows", {{"tables", absl::StrCat(table_count - kept_.tables)},
                           {"parts", absl::StrCat(job.parts.size())},
                           {"size", FormatBytes(bytes_total)},
                           {"lsn_after", snapshot.lsn_after().ToString()}});
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run,
                           PreparePostData(options_, kPostSection, store_, progress_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> post,
                           store_.ReadSchemaStatements(kPostSection));
  std::set<TableName> unplaced;
  for (const StagedTable& table : staged) unplaced.insert(table.destination.name);
  IdleIndexer indexer(session, store_.claim(), std::move(run), std::move(post), SizesOf(pieces),
                      unplaced, shutdown_);
  job.on_idle = [&indexer](const Shutdown& stop, auto is_copied, auto is_copying) {
    return indexer.Run(stop, is_copied, is_copying);
  };
  TOWLINE_RETURN_IF_ERROR(SetIndexMemory(session, options_.index_memory));
  TOWLINE_RETURN_IF_ERROR(
      CopyTables(options_, job, snapshot, std::move(start.readers), store_, progress_, shutdown_));
  TOWLINE_RETURN_IF_ERROR(MoveStaged(session, store_.claim(), staged));
  // What is left has snapshots of its own.
  TOWLINE_RETURN_IF_ERROR(snapshot.Release());
  for (auto& [name, copy] : ranged) ranges_left_.push_back(std::move(copy));
  return absl::OkStatus();
}

// Of the tables that are done, so that the stream can go on in them.
absl::Status CopyRun::IndexCopied() {
  std::set<TableName> left;
  for (const RangedCopy& copy : ranges_left_) left.insert(copy.table.name);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run,
                           PreparePostData(options_, kPostSection, store_, progress_));
  auto is_copied = [&left](const PostData& found) { return !left.contains(found.table); };
  TOWLINE_RETURN_IF_ERROR(
      RunPostDataAhead(options_, run, is_copied, SizesOf(pieces), store_, shutdown_));
  FaultPoint("copy:indexed-ahead");
  return absl::OkStatus();
}

absl::Status CopyRun::CopyInRanges() {
  if (ranges_left_.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(IndexCopied());
  absl::Status copied =
      CopyRanges(options_, std::move(ranges_left_), store_, progress_, companion_, shutdown_);
  std::optional<Oid> again = TableToCopyAgain(copied);
  // The next attempt finds it so, keeps all else that is done, and starts over if it has to.
  if (again.has_value()) TOWLINE_RETURN_IF_ERROR(store_.CopyAgain(*again));
  return copied;
}

absl::Status CopyRun::Finish() {
  FaultPoint("copy:before-post-data");
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run,
                           PreparePostData(options_, kPostSection, store_, progress_));
  LogInfo("building indexes and constraints",
          {{"statements", absl::StrCat(progress_.statements_total - progress_.statements_done)}});
  run.fault_point = "copy:in-post-data";
  TOWLINE_RETURN_IF_ERROR(RunPostData(options_, run, SizesOf(pieces), store_, shutdown_));
  summary_.EndStep("indexes and constraints",
                   {.statements = progress_.statements_total, .workers = options_.index_workers});
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "index", kSchemaOrigin, store_, shutdown_));
  TOWLINE_RETURN_IF_ERROR(ReleaseLargeObjects(session, store_.claim()));
  TOWLINE_RETURN_IF_ERROR(CopySequences(options_, session, pieces, shutdown_));
  TOWLINE_RETURN_IF_ERROR(AnalyzeTables(options_, session, pieces, store_, shutdown_));
  summary_.EndStep("sequences and statistics", {.tables = static_cast<int64_t>(pieces.size())});
  summary_.Log();
  return store_.SetState(TaskState::kCatchingUp);
}

}  // namespace

absl::Status RunCopy(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                     CopyCompanion& companion, const Shutdown& shutdown,
                     absl::FunctionRef<void(const std::string&)> on_wait) {
  return CopyRun(options, store, progress, companion, shutdown, on_wait).Run();
}

absl::Status MakeSchemaOnly(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                            const Shutdown& shutdown,
                            absl::FunctionRef<void(const std::string&)> on_wait) {
  NoCompanion none;
  return CopyRun(options, store, progress, none, shutdown, on_wait).RunSchemaOnly();
}

}  // namespace towline

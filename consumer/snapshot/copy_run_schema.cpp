#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/post_data.h"
#include "schema/shared_rows.h"
#include "schema/table_fit.h"
#include "snapshot/copy_finish.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_run.h"
#include "snapshot/existing_tables.h"
#include "snapshot/missing_roles.h"
#include "snapshot/range_plan.h"
#include "snapshot/schema_runner.h"
#include "snapshot/table_copier.h"
#include "state/other_writer.h"

namespace towline {
namespace {

std::set<TableName> PartitionedOf(const std::vector<Table>& tables) {
  std::set<TableName> names;
  for (const Table& table : tables) {
    if (table.kind == 'p') names.insert(table.name);
  }
  return names;
}

// A table that is one piece may have all its indexes as soon as it is copied.
EarlyKeys EarlyKeysOf(const std::map<TableName, RangedPlan>& ranged) {
  EarlyKeys early;
  for (const auto& [table, plan] : ranged) {
    if (plan.key.has_value()) early[table] = plan.early_keys;
  }
  return early;
}

}  // namespace

std::vector<SchemaStatement> StatementsOf(const SchemaDump& dump, const std::vector<Table>& tables,
                                          const std::map<TableName, RangedPlan>& ranged,
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
  SplitPostData split = SplitByTime(dump.post, PartitionedOf(tables), EarlyKeysOf(ranged));
  add(kPostSection, split.indexing);
  add(kFinalSection, split.final);
  return statements;
}

// An append piece holds rows that are not ours, and none of ours before all are moved.
// Nor has one that came by the stream: somebody else has made it here.
void CopyRun::TakeOurs() {
  for (const PieceRow& piece : begun_) {
    if (kept_pieces_.contains(piece.table)) continue;
    const bool is_streamed = piece.state == "streamed" && piece.snapshot_number == 0;
    if (is_streamed) streamed_.insert(piece.table);
    if (piece.existing != "append" && !is_streamed) ours_.insert(piece.table);
  }
}

absl::Status CopyRun::StartOver() {
  TakeOurs();
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
                                               tables, there, start.dump.post, &reasons_));
  // Whoever finds tables emptied and not stored anew must not go on with them.
  if (!ours_.empty()) TOWLINE_RETURN_IF_ERROR(store_.SetState(TaskState::kCopyingSchema));
  TOWLINE_RETURN_IF_ERROR(EmptyBegun(session));
  TOWLINE_RETURN_IF_ERROR(LeaveOutMissingRoles(session, &start.dump));
  TOWLINE_RETURN_IF_ERROR(StoreSchema(start));
  FaultPoint("copy:schema-stored");
  TOWLINE_RETURN_IF_ERROR(CheckSharedAlone(session, options_.task, options_.rules));
  TOWLINE_RETURN_IF_ERROR(EmptyAsAsked(session, tables));
  TOWLINE_RETURN_IF_ERROR(MakeSchema(session, tables));
  TOWLINE_RETURN_IF_ERROR(StoreShapes(start.snapshot.tables()));
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

std::string CopyRun::EffectivePolicy(const Table& source, const Table& destination) const {
  std::string policy = options_.existing(source);
  // Rows of a table that we have made ourselves are ours to empty after a crash.
  bool is_ours = destination.oid == 0 || ours_.contains(destination.name);
  return policy == "append" && is_ours ? "stop" : policy;
}

absl::Status CopyRun::LookAtDestination(Connection& session, const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  std::vector<Table> looked_at = there;
  if (!begun_.empty() && options_.copies_schema) {
    // A crash may have come between their creation and AdjustTables().
    for (size_t i = 0; i < tables.size(); ++i) {
      const bool is_adjusted = adjusted_.contains(tables[i].name);
      if (FindRule(options_.rules, tables[i]) != nullptr && !is_adjusted) looked_at[i].oid = 0;
    }
  }
  TOWLINE_RETURN_IF_ERROR(CheckFit(tables, looked_at, /*all_exist=*/!options_.copies_schema));
  TOWLINE_RETURN_IF_ERROR(CheckSharedFit(session, options_.rules, tables, there));
  std::set<TableName> ours = ours_;
  for (const auto& [name, piece] : kept_pieces_) ours.insert(name);
  TOWLINE_RETURN_IF_ERROR(CheckExistingRows(
      session, tables, there, {options_.existing, ours, options_.own_rows, streamed_}));
  for (size_t i = 0; i < tables.size(); ++i) {
    if (there[i].oid != 0) existed_.insert(there[i].name);
    auto kept = kept_pieces_.find(tables[i].name);
    policies_[there[i].name] =
        kept == kept_pieces_.end() ? EffectivePolicy(tables[i], there[i]) : kept->second.existing;
  }
  return absl::OkStatus();
}

// Before StartCopy() forgets it. What was there before that try was told then.
absl::Status CopyRun::NoteMade() {
  for (const char* section : {"pre", kPostSection}) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                             store_.ReadSchemaStatements(section));
    for (SchemaStatement& statement : statements) {
      if (statement.is_done) made_.insert(std::move(statement.statement));
    }
  }
  return absl::OkStatus();
}

absl::Status CopyRun::StoreSchema(const CopyStart& start) {
  TOWLINE_RETURN_IF_ERROR(NoteMade());
  const ExportedSnapshot& snapshot = start.snapshot;
  std::vector<SchemaStatement> statements =
      StatementsOf(start.dump, snapshot.tables(), ranged_, options_.is_once);
  std::vector<PieceRow> pieces = PiecesOf(snapshot.tables(), /*snapshot_number=*/1);
  LogInfo("schema read", {{"tables", absl::StrCat(snapshot.tables().size())},
                          {"statements", absl::StrCat(statements.size())}});
  return store_.StartCopy(pieces, statements,
                          SnapshotRow{1, snapshot.text(), snapshot.lsn_after(),
                                      ShapeOf(snapshot.tables()), start.catalogs},
                          TaskState::kCopyingSchema);
}

// Of all that have rows to copy but those that stay.
std::vector<PieceRow> CopyRun::PiecesOf(const std::vector<Table>& tables, int snapshot_number) {
  std::vector<PieceRow> pieces;
  for (const Table& table : tables) {
    if (table.persistence == 'u') {
      LogWarning("an unlogged table is created empty: its changes are not in the log",
                 {{"table", QuoteQualified(table.name.schema, table.name.name)}});
    }
    if (!HasRowsToCopy(table) || kept_pieces_.contains(table.name)) continue;
    auto ranged = ranged_.find(table.name);
    const bool is_ranged = ranged != ranged_.end();
    pieces.push_back({table.name, table.oid, policies_[table.name], "pending", table.total_bytes, 0,
                      0, RuleText(FindRule(options_.rules, table)), snapshot_number,
                      is_ranged ? ranged->second.key : std::nullopt,
                      is_ranged ? ranged->second.source_form : ""});
  }
  return pieces;
}

// Once the destination's tables are made: a copy that is interrupted before makes them again.
absl::Status CopyRun::StoreShapes(const std::vector<Table>& tables) {
  std::map<TableName, std::string> shapes;
  for (const Table& table : tables) {
    if (!HasRowsToCopy(table) || kept_pieces_.contains(table.name)) continue;
    shapes[table.name] = TableShape(table);
  }
  return store_.AddShapes(shapes);
}

// What a crash has left of it, when all tables that it was made anew for stay.
absl::Status CopyRun::FinishSchema() {
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run, PreparePostData(options_, "pre", store_, progress_));
  if (progress_.statements_done == progress_.statements_total) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  run.batch_max = 100;
  return RunSchemaStatements(session, store_, run);
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
  TOWLINE_RETURN_IF_ERROR(EmptyTables(session, tables, options_.own_rows));
  return session.Exec("COMMIT").status();
}

// After StartCopy(): from then on these tables are ours, and a crash empties them again.
absl::Status CopyRun::EmptyAsAsked(Connection& session, const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadDestination(session, tables));
  std::vector<Table> asked;
  for (Table& table : there) {
    if (kept_pieces_.contains(table.name)) continue;
    if (policies_[table.name] == "truncate") asked.push_back(std::move(table));
  }
  if (asked.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_.claim()));
  TOWLINE_RETURN_IF_ERROR(EmptyTables(session, asked, options_.own_rows));
  return session.Exec("COMMIT").status();
}

absl::Status CopyRun::MakeSchema(Connection& session, const std::vector<Table>& tables) {
  SchemaRun run;
  run.section = "pre";
  run.existed = existed_;
  run.is_partial = is_partial_;
  run.made_before = &made_;
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

}  // namespace towline

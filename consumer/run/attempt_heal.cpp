// The part of an attempt that heals: the slot does not lead on from what the destination holds.
//
// The task is put into the phase healing first, and its position means nothing until that is over:
// whatever interrupts it, the next attempt begins it again. A new slot is made, then, as for a
// copy, a marker is waited for and a snapshot taken (I4); under it every selected table is compared
// with the destination, where nobody of ours writes meanwhile, and made the same
// (verify/snapshot_repair.h). From then on all is as after a copy of all tables under that
// snapshot: the stream begins at the slot's begin, and passes over what the snapshot holds.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "config/existing_policy.h"
#include "pg/quoting.h"
#include "run/attempt.h"
#include "run/start_checks.h"
#include "schema/catalog_reader.h"
#include "schema/materialized_views.h"
#include "schema/table_fit.h"
#include "schema/table_rules.h"
#include "snapshot/copy_start.h"
#include "snapshot/slot.h"
#include "state/origin.h"
#include "state/task_name.h"
#include "state/verify_record.h"
#include "verify/snapshot_repair.h"

namespace towline {
namespace {

// Of the workers' replication origins: beyond those of any copy and of `verify`.
constexpr int kFirstOrigin = 9500;
constexpr size_t kTablesNamedMax = 5;

absl::StatusOr<Connection> OpenHealSession(const ConnectOptions& destination,
                                           const std::string& task, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = DestinationApplication(task, "heal");
  purpose.settings = {kRuleSearchPathSql};
  return Connection::Open(destination, purpose, shutdown);
}

// Of the source, in the order of the pieces.
absl::StatusOr<std::vector<Table>> ReadTablesOf(Connection& source,
                                                const std::vector<PieceRow>& pieces) {
  std::vector<TableName> names;
  for (const PieceRow& piece : pieces) names.push_back(piece.table);
  return ReadTablesByName(source, names);
}

void ParkLeftOut(PieceRow* piece, const std::string& reason) {
  if (piece->is_out_of_stream()) return;
  piece->state = "parked";
  piece->reason = reason;
  LogWarning(
      "a table is parked, as it is not healed",
      {{"table", QuoteQualified(piece->table.schema, piece->table.name)}, {"because", reason}});
}

// Of pieces that are not among those that were compared the ones whose tables are at the source all
// the same, out of the stream. What was written to them while the slot was lost is missing, and the
// stream would go on without it when the selection takes them again.
absl::StatusOr<std::vector<PieceRow>> FindLeftOut(Connection& source, std::vector<PieceRow> pieces,
                                                  const std::vector<PieceRow>& compared) {
  std::vector<TableName> names;
  for (const PieceRow& piece : pieces) names.push_back(piece.table);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> named, ReadTablesByName(source, names));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> listed, ListTables(source, TableSelection()));
  std::set<Oid> renamed;
  for (const ListedTable& table : listed) renamed.insert(table.oid);
  for (const PieceRow& piece : compared) renamed.erase(piece.source_oid);
  std::vector<PieceRow> left_out;
  for (size_t i = 0; i < pieces.size(); ++i) {
    PieceRow& piece = pieces[i];
    const bool is_there = named[i].oid != 0 && named[i].kind == 'r';
    if (!is_there && !renamed.contains(piece.source_oid)) {
      LogWarning("a table of the task is not at the source any more, and is left as it is",
                 {{"table", QuoteQualified(piece.table.schema, piece.table.name)}});
      continue;
    }
    if (is_there) piece.source_oid = named[i].oid;
    ParkLeftOut(&piece, is_there && named[i].persistence == 'u'
                            ? "it was unlogged at the source while the task was healed"
                            : "include and exclude did not select it while the task was healed");
    left_out.push_back(std::move(piece));
  }
  return left_out;
}

}  // namespace

absl::Status Attempt::Heal() {
  CloseControl();
  TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenSource());
  TOWLINE_RETURN_IF_ERROR(RefuseHealing(source));
  LogWarning(
      "the task is healed: all its tables are compared with the source, and what differs is "
      "made as it is there",
      {{"because", heal_reason_},
       {"position", row_.position.is_valid() ? row_.position.ToString() : "none"}});
  TOWLINE_RETURN_IF_ERROR(store_->StartHeal(heal_reason_, row_.position));
  FaultPoint("heal:begun");
  TOWLINE_RETURN_IF_ERROR(ReplaceSlot(source));
  TOWLINE_RETURN_IF_ERROR(HealRows());
  FaultPoint("heal:ended");
  heal_reason_.clear();
  context_.config.heals = false;
  has_progressed_ = true;
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  context_.board.Update([this](TaskStatus& status) {
    status.slot = row_.slot;
    status.position = status.durable_lsn = row_.position;
  });
  return FindLoss();
}

// Before anything is changed.
absl::Status Attempt::RefuseHealing(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(source, row_.slot));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  // What is asked for now counts as well: a table that the copy itself made may have got rows
  // since.
  const ExistingPolicy policy = ExistingPolicyOf(context_.config);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTablesOf(source, pieces));
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (policy.For(pieces[i].table, tables[i].ancestors) == ExistingTables::kAppend) {
      pieces[i].existing = "append";
    }
  }
  TOWLINE_RETURN_IF_ERROR(CheckHealable(row_, source_identity_, slot, pieces, context_.config.rules,
                                        context_.config.foreign_origins));
  if (context_.config.has_source_standby) {
    return WithHint(absl::FailedPreconditionError(absl::StrCat(
                        "task ", context_.task, " cannot be healed from a slot on a standby")),
                    "Leave source_standby out.");
  }
  TOWLINE_RETURN_IF_ERROR(RefuseOtherRules(source, pieces));
  return CheckForHealing();
}

// Rows are made what the rules of now say: without a mask that was there at the copy they would
// come as they are, and rows outside of a mistyped `where` would go.
absl::Status Attempt::RefuseOtherRules(Connection& source, const std::vector<PieceRow>& pieces) {
  if (context_.config.accepts_rule_change) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTablesOf(source, pieces));
  std::vector<PieceRow> changed = ChangedRules(pieces, tables, context_.config.rules);
  return changed.empty() ? absl::OkStatus() : RefuseRuleChange(row_, changed);
}

// Rows of a table that the task has never copied nor streamed are the destination's own.
absl::Status Attempt::RefuseForeignRows(Connection& destination, const std::vector<PieceRow>& known,
                                        const std::vector<TableJob>& jobs) {
  std::set<TableName> of_task;
  for (const PieceRow& piece : known) of_task.insert(piece.table);
  for (const TableJob& job : jobs) {
    const TableName& name = job.report.table;
    if (!job.table.has_value() || of_task.contains(name)) continue;
    const std::string table = QuoteQualified(name.schema, name.name);
    auto rule = context_.config.rules.find(name);
    const std::string own =
        rule == context_.config.rules.end() ? "" : SharedCondition(rule->second);
    TOWLINE_ASSIGN_OR_RETURN(std::string has_rows, destination.QueryValue(absl::StrCat(
                                                       "SELECT EXISTS (SELECT 1 FROM ", table,
                                                       own.empty() ? "" : " WHERE ", own, ")")));
    if (has_rows != "t") continue;
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "table ", table, " has rows at the destination, and the task has never copied it")),
        own.empty() ? "Exclude it from the selection, or empty it at the destination, then run the "
                      "same command again."
                    : absl::StrCat("Exclude it from the selection, or, at the destination: DELETE "
                                   "FROM ",
                                   table, " WHERE ", own, "; then run the same command again."));
  }
  return absl::OkStatus();
}

absl::Status Attempt::ReplaceSlot(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  const std::string name = row_.slot;
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> found, ReadSlot(source, name));
  if (found.has_value()) {
    TOWLINE_RETURN_IF_ERROR(FreeSlot(source, name, SlotName(context_.task),
                                     context_.config.limits.slot_busy_wait_max, shutdown_));
    TOWLINE_RETURN_IF_ERROR(DropSlot(source, name));
  }
  context_.is_slot_created = false;
  FaultPoint("heal:slot-dropped");
  return CreateOurSlot(source, name);
}

absl::Status Attempt::HealRows() {
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kHealing));
  auto on_wait = [this](const std::string& waits_for) { NoteWait(waits_for); };
  absl::StatusOr<CopyStart> start = ResumeAtSource(CopyOptions(), shutdown_, on_wait);
  TOWLINE_RETURN_IF_ERROR(WaitEnded(start.status()));
  ExportedSnapshot& snapshot = start->snapshot;
  FaultPoint("heal:snapshot-taken");
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableJob> jobs, PlanHeal(snapshot.connection()));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, PiecesOfHeal(snapshot.connection()));

  TOWLINE_ASSIGN_OR_RETURN(
      std::unique_ptr<VerifyRecord> record,
      VerifyRecord::Open({context_.config.destination, context_.task, "heal", false}, shutdown_));
  HealTotals totals;
  totals.verify_run = record->run();
  const int64_t tables = static_cast<int64_t>(jobs.size());
  context_.board.Update([&](TaskStatus& status) { status.heal = {.tables_total = tables}; });
  auto on_table = [&](const TableReport& report) {
    totals.tables += 1;
    totals.missing += report.missing;
    totals.extra += report.extra;
    totals.different += report.different;
    context_.board.Update([&](TaskStatus& status) {
      status.heal = {tables, totals.tables, totals.missing, totals.extra, totals.different};
    });
    if (report.missing + report.extra + report.different == 0) return;
    LogWarning("a table differed and was mended",
               {{"table", QuoteQualified(report.table.schema, report.table.name)},
                {"brought", absl::StrCat(report.missing)},
                {"taken_back", absl::StrCat(report.extra)},
                {"changed", absl::StrCat(report.different)}});
  };
  SnapshotRepairOptions options;
  options.destination = context_.config.destination;
  options.claim = store_->claim();
  options.first_origin = kFirstOrigin;
  options.record = record.get();
  const bool is_throttled =
      context_.copy_rate.bytes_per_second() > 0 || context_.copy_rate.rows_per_second() > 0;
  options.rate = is_throttled ? &context_.copy_rate : nullptr;
  TOWLINE_RETURN_IF_ERROR(
      RepairAtSnapshot(options, std::move(jobs), std::move(start->readers), on_table, shutdown_));
  FaultPoint("heal:rows-done");
  TOWLINE_RETURN_IF_ERROR(snapshot.CheckAlive());
  TOWLINE_RETURN_IF_ERROR(RefreshViews(snapshot.connection(), snapshot.tables()));
  TOWLINE_RETURN_IF_ERROR(record->End("equal"));
  TOWLINE_RETURN_IF_ERROR(store_->EndHeal(
      pieces, {1, snapshot.text(), snapshot.lsn_after(), ShapeOf(snapshot.tables())},
      source_identity_, destination_identity_, totals));
  DropCopyOrigins(store_->connection(), context_.task);
  if (context_.config.ddl.is_on) {
    LogWarning(
        "schema changes between the lost slot and the new one have not arrived, but for what "
        "tables need to be compared: towline verify --schema-only lists what differs");
  }
  LogInfo("the task is healed and streams on",
          {{"tables", absl::StrCat(totals.tables)},
           {"brought", absl::StrCat(totals.missing)},
           {"taken_back", absl::StrCat(totals.extra)},
           {"changed", absl::StrCat(totals.different)},
           {"rows", absl::StrCat("towline_state.verify_row, run ", totals.verify_run)}});
  return absl::OkStatus();
}

// All selected tables but parked ones, which are not streamed either. The schema changes between
// the lost slot and the new one have reached nobody (hazards E2), so what does not fit is named
// with what mends it, before a row is touched.
absl::StatusOr<std::vector<TableJob>> Attempt::PlanHeal(Connection& source) {
  const Config& config = context_.config;
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           OpenHealSession(config.destination, context_.task, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(
      std::vector<TableJob> jobs,
      PlanTables(source, destination, Follower("", absl::ZeroDuration(), shutdown_),
                 {.selection = SelectionOf(config),
                  .rules = config.rules,
                  .extension_rows = config.extension_rows,
                  .finds_extension_tables = false,
                  .apart = {}},
                 shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> known, store_->ReadPieces());
  std::set<TableName> parked;
  for (const PieceRow& piece : known) {
    if (piece.is_out_of_stream()) parked.insert(piece.table);
  }
  std::erase_if(jobs, [&parked](const TableJob& job) { return parked.contains(job.report.table); });
  TOWLINE_RETURN_IF_ERROR(RefuseForeignRows(destination, known, jobs));

  std::vector<TableName> names;
  for (const TableJob& job : jobs) names.push_back(job.report.table);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> here, ReadTablesByName(source, names));
  TOWLINE_ASSIGN_OR_RETURN(
      here, PublishTables(source, config.rules, std::move(here), AssignmentCheck::kSkip));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadTablesByName(destination, names));
  std::vector<std::string> unfit;
  std::vector<std::string> statements;
  for (size_t i = 0; i < jobs.size(); ++i) {
    for (const std::string& statement : MissingKeyStatements(here[i], there[i])) {
      LogWarning("the destination lacks a unique index of the source",
                 {{"table", QuoteQualified(names[i].schema, names[i].name)}, {"mend", statement}});
    }
    if (jobs[i].table.has_value()) continue;
    unfit.push_back(
        absl::StrCat(QuoteQualified(names[i].schema, names[i].name), ": ", jobs[i].report.note));
    for (std::string& statement : MendingStatements(here[i], there[i])) {
      // Partitions of one table ask for the same.
      if (std::find(statements.begin(), statements.end(), statement) != statements.end()) continue;
      statements.push_back(std::move(statement));
    }
  }
  if (unfit.empty()) return jobs;
  const size_t left_out = unfit.size() > kTablesNamedMax ? unfit.size() - kTablesNamedMax : 0;
  unfit.resize(unfit.size() - left_out);
  std::string hint = statements.empty() ? "" : "At the destination: ";
  absl::StrAppend(&hint, absl::StrJoin(statements, " "), statements.empty() ? "Make" : " Make",
                  " the destination's tables fit, then run the same command again. A table that is "
                  "missing: pg_dump --schema-only --table=NAME of the source.");
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      "tables of the destination cannot be compared with the source's: ",
                      absl::StrJoin(unfit, "; "),
                      left_out > 0 ? absl::StrCat("; and ", left_out, " more") : "")),
                  hint);
}

// As after a copy of all tables under one snapshot.
absl::StatusOr<std::vector<PieceRow>> Attempt::PiecesOfHeal(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> known, store_->ReadPieces());
  std::map<TableName, const PieceRow*> by_name;
  for (const PieceRow& piece : known) by_name[piece.table] = &piece;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, AdoptTables(source));
  for (PieceRow& piece : pieces) {
    piece.state = "copied";
    piece.snapshot_number = 1;
    auto before = by_name.find(piece.table);
    if (before == by_name.end()) continue;
    piece.existing = before->second->existing;
    piece.is_added = before->second->is_added;
    piece.was_empty = before->second->was_empty;
    if (before->second->is_out_of_stream()) {
      piece.state = before->second->state;
      piece.reason = before->second->reason;
    }
    by_name.erase(before);
  }
  std::vector<PieceRow> left;
  for (const auto& [name, piece] : by_name) {
    // What was removed is excluded by this alone.
    (piece->state == "removed" ? pieces : left).push_back(*piece);
  }
  TOWLINE_ASSIGN_OR_RETURN(left, FindLeftOut(source, std::move(left), pieces));
  pieces.insert(pieces.end(), left.begin(), left.end());
  return pieces;
}

// Their contents come from the rows that were mended. What cannot be refreshed stops nothing: the
// stream does not refresh them either.
absl::Status Attempt::RefreshViews(Connection& source, const std::vector<Table>& tables) {
  TOWLINE_ASSIGN_OR_RETURN(ExcludedObjects excluded, ReadExcludedObjects(source, tables));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> statements,
                           ReadRefreshStatements(source, excluded));
  if (statements.empty()) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           OpenHealSession(context_.config.destination, context_.task, shutdown_));
  // Readers at the destination must not hold the source's snapshot for ever.
  TOWLINE_RETURN_IF_ERROR(destination.Exec("SET lock_timeout = '5s'").status());
  for (const std::string& statement : statements) {
    absl::Status refreshed = destination.Exec(statement).status();
    if (refreshed.ok()) continue;
    if (!destination.is_alive() || absl::IsCancelled(refreshed)) return refreshed;
    LogWarning("a materialized view is not refreshed",
               {{"statement", statement}, {"reason", std::string(refreshed.message())}});
  }
  return absl::OkStatus();
}

}  // namespace towline

// What an attempt does where not all stages are wished: a copy for itself, a stream from a slot
// that somebody else has made.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "run/attempt.h"
#include "run/start_checks.h"
#include "schema/catalog_reader.h"
#include "schema/shared_rows.h"
#include "schema/table_rules.h"
#include "snapshot/copy_companion.h"
#include "snapshot/existing_tables.h"
#include "snapshot/slot.h"
#include "state/column_types.h"
#include "state/origin.h"
#include "state/other_writer.h"
#include "state/task_name.h"

namespace towline {
namespace {

absl::StatusOr<std::string> ValueAt(Connection& source, absl::string_view sql) {
  return source.QueryValue(absl::StrCat("SELECT ", sql));
}

}  // namespace

// stages without stream. One snapshot of its own is all it needs; the task is afterwards as good as
// new, so that nothing takes its rows for a copy that a stream could follow.
absl::Status Attempt::CopyOnce() {
  if (!row_.slot.empty()) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("stages without stream, and task ", context_.task,
                                                " has a slot: a stream follows its copy")),
        "Run it with stream among the stages, or give another --task, or drop the task first "
        "(towline drop).");
  }
  auto on_wait = [this](const std::string& waits_for) { NoteWait(waits_for); };
  TOWLINE_RETURN_IF_ERROR(
      SetState(row_.phase == TaskState::kNew ? TaskState::kChecking : row_.phase));
  CloseControl();
  monitor_->Watch(&copy_progress_);
  NoCompanion none;
  absl::Status copied =
      WaitEnded(RunCopy(CopyOptions(), *store_, copy_progress_, none, shutdown_, on_wait));
  monitor_->Watch(static_cast<CopyProgress*>(nullptr));
  TOWLINE_RETURN_IF_ERROR(copied);
  DropCopyOrigins(store_->connection(), context_.task);
  TOWLINE_RETURN_IF_ERROR(store_->StartCopy({}, {}, std::nullopt, TaskState::kNew));
  LogInfo(absl::StrCat("the copy is complete and ends here; no slot was made. Task ", context_.task,
                       " stays in towline_state until towline drop"),
          {{"tables", absl::StrCat(copy_progress_.tables_total.load())},
           {"rows", absl::StrCat(copy_progress_.rows_done.load())}});
  return absl::OkStatus();
}

// stages: stream. The slot becomes the task's, at the user's word that the rows before the position
// are there.
absl::Status Attempt::AdoptSlot() {
  const Config& config = context_.config;
  if (row_.is_slot_created && row_.phase >= TaskState::kCatchingUp) {
    if (config.slot.empty() || config.slot == row_.slot) return absl::OkStatus();
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("slot is ", config.slot, ", and task ",
                                                context_.task, " streams from ", row_.slot)),
        "Leave slot out, or give another --task.");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> begun, store_->ReadPieces());
  if (row_.is_slot_created && !begun.empty()) {
    return WithHint(absl::InvalidArgumentError(absl::StrCat("stages: stream, and the copy of task ",
                                                            context_.task, " is not complete")),
                    "Run it with copy among the stages, or give another --task.");
  }
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kChecking));
  const std::string name = config.slot.empty() ? SlotName(context_.task) : config.slot;
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(Connection * server, StreamServer());
  Lsn position;
  TOWLINE_RETURN_IF_ERROR(CheckAdoptable(*source, *server, name, &position));
  TOWLINE_RETURN_IF_ERROR(CheckNothingPrepared());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, AdoptTables(*source));
  // What a copy without a stream has left that was cut short is the user's: of a task with a slot
  // it would be a copy that is not complete.
  TOWLINE_RETURN_IF_ERROR(store_->StartCopy({}, {}, std::nullopt, TaskState::kChecking));
  row_.slot = name;
  row_.position = position;
  TOWLINE_RETURN_IF_ERROR(NoteSlotCreated(*source));
  // Last: whoever finds this phase finds all before it.
  TOWLINE_RETURN_IF_ERROR(store_->StartCopy(pieces, {}, std::nullopt, TaskState::kCatchingUp));
  TOWLINE_RETURN_IF_ERROR(CheckSharedAlone(store_->connection(), context_.task, config.rules));
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  context_.control.set_is_copying(false);
  context_.board.Update([this](TaskStatus& status) {
    status.slot = row_.slot;
    status.position = status.durable_lsn = row_.position;
  });
  LogInfo("the stream begins without a copy: all before its position must be at the destination",
          {{"slot", row_.slot}, {"position", row_.position.ToString()}});
  return absl::OkStatus();
}

// Whatever would lose changes, or take them from somebody else, is refused before anything is
// stored.
absl::Status Attempt::CheckAdoptable(Connection& source, Connection& server,
                                     const std::string& name, Lsn* position) {
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(server, name));
  if (!slot.has_value()) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat("stages: stream, and the ", server.side(),
                                                   " has no slot ", QuoteIdentifier(name))),
        absl::StrCat("There, before the rows are copied: SELECT "
                     "pg_create_logical_replication_slot(",
                     QuoteLiteral(name), ", 'towline'); or name another by --slot."));
  }
  if (slot->plugin != kPluginName || slot->database != source_identity_.database) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "slot ", QuoteIdentifier(name), " is of ",
            slot->plugin.empty() ? "physical replication" : absl::StrCat("plugin ", slot->plugin),
            slot->database.empty() ? "" : absl::StrCat(" in database ", slot->database),
            "; needed is one of plugin towline in database ", source_identity_.database)),
        "Name another by --slot.");
  }
  if (slot->is_active &&
      !absl::StartsWith(slot->active_application, absl::StrCat(SlotName(context_.task), " "))) {
    return WithHint(absl::FailedPreconditionError(
                        absl::StrCat("slot ", QuoteIdentifier(name), " is in use by pid ",
                                     slot->active_pid, " (", slot->active_application, ")")),
                    absl::StrCat("Stop that program, or: SELECT pg_terminate_backend(",
                                 slot->active_pid, ");"));
  }
  if (slot->wal_status == "lost" || !slot->confirmed_flush_lsn.is_valid()) {
    return WithHint(absl::FailedPreconditionError(absl::StrCat(
                        "slot ", QuoteIdentifier(name), " cannot be streamed from: ",
                        slot->wal_status == "lost" ? "the source has removed log that it needs"
                                                   : "it is just being made")),
                    "Make another slot, and copy the rows after that.");
  }
  if (slot->is_two_phase) {
    // It would tell of a transaction that was prepared before the position by its gid alone.
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat("slot ", QuoteIdentifier(name),
                                                   " sends transactions at their PREPARE: what is "
                                                   "prepared before the position would be lost")),
        "Make one without two_phase; with two_phase: on towline switches it on itself.");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> tasks, StateStore::ListTasks(store_->connection()));
  for (const TaskRow& other : tasks) {
    if (other.task == context_.task || other.slot != name || !(other.source == row_.source)) {
      continue;
    }
    return WithHint(absl::FailedPreconditionError(absl::StrCat("slot ", QuoteIdentifier(name),
                                                               " belongs to task ", other.task)),
                    "Name another by --slot.");
  }
  *position =
      context_.config.position.is_valid() ? context_.config.position : slot->confirmed_flush_lsn;
  if (*position < slot->confirmed_flush_lsn) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("position is ", position->ToString(), ", and slot ",
                                                QuoteIdentifier(name), " begins at ",
                                                slot->confirmed_flush_lsn.ToString(),
                                                ": changes between the two would be lost")),
        "Give the position up to which the destination is complete, and a slot that was made "
        "before it.");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string end, ValueAt(source, "pg_catalog.pg_current_wal_lsn()"));
  TOWLINE_ASSIGN_OR_RETURN(Lsn end_lsn, Lsn::Parse(end));
  if (*position > end_lsn) {
    return WithHint(absl::InvalidArgumentError(absl::StrCat(
                        "position is ", position->ToString(), ", and the source's log ends at ",
                        end, ": changes before that position would be passed over")),
                    "Give the position up to which the destination is complete.");
  }
  return absl::OkStatus();
}

// The tables must be there and fit. They are noted, so that another table that takes one's name
// later is known as such.
absl::StatusOr<std::vector<PieceRow>> Attempt::AdoptTables(Connection& source) {
  const Config& config = context_.config;
  const CopierOptions options = CopyOptions();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTables(source, options.selection));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> published,
                           PublishTables(source, config.rules, tables, AssignmentCheck::kSkip));
  std::vector<TableName> names;
  for (const Table& table : published) names.push_back(table.name);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadTablesByName(store_->connection(), names));
  TOWLINE_RETURN_IF_ERROR(CheckFit(published, there, /*all_exist=*/true));
  TOWLINE_RETURN_IF_ERROR(CheckSharedFit(store_->connection(), config.rules, published, there));
  TOWLINE_RETURN_IF_ERROR(StoreColumnTypes(store_->connection(), store_->claim(), published, there,
                                           /*keeps_others=*/false));
  std::vector<PieceRow> pieces;
  for (const Table& table : tables) {
    if (table.kind != 'r' || table.persistence != 'p') continue;
    PieceRow piece;
    piece.table = table.name;
    piece.source_oid = table.oid;
    piece.existing = options.existing(table);
    piece.state = "streamed";
    piece.rule = RuleText(FindRule(config.rules, table));
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

}  // namespace towline

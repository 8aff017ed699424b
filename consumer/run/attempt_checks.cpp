// What an attempt looks at before it does anything: whether the servers are prepared, whether the
// rules are good, and whether slot and position belong together.
#include <map>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "precheck/precheck.h"
#include "run/attempt.h"
#include "run/check_options.h"
#include "run/start_checks.h"
#include "schema/table_rules.h"
#include "snapshot/slot.h"
#include "state/prepared.h"
#include "state/task_lock.h"
#include "state/task_name.h"

namespace towline {
// Before anything is created anywhere, so that a first start that cannot work leaves nothing
// behind.
absl::Status Attempt::Check(bool may_have_slot) {
  const Config& config = context_.config;
  CheckOptions options = CheckOptionsOf(config);
  // A crash may have left our slot: PrepareSlot() knows what to do with it.
  if (!may_have_slot && config.stages.stream) {
    options.task = context_.task;
    if (config.stages.copy) options.slot = SlotName(context_.task);
  }
  return RunCheck(options);
}

// The servers may be others than those of the first start. The tables are there.
absl::Status Attempt::CheckForHealing() {
  CheckOptions options = CheckOptionsOf(context_.config);
  options.task = context_.task;
  options.copies_schema = false;
  options.copies_rows = false;
  // Healing alters no table; what the stream meets later is said then.
  options.ddl_on_tables = false;
  return RunCheck(options);
}

absl::Status Attempt::RunCheck(const CheckOptions& options) {
  context_.ShowState(TaskState::kChecking);
  CheckReport report = RunChecks(options, shutdown_);
  LogWarnings(report);
  if (shutdown_.is_requested()) return absl::CancelledError("shutting down");
  is_checked_ = true;
  return report.ToStatus();
}

// As at the first start: before a row comes that stops the stream, or is judged by an expression
// that says something else when it is decoded again.
absl::Status Attempt::CheckRulesOf(const std::vector<Table>& tables) {
  CheckOptions options;
  options.source = context_.config.source;
  options.rules = context_.config.rules;
  options.extension_rows = context_.config.extension_rows;
  options.accept = context_.config.accept;
  CheckReport report = RunRuleChecks(options, tables, shutdown_);
  LogWarnings(report);
  if (shutdown_.is_requested()) return absl::CancelledError("shutting down");
  return report.ToStatus();
}

// Of a copy that was interrupted: it may begin again under other rules, which nobody has looked at.
absl::Status Attempt::CheckRulesOfCopy() {
  const Config& config = context_.config;
  if (is_checked_ || config.rules.empty() || row_.phase >= TaskState::kIndexing) {
    return absl::OkStatus();
  }
  std::map<TableName, std::string> known;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  for (PieceRow& piece : pieces) known[piece.table] = std::move(piece.rule);
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTables(*source, SelectionOf(config)));
  std::erase_if(tables, [&](const Table& table) {
    return RuleText(FindRule(config.rules, table)) == known[table.name];
  });
  return tables.empty() ? absl::OkStatus() : CheckRulesOf(tables);
}

// The slot's server, if that is not the source: it must be a standby of it, and the one that was
// configured when the slot was made.
absl::Status Attempt::CompareStandby() {
  const Config& config = context_.config;
  // Also of one whose creation was not noted: a crash may have left it there.
  if (!row_.slot.empty()) {
    TOWLINE_RETURN_IF_ERROR(CheckSlotServer(row_, config.has_source_standby));
  }
  if (!config.has_source_standby || !config.stages.stream) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(Connection * standby, StreamServer());
  return CheckIsStandbyOf(source_identity_, *standby, config.source_standby, shutdown_);
}

absl::Status Attempt::CompareSlot() {
  TOWLINE_RETURN_IF_ERROR(CompareStandby());
  TOWLINE_ASSIGN_OR_RETURN(Connection * server, StreamServer());
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(*server, row_.slot));
  context_.is_slot_created = slot.has_value();
  if (slot.has_value()) {
    context_.board.Update([&slot](TaskStatus& status) {
      status.wal_status = slot->wal_status;
      status.slot_retained_bytes = slot->retained_bytes;
    });
  }
  Lsn fork;
  if (row_.source.timeline != source_identity_.timeline && slot.has_value() && slot->is_synced) {
    TOWLINE_ASSIGN_OR_RETURN(fork, ReadFork());
  }
  TOWLINE_RETURN_IF_ERROR(CheckFailover(row_, source_identity_, slot, fork));
  TOWLINE_RETURN_IF_ERROR(CheckSlot(row_, source_identity_.database, slot));
  if (!context_.config.has_source_standby) {
    TOWLINE_ASSIGN_OR_RETURN(std::string end,
                             server->QueryValue("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
    TOWLINE_ASSIGN_OR_RETURN(Lsn log_end, Lsn::Parse(end));
    return CheckNotPutBack(row_, log_end);
  }
  return EndSessionsAtSource(*server, context_.task, shutdown_);
}

// Why the task cannot go on from its slot (I2), or OK.
absl::Status Attempt::FindLoss() {
  TOWLINE_RETURN_IF_ERROR(CheckIdentities(row_, source_identity_, destination_identity_));
  if (row_.is_slot_created) return CompareSlot();
  TOWLINE_RETURN_IF_ERROR(CheckFailover(row_, source_identity_, std::nullopt, Lsn{}));
  return CompareStandby();
}

// A slot that somebody else moves is another destination's, whose consumer must not lose it: a
// destination that was restored from a backup still has the row of the task that it was copied
// from.
absl::Status Attempt::RefuseUsedSlot(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(source, row_.slot));
  if (!slot.has_value() || !slot->is_active) return absl::OkStatus();
  const bool is_destination_same = CheckIdentities(row_, row_.source, destination_identity_).ok();
  if (is_destination_same && slot->confirmed_flush_lsn <= row_.position) return absl::OkStatus();
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat(
          "task ", context_.task, " cannot be healed: its slot ", row_.slot,
          " is in use by somebody else (pid ", slot->active_pid, ", ",
          slot->active_application.empty() ? "unknown" : slot->active_application, ")")),
      "If that is another destination's task of this name, give this one another --task and copy "
      "it anew. If nobody is to use the slot, end that session, then run the same command again.");
}

absl::Status Attempt::Compare() {
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  if (row_.phase == TaskState::kHealing) {
    heal_reason_ = "an earlier heal was interrupted";
  } else if (absl::Status loss = FindLoss(); !loss.ok()) {
    if (!absl::IsDataLoss(loss) || !context_.config.heals) return loss;
    heal_reason_ = std::string(loss.message());
  } else {
    // What is lost later, with nobody looking on, is for the user to decide again.
    context_.config.heals = false;
  }
  if (!heal_reason_.empty()) TOWLINE_RETURN_IF_ERROR(RefuseUsedSlot(*source));
  if (row_.is_slot_created || !heal_reason_.empty()) {
    // Nothing else of this attempt is open there yet.
    TOWLINE_RETURN_IF_ERROR(EndSessionsAtSource(*source, context_.task, shutdown_));
  }
  if (!heal_reason_.empty()) return absl::OkStatus();
  if (row_.source.timeline != source_identity_.timeline) {
    LogWarning("the source was failed over to a standby that has kept the slot: the task goes on",
               {{"timeline_before", absl::StrCat(row_.source.timeline)},
                {"timeline", absl::StrCat(source_identity_.timeline)},
                {"position", row_.position.ToString()}});
    TOWLINE_RETURN_IF_ERROR(RollBackWithoutRow(store_->connection(), context_.task));
    TOWLINE_RETURN_IF_ERROR(store_->SetTimelines(source_identity_, row_.destination));
    row_.source.timeline = source_identity_.timeline;
  }
  if (row_.destination.timeline != destination_identity_.timeline) {
    LogWarning(
        "the destination was failed over or restored since the last start; it has kept all "
        "that the slot was confirmed for",
        {{"timeline_before", absl::StrCat(row_.destination.timeline)},
         {"timeline", absl::StrCat(destination_identity_.timeline)}});
    TOWLINE_RETURN_IF_ERROR(store_->SetTimelines(source_identity_, destination_identity_));
  }
  return absl::OkStatus();
}

}  // namespace towline

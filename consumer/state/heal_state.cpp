// The part of the store that a heal keeps.
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "state/prepared.h"
#include "state/state_store.h"
#include "state/task_row.h"

namespace towline {
namespace {

constexpr int64_t kHealsKept = 20;

}  // namespace

absl::Status StateStore::StartHeal(const std::string& reason, Lsn position_before) {
  absl::Status stored = InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask(kStateAssignments, StateParams(TaskState::kHealing, "")));
    TOWLINE_RETURN_IF_ERROR(UpdateTask("lsn_after = NULL", {}));
    TOWLINE_RETURN_IF_ERROR(DeleteRows({"snapshot", "range", "prepared"}));
    TOWLINE_RETURN_IF_ERROR(
        connection_
            .Query("INSERT INTO towline_state.heal (task, number, reason, position_before) "
                   "SELECT $1, COALESCE(max(number), 0) + 1, $2, $3::pg_lsn "
                   "FROM towline_state.heal WHERE task = $1 "
                   "HAVING NOT COALESCE(bool_or(ended_at IS NULL), false)",
                   {options_.task, reason,
                    position_before.is_valid() ? Param(position_before.ToString()) : Param()})
            .status());
    return connection_
        .Query(
            "DELETE FROM towline_state.heal WHERE task = $1 AND number <= (SELECT max(number) "
            "FROM towline_state.heal WHERE task = $1) - $2::bigint",
            {options_.task, absl::StrCat(kHealsKept)})
        .status();
  });
  TOWLINE_RETURN_IF_ERROR(stored);
  on_state_(TaskState::kHealing);
  // What it did comes again, with the rows of the snapshot or whole from the slot.
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> left,
                           ListPrepared(connection_, options_.task));
  for (const PreparedTransaction& transaction : left) {
    TOWLINE_RETURN_IF_ERROR(
        connection_.Exec(absl::StrCat("ROLLBACK PREPARED ", QuoteLiteral(transaction.gid)))
            .status());
  }
  return absl::OkStatus();
}

absl::Status StateStore::EndHeal(const std::vector<PieceRow>& pieces, const SnapshotRow& snapshot,
                                 const ServerIdentity& source, const ServerIdentity& destination,
                                 const HealTotals& totals) {
  absl::Status stored = InTransaction(connection_, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(UpdateTask(kStateAssignments, StateParams(TaskState::kCatchingUp, "")));
    TOWLINE_RETURN_IF_ERROR(DeleteRows({"piece", "range", "snapshot", "shape"}));
    TOWLINE_RETURN_IF_ERROR(InsertSnapshot(snapshot));
    TOWLINE_RETURN_IF_ERROR(InsertPieces(pieces));
    TOWLINE_RETURN_IF_ERROR(UpdateTask(
        "source_system_identifier = $3::numeric, source_timeline = $4::bigint, "
        "source_database_oid = $5::bigint, source_database = $6, "
        "destination_system_identifier = $7::numeric, destination_timeline = $8::bigint, "
        "destination_database_oid = $9::bigint, destination_database = $10",
        {absl::StrCat(source.system_identifier), absl::StrCat(source.timeline),
         absl::StrCat(source.database_oid), source.database,
         absl::StrCat(destination.system_identifier), absl::StrCat(destination.timeline),
         absl::StrCat(destination.database_oid), destination.database}));
    return connection_
        .Query(
            "UPDATE towline_state.heal h SET ended_at = pg_catalog.clock_timestamp(), "
            "slot_begin = t.position, verify_run = $2::bigint, tables = $3::bigint, "
            "missing = $4::bigint, extra = $5::bigint, different = $6::bigint "
            "FROM towline_state.task t WHERE t.task = $1 AND h.task = t.task "
            "AND h.ended_at IS NULL",
            {options_.task, absl::StrCat(totals.verify_run), absl::StrCat(totals.tables),
             absl::StrCat(totals.missing), absl::StrCat(totals.extra),
             absl::StrCat(totals.different)})
        .status();
  });
  if (stored.ok()) on_state_(TaskState::kCatchingUp);
  return stored;
}

}  // namespace towline

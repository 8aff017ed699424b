#include "state/task_row.h"

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace towline {

// Of the table under the name t. The last one by way of the row: commands also read the state of a
// version before 12.
const char kTaskColumns[] =
    "task, epoch, position, state, phase, source_system_identifier, source_timeline, "
    "source_database_oid, source_database, destination_system_identifier, destination_timeline, "
    "destination_database_oid, destination_database, slot, is_slot_created, plugin_version, "
    "lsn_after, error, host, pid, "
    "COALESCE((pg_catalog.to_jsonb(t.*) ->> 'is_slot_on_standby')::boolean, false)";

// $3 the state, $4 whether it is a phase, $5 the error.
const char kStateAssignments[] =
    "state_since = CASE WHEN state = $3 THEN state_since ELSE pg_catalog.clock_timestamp() END, "
    "state = $3, phase = CASE WHEN $4::boolean THEN $3 ELSE phase END, error = $5";

std::vector<Param> StateParams(TaskState state, absl::string_view error) {
  // Shown by status only; kept in memory, so that a dead process does not leave them behind.
  TOWLINE_CHECK(state != TaskState::kRetrying && state != TaskState::kWaiting);
  return {std::string(TaskStateName(state)), IsPhase(state) ? "t" : "f", std::string(error)};
}

namespace {

absl::StatusOr<Lsn> GetLsn(const Result& row, int number, int column) {
  if (row.IsNull(number, column)) return Lsn{};
  return Lsn::Parse(row.Get(number, column));
}

ServerIdentity GetIdentity(const Result& row, int number, int column) {
  ServerIdentity identity;
  identity.system_identifier = 0;
  if (!absl::SimpleAtoi(row.Get(number, column), &identity.system_identifier)) {
    identity.system_identifier = 0;
  }
  identity.timeline = static_cast<uint32_t>(row.GetInt(number, column + 1));
  identity.database_oid = static_cast<uint32_t>(row.GetInt(number, column + 2));
  identity.database = row.GetString(number, column + 3);
  return identity;
}

}  // namespace

absl::StatusOr<TaskRow> GetTaskRow(const Result& row, int number) {
  TaskRow task;
  task.task = row.GetString(number, 0);
  task.epoch = row.GetInt(number, 1);
  TOWLINE_ASSIGN_OR_RETURN(task.position, GetLsn(row, number, 2));
  TOWLINE_ASSIGN_OR_RETURN(task.state, ParseTaskState(row.Get(number, 3)));
  TOWLINE_ASSIGN_OR_RETURN(task.phase, ParseTaskState(row.Get(number, 4)));
  task.source = GetIdentity(row, number, 5);
  task.destination = GetIdentity(row, number, 9);
  task.slot = row.GetString(number, 13);
  task.is_slot_created = row.GetBool(number, 14);
  task.plugin_version = row.GetString(number, 15);
  TOWLINE_ASSIGN_OR_RETURN(task.lsn_after, GetLsn(row, number, 16));
  task.error = row.GetString(number, 17);
  task.host = row.GetString(number, 18);
  task.pid = static_cast<int>(row.GetInt(number, 19));
  task.is_slot_on_standby = row.GetBool(number, 20);
  return task;
}

}  // namespace towline

#include "state/state_store.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "state/prepared.h"
#include "state/process_identity.h"
#include "state/state_schema.h"
#include "state/task_lock.h"
#include "state/task_name.h"
#include "state/task_row.h"

namespace towline {
namespace {

// What the store commits must be durable when the call returns: the next step acts on it, and the
// position read by TakeOver() is confirmed to the source at once. Stronger settings stay.
constexpr char kDurableCommitSql[] =
    "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) "
    "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";

// A predecessor's open transaction may hold the task row; its sessions are ended first, so more
// than this means something unknown, and a retry says so.
constexpr char kLockTimeoutSql[] = "SET lock_timeout = '10s'";

Param LsnParam(Lsn lsn) { return lsn.is_valid() ? Param(lsn.ToString()) : Param(); }

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

void AddIdentity(const ServerIdentity& identity, std::vector<Param>& params) {
  params.insert(params.end(),
                {absl::StrCat(identity.system_identifier), absl::StrCat(identity.timeline),
                 absl::StrCat(identity.database_oid), identity.database});
}

// Another task's `drop` may have removed the schema between Open() and now: the next attempt makes
// it again.
absl::Status RetryIfSchemaGone(const absl::Status& status) {
  std::string sqlstate = GetSqlState(status);
  if (sqlstate == "42P01" || sqlstate == "3F000")
    return WithCode(status, absl::StatusCode::kAborted);
  return status;
}

}  // namespace

StateStore::StateStore(Options options, Connection connection, const Shutdown& shutdown)
    : options_(std::move(options)), connection_(std::move(connection)), shutdown_(&shutdown) {}

absl::StatusOr<StateStore> StateStore::Open(const Options& options, const Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(CheckTaskName(options.task));
  Connection::Purpose purpose;
  purpose.application_name = DestinationApplication(options.task, "state");
  purpose.settings = {kDurableCommitSql, kLockTimeoutSql};
  TOWLINE_ASSIGN_OR_RETURN(Connection connection,
                           Connection::Open(options.destination, purpose, shutdown));
  TOWLINE_RETURN_IF_ERROR(EnsureStateSchema(connection));
  return StateStore(options, std::move(connection), shutdown);
}

absl::StatusOr<TaskRow> StateStore::TakeOver(const ServerIdentity& source,
                                             const ServerIdentity& destination) {
  TOWLINE_RETURN_IF_ERROR(RetryIfSchemaGone(
      AcquireTaskLock(connection_, {options_.task, options_.run_id}, *shutdown_)));
  // Before the epoch is moved: an open transaction of a predecessor holds the task row. And after
  // it, for what the predecessor opened meanwhile; whatever comes later finds the epoch changed.
  TOWLINE_RETURN_IF_ERROR(
      RetryIfSchemaGone(EndOtherSessions(connection_, options_.task, *shutdown_)));
  std::string state(TaskStateName(TaskState::kNew));
  std::vector<Param> params = {options_.task, HostName(), absl::StrCat(getpid()), state};
  AddIdentity(source, params);
  AddIdentity(destination, params);
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      connection_.Query(
          absl::StrCat("INSERT INTO towline_state.task AS t (task, epoch, host, pid, state, phase, "
                       "source_system_identifier, source_timeline, source_database_oid, "
                       "source_database, destination_system_identifier, destination_timeline, "
                       "destination_database_oid, destination_database) "
                       "VALUES ($1, 1, $2, $3::integer, $4, $4, $5::numeric, $6::bigint, "
                       "$7::bigint, $8, $9::numeric, $10::bigint, $11::bigint, $12) "
                       "ON CONFLICT (task) DO UPDATE SET epoch = t.epoch + 1, host = $2, "
                       "pid = $3::integer, taken_over_at = pg_catalog.clock_timestamp() RETURNING ",
                       kTaskColumns),
          params));
  TOWLINE_ASSIGN_OR_RETURN(TaskRow task, GetTaskRow(row, 0));
  epoch_ = task.epoch;
  TOWLINE_RETURN_IF_ERROR(EndOtherSessions(connection_, options_.task, *shutdown_));
  TOWLINE_RETURN_IF_ERROR(WaitForPrepares(connection_, options_.task));
  TOWLINE_RETURN_IF_ERROR(
      connection_.Query("DELETE FROM towline_state.session WHERE task = $1", {options_.task})
          .status());
  TOWLINE_RETURN_IF_ERROR(AddSession(connection_, "state"));
  return task;
}

absl::StatusOr<TaskRow> StateStore::ReadTask() {
  TOWLINE_ASSIGN_OR_RETURN(
      Result row, connection_.Query(absl::StrCat("SELECT ", kTaskColumns,
                                                 " FROM towline_state.task t WHERE task = $1"),
                                    {options_.task}));
  if (row.row_count() != 1) {
    return absl::AbortedError(
        absl::StrCat("task ", options_.task, " was removed by `towline drop`"));
  }
  return GetTaskRow(row, 0);
}

absl::Status StateStore::UpdateTask(absl::string_view assignments, std::vector<Param> values) {
  std::vector<Param> params = {options_.task, absl::StrCat(epoch_)};
  params.insert(params.end(), values.begin(), values.end());
  TOWLINE_ASSIGN_OR_RETURN(
      Result result, connection_.Query(absl::StrCat("UPDATE towline_state.task SET ", assignments,
                                                    " WHERE task = $1 AND epoch = $2::bigint"),
                                       params));
  return CheckPositionMoved(result.affected_rows());
}

absl::Status StateStore::SetState(TaskState state, absl::string_view error) {
  TOWLINE_RETURN_IF_ERROR(UpdateTask(kStateAssignments, StateParams(state, error)));
  on_state_(state);
  return absl::OkStatus();
}

absl::Status StateStore::SetSlot(const SlotNote& slot) {
  return UpdateTask(
      "slot = $3, is_slot_created = $4::boolean, position = $5::pg_lsn, plugin_version = $6, "
      "is_slot_on_standby = $7::boolean",
      {slot.name, slot.is_created ? "t" : "f", LsnParam(slot.position), slot.plugin_version,
       slot.is_on_standby ? "t" : "f"});
}

absl::Status StateStore::SetTimelines(const ServerIdentity& source,
                                      const ServerIdentity& destination) {
  return UpdateTask("source_timeline = $3::bigint, destination_timeline = $4::bigint",
                    {absl::StrCat(source.timeline), absl::StrCat(destination.timeline)});
}

absl::Status StateStore::AddSession(const Connection& session, const std::string& purpose) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      connection_.Query(
          "INSERT INTO towline_state.session (task, epoch, pid, backend_start, "
          "application_name, purpose, run_id, client_host, client_pid, client_process) "
          "SELECT t.task, t.epoch, a.pid, a.backend_start, a.application_name, $4, "
          "$5, $6, $7::integer, $8 FROM towline_state.task t, "
          "pg_catalog.pg_stat_activity a WHERE t.task = $1 AND t.epoch = $2::bigint "
          "AND a.pid = $3::integer",
          {options_.task, absl::StrCat(epoch_), absl::StrCat(session.backend_pid()), purpose,
           options_.run_id, HostName(), absl::StrCat(getpid()), OwnProcessIdentity()}));
  return CheckPositionMoved(result.affected_rows());
}

absl::Status StateStore::TouchSessions(Connection& session, const TaskClaim& claim) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("UPDATE towline_state.session SET seen_at = pg_catalog.clock_timestamp() "
                    "WHERE task = $1 AND epoch = $2::bigint",
                    {claim.task, absl::StrCat(claim.epoch)}));
  return CheckPositionMoved(result.affected_rows() > 0 ? 1 : 0);
}

absl::Status StateStore::RecordStop(Connection& session, const TaskClaim& claim, TaskState state,
                                    absl::string_view error) {
  std::vector<Param> params = {claim.task, absl::StrCat(claim.epoch)};
  std::vector<Param> values = StateParams(state, error);
  params.insert(params.end(), values.begin(), values.end());
  TOWLINE_ASSIGN_OR_RETURN(
      Result result, session.Query(absl::StrCat("UPDATE towline_state.task SET ", kStateAssignments,
                                                " WHERE task = $1 AND epoch = $2::bigint"),
                                   params));
  return CheckPositionMoved(result.affected_rows());
}

}  // namespace towline

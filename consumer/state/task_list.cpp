// What commands other than `run` do with the tasks of a destination: list and remove them.
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "state/state_schema.h"
#include "state/state_store.h"
#include "state/task_lock.h"
#include "state/task_row.h"

namespace towline {

absl::Status StateStore::RemoveTask(Connection& destination, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(bool exists, HasStateSchema(destination));
  if (!exists) return absl::OkStatus();
  Shutdown never;
  TOWLINE_RETURN_IF_ERROR(AcquireTaskLock(destination, {task, ""}, never));
  TOWLINE_RETURN_IF_ERROR(EndOtherSessions(destination, task, never));
  absl::Status removed = InTransaction(destination, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(LockStateSchema(destination));
    for (const char* table : {"conflict", "schema_statement", "piece", "session", "task"}) {
      TOWLINE_RETURN_IF_ERROR(
          destination
              .Query(absl::StrCat("DELETE FROM towline_state.", table, " WHERE task = $1"), {task})
              .status());
    }
    TOWLINE_ASSIGN_OR_RETURN(std::string left,
                             destination.QueryValue("SELECT count(*) FROM towline_state.task"));
    if (left != "0") return absl::OkStatus();
    // A schema that an administrator made for us stays, empty.
    TOWLINE_ASSIGN_OR_RETURN(
        std::string is_ours,
        destination.QueryValue("SELECT pg_catalog.pg_has_role(nspowner, 'USAGE') FROM "
                               "pg_catalog.pg_namespace WHERE nspname = 'towline_state'"));
    if (is_ours == "t") return destination.Exec("DROP SCHEMA towline_state CASCADE").status();
    return destination
        .Exec(
            "DROP TABLE towline_state.conflict, towline_state.schema_statement, "
            "towline_state.piece, towline_state.session, towline_state.task, towline_state.meta")
        .status();
  });
  TOWLINE_RETURN_IF_ERROR(removed);
  // The applier's replication origin, of a limited number. Dropping it is a right of its own; an
  // origin that stays harms nobody.
  destination
      .Query(
          "SELECT pg_catalog.pg_replication_origin_drop(roname) "
          "FROM pg_catalog.pg_replication_origin WHERE roname = 'towline_' || $1",
          {task})
      .status()
      .IgnoreError();
  return destination.Exec("SELECT pg_catalog.pg_advisory_unlock_all()").status();
}

absl::StatusOr<std::vector<TaskRow>> StateStore::ListTasks(Connection& destination) {
  std::vector<TaskRow> tasks;
  TOWLINE_ASSIGN_OR_RETURN(bool exists, HasStateSchema(destination));
  if (!exists) return tasks;
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows, destination.Exec(absl::StrCat("SELECT ", kTaskColumns,
                                                 " FROM towline_state.task ORDER BY task")));
  for (int i = 0; i < rows.row_count(); ++i) {
    TOWLINE_ASSIGN_OR_RETURN(TaskRow task, GetTaskRow(rows, i));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace towline

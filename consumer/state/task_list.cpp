// What commands other than `run` do with the tasks of a destination: list and remove them.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "state/origin.h"
#include "state/prepared.h"
#include "state/state_schema.h"
#include "state/state_store.h"
#include "state/task_lock.h"
#include "state/task_row.h"

namespace towline {

namespace {

absl::Status RollBackPrepared(Connection& destination, const std::string& task,
                              absl::FunctionRef<void(const std::string& gid)> on_rolled_back) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> prepared,
                           ListPrepared(destination, task));
  for (const PreparedTransaction& transaction : prepared) {
    TOWLINE_RETURN_IF_ERROR(
        destination.Exec(absl::StrCat("ROLLBACK PREPARED ", QuoteLiteral(transaction.gid)))
            .status());
    on_rolled_back(transaction.gid);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status StateStore::RemoveTask(
    Connection& destination, const std::string& task,
    absl::FunctionRef<void(const std::string& gid)> on_rolled_back) {
  TOWLINE_ASSIGN_OR_RETURN(bool exists, HasStateSchema(destination));
  if (!exists) return RollBackPrepared(destination, task, on_rolled_back);
  Shutdown never;
  TOWLINE_RETURN_IF_ERROR(AcquireTaskLock(destination, {task, ""}, never));
  TOWLINE_RETURN_IF_ERROR(EndOtherSessions(destination, task, never));
  // Before its rows go: what is interrupted here is mended by the same command again.
  TOWLINE_RETURN_IF_ERROR(RollBackPrepared(destination, task, on_rolled_back));
  absl::Status removed = InTransaction(destination, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(LockStateSchema(destination));
    // An older towline may have made the schema.
    TOWLINE_ASSIGN_OR_RETURN(
        Result tables, destination.Exec("SELECT c.relname FROM pg_catalog.pg_class c JOIN "
                                        "pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                        "WHERE n.nspname = 'towline_state' AND c.relkind = 'r'"));
    std::vector<std::string> names;
    for (int row = 0; row < tables.row_count(); ++row) {
      std::string table = tables.GetString(row, 0);
      names.push_back(absl::StrCat("towline_state.", QuoteIdentifier(table)));
      // Staging tables (copy_...) hold users' rows, whose columns may have any name.
      if (table == "meta" || absl::StartsWith(table, "copy_")) continue;
      TOWLINE_RETURN_IF_ERROR(
          destination.Query(absl::StrCat("DELETE FROM ", names.back(), " WHERE task = $1"), {task})
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
    return destination.Exec(absl::StrCat("DROP TABLE ", absl::StrJoin(names, ", "))).status();
  });
  TOWLINE_RETURN_IF_ERROR(removed);
  DropOrigins(destination, task);
  return destination.Exec("SELECT pg_catalog.pg_advisory_unlock_all()").status();
}

absl::StatusOr<std::vector<TaskRow>> StateStore::ListTasks(Connection& destination) {
  std::vector<TaskRow> tasks;
  TOWLINE_ASSIGN_OR_RETURN(bool exists, HasStateSchema(destination));
  if (!exists) return tasks;
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows, destination.Exec(absl::StrCat("SELECT ", kTaskColumns,
                                                 " FROM towline_state.task t ORDER BY task")));
  for (int i = 0; i < rows.row_count(); ++i) {
    TOWLINE_ASSIGN_OR_RETURN(TaskRow task, GetTaskRow(rows, i));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

}  // namespace towline

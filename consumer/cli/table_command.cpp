// table: what a running task is to do with one of its tables. The destination is asked and written,
// so it works whether or not the task runs.
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "config/value_text.h"
#include "observe/control_socket.h"
#include "pg/quoting.h"
#include "state/table_request.h"

namespace towline {
namespace {

constexpr char kUsage[] = "As in: towline table park public.orders. towline help table says more.";

// A task that streams looks twice a second, and restarts its stream for what it finds.
constexpr absl::Duration kWaitMax = absl::Seconds(10);
constexpr absl::Duration kWaitInterval = absl::Milliseconds(100);

absl::Status CheckUsage(const Arguments& arguments, const Config& config) {
  if (arguments.table_action.empty()) {
    return WithHint(absl::InvalidArgumentError("what to do with a table is missing"), kUsage);
  }
  if (arguments.table_name.empty()) {
    return WithHint(absl::InvalidArgumentError("the table is missing"), kUsage);
  }
  return config.has_destination ? absl::OkStatus() : MissingUri("destination");
}

// A newer schema that this process could make would end the task of an older one.
absl::Status ExplainOlder(const absl::Status& status) {
  const std::string sqlstate = GetSqlState(status);
  if (sqlstate != "42P01" && sqlstate != "42703") return status;
  return WithHint(absl::FailedPreconditionError("an older towline has made the task's state"),
                  "Run the task with this one first: towline run.");
}

// Here, or elsewhere.
absl::StatusOr<bool> IsRunning(Connection& destination, const TaskRow& task) {
  if (AskControlSocket(task.task, {"status"}).ok()) return true;
  TOWLINE_ASSIGN_OR_RETURN(
      Result running,
      destination.Query("SELECT EXISTS (SELECT FROM towline_state.session s JOIN "
                        "pg_catalog.pg_stat_activity a ON a.pid = s.pid AND a.backend_start = "
                        "s.backend_start WHERE s.task = $1 AND s.epoch = $2::bigint)",
                        {{task.task, absl::StrCat(task.epoch)}}));
  return running.row_count() == 1 && running.GetBool(0, 0);
}

// What the task makes of it, if it runs and has no more important thing to do; null: not yet.
absl::StatusOr<std::optional<TableRequest>> Await(Connection& destination, const std::string& task,
                                                  int64_t number, const Shutdown& shutdown) {
  const absl::Time until = SteadyNow() + kWaitMax;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<TableRequest> requests,
                             ReadTableRequests(destination, task));
    auto found = std::find_if(requests.begin(), requests.end(), [&](const TableRequest& request) {
      return request.number == number;
    });
    if (found == requests.end()) return std::optional<TableRequest>(TableRequest());
    if (!found->refusal.empty()) return std::optional<TableRequest>(*found);
    if (SteadyNow() >= until) return std::optional<TableRequest>();
    if (!shutdown.SleepFor(kWaitInterval)) return absl::CancelledError("");
  }
}

void Say(const std::string& action, const std::string& table, const std::string& task) {
  if (action == "park") {
    printf("table %s has left the stream of task %s; its rows stay as they are\n", table.c_str(),
           task.c_str());
  } else if (action == "remove") {
    printf("table %s has left task %s; its rows stay at the destination\n", table.c_str(),
           task.c_str());
  } else {
    printf(
        "table %s is copied by task %s now, and joins its stream then; towline status shows it\n",
        table.c_str(), task.c_str());
  }
}

}  // namespace

absl::StatusOr<int> TableCommand(const Arguments& arguments, const Config& config,
                                 Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(CheckUsage(arguments, config));
  absl::StatusOr<TableName> table = ParseTableName(arguments.table_name);
  if (!table.ok()) {
    return WithContext(table.status(), absl::StrCat("\"", arguments.table_name, "\""));
  }
  const std::string& action = arguments.table_action;
  TOWLINE_ASSIGN_OR_RETURN(Connection destination, OpenFor(config.destination, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(std::string task, TaskAt(destination, config, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> tasks, StateStore::ListTasks(destination));
  std::optional<TaskRow> row = FindTask(tasks, task);
  if (!row.has_value()) {
    return absl::NotFoundError(absl::StrCat("there is no task \"", task, "\""));
  }
  if (row->phase < TaskState::kCatchingUp) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat("the copy of task ", task, " is not complete")),
        "Wait until its state is catching_up or streaming (towline status).");
  }
  absl::StatusOr<std::vector<PieceRow>> pieces = StateStore::ReadPieces(destination, task);
  if (!pieces.ok()) return ExplainOlder(pieces.status());
  auto piece = std::find_if(pieces->begin(), pieces->end(),
                            [&](const PieceRow& known) { return known.table == *table; });
  TOWLINE_RETURN_IF_ERROR(
      CheckTableRequest(*table, action, piece == pieces->end() ? nullptr : &*piece));
  absl::StatusOr<int64_t> number = AskForTable(destination, task, *table, action);
  if (!number.ok()) return ExplainOlder(number.status());
  const std::string name = QuoteQualified(table->schema, table->name);
  TOWLINE_ASSIGN_OR_RETURN(const bool is_running, IsRunning(destination, *row));
  std::optional<TableRequest> outcome;
  if (is_running) {
    TOWLINE_ASSIGN_OR_RETURN(outcome, Await(destination, task, *number, shutdown));
  }
  if (!outcome.has_value()) {
    printf(
        "%s of table %s is asked of task %s, which has not taken it up yet: it does so while it "
        "streams (towline run); towline status shows it\n",
        action.c_str(), name.c_str(), task.c_str());
  } else if (outcome->refusal.empty()) {
    Say(action, name, task);
  } else {
    // Whoever asked has been told.
    TOWLINE_RETURN_IF_ERROR(ForgetTableRequest(destination, {task, row->epoch}, *outcome));
    return absl::FailedPreconditionError(outcome->refusal);
  }
  return 0;
}

}  // namespace towline

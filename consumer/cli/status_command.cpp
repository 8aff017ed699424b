// status: what a running task says of itself, else what the destination remembers of it.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "cli/commands.h"
#include "cli/status_text.h"
#include "cli/task_finder.h"
#include "observe/control_socket.h"
#include "observe/progress_line.h"
#include "snapshot/slot.h"
#include "state/prepared.h"
#include "state/table_request.h"
#include "state/task_state.h"
#include "state/verify_look.h"

namespace towline {
namespace {

constexpr absl::Duration kWatchInterval = absl::Seconds(1);

// kNotFound if nothing of that name runs here.
absl::StatusOr<KnownTask> AskRunning(const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(std::string answer, AskControlSocket(task, {"status"}));
  KnownTask known;
  TOWLINE_ASSIGN_OR_RETURN(known.status, TaskStatusFromJson(answer));
  known.is_running = true;
  return known;
}

KnownTask FromRow(const TaskRow& row, const Config& config) {
  KnownTask known;
  known.status.task = row.task;
  known.status.state = std::string(TaskStateName(row.state));
  known.status.slot = row.slot;
  known.status.epoch = row.epoch;
  known.status.position = row.position;
  known.status.destination = config.destination.Describe();
  known.status.source = absl::StrCat("database ", row.source.database);
  known.phase = std::string(TaskStateName(row.phase));
  known.error = row.error;
  known.is_slot_on_standby = row.is_slot_on_standby;
  known.ran_at = absl::StrCat("last on ", row.host, ", pid ", row.pid);
  return known;
}

// What the slot of a stopped task costs, if the source can be asked.
void AddSlot(const Config& config, const Shutdown& shutdown, KnownTask& known) {
  if (!config.has_source || known.status.slot.empty()) return;
  absl::StatusOr<Connection> source = OpenFor(config.source, shutdown);
  if (!source.ok()) {
    known.status.waiting_for = std::string(source.status().message());
    return;
  }
  known.status.source = config.source.Describe();
  if (known.is_slot_on_standby && !config.has_source_standby) {
    known.status.waiting_for = "its slot is on a standby of the source: give --source-standby too";
    return;
  }
  absl::StatusOr<Connection> server =
      OpenFor(known.is_slot_on_standby ? config.source_standby : config.source, shutdown);
  if (!server.ok()) {
    known.status.waiting_for = std::string(server.status().message());
    return;
  }
  absl::StatusOr<std::optional<SlotInfo>> slot = ReadSlot(*server, known.status.slot);
  if (!slot.ok()) return;
  if (!slot->has_value()) {
    known.status.wal_status = "gone";
    return;
  }
  known.status.wal_status = (*slot)->wal_status;
  known.status.slot_safe_wal_bytes = (*slot)->safe_wal_bytes;
  known.status.slot_retained_bytes = (*slot)->retained_bytes;
  if (absl::StatusOr<std::string> flushed =
          source->QueryValue("SELECT pg_catalog.pg_current_wal_flush_lsn()");
      flushed.ok()) {
    known.status.source_flush_lsn = Lsn::Parse(*flushed).value_or(Lsn());
    if (known.status.source_flush_lsn > known.status.position) {
      known.status.lag_bytes =
          static_cast<int64_t>(known.status.source_flush_lsn.value - known.status.position.value);
    }
  }
}

// A consumer shows a sign of life in towline_state.session every few seconds; one older than 30 s
// is dead to its successor as well (state_store.h).
void AddWhereItRuns(Connection& destination, KnownTask& known) {
  absl::StatusOr<Result> result = destination.Query(
      "SELECT s.client_host, s.client_pid FROM towline_state.session s JOIN "
      "pg_catalog.pg_stat_activity a ON a.pid = s.pid AND a.backend_start = s.backend_start "
      "WHERE s.task = $1 AND s.epoch = $2::bigint AND "
      "s.seen_at > pg_catalog.clock_timestamp() - interval '30 s' LIMIT 1",
      {{known.status.task, absl::StrCat(known.status.epoch)}});
  if (!result.ok() || result->row_count() == 0) return;
  known.is_elsewhere = true;
  known.ran_at = absl::StrCat("on ", result->Get(0, 0), ", pid ", result->Get(0, 1));
}

void AddVerified(Connection& destination, KnownTask& known) {
  absl::StatusOr<VerifySummary> verify = ReadVerifySummary(destination, known.status.task);
  if (verify.ok()) known.status.verify = *std::move(verify);
}

void AddPrepared(Connection& destination, KnownTask& known) {
  absl::StatusOr<std::vector<PreparedTransaction>> prepared =
      ListPrepared(destination, known.status.task);
  if (!prepared.ok() || prepared->empty()) return;
  known.status.prepared = static_cast<int64_t>(prepared->size());
  known.status.prepared_oldest_seconds = prepared->front().age_seconds;
}

// Of a copy that is stopped, or runs elsewhere.
void AddPieces(Connection& destination, KnownTask& known) {
  absl::StatusOr<std::vector<PieceRow>> pieces =
      StateStore::ReadPieces(destination, known.status.task);
  if (!pieces.ok()) return;  // written by another version
  TaskStatus& status = known.status;
  absl::StatusOr<std::vector<TableRequest>> requests =
      ReadTableRequests(destination, known.status.task);
  if (requests.ok()) status.table_notes = NotesOf(*pieces, *requests);
  for (const PieceRow& piece : *pieces) {
    if (piece.state == "streamed") continue;  // not of the copy
    if (piece.state == "removed" || piece.state == "joining") continue;
    if (piece.state == "parked") {
      ++status.parked_total;
      if (status.parked.size() < kTablesShownMax) status.parked.push_back(piece.table);
    }
    ++status.tables_total;
    status.tables_done += piece.state == "copied" || piece.state == "parked" ? 1 : 0;
    status.copy_bytes_total += piece.bytes_total;
    status.copy_bytes_done += piece.bytes_done;
    status.copy_rows_done += piece.rows_done;
    TableStatus table;
    table.name = piece.table;
    table.state = piece.state == "pending" || piece.state == "again" ? "waiting" : piece.state;
    if (piece.key.has_value()) table.copied_by = "keys";
    table.bytes_total = piece.bytes_total;
    table.bytes_done = piece.bytes_done;
    table.rows_done = piece.rows_done;
    status.tables.push_back(std::move(table));
  }
  std::stable_sort(status.tables.begin(), status.tables.end(),
                   [](const TableStatus& a, const TableStatus& b) {
                     return std::make_pair(a.state == "copying", a.bytes_total) >
                            std::make_pair(b.state == "copying", b.bytes_total);
                   });
  if (status.tables.size() <= kTablesShownMax) return;
  status.tables_left_out = static_cast<int64_t>(status.tables.size() - kTablesShownMax);
  status.tables.resize(kTablesShownMax);
}

absl::StatusOr<std::vector<KnownTask>> TasksAtDestination(const Config& config,
                                                          const Shutdown& shutdown) {
  std::vector<KnownTask> tasks;
  if (!config.has_destination) return tasks;
  TOWLINE_ASSIGN_OR_RETURN(Connection destination, OpenFor(config.destination, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> rows, StateStore::ListTasks(destination));
  for (const TaskRow& row : rows) {
    tasks.push_back(FromRow(row, config));
    AddWhereItRuns(destination, tasks.back());
    AddPrepared(destination, tasks.back());
    AddVerified(destination, tasks.back());
    AddPieces(destination, tasks.back());
  }
  return tasks;
}

absl::StatusOr<KnownTask> Find(const Config& config, const std::string& task,
                               const Shutdown& shutdown) {
  absl::StatusOr<KnownTask> running = AskRunning(task);
  if (running.ok() || !absl::IsNotFound(running.status())) return running;
  if (!config.has_destination) {
    return WithHint(running.status(),
                    "Give the destination's URI to read what it remembers of the task.");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<KnownTask> tasks, TasksAtDestination(config, shutdown));
  std::vector<std::string> names;
  for (KnownTask& known : tasks) {
    names.push_back(known.status.task);
    if (known.status.task != task) continue;
    AddSlot(config, shutdown, known);
    return std::move(known);
  }
  return WithHint(
      absl::NotFoundError(absl::StrCat("there is no task \"", task, "\"")),
      names.empty() ? "The destination knows no task at all."
                    : absl::StrCat("Tasks at this destination: ", absl::StrJoin(names, ", "), "."));
}

absl::StatusOr<int> PrintList(bool is_json, const Config& config, const Shutdown& shutdown) {
  std::vector<KnownTask> tasks;
  for (const std::string& name : ListControlSockets()) {
    if (absl::StatusOr<KnownTask> known = AskRunning(name); known.ok()) tasks.push_back(*known);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<KnownTask> rows, TasksAtDestination(config, shutdown));
  for (KnownTask& row : rows) {
    bool is_listed = std::any_of(tasks.begin(), tasks.end(), [&](const KnownTask& known) {
      return known.status.task == row.status.task;
    });
    if (!is_listed) tasks.push_back(std::move(row));
  }
  std::vector<std::string> parts;
  for (const KnownTask& known : tasks) {
    parts.push_back(is_json ? KnownTaskToJson(known) : TaskLine(known));
  }
  if (is_json) {
    printf("{\"tasks\":[%s]}\n", absl::StrJoin(parts, ",").c_str());
  } else if (parts.empty()) {
    printf("no task runs here%s\n",
           config.has_destination
               ? ", and the destination knows none"
               : "; with --destination URI status also shows what a destination remembers");
  } else {
    fputs(absl::StrJoin(parts, "").c_str(), stdout);
  }
  return 0;
}

// For what can be said without asking any server.
Config WithoutServers(Config config) {
  config.has_source = config.has_destination = false;
  return config;
}

absl::StatusOr<int> Watch(bool is_json, const Config& config, const std::string& task,
                          const Shutdown& shutdown) {
  bool is_terminal = isatty(STDOUT_FILENO) != 0;
  KnownTask before;
  absl::Time before_at = SteadyNow();
  do {
    TOWLINE_ASSIGN_OR_RETURN(KnownTask now, Find(config, task, shutdown));
    absl::Time now_at = SteadyNow();
    if (before.status.state != now.status.state) before = now;
    if (is_json) {
      printf("%s\n", KnownTaskToJson(now).c_str());
    } else {
      std::string line = now.is_running
                             ? ProgressLine(before.status, now.status, now_at - before_at)
                             : "not running";
      printf(is_terminal ? "\r\033[K%s" : "%s\n", line.c_str());
    }
    fflush(stdout);
    before = now;
    before_at = now_at;
  } while (shutdown.SleepFor(kWatchInterval));
  if (is_terminal && !is_json) printf("\n");
  return 0;
}

}  // namespace

absl::StatusOr<int> StatusCommand(const Arguments& arguments, const Config& config,
                                  Shutdown& shutdown) {
  bool is_named = !config.task.empty() || (config.has_source && config.has_destination);
  std::string task = config.task;
  if (!is_named) {
    std::vector<std::string> here = ListControlSockets();
    if (!arguments.is_watch || here.size() != 1) {
      if (!arguments.is_watch) return PrintList(arguments.is_json, config, shutdown);
      return WithHint(absl::InvalidArgumentError("no task named"), "Name the one to watch.");
    }
    task = here[0];
  } else {
    absl::StatusOr<std::string> name = TaskNameOf(config, shutdown);
    // Status is asked for most when a server is down, which is when no name can be derived.
    std::vector<std::string> here = ListControlSockets();
    if (absl::IsUnavailable(name.status()) && here.size() == 1) name = here[0];
    if (!name.ok() && !arguments.is_watch && !here.empty()) {
      return PrintList(arguments.is_json, WithoutServers(config), shutdown);
    }
    TOWLINE_RETURN_IF_ERROR(name.status());
    task = *name;
  }
  if (arguments.is_watch) return Watch(arguments.is_json, config, task, shutdown);
  TOWLINE_ASSIGN_OR_RETURN(KnownTask known, Find(config, task, shutdown));
  std::string text =
      arguments.is_json ? absl::StrCat(KnownTaskToJson(known), "\n") : StatusText(known);
  fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace towline

#include "state/task_lock.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "state/process_identity.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr absl::Duration kHolderWaitMax = absl::Seconds(10);
constexpr absl::Duration kLockWaitMax = absl::Seconds(60);
constexpr absl::Duration kEndWaitMax = absl::Seconds(10);
constexpr absl::Duration kPoll = absl::Milliseconds(100);

// The key is made on the server, so that every version of towline and a curious user get the same.
constexpr char kKeySql[] = "pg_catalog.hashtextextended('towline task ' || $1, 0)";

// The lock's holder with what is recorded of its session. A bigint key shows in pg_locks as two
// halves, objsubid 1.
constexpr char kHolderSql[] = R"sql(
WITH key AS (SELECT pg_catalog.hashtextextended('towline task ' || $1, 0) AS value)
SELECT l.pid, s.client_pid, s.client_host,
       pg_catalog.to_char(s.started_at, 'YYYY-MM-DD HH24:MI:SS TZ'),
       s.run_id = $2, s.seen_at, s.client_process,
       s.seen_at < pg_catalog.clock_timestamp() - interval '30 seconds'
FROM key JOIN pg_catalog.pg_locks l
  ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
 AND l.database = (SELECT oid FROM pg_catalog.pg_database
                   WHERE datname = pg_catalog.current_database())
 AND l.classid::bigint = ((key.value >> 32) & 4294967295)
 AND l.objid::bigint = (key.value & 4294967295)
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN towline_state.session s
  ON s.task = $1 AND s.pid = a.pid AND s.backend_start = a.backend_start
 AND s.application_name = a.application_name)sql";

// $1 what the application names of the task's sessions at this end begin with.
constexpr char kNamedLikeTask[] =
    "a.pid <> pg_catalog.pg_backend_pid() AND a.datname = pg_catalog.current_database() "
    "AND a.usename = current_user AND pg_catalog.starts_with(a.application_name, $1)";

// $2 the task.
constexpr char kRecorded[] =
    "EXISTS (SELECT 1 FROM towline_state.session s WHERE s.task = $2 AND s.pid = a.pid "
    "AND s.backend_start = a.backend_start AND s.application_name = a.application_name) "
    "AND a.pid <> pg_catalog.pg_backend_pid()";

absl::Status EndSessions(Connection& connection, const std::string& condition,
                         const std::vector<Param>& params, const Shutdown& shutdown) {
  const std::string sql = absl::StrCat(
      "SELECT pg_catalog.pg_terminate_backend(a.pid) "
      "FROM pg_catalog.pg_stat_activity a WHERE ",
      condition);
  const absl::Time deadline = SteadyNow() + kEndWaitMax;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(Result ended, connection.Query(sql, params));
    if (ended.row_count() == 0) return absl::OkStatus();
    if (SteadyNow() > deadline) {
      return absl::AbortedError(absl::StrCat(ended.row_count(),
                                             " sessions of a predecessor do "
                                             "not end at the ",
                                             connection.side()));
    }
    if (!shutdown.SleepFor(kPoll)) return absl::CancelledError("shutting down");
  }
}

struct Holder {
  std::string backend_pid;
  std::string client_pid;
  std::string client_host;
  std::string since;
  bool is_ours = false;  // of this run
  std::string seen_at;   // last sign of life; empty: the session is not recorded (yet)
  ProcessFate fate = ProcessFate::kUnknown;
  bool is_silent = false;  // for 30 s
};

// No holder: it has just let go.
absl::StatusOr<std::optional<Holder>> ReadHolder(Connection& connection,
                                                 const TaskLockOptions& options) {
  TOWLINE_ASSIGN_OR_RETURN(Result row,
                           connection.Query(kHolderSql, {options.task, options.run_id}));
  if (row.row_count() == 0) return std::optional<Holder>();
  Holder holder;
  holder.backend_pid = row.GetString(0, 0);
  holder.client_pid = row.GetString(0, 1);
  holder.client_host = row.GetString(0, 2);
  holder.since = row.GetString(0, 3);
  holder.is_ours = row.GetBool(0, 4);
  holder.seen_at = row.GetString(0, 5);
  holder.fate = FateOfProcess(row.Get(0, 6));
  holder.is_silent = row.GetBool(0, 7);
  return std::optional<Holder>(std::move(holder));
}

bool MayBeEnded(const Holder& holder) {
  return holder.is_ours || holder.is_silent || holder.fate == ProcessFate::kDead;
}

std::string RunBy(const TaskLockOptions& options, const Holder& holder) {
  if (holder.client_pid.empty()) {
    return absl::StrCat("task ", options.task,
                        " is run by a session of the destination, backend pid ",
                        holder.backend_pid);
  }
  return absl::StrCat("task ", options.task, " is run by pid ", holder.client_pid, " on host ",
                      holder.client_host, " since ", holder.since);
}

absl::Status Refuse(const TaskLockOptions& options, const Holder& holder) {
  return WithHint(absl::FailedPreconditionError(RunBy(options, holder)),
                  absl::StrCat("Only one process may run a task. `towline status --task ",
                               options.task, "` shows it; stop it first, or give another --task."));
}

}  // namespace

absl::Status AcquireTaskLock(Connection& connection, const TaskLockOptions& options,
                             const Shutdown& shutdown) {
  const std::string try_sql = absl::StrCat("SELECT pg_catalog.pg_try_advisory_lock(", kKeySql, ")");
  const absl::Time start = SteadyNow();
  std::string first_seen_at;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(std::string taken, connection.QueryValue(try_sql, {options.task}));
    if (taken == "t") return absl::OkStatus();
    TOWLINE_ASSIGN_OR_RETURN(std::optional<Holder> holder, ReadHolder(connection, options));
    const absl::Duration waited = SteadyNow() - start;
    if (holder.has_value() && MayBeEnded(*holder)) {
      LogInfo("ending a session that a predecessor left at the destination",
              {{"backend_pid", holder->backend_pid}});
      TOWLINE_RETURN_IF_ERROR(
          connection
              .Query("SELECT pg_catalog.pg_terminate_backend($1::integer)", {holder->backend_pid})
              .status());
    } else if (holder.has_value()) {
      if (first_seen_at.empty()) {
        first_seen_at = absl::StrCat(holder->seen_at, " ");  // not empty, whatever it is
        LogInfo(absl::StrCat(RunBy(options, *holder), "; waiting for it to end"),
                {{"wait_max", towline::FormatDuration(kHolderWaitMax)}});
      }
      // A process of another machine that has given no sign of life since we began to wait may be
      // dead: that will be known soon.
      bool may_be_dead = holder->fate == ProcessFate::kUnknown && !holder->seen_at.empty() &&
                         absl::StrCat(holder->seen_at, " ") == first_seen_at;
      if (waited > kHolderWaitMax && !may_be_dead) return Refuse(options, *holder);
    }
    if (waited > kLockWaitMax) {
      return absl::AbortedError(absl::StrCat("the lock of task ", options.task,
                                             " does not become free at the destination"));
    }
    if (!shutdown.SleepFor(kPoll)) return absl::CancelledError("shutting down");
  }
}

absl::Status EndOtherSessions(Connection& connection, const std::string& task,
                              const Shutdown& shutdown) {
  return EndSessions(connection, absl::StrCat("(", kNamedLikeTask, ") OR (", kRecorded, ")"),
                     {DestinationApplication(task, ""), task}, shutdown);
}

absl::Status EndSessionsAtSource(Connection& source, const std::string& task,
                                 const Shutdown& shutdown) {
  return EndSessions(source, kNamedLikeTask, {SourceApplication(task, "")}, shutdown);
}

}  // namespace towline

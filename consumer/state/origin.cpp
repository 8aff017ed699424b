#include "state/origin.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// A session that was closed just now holds its origin until its backend has ended.
constexpr absl::Duration kBackendEndMax = absl::Seconds(2);
constexpr absl::Duration kPoll = absl::Milliseconds(20);

// One by one: a refusal of one must not keep the others.
void DropEach(Connection& session, const std::string& task, absl::string_view condition,
              absl::Duration wait_max) {
  const absl::Time deadline = SteadyNow() + wait_max;
  absl::StatusOr<Result> names = session.Query(
      absl::StrCat("SELECT roname FROM pg_catalog.pg_replication_origin WHERE ", condition),
      {task});
  if (!names.ok()) return;
  for (int row = 0; row < names->row_count(); ++row) {
    while (true) {
      absl::Status dropped =
          session
              .Query("SELECT pg_catalog.pg_replication_origin_drop($1)", {names->GetString(row, 0)})
              .status();
      if (GetSqlState(dropped) != "55006" || SteadyNow() >= deadline) break;
      absl::SleepFor(kPoll);
    }
  }
}

// Without the number: a task may be called like another one's origin, and what counts are the last
// two parts, as in the names of prepared transactions. `task`: SQL.
std::string PrefixSql(absl::string_view task) {
  return absl::StrCat("'towline_' || ", task,
                      " || '_' || (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = "
                      "pg_catalog.current_database()) || '_'");
}

std::string Numbered(absl::string_view prefix_sql, absl::string_view numbers) {
  return absl::StrCat("(pg_catalog.starts_with(roname, ", prefix_sql,
                      ") AND pg_catalog.substr(roname, pg_catalog.length(", prefix_sql,
                      ") + 1) ~ '^", numbers, "$')");
}

}  // namespace

std::string OriginsCondition(const std::string& task) {
  return absl::StrCat(Numbered(PrefixSql(task), "[0-9]{1,4}"), " OR roname = 'towline_' || ", task,
                      " OR ",
                      Numbered(absl::StrCat("'towline_' || ", task, " || '_'"), "[0-9]{1,4}"));
}

absl::Status TakeOrigin(Connection& session, const std::string& task, int number,
                        bool is_required) {
  TOWLINE_ASSIGN_OR_RETURN(std::string name,
                           session.QueryValue(absl::StrCat("SELECT ", PrefixSql("$1"), " || $2"),
                                              {task, absl::StrCat(number)}));
  std::string quoted = QuoteLiteral(name);
  absl::Status status =
      session
          .Exec(absl::StrCat("SELECT pg_catalog.pg_replication_origin_create(", quoted,
                             ") WHERE pg_catalog.pg_replication_origin_oid(", quoted, ") IS NULL"))
          .status();
  const absl::Time deadline = SteadyNow() + kBackendEndMax;
  while (status.ok()) {
    status = session
                 .Exec(absl::StrCat("SELECT pg_catalog.pg_replication_origin_session_setup(",
                                    quoted, ")"))
                 .status();
    if (status.ok()) return status;
    if (GetSqlState(status) != "55006" || SteadyNow() >= deadline) break;
    status = absl::OkStatus();
    absl::SleepFor(kPoll);
  }
  if (absl::IsUnavailable(status) || absl::IsCancelled(status)) return status;
  if (is_required) {
    // A predecessor's session may hold it still: that is over at the next try.
    absl::StatusCode code = GetSqlState(status) == "55006" ? absl::StatusCode::kAborted
                                                           : absl::StatusCode::kFailedPrecondition;
    return WithHint(
        WithContext(WithCode(status, code),
                    "with origin: none, changes must be marked by a replication origin"),
        "Without the mark changes could go in circles. `towline check` has the statement that "
        "mends it.");
  }
  LogInfo(
      "writing without a replication origin: others that replicate from the destination cannot "
      "tell our changes from local ones",
      {{"origin", name}, {"reason", std::string(status.message())}});
  return absl::OkStatus();
}

void DropCopyOrigins(Connection& session, const std::string& task) {
  DropEach(session, task, Numbered(PrefixSql("$1"), "[1-9][0-9]{0,3}"), kBackendEndMax);
}

void DropOldOrigin(Connection& session, const std::string& task) {
  DropEach(session, task, "roname = 'towline_' || $1", absl::ZeroDuration());
}

void DropOrigins(Connection& session, const std::string& task) {
  DropEach(session, task, OriginsCondition("$1"), kBackendEndMax);
}

}  // namespace towline

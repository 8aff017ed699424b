#include "run/lock_waiters.h"

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr absl::Duration kToldAfter = absl::Seconds(5);

// Who is blocked by whom is asked for those only that wait for a table: it stops the lock manager
// for a moment.
constexpr char kWaitersSql[] = R"sql(
SELECT l.pid, COALESCE(a.usename, ''), COALESCE(a.application_name, ''),
       pg_catalog.format('%I.%I', n.nspname, c.relname), l.mode
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND NOT l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND EXISTS (SELECT 1 FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b(pid)
              JOIN pg_catalog.pg_stat_activity o ON o.pid = b.pid
              WHERE pg_catalog.starts_with(o.application_name, $1))
ORDER BY l.pid
)sql";

}  // namespace

absl::Status LockWaiters::Look(Connection& source, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(Result result,
                           source.Query(kWaitersSql, {{SourceApplication(task, "")}}));
  const absl::Time now = SteadyNow();
  std::map<std::string, Wait> waits;
  for (int row = 0; row < result.row_count(); ++row) {
    std::string key = absl::StrCat(result.Get(row, 0), " ", result.Get(row, 3));
    auto known = waits_.find(key);
    Wait wait = known == waits_.end() ? Wait{now} : known->second;
    if (!wait.is_told && now - wait.seen_at >= kToldAfter) {
      LogWarning("a session at the source waits for a lock of the copy, which keeps it to its end",
                 {{"table", result.GetString(row, 3)},
                  {"pid", result.GetString(row, 0)},
                  {"user", result.GetString(row, 1)},
                  {"application", result.GetString(row, 2)},
                  {"lock", result.GetString(row, 4)}});
      wait.is_told = true;
    }
    waits[key] = wait;
  }
  waits_ = std::move(waits);
  return absl::OkStatus();
}

}  // namespace towline

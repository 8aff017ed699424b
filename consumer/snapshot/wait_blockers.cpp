#include "snapshot/wait_blockers.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/format.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr int kNamedMax = 3;

// Every transaction that has an xid holds a lock on it until it has ended for every snapshot, and
// unlike pg_stat_activity's backend_xid pg_locks may be read by every role. (A snapshot's list will
// not do: it ends at the newest transaction that has completed.) Locks show 32 bits of an xid; the
// nearest 64-bit one to the snapshot's xmax is meant. A transaction's oldest lock is its top-level
// xid, the others are of its subtransactions.
constexpr char kBlockersSql[] = R"sql(
WITH horizon AS MATERIALIZED (
  SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::numeric AS xmax),
held AS MATERIALIZED (
  SELECT l.virtualtransaction, l.pid, l.transactionid,
         h.xmax - 2147483648
           + pg_catalog.mod(l.transactionid::text::numeric - h.xmax % 4294967296 + 6442450944,
                            4294967296) AS xid
  FROM pg_catalog.pg_locks l CROSS JOIN horizon h
  WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
    AND l.pid IS DISTINCT FROM $2::int),
running AS (
  SELECT DISTINCT ON (virtualtransaction) pid, transactionid, xid
  FROM held ORDER BY virtualtransaction, xid)
SELECT p.gid, r.pid, COALESCE(p.owner, a.usename, ''), COALESCE(p.database, a.datname, ''),
       COALESCE(a.state, ''),
       EXTRACT(epoch FROM pg_catalog.clock_timestamp()
                          - COALESCE(p.prepared, a.xact_start))::bigint,
       pg_catalog.count(*) OVER (), COALESCE(a.wait_event, '')
FROM running r
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = r.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = r.transactionid
WHERE $1::numeric = 0 OR r.xid <= $1::numeric
ORDER BY r.xid LIMIT 3
)sql";

// Prepared transactions have no pid; their locks bear the transaction's number.
constexpr char kTableLocksSql[] = R"sql(
SELECT DISTINCT p.gid, l.pid, COALESCE(p.owner, a.usename, ''), COALESCE(a.state, '')
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relname = $2
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p
  ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction::text
WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                    WHERE d.datname = pg_catalog.current_database())
  AND ($3::boolean OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
ORDER BY 1, 2 LIMIT 3
)sql";

std::string DescribeOne(const Result& result, int row) {
  bool is_prepared = !result.IsNull(row, 0);
  std::string who = is_prepared ? absl::StrCat("prepared transaction '", result.Get(row, 0), "'")
                    : result.IsNull(row, 1)
                        ? std::string("a transaction that is just ending")
                        : absl::StrCat("transaction of pid ", result.Get(row, 1));
  std::vector<std::string> facts;
  if (!result.Get(row, 2).empty()) facts.push_back(absl::StrCat("user ", result.Get(row, 2)));
  if (!result.Get(row, 3).empty()) facts.push_back(absl::StrCat("database ", result.Get(row, 3)));
  std::string state = is_prepared ? "prepared" : result.GetString(row, 4);
  if (result.Get(row, 7) == "SyncRep") state = "waiting for a synchronous standby";
  if (!result.IsNull(row, 5)) {
    absl::StrAppend(&state, state.empty() ? "open for " : " for ",
                    towline::FormatDuration(absl::Seconds(result.GetInt(row, 5))));
  }
  if (!state.empty()) facts.push_back(state);
  return facts.empty() ? who : absl::StrCat(who, " (", absl::StrJoin(facts, ", "), ")");
}

}  // namespace

absl::StatusOr<std::string> DescribeBlockers(Connection& source, uint64_t xid_max, int except_pid) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      source.Query(kBlockersSql, {{absl::StrCat(xid_max), absl::StrCat(except_pid)}}));
  std::vector<std::string> named;
  for (int row = 0; row < result.row_count(); ++row) named.push_back(DescribeOne(result, row));
  int64_t count = result.row_count() > 0 ? result.GetInt(0, 6) : 0;
  if (count > kNamedMax) named.push_back(absl::StrCat(count - kNamedMax, " more"));
  return absl::StrJoin(named, ", ");
}

absl::StatusOr<std::string> DescribeTableLocks(Connection& session, const TableName& table,
                                               bool with_readers) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      session.Query(kTableLocksSql, {{table.schema, table.name, with_readers ? "t" : "f"}}));
  std::vector<std::string> named;
  for (int row = 0; row < rows.row_count(); ++row) {
    std::string who = rows.IsNull(row, 0)
                          ? absl::StrCat("pid ", rows.Get(row, 1))
                          : absl::StrCat("prepared transaction '", rows.Get(row, 0), "'");
    std::string state = rows.IsNull(row, 0) ? rows.GetString(row, 3) : "prepared";
    named.push_back(absl::StrCat(who, " (user ", rows.Get(row, 2), ", ", state, ")"));
  }
  return absl::StrJoin(named, ", ");
}

}  // namespace towline

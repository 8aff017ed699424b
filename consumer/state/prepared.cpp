#include "state/prepared.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Made on the server, like the key of the task's own lock (task_lock.cpp).
constexpr char kKeySql[] = "pg_catalog.hashtextextended('towline prepare ' || $1, 0)";

// $1 the task. A task may be called like another one's gid: what counts are the last two parts.
constexpr char kOursSql[] = R"sql(
SELECT x.gid, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - x.prepared)::bigint
FROM pg_catalog.pg_prepared_xacts x
CROSS JOIN LATERAL (
  SELECT 'towline_' || $1 || '_' || d.oid || '_' AS prefix FROM pg_catalog.pg_database d
  WHERE d.datname = pg_catalog.current_database()) p
WHERE x.database = pg_catalog.current_database() AND pg_catalog.starts_with(x.gid, p.prefix)
  AND pg_catalog.substr(x.gid, pg_catalog.length(p.prefix) + 1) ~ '^[0-9]+$'
ORDER BY x.prepared, x.gid
)sql";

}  // namespace

std::string PreparedGid(const TaskClaim& claim, const std::string& database_oid, uint64_t xid) {
  return absl::StrCat("towline_", claim.task, "_", database_oid, "_", xid);
}

absl::Status LockPrepares(Connection& session, const TaskClaim& claim) {
  return session
      .Query(absl::StrCat("SELECT pg_catalog.pg_advisory_lock_shared(", kKeySql, ")"), {claim.task})
      .status();
}

absl::Status UnlockPrepares(Connection& session, const TaskClaim& claim) {
  return session
      .Query(absl::StrCat("SELECT pg_catalog.pg_advisory_unlock_shared(", kKeySql, ")"),
             {claim.task})
      .status();
}

absl::Status LockOutPrepares(Connection& session, const std::string& task) {
  return session
      .Query(absl::StrCat("SELECT pg_catalog.pg_advisory_xact_lock(", kKeySql, ")"), {task})
      .status();
}

absl::Status WaitForPrepares(Connection& session, const std::string& task) {
  TOWLINE_RETURN_IF_ERROR(
      session.Query(absl::StrCat("SELECT pg_catalog.pg_advisory_lock(", kKeySql, ")"), {task})
          .status());
  return session.Query(absl::StrCat("SELECT pg_catalog.pg_advisory_unlock(", kKeySql, ")"), {task})
      .status();
}

absl::StatusOr<PreparedState> ReadPreparedState(Connection& session, const TaskClaim& claim,
                                                Lsn position, const std::string& gid,
                                                uint64_t xid) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result look,
      session.Query(
          "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_xacts x "
          "               WHERE x.gid = $4 AND x.database = pg_catalog.current_database()), "
          "       p.xid IS NOT NULL, pg_catalog.pg_xact_status(p.destination_xid), "
          "       p.xid IS NOT NULL AND p.destination_xid IS NULL "
          "FROM towline_state.task t LEFT JOIN towline_state.prepared p "
          "  ON p.task = t.task AND p.xid = $5::numeric "
          "WHERE t.task = $1 AND t.epoch = $2::bigint AND t.position = $3::pg_lsn",
          {claim.task, absl::StrCat(claim.epoch), position.ToString(), gid, absl::StrCat(xid)}));
  TOWLINE_RETURN_IF_ERROR(CheckPositionMoved(look.row_count()));
  PreparedState state;
  state.exists = look.GetBool(0, 0);
  state.has_row = look.GetBool(0, 1);
  state.xact_status = look.GetString(0, 2);
  state.is_empty = look.GetBool(0, 3);
  return state;
}

absl::Status CheckPreparedFate(const PreparedState& state, const std::string& gid,
                               PreparedFate fate) {
  if (state.is_empty) return absl::OkStatus();
  bool is_committed = fate == PreparedFate::kCommitted;
  if (state.xact_status == (is_committed ? "committed" : "aborted")) return absl::OkStatus();
  std::string here = state.xact_status.empty() ? "has ended so long ago that its end is not known"
                     : state.xact_status == "committed" ? "was committed"
                                                        : "was rolled back";
  return WithHint(
      absl::DataLossError(absl::StrCat("prepared transaction ", gid, " ", here,
                                       " at the destination, not by towline, and the source has ",
                                       is_committed ? "committed" : "rolled back", " its own")),
      "The destination has rows that the source does not have, or lacks some. Drop the task "
      "(towline drop) and copy anew.");
}

absl::Status AddPreparedRow(Connection& session, const TaskClaim& claim, const std::string& gid,
                            uint64_t xid, const std::string& source_gid, bool is_empty) {
  if (is_empty) {
    return session
        .Query(
            "INSERT INTO towline_state.prepared (task, xid, gid, source_gid, prepared_at) "
            "VALUES ($1, $2::numeric, '', $3, pg_catalog.clock_timestamp())",
            {claim.task, absl::StrCat(xid), source_gid})
        .status();
  }
  // pg_prepared_xacts has 32 bits of the xid; the rest follows from our own, which is younger.
  TOWLINE_ASSIGN_OR_RETURN(
      Result added,
      session.Query(
          "INSERT INTO towline_state.prepared (task, xid, gid, source_gid, destination_xid, "
          "prepared_at) "
          "SELECT $1::text, $2::numeric, x.gid, $4::text, (o.xid - ((o.xid - "
          "x.transaction::text::bigint) "
          "& 4294967295))::text::xid8, x.prepared "
          "FROM pg_catalog.pg_prepared_xacts x "
          "CROSS JOIN (SELECT pg_catalog.pg_current_xact_id()::text::bigint AS xid) o "
          "WHERE x.gid = $3 AND x.database = pg_catalog.current_database()",
          {claim.task, absl::StrCat(xid), gid, source_gid}));
  if (added.affected_rows() == 1) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("prepared transaction ", gid,
                                         " has gone from the destination right after its PREPARE"));
}

absl::Status RemovePreparedRow(Connection& session, const TaskClaim& claim, uint64_t xid) {
  return session
      .Query("DELETE FROM towline_state.prepared WHERE task = $1 AND xid = $2::numeric",
             {claim.task, absl::StrCat(xid)})
      .status();
}

absl::StatusOr<std::vector<PreparedTransaction>> ListPrepared(Connection& session,
                                                              const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(Result ours, session.Query(kOursSql, {task}));
  std::vector<PreparedTransaction> prepared;
  for (int row = 0; row < ours.row_count(); ++row) {
    prepared.push_back({ours.GetString(row, 0), "", ours.GetInt(row, 1)});
  }
  if (prepared.empty()) return prepared;
  // The schema may be older than the table, or gone.
  TOWLINE_ASSIGN_OR_RETURN(
      Result has_rows,
      session.Exec("SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                   "ON n.oid = c.relnamespace WHERE n.nspname = 'towline_state' "
                   "AND c.relname = 'prepared'"));
  if (has_rows.row_count() == 0) return prepared;
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      session.Query("SELECT gid, source_gid FROM towline_state.prepared WHERE task = $1", {task}));
  for (PreparedTransaction& transaction : prepared) {
    for (int row = 0; row < rows.row_count(); ++row) {
      if (rows.Get(row, 0) != transaction.gid) continue;
      transaction.source_gid = rows.GetString(row, 1);
      transaction.has_row = true;
    }
  }
  return prepared;
}

absl::Status RollBackWithoutRow(Connection& session, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> held, ListPrepared(session, task));
  for (const PreparedTransaction& transaction : held) {
    if (transaction.has_row) continue;
    LogWarning("rolling back a prepared transaction of the source's former timeline",
               {{"gid", transaction.gid}});
    TOWLINE_RETURN_IF_ERROR(
        session.Exec(absl::StrCat("ROLLBACK PREPARED ", QuoteLiteral(transaction.gid))).status());
  }
  return absl::OkStatus();
}

}  // namespace towline

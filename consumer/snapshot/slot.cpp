#include "snapshot/slot.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "snapshot/copy_start.h"
#include "snapshot/wait_blockers.h"

namespace towline {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr absl::Duration kNoticeInterval = absl::Seconds(10);
constexpr absl::Duration kFirstNudgeAfter = absl::Milliseconds(100);

constexpr char kSlotSql[] = R"sql(
SELECT s.plugin, s.database, s.active, s.active_pid, a.application_name, s.confirmed_flush_lsn,
       s.restart_lsn, s.wal_status, s.safe_wal_size,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_lsn() END - s.restart_lsn,
       COALESCE((pg_catalog.to_jsonb(s) ->> 'two_phase')::boolean, false),
       COALESCE(r.sync_state, 'async') <> 'async',
       COALESCE(pg_catalog.to_jsonb(s) ->> 'invalidation_reason',
                CASE WHEN (pg_catalog.to_jsonb(s) ->> 'conflicting')::boolean THEN 'a conflict with the primary' END, ''),
       COALESCE((pg_catalog.to_jsonb(s) ->> 'failover')::boolean, false),
       COALESCE((pg_catalog.to_jsonb(s) ->> 'synced')::boolean, false)
FROM pg_catalog.pg_replication_slots s
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_name = $1
)sql";

// Waits with names: looks at what blocks at every second's end, tells it after the first and then
// each ten, so that nobody wonders for long why nothing happens.
class NoticedWait {
 public:
  NoticedWait(absl::string_view what, absl::Duration wait_max, WaitNotice on_wait)
      : what_(what),
        wait_max_(wait_max),
        start_(SteadyNow()),
        tell_at_(start_ + kLookInterval),
        on_wait_(on_wait) {}

  // kDeadlineExceeded when the wait is over its limit. `blockers` may be empty: none can be seen.
  absl::Status Look(const std::string& blockers) {
    absl::Time now = SteadyNow();
    if (!blockers.empty()) last_ = blockers;
    if (now - start_ >= wait_max_) {
      return WithHint(
          absl::DeadlineExceededError(absl::StrCat(
              what_, " has waited for ", towline::FormatDuration(now - start_), " for ", Named())),
          "End the transaction (COMMIT, ROLLBACK, or for a prepared one COMMIT PREPARED / ROLLBACK "
          "PREPARED) or stop its session with pg_terminate_backend(pid), then run the same command "
          "again.");
    }
    if (now >= tell_at_) {
      tell_at_ = now + kNoticeInterval;
      on_wait_(absl::StrCat(what_, " waits for ", Named()));
    }
    return absl::OkStatus();
  }
  absl::Duration left() const {
    return std::max(wait_max_ - (SteadyNow() - start_), absl::ZeroDuration());
  }

 private:
  std::string Named() const { return last_.empty() ? "transactions older than it" : last_; }

  std::string what_;
  absl::Duration wait_max_;
  absl::Time start_;
  absl::Time tell_at_;
  std::string last_;
  WaitNotice on_wait_;
};

absl::StatusOr<Lsn> LsnOf(absl::string_view text) {
  return text.empty() ? absl::StatusOr<Lsn>(Lsn{}) : Lsn::Parse(text);
}

// What the server refuses, with the statement that mends it.
absl::Status ExplainCreationError(Connection& source, const absl::Status& status) {
  std::string sqlstate = GetSqlState(status);
  auto setting = [&source](absl::string_view name) -> std::string {
    absl::StatusOr<std::string> value =
        source.QueryValue("SELECT pg_catalog.current_setting($1, true)", {{std::string(name)}});
    return value.ok() ? *value : "";
  };
  auto refused = [&](absl::string_view context, std::string hint) {
    return WithHint(WithContext(WithCode(status, absl::StatusCode::kFailedPrecondition), context),
                    hint);
  };
  // The refusal has the SQLSTATE of a missing right, as has a role without REPLICATION; the setting
  // exists only where the server asks for it.
  std::string libraries = setting("output_plugin_libraries");
  if (absl::StrContains(status.message(), "output plugin") && !libraries.empty() &&
      !absl::StrContains(libraries, "towline")) {
    return refused(
        absl::StrCat("the ", source.side(), " does not allow towline as an output plugin"),
        absl::StrCat("ALTER SYSTEM SET output_plugin_libraries = ", libraries,
                     ", towline; SELECT pg_reload_conf();"));
  }
  if (sqlstate == "58P01") {
    return refused(absl::StrCat("the towline plugin is not installed on the ", source.side()),
                   "On that server's host, with its pg_config: make -f Makefile.pgxs "
                   "install (no restart needed).");
  }
  if (sqlstate == "42501") {
    absl::StatusOr<std::string> user = source.QueryValue("SELECT current_user");
    return refused(
        "no right to create a slot",
        absl::StrCat("ALTER ROLE ", QuoteIdentifier(user.ok() ? *user : ""), " REPLICATION;"));
  }
  if (sqlstate == "53400") {
    int64_t slots = 0;
    if (!absl::SimpleAtoi(setting("max_replication_slots"), &slots)) slots = 10;
    return refused("no replication slot is free",
                   absl::StrCat("Drop a slot that is not needed (SELECT slot_name FROM "
                                "pg_replication_slots WHERE NOT active), or: ALTER SYSTEM SET "
                                "max_replication_slots = ",
                                slots + 10, "; and restart the source."));
  }
  if (sqlstate == "55000" && setting("wal_level") != "logical") {
    return refused(
        absl::StrCat("the ", source.side(), " does not write what logical decoding needs"),
        "ALTER SYSTEM SET wal_level = logical; and restart the source.");
  }
  return WithContext(status, "cannot create the slot");
}

absl::Status CheckIsPrimary(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::string in_recovery,
                           source.QueryValue("SELECT pg_catalog.pg_is_in_recovery()"));
  if (in_recovery != "t") return absl::OkStatus();
  // A10: there every running transaction looks finished and no marker can be taken.
  return WithHint(absl::FailedPreconditionError("the source is a standby"),
                  "Name the primary as the source.");
}

// On a standby a slot's creation waits for what only the primary can write into the log: which
// transactions are running. It does so by itself now and then (15 s while it writes, and with each
// checkpoint), and when it is asked to.
class StandbyNudge {
 public:
  explicit StandbyNudge(Connection& primary) : primary_(primary) {}

  // What is waited for beside others' transactions; empty: nothing.
  absl::StatusOr<std::string> Give() {
    absl::Status logged = primary_.Exec("SELECT pg_catalog.pg_log_standby_snapshot()").status();
    if (logged.ok()) return std::string();
    if (GetSqlState(logged) != "42501") return logged;
    // It writes by itself only if something else was written since.
    TOWLINE_RETURN_IF_ERROR(FlushSourceLog(primary_));
    return std::string(
        "the primary to log its running transactions, which it does within 15 s (at once for a "
        "role that may EXECUTE pg_log_standby_snapshot() there)");
  }

 private:
  Connection& primary_;
};

// From 14 on a decoder that begins amid others' transactions may take a change of the catalogs for
// one that has not ended, until another one is committed: a row is then read without a column that
// has been added, or of a table that was truncated not at all (docs/plugin.md). This is another
// one: a transaction that begins behind it is read right.
void ChangeCatalogs(Connection& primary) {
  absl::Status changed =
      primary
          .Exec(
              "BEGIN READ WRITE; SET LOCAL synchronous_commit = local; CREATE TEMPORARY TABLE "
              "towline_slot () ON COMMIT DROP; COMMIT")
          .status();
  if (changed.ok()) return;
  primary.Exec("ROLLBACK").status().IgnoreError();
  LogWarning(
      "the slot is made without a change of the source's catalogs behind it: a column that "
      "is added just now may be missing in the stream",
      {{"reason", std::string(changed.message())},
       {"mend",
        "make it while no table is altered, or GRANT TEMPORARY ON DATABASE to the "
        "source's role and start anew"}});
}

// The result of what was sent on `session`, looking at `primary` each second. `nudge`: null if the
// session is the primary's.
absl::StatusOr<std::string> AwaitSlot(Connection& session, Connection& primary, StandbyNudge* nudge,
                                      NoticedWait& wait) {
  absl::Status gave_up;
  std::string consistent_point;
  absl::Status failure;
  absl::Time look_at = SteadyNow() + (nudge == nullptr ? kLookInterval : kFirstNudgeAfter);
  PGconn* raw = session.raw();
  while (true) {
    if (PQflush(raw) < 0) return session.ErrorOf(nullptr);
    while (PQisBusy(raw) == 0) {
      PgResultPtr result(PQgetResult(raw));
      if (result == nullptr) {
        // A slot that came to be although we had given up is there: better used than forgotten.
        if (!consistent_point.empty()) return consistent_point;
        if (!gave_up.ok()) return gave_up;
        return failure.ok() ? absl::InternalError("the slot's creation had no result") : failure;
      }
      if (PQresultStatus(result.get()) == PGRES_TUPLES_OK && PQntuples(result.get()) == 1) {
        consistent_point = PQgetvalue(result.get(), 0, 0);
      } else {
        failure = session.ErrorOf(result.get());
      }
      if (PQstatus(raw) != CONNECTION_OK) return failure;
    }
    absl::Status waited =
        session.WaitSocket(false, std::max(look_at - SteadyNow(), absl::ZeroDuration()));
    if (absl::IsCancelled(waited)) {
      session.Cancel();
      return waited;
    }
    if (absl::IsDeadlineExceeded(waited)) {
      look_at = SteadyNow() + kLookInterval;
      if (!gave_up.ok()) continue;  // the cancel is under way
      const int own_pid = nudge == nullptr ? session.backend_pid() : primary.backend_pid();
      TOWLINE_ASSIGN_OR_RETURN(std::string blockers, DescribeBlockers(primary, 0, own_pid));
      if (nudge != nullptr) {
        TOWLINE_ASSIGN_OR_RETURN(std::string log, nudge->Give());
        if (blockers.empty()) blockers = std::move(log);
      }
      gave_up = wait.Look(blockers);
      if (!gave_up.ok()) session.Cancel();
      continue;
    }
    TOWLINE_RETURN_IF_ERROR(waited);
    if (PQconsumeInput(raw) == 0) return session.ErrorOf(nullptr);
  }
}

}  // namespace

absl::StatusOr<std::optional<SlotInfo>> ReadSlot(Connection& source, const std::string& slot) {
  TOWLINE_ASSIGN_OR_RETURN(Result result, source.Query(kSlotSql, {{slot}}));
  if (result.row_count() == 0) return std::optional<SlotInfo>();
  SlotInfo info;
  info.plugin = result.GetString(0, 0);
  info.database = result.GetString(0, 1);
  info.is_active = result.GetBool(0, 2);
  info.active_pid = static_cast<int>(result.GetInt(0, 3));
  info.active_application = result.GetString(0, 4);
  TOWLINE_ASSIGN_OR_RETURN(info.confirmed_flush_lsn, LsnOf(result.Get(0, 5)));
  TOWLINE_ASSIGN_OR_RETURN(info.restart_lsn, LsnOf(result.Get(0, 6)));
  info.wal_status = result.GetString(0, 7);
  if (!result.IsNull(0, 8)) info.safe_wal_bytes = result.GetInt(0, 8);
  info.retained_bytes = result.GetInt(0, 9);
  info.is_two_phase = result.GetBool(0, 10);
  info.is_failover = result.GetBool(0, 13);
  info.is_synced = result.GetBool(0, 14);
  info.is_synchronous = result.GetBool(0, 11);
  info.invalidation_reason = result.GetString(0, 12);
  return std::optional<SlotInfo>(std::move(info));
}

absl::Status CreateSlot(const ConnectOptions& primary, const ConnectOptions& server,
                        const std::string& slot, absl::Duration wait_max, const Shutdown& shutdown,
                        WaitNotice on_wait, absl::FunctionRef<absl::Status(Lsn)> on_position) {
  Connection::Purpose purpose;
  purpose.application_name = absl::StrCat(slot, " src slot");
  TOWLINE_ASSIGN_OR_RETURN(Connection session, Connection::Open(server, purpose, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(Connection watcher, Connection::Open(primary, purpose, shutdown));
  TOWLINE_RETURN_IF_ERROR(CheckIsPrimary(watcher));
  TOWLINE_ASSIGN_OR_RETURN(std::string is_standby,
                           session.QueryValue("SELECT pg_catalog.pg_is_in_recovery()"));
  StandbyNudge nudge(watcher);
  if (session.server_version() >= 140000) {
    // Nobody may end it for us by its name if we die while it waits. Some systems cannot.
    session.Exec("SET client_connection_check_interval = '5s'").status().IgnoreError();
  }
  NoticedWait wait("the creation of the slot", wait_max, on_wait);
  const std::string draft = absl::StrCat(slot, "_", session.backend_pid());
  const char* values[] = {draft.c_str()};
  if (PQsendQueryParams(session.raw(),
                        "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot($1, "
                        "'towline', true)",
                        1, nullptr, values, nullptr, nullptr, 0) == 0) {
    return session.ErrorOf(nullptr);
  }
  absl::StatusOr<std::string> point =
      AwaitSlot(session, watcher, is_standby == "t" ? &nudge : nullptr, wait);
  if (!point.ok()) {
    return GetSqlState(point.status()).empty() || absl::IsUnavailable(point.status())
               ? point.status()
               : ExplainCreationError(session, point.status());
  }
  TOWLINE_ASSIGN_OR_RETURN(Lsn position, Lsn::Parse(*point));
  TOWLINE_RETURN_IF_ERROR(on_position(position));
  absl::Status named =
      session
          .Query("SELECT pg_catalog.pg_copy_logical_replication_slot($1, $2, false)", {draft, slot})
          .status();
  if (named.ok() || GetSqlState(named).empty() || absl::IsUnavailable(named)) return named;
  return ExplainCreationError(session, named);
}

absl::Status WaitForMarker(Connection& source, absl::Duration wait_max, const Shutdown& shutdown,
                           WaitNotice on_wait) {
  TOWLINE_RETURN_IF_ERROR(CheckIsPrimary(source));
  // synchronous_commit = local: the marker itself must not wait for the standby that the
  // transactions it looks for may be waiting for.
  TOWLINE_RETURN_IF_ERROR(source.Exec("BEGIN; SET LOCAL synchronous_commit = local").status());
  TOWLINE_ASSIGN_OR_RETURN(std::string marker,
                           source.QueryValue("SELECT pg_catalog.pg_current_xact_id()"));
  TOWLINE_RETURN_IF_ERROR(source.Exec("COMMIT").status());
  uint64_t xid = 0;
  if (!absl::SimpleAtoi(marker, &xid)) return absl::InternalError("the marker is no number");

  NoticedWait wait("the snapshot", wait_max, on_wait);
  absl::Duration pause = absl::Milliseconds(10);
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(
        std::string has_passed,
        source.QueryValue("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) "
                          "> $1::xid8",
                          {{marker}}));
    if (has_passed == "t") return absl::OkStatus();
    std::string blockers;
    if (pause >= kLookInterval || wait.left() == absl::ZeroDuration()) {
      TOWLINE_ASSIGN_OR_RETURN(blockers, DescribeBlockers(source, xid, source.backend_pid()));
    }
    TOWLINE_RETURN_IF_ERROR(wait.Look(blockers));
    if (!shutdown.SleepFor(std::min(pause, wait.left()))) {
      return absl::CancelledError("shutting down");
    }
    pause = std::min(pause * 2, kLookInterval);
  }
}

absl::StatusOr<Lsn> SettleSlot(Connection& primary, absl::Duration wait_max,
                               const Shutdown& shutdown, WaitNotice on_wait) {
  ChangeCatalogs(primary);
  TOWLINE_RETURN_IF_ERROR(WaitForMarker(primary, wait_max, shutdown, on_wait));
  TOWLINE_ASSIGN_OR_RETURN(std::string end,
                           primary.QueryValue("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
  return Lsn::Parse(end);
}

absl::Status FreeSlot(Connection& source, const std::string& slot,
                      const std::string& application_name, absl::Duration wait_max,
                      const Shutdown& shutdown) {
  absl::Time deadline = SteadyNow() + wait_max;
  absl::Duration pause = absl::Milliseconds(20);
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> info, ReadSlot(source, slot));
    if (!info.has_value()) {
      return absl::NotFoundError(absl::StrCat("the slot ", slot, " does not exist on the source"));
    }
    if (!info->is_active) return absl::OkStatus();
    bool is_ours = info->active_application == application_name ||
                   absl::StartsWith(info->active_application, absl::StrCat(application_name, " "));
    // Empty as well when the holder has just gone: only a name that can be read is somebody else's.
    if (!is_ours && !info->active_application.empty()) {
      return WithHint(absl::FailedPreconditionError(
                          absl::StrCat("the slot ", slot, " is in use by pid ", info->active_pid,
                                       " of the source (", info->active_application, ")")),
                      absl::StrCat("Stop that program, or: SELECT pg_terminate_backend(",
                                   info->active_pid, ");"));
    }
    if (is_ours) {
      // Joined, so that a pid that was given to another session meanwhile is left in peace.
      TOWLINE_RETURN_IF_ERROR(
          source
              .Query("SELECT pg_catalog.pg_terminate_backend(a.pid) "
                     "FROM pg_catalog.pg_replication_slots s "
                     "JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid "
                     "WHERE s.slot_name = $1 AND a.application_name = $2",
                     {{slot, info->active_application}})
              .status());
    }
    if (SteadyNow() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("the slot ", slot, " is still in use by pid ",
                                                      info->active_pid, " of the source"));
    }
    if (!shutdown.SleepFor(pause)) return absl::CancelledError("shutting down");
    pause = std::min(pause * 2, kLookInterval);
  }
}

absl::Status DropSlot(Connection& source, const std::string& slot) {
  return source
      .Query(
          "SELECT pg_catalog.pg_drop_replication_slot(slot_name) "
          "FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
          {{slot}})
      .status();
}

}  // namespace towline

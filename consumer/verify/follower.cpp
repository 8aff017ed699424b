#include "verify/follower.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"

namespace towline {
namespace {

constexpr absl::Duration kPollMin = absl::Milliseconds(5);
constexpr absl::Duration kPollMax = absl::Milliseconds(200);

constexpr uint64_t kPageBytes = 8192;
constexpr uint64_t kPageHeaderBytesMax = 40;  // of a segment's first page; 24 of others

}  // namespace

Lsn BeforePageHeader(Lsn lsn) {
  uint64_t offset = lsn.value % kPageBytes;
  return offset <= kPageHeaderBytesMax ? Lsn{lsn.value - offset} : lsn;
}

absl::StatusOr<Lsn> ReadInsertLsn(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::string text,
                           source.QueryValue("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
  TOWLINE_ASSIGN_OR_RETURN(Lsn lsn, Lsn::Parse(text));
  return BeforePageHeader(lsn);
}

absl::Status FlushLog(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(std::string is_behind,
                           source.QueryValue("SELECT pg_catalog.pg_current_wal_flush_lsn() < "
                                             "pg_catalog.pg_current_wal_insert_lsn()"));
  if (is_behind != "t") return absl::OkStatus();
  // A commit with a number has all that is before it flushed, by the WAL writer within
  // wal_writer_delay. local: no standby is waited for.
  TOWLINE_RETURN_IF_ERROR(source.Exec("BEGIN; SET LOCAL synchronous_commit = local").status());
  absl::Status committed = source.QueryValue("SELECT pg_catalog.txid_current()").status();
  absl::Status ended = source.Exec(committed.ok() ? "COMMIT" : "ROLLBACK").status();
  return committed.ok() ? ended : committed;
}

absl::StatusOr<bool> Follower::WaitPassed(Lsn lsn, Connection& destination) {
  if (task_.empty()) return true;
  Lsn seen;
  absl::Time moved_at = SteadyNow();
  for (absl::Duration pause = kPollMin;; pause = std::min(pause * 2, kPollMax)) {
    TOWLINE_ASSIGN_OR_RETURN(
        Result row,
        destination.Query("SELECT position, phase = 'healing' FROM towline_state.task WHERE task = "
                          "$1",
                          {{task_}}));
    if (row.row_count() == 1 && row.GetBool(0, 1)) {
      has_lost_task_ = true;
      return WithHint(absl::UnavailableError(absl::StrCat(
                          "task ", task_, " is being healed since this comparison began")),
                      "Compare when that is over.");
    }
    if (row.row_count() != 1 || row.IsNull(0, 0)) {
      has_lost_task_ = true;
      return absl::FailedPreconditionError(
          absl::StrCat("task \"", task_, "\" has gone from the destination meanwhile"));
    }
    TOWLINE_ASSIGN_OR_RETURN(Lsn position, Lsn::Parse(row.Get(0, 0)));
    if (position >= lsn) return true;
    if (position > seen) {
      seen = position;
      moved_at = SteadyNow();
    }
    if (!stand_note_.empty() || SteadyNow() - moved_at > stand_max_) {
      stand_note_ =
          absl::StrCat("the task stands at ", position.ToString(), ", the source was read at ",
                       lsn.ToString(), ": what differs may be still to come");
      return false;
    }
    if (!shutdown_->SleepFor(pause)) return absl::CancelledError("shutting down");
  }
}

}  // namespace towline

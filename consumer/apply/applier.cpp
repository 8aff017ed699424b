#include "apply/applier.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "apply/batch_fallback.h"
#include "apply/batch_writer.h"
#include "apply/conflict.h"
#include "apply/conflict_log.h"
#include "apply/session.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "state/prepared.h"

namespace towline {
namespace {

// Between log lines about conflicts that a policy allows.
constexpr absl::Duration kConflictLogInterval = absl::Seconds(10);

}  // namespace

class Applier::Impl {
 public:
  Impl(Options options, Connection connection)
      : options_(std::move(options)),
        connection_(std::move(connection)),
        writer_(&connection_, {options_.claim, options_.policies, options_.source_oids,
                               options_.statement_bytes_max, options_.set_rows_min}),
        log_(&connection_, options_.claim, options_.conflict_rows_max),
        position_(options_.position) {}

  absl::Status Apply(const Batch& batch) {
    TOWLINE_CHECK(!has_failed_);
    absl::Status status = ApplyPart(batch);
    has_failed_ = !status.ok();
    return status;
  }

  absl::Status MakeDurable() {
    bool is_due = position_ > durable_lsn_ && IsFlushDue();
    if (!is_due || is_open_ || has_failed_) return absl::OkStatus();
    return Flush();
  }

  // A synchronous commit makes all that was committed before it durable as well. It must write
  // something, or the server has nothing to wait for.
  absl::Status Flush() {
    absl::Status status = Begin(position_);
    if (status.ok()) status = Commit(position_, true);
    has_failed_ = !status.ok();
    return status;
  }

  absl::Status CountPrepared() {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> open,
                             ListPrepared(connection_, options_.claim.task));
    open_prepared_ = static_cast<int64_t>(open.size());
    writer_.set_skips_locked(open_prepared_ > 0);
    return absl::OkStatus();
  }

  Lsn position() const { return position_; }
  Lsn durable_lsn() const { return durable_lsn_; }
  const Counts& counts() const { return counts_; }
  Connection& session() { return connection_; }

 private:
  // By a clock that nobody sets: a step backwards must not keep the source from hearing of us.
  bool IsFlushDue() const {
    return absl::FromChrono(std::chrono::steady_clock::now() - durable_time_) >=
           options_.durable_interval_max;
  }

  absl::Status ApplyPart(const Batch& batch) {
    const bool prepares = batch.two_phase == TwoPhase::kPrepare;
    if (batch.two_phase != TwoPhase::kNone && !prepares) return EndPrepared(batch);
    bool opens = batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst;
    TOWLINE_CHECK(opens != is_open_);
    if (opens) TOWLINE_RETURN_IF_ERROR(prepares ? BeginPrepare(batch) : Begin(batch.end_lsn));
    if (!prepares || !IsPrepared()) TOWLINE_RETURN_IF_ERROR(Write(batch));
    if (batch.part == BatchPart::kFirst || batch.part == BatchPart::kMiddle) {
      FaultPoint("apply:in-part");
      return absl::OkStatus();
    }
    if (prepares) return Prepare(batch);
    FaultPoint("apply:before-commit");
    TOWLINE_RETURN_IF_ERROR(Commit(batch.end_lsn, IsFlushDue()));
    FaultPoint("apply:after-commit");
    UpdateCounts(batch);
    return absl::OkStatus();
  }

  // A batch of whole transactions needs no savepoint: if it is refused, its transaction is rolled
  // back and opened again. A part keeps what came before it.
  absl::Status Write(const Batch& batch) {
    const bool is_part = batch.part != BatchPart::kWhole;
    TOWLINE_RETURN_IF_ERROR(writer_.ReadTargetsOf(batch));
    if (is_part) TOWLINE_RETURN_IF_ERROR(connection_.Exec("SAVEPOINT towline_part").status());
    absl::Status written = writer_.Write(batch, 0, batch.changes.size());
    if (!written.ok()) TOWLINE_RETURN_IF_ERROR(WriteRefused(batch, written));
    if (is_part) {
      TOWLINE_RETURN_IF_ERROR(connection_.Exec("RELEASE SAVEPOINT towline_part").status());
    }
    writer_.Count(batch);
    return absl::OkStatus();
  }

  absl::Status WriteRefused(const Batch& batch, const absl::Status& written) {
    std::optional<BatchWriter::Failed> failed = writer_.TakeFailure(batch);
    if (!failed.has_value()) return written;
    const std::optional<ConflictKind> kind =
        ConflictKindOf(batch.changes[failed->failure.change].kind, failed->failure);
    const bool is_searched = kind.has_value() || IsHiddenInSet(failed->failure);
    if (!is_searched || !failed->is_session_usable) {
      return Explain(
          batch, {failed->failure, failed->target, kind, Param(), "", failed->is_session_usable});
    }
    TOWLINE_RETURN_IF_ERROR(Reopen(batch));
    BatchFallback fallback(&connection_, &writer_, &log_, &options_.policies.conflicts, &batch);
    absl::Status again = fallback.Run();
    counts_.fallback_slices += fallback.counts().slices;
    counts_.fallback_singles += fallback.counts().singles;
    if (!again.ok()) {
      return fallback.stop().has_value() ? Explain(batch, *fallback.stop()) : again;
    }
    ++counts_.fallbacks;
    counts_.conflicts += fallback.counts().conflicts;
    LogFallback(batch, fallback.counts());
    return absl::OkStatus();
  }

  // The transaction as it was before the batch, or the part.
  absl::Status Reopen(const Batch& batch) {
    if (batch.part != BatchPart::kWhole) {
      TOWLINE_RETURN_IF_ERROR(connection_.Exec("ROLLBACK TO SAVEPOINT towline_part").status());
      return writer_.Forget();
    }
    TOWLINE_RETURN_IF_ERROR(connection_.Exec("ROLLBACK").status());
    TOWLINE_RETURN_IF_ERROR(writer_.Forget());
    writer_.ForgetNewTargets();
    if (batch.two_phase == TwoPhase::kPrepare) {
      TOWLINE_RETURN_IF_ERROR(connection_.Exec("BEGIN").status());
    } else {
      TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn));
    }
    return writer_.ReadTargetsOf(batch);
  }

  void LogFallback(const Batch& batch, const BatchFallback::Counts& counts) {
    if (counts.conflicts == 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (absl::FromChrono(now - logged_time_) < kConflictLogInterval) return;
    logged_time_ = now;
    LogWarning("changes that the destination refused were dealt with as on_conflict says",
               {{"stage", "apply"},
                {"conflicts", absl::StrCat(counts.conflicts)},
                {"conflicts_since_start", absl::StrCat(counts_.conflicts)},
                {"end_lsn", batch.end_lsn.ToString()}});
  }

  // The position is moved first: whoever else writes for this task, or a COMMIT of ours whose
  // answer was lost and which arrives late, meets us at that row and at nothing behind it (B1).
  absl::Status Begin(Lsn end_lsn) {
    TOWLINE_ASSIGN_OR_RETURN(Result moved,
                             connection_.Exec(absl::StrCat(
                                 "BEGIN; ", MovePositionSql(options_.claim, position_, end_lsn))));
    is_open_ = true;
    return CheckPositionMoved(moved.affected_rows());
  }

  absl::Status Commit(Lsn end_lsn, bool is_synchronous) {
    TOWLINE_RETURN_IF_ERROR(log_.Finish());
    TOWLINE_ASSIGN_OR_RETURN(
        Result committed,
        connection_.Exec(is_synchronous ? "SET LOCAL synchronous_commit = on; COMMIT" : "COMMIT"));
    // COMMIT of a transaction that has failed succeeds, as a rollback.
    absl::string_view tag = PQcmdStatus(committed.raw());
    if (tag != "COMMIT") {
      return absl::InternalError(absl::StrCat("COMMIT was answered with ", tag));
    }
    is_open_ = false;
    position_ = end_lsn;
    if (is_synchronous) {
      durable_lsn_ = position_;
      durable_time_ = std::chrono::steady_clock::now();
    }
    return absl::OkStatus();
  }

  bool IsPrepared() const { return prepared_.exists || prepared_.has_row; }

  // The first statements of a transaction that is to be prepared, in the place of Begin().
  absl::Status BeginPrepare(const Batch& batch) {
    TOWLINE_RETURN_IF_ERROR(ReadPrepared(batch));
    is_empty_ = batch.part == BatchPart::kWhole && batch.changes.empty();
    if (!IsPrepared()) {
      if (!is_empty_) TOWLINE_RETURN_IF_ERROR(connection_.Exec("BEGIN").status());
    } else if (!prepared_.exists) {
      // The Prepare that comes again has been committed here already: so has the source's.
      TOWLINE_RETURN_IF_ERROR(CheckPreparedFate(prepared_, gid_, PreparedFate::kCommitted));
    }
    is_open_ = true;
    return absl::OkStatus();
  }

  absl::Status ReadPrepared(const Batch& batch) {
    if (database_oid_.empty()) {
      TOWLINE_ASSIGN_OR_RETURN(
          database_oid_, connection_.QueryValue("SELECT oid FROM pg_catalog.pg_database WHERE "
                                                "datname = pg_catalog.current_database()"));
    }
    gid_ = PreparedGid(options_.claim, database_oid_, batch.prepared_xid);
    TOWLINE_RETURN_IF_ERROR(LockPrepares(connection_, options_.claim));
    TOWLINE_ASSIGN_OR_RETURN(prepared_, ReadPreparedState(connection_, options_.claim, position_,
                                                          gid_, batch.prepared_xid));
    return absl::OkStatus();
  }

  absl::Status Prepare(const Batch& batch) {
    if (!IsPrepared() && !is_empty_) {
      FaultPoint("apply:before-prepare");
      TOWLINE_RETURN_IF_ERROR(
          ExplainPrepare(ExecTagged("PREPARE TRANSACTION ", "PREPARE TRANSACTION")));
      FaultPoint("apply:after-prepare");
    }
    is_open_ = false;
    if (!IsPrepared() && !is_empty_) ++open_prepared_;
    TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn));
    if (!prepared_.has_row) {
      TOWLINE_RETURN_IF_ERROR(AddPreparedRow(connection_, options_.claim, gid_, batch.prepared_xid,
                                             batch.prepared_gid, is_empty_));
    }
    TOWLINE_RETURN_IF_ERROR(Commit(batch.end_lsn, IsFlushDue()));
    FaultPoint("apply:prepare-stored");
    return LeavePrepared(batch);
  }

  absl::Status EndPrepared(const Batch& batch) {
    TOWLINE_CHECK(!is_open_);
    const bool commits = batch.two_phase == TwoPhase::kCommitPrepared;
    TOWLINE_RETURN_IF_ERROR(ReadPrepared(batch));
    if (prepared_.exists) {
      FaultPoint("apply:before-end-prepared");
      TOWLINE_RETURN_IF_ERROR(commits ? ExecTagged("COMMIT PREPARED ", "COMMIT PREPARED")
                                      : ExecTagged("ROLLBACK PREPARED ", "ROLLBACK PREPARED"));
      FaultPoint("apply:after-end-prepared");
    } else if (prepared_.has_row) {
      TOWLINE_RETURN_IF_ERROR(CheckPreparedFate(
          prepared_, gid_, commits ? PreparedFate::kCommitted : PreparedFate::kRolledBack));
    } else if (commits) {
      TOWLINE_RETURN_IF_ERROR(CheckMayBeUnknown(batch));
    }
    if (prepared_.exists) --open_prepared_;
    TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn));
    if (prepared_.has_row) {
      TOWLINE_RETURN_IF_ERROR(RemovePreparedRow(connection_, options_.claim, batch.prepared_xid));
    }
    TOWLINE_RETURN_IF_ERROR(Commit(batch.end_lsn, IsFlushDue()));
    return LeavePrepared(batch);
  }

  absl::Status CheckMayBeUnknown(const Batch& batch) const {
    std::string text =
        absl::StrCat("COMMIT PREPARED of transaction ", batch.prepared_xid, " has come at ",
                     batch.end_lsn.ToString(), ", and its PREPARE had not");
    if (!options_.misses_prepares) {
      return WithHint(absl::DataLossError(text),
                      "Its changes are not at the destination. Drop the task (towline drop) and "
                      "copy anew.");
    }
    LogWarning(absl::StrCat(text, ": it was prepared by somebody whose changes are left out"),
               {{"stage", "apply"}});
    return absl::OkStatus();
  }

  absl::Status LeavePrepared(const Batch& batch) {
    UpdateCounts(batch);
    writer_.set_skips_locked(open_prepared_ > 0);
    return UnlockPrepares(connection_, options_.claim);
  }

  // These statements take no parameters, and one of them in a transaction that has failed succeeds
  // as something else.
  absl::Status ExecTagged(absl::string_view statement, absl::string_view tag) {
    TOWLINE_ASSIGN_OR_RETURN(Result done,
                             connection_.Exec(absl::StrCat(statement, QuoteLiteral(gid_))));
    absl::string_view got = PQcmdStatus(done.raw());
    if (got == tag) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(tag, " was answered with ", got));
  }

  absl::Status ExplainPrepare(const absl::Status& status) {
    const std::string sqlstate = GetSqlState(status);
    if (sqlstate == "55000" || sqlstate == "53200") {
      return WithHint(WithContext(status, "cannot hold a transaction prepared at the destination"),
                      "ALTER SYSTEM SET max_prepared_transactions to the source's value or more "
                      "and restart the destination.");
    }
    if (sqlstate == "42710") return WithCode(status, absl::StatusCode::kAborted);
    if (sqlstate != "0A000") return status;
    return WithHint(
        WithCode(WithContext(status, "the destination cannot prepare what the source has prepared"),
                 absl::StatusCode::kFailedPrecondition),
        "A trigger or rule of the destination that fires for replicated rows (ENABLE ALWAYS or "
        "REPLICA) does what a prepared transaction may not: disable it, then run again.");
  }

  // Tells what went wrong with which change, and writes conflicts down.
  absl::Status Explain(const Batch& batch, const BatchFallback::Stop& stop) {
    const FailedChange change{&batch, stop.target, &stop.failure};
    absl::Status explained = ExplainFailure(change, stop.kind, options_.claim.task);
    if (!stop.hint.empty()) explained = WithHint(explained, stop.hint);
    if (!absl::IsUnimplemented(explained) || !stop.is_session_usable) return explained;
    absl::Status recorded = Record(change, stop);
    if (!recorded.ok()) {
      LogWarning("cannot write the conflict into towline_state.conflict",
                 {{"stage", "apply"}, {"reason", std::string(recorded.message())}});
    }
    return explained;
  }

  absl::Status Record(const FailedChange& change, const BatchFallback::Stop& stop) {
    TOWLINE_RETURN_IF_ERROR(connection_.Exec("ROLLBACK; BEGIN").status());
    log_.Discard();
    TOWLINE_RETURN_IF_ERROR(log_.Add(change, stop.kind.value_or(ConflictKind::kValueRefused),
                                     ConflictAction::kStop, stop.existing));
    TOWLINE_RETURN_IF_ERROR(log_.Finish());
    return connection_.Exec("COMMIT").status();
  }

  void UpdateCounts(const Batch& batch) {
    const BatchWriter::Counts& written = writer_.counts();
    counts_.inserted = written.inserted;
    counts_.updated = written.updated;
    counts_.deleted = written.deleted;
    counts_.truncated = written.truncated;
    counts_.missed = written.missed;
    counts_.transactions += batch.transaction_count;
    ++counts_.batches;
  }

  const Options options_;
  Connection connection_;
  BatchWriter writer_;
  ConflictLog log_;
  Lsn position_;
  Lsn durable_lsn_;
  std::chrono::steady_clock::time_point durable_time_;  // of the last synchronous commit
  std::chrono::steady_clock::time_point logged_time_;   // that conflicts were
  std::string database_oid_;                            // empty: not asked for yet
  std::string gid_;  // of the prepared transaction in hand, and what is known of it
  PreparedState prepared_;
  bool is_empty_ = false;  // it holds nothing for us
  int64_t open_prepared_ = 0;
  bool is_open_ = false;  // a destination transaction, which the next part continues
  bool has_failed_ = false;
  Counts counts_;
};

absl::StatusOr<std::unique_ptr<Applier>> Applier::Open(const Options& options,
                                                       const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(
      Connection connection,
      OpenApplySession(options.destination, options.claim.task, options.requires_origin, shutdown));
  auto impl = std::make_unique<Impl>(options, std::move(connection));
  // What we read as the position may be an asynchronous commit that is not on disk yet.
  TOWLINE_RETURN_IF_ERROR(impl->Flush());
  TOWLINE_RETURN_IF_ERROR(impl->CountPrepared());
  return std::unique_ptr<Applier>(new Applier(std::move(impl)));
}

Applier::Applier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Applier::~Applier() = default;

absl::Status Applier::Apply(const Batch& batch) { return impl_->Apply(batch); }
absl::Status Applier::MakeDurable() { return impl_->MakeDurable(); }
Lsn Applier::position() const { return impl_->position(); }
Lsn Applier::durable_lsn() const { return impl_->durable_lsn(); }
const Applier::Counts& Applier::counts() const { return impl_->counts(); }
Connection& Applier::session() { return impl_->session(); }

}  // namespace towline

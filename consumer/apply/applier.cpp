#include "apply/applier.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "apply/batch_fallback.h"
#include "apply/batch_writer.h"
#include "apply/conflict.h"
#include "apply/conflict_log.h"
#include "apply/positions.h"
#include "apply/refused_commit.h"
#include "apply/session.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "model/failed_table.h"
#include "pg/quoting.h"
#include "state/prepared.h"

namespace towline {
namespace {

// Between log lines about conflicts that a policy allows.
constexpr absl::Duration kConflictLogInterval = absl::Seconds(10);

// The shortest of a few: what a busy server or network adds now and then does not count.
absl::StatusOr<absl::Duration> MeasureRoundTrip(Connection& connection) {
  absl::Duration shortest = absl::InfiniteDuration();
  for (int i = 0; i < 3; ++i) {
    const auto began = std::chrono::steady_clock::now();
    TOWLINE_RETURN_IF_ERROR(connection.Exec("SELECT 1").status());
    shortest = std::min(shortest, absl::FromChrono(std::chrono::steady_clock::now() - began));
  }
  return shortest;
}

}  // namespace

class Applier::Impl {
 public:
  Impl(Options options, Connection connection, absl::Duration round_trip)
      : options_(std::move(options)),
        connection_(std::move(connection)),
        writer_(&connection_,
                {options_.claim, options_.policies, options_.source_oids,
                 options_.statement_bytes_max, options_.set_rows_min, round_trip, clock()}),
        ddl_(&connection_, &writer_, &options_.policies, options_.claim, options_.ddl),
        log_(&connection_, options_.claim, options_.conflict_rows_max),
        positions_(options_.position) {}

  absl::Status Apply(const Batch& batch) {
    return Guarded([&]() -> absl::Status {
      TOWLINE_RETURN_IF_ERROR(SettleSent());
      TOWLINE_RETURN_IF_ERROR(ApplyPart(batch));
      CountApplied(batch, started_);
      return absl::OkStatus();
    });
  }

  absl::Status Send(Batch batch) {
    return Guarded([&]() -> absl::Status {
      absl::Status sent = SendRows(std::move(batch));
      // What is wrong with it need not take the batch before with it, whose COMMIT may be unsent.
      if (!sent.ok() && committing_.has_value()) writer_.Drain().IgnoreError();
      return sent;
    });
  }

  absl::StatusOr<bool> AwaitAnswers(absl::Duration wait_max) {
    if (!sent_.has_value() || has_failed_) return true;
    bool is_done = true;
    TOWLINE_RETURN_IF_ERROR(Guarded([&]() -> absl::Status {
      TOWLINE_ASSIGN_OR_RETURN(is_done, writer_.pipeline().AwaitAnswers(wait_max));
      if (!is_done || !writer_.has_rest()) return absl::OkStatus();
      is_done = false;
      absl::Status written = writer_.WriteRest(*sent_);
      if (!written.ok()) written = WriteRefused(*sent_, written);
      // As in Send().
      if (!written.ok() && committing_.has_value()) writer_.Drain().IgnoreError();
      return written;
    }));
    return is_done;
  }

  absl::Status Settle() {
    if (is_settled() || has_failed_) return absl::OkStatus();
    return Guarded([&] { return SettleSent(); });
  }

  bool is_settled() const { return !sent_.has_value() && !committing_.has_value(); }

  int64_t oldest_unsettled_us() const {
    if (committing_.has_value()) return committing_->oldest_commit_time_us;
    return sent_.has_value() ? sent_->oldest_commit_time_us : 0;
  }

  absl::Status MakeDurable() {
    bool is_due = !positions_.is_all_durable() && IsFlushDue();
    if (!is_due || is_open_ || has_failed_ || !is_settled()) return absl::OkStatus();
    return Flush();
  }

  // A synchronous commit makes all that was committed before it durable as well. It must write
  // something, or the server has nothing to wait for.
  absl::Status Flush() {
    return Guarded([&]() -> absl::Status {
      TOWLINE_RETURN_IF_ERROR(Begin(positions_.committed()));
      return Commit(positions_.committed(), true);
    });
  }

  absl::Status CountPrepared() {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> open,
                             ListPrepared(connection_, options_.claim.task));
    open_prepared_ = static_cast<int64_t>(open.size());
    writer_.set_skips_locked(open_prepared_ > 0);
    return absl::OkStatus();
  }

  Lsn position() const { return positions_.committed(); }
  Lsn durable_lsn() const { return positions_.durable(); }
  const Counts& counts() const { return counts_; }
  Connection& session() { return connection_; }

 private:
  StageClock* clock() const {
    return options_.meter == nullptr ? nullptr : &options_.meter->applier_clock();
  }

  // By a clock that nobody sets: a step backwards must not keep the source from hearing of us.
  bool IsFlushDue() const {
    return absl::FromChrono(std::chrono::steady_clock::now() - durable_time_) >=
           options_.durable_interval_max;
  }

  template <typename Function>
  absl::Status Guarded(Function function) {
    TOWLINE_CHECK(!has_failed_);
    ScopedStage stage(clock(), Stage::kApply);
    absl::Status status = function();
    // Whatever came of what was sent behind it.
    if (refused_commit_.has_value()) status = EndRefused(*std::exchange(refused_commit_, {}));
    has_failed_ = !status.ok();
    return status;
  }

  absl::Status SendRows(Batch batch) {
    const bool opens = batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst;
    const bool ends = batch.part == BatchPart::kWhole || batch.part == BatchPart::kLast;
    TOWLINE_CHECK(batch.two_phase == TwoPhase::kNone && batch.ddl == nullptr && opens != is_open_);
    // While the destination works on the batch before, whatever needs no answer of its.
    if (opens) ddl_.Begin();
    const absl::Status fits = LeaveOut(&batch);
    std::optional<BatchPlan> plan;
    if (fits.ok()) plan = writer_.PlanAhead(batch);
    TOWLINE_RETURN_IF_ERROR(FinishSent());
    TOWLINE_RETURN_IF_ERROR(fits);
    if (opens) {
      started_ = SteadyNow();
      writer_.set_is_prepared(false);
      BeginWithNext(batch.end_lsn);
    }
    is_open_ = !ends;
    sent_.emplace(std::move(batch));
    TOWLINE_ASSIGN_OR_RETURN(bool is_read, ReadTargetsOf(*sent_));
    if (!is_read) TOWLINE_RETURN_IF_ERROR(ReadWhatIsLeft());
    if (sent_->part != BatchPart::kWhole) StepWithNext("SAVEPOINT towline_part");
    absl::Status written = writer_.Write(*sent_, std::move(plan));
    if (!written.ok()) TOWLINE_RETURN_IF_ERROR(WriteRefused(*sent_, written));
    if (ends) {
      FaultPoint("apply:sent");
    } else {
      FaultPoint("apply:in-part");
    }
    return absl::OkStatus();
  }

  // After a rewrite was refused.
  absl::Status ReadWhatIsLeft() {
    bool is_read = false;
    while (!is_read) {
      TOWLINE_RETURN_IF_ERROR(LeaveOut(&*sent_));
      TOWLINE_ASSIGN_OR_RETURN(is_read, ReadTargetsOf(*sent_));
    }
    return absl::OkStatus();
  }

  // Changes of parked tables go; the frames stay, which the others point into.
  absl::Status LeaveOut(Batch* batch) {
    TOWLINE_ASSIGN_OR_RETURN(std::optional<Batch> kept, ddl_.WithoutLeftOut(*batch));
    if (kept.has_value()) {
      batch->changes = std::move(kept->changes);
      batch->transactions = std::move(kept->transactions);
    }
    return absl::OkStatus();
  }

  // All answers to the rows of the batch that was sent, then its COMMIT if it has one, which leaves
  // with whatever is sent next.
  absl::Status FinishSent() {
    if (!sent_.has_value()) return absl::OkStatus();
    absl::Status written = writer_.WriteRest(*sent_);
    if (written.ok()) written = writer_.Drain();
    if (!written.ok()) TOWLINE_RETURN_IF_ERROR(WriteRefused(*sent_, written));
    if (sent_->part != BatchPart::kWhole) StepWithNext("RELEASE SAVEPOINT towline_part");
    if (is_open_) {
      writer_.Count(*sent_);
      CountApplied(*sent_, started_);
      sent_.reset();
      return absl::OkStatus();
    }
    TOWLINE_RETURN_IF_ERROR(log_.Finish());
    FaultPoint("apply:before-commit");
    TOWLINE_CHECK(!committing_.has_value());
    committing_.emplace(*std::move(sent_));
    sent_.reset();
    // Kept for the fallback. What is counted of changes does not look at their rows.
    committing_->frames.clear();
    committing_->spliced_rows.clear();
    CommitWithNext(committing_->end_lsn, IsFlushDue(), [this, started = started_] {
      FaultPoint("apply:after-commit");
      writer_.Count(*committing_);
      UpdateCounts(*committing_);
      CountApplied(*committing_, started);
      committing_.reset();
    });
    return absl::OkStatus();
  }

  absl::Status SettleSent() {
    TOWLINE_RETURN_IF_ERROR(FinishSent());
    ScopedStage stage(clock(), Stage::kCommit);
    return writer_.Drain();
  }

  absl::Status ApplyPart(const Batch& batch) {
    const bool prepares = batch.two_phase == TwoPhase::kPrepare;
    if (batch.two_phase != TwoPhase::kNone && !prepares) return EndPrepared(batch);
    bool opens = batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst;
    TOWLINE_CHECK(opens != is_open_);
    if (opens) {
      started_ = SteadyNow();
      TOWLINE_RETURN_IF_ERROR(prepares ? BeginPrepare(batch) : Begin(batch.end_lsn));
      is_open_ = true;
      ddl_.Begin();
      writer_.set_is_prepared(prepares);
    }
    if (batch.ddl != nullptr) {
      writer_.CheckShapes();  // as they were for the rows before it
      TOWLINE_RETURN_IF_ERROR(writer_.Drain());
      return ddl_.Run(batch);
    }
    if (!prepares || !IsPrepared()) TOWLINE_RETURN_IF_ERROR(WriteRows(batch));
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

  absl::Status WriteRows(const Batch& batch) {
    TOWLINE_ASSIGN_OR_RETURN(std::optional<Batch> kept, ddl_.WithoutLeftOut(batch));
    const Batch& rows = kept.has_value() ? *kept : batch;
    TOWLINE_ASSIGN_OR_RETURN(const bool is_read, ReadTargetsOf(rows));
    return is_read ? Write(rows) : WriteRows(batch);
  }

  // False: a rewrite among them was refused, and its rows are to be left out now.
  absl::StatusOr<bool> ReadTargetsOf(const Batch& rows) {
    absl::Status fits = writer_.ReadTargetsOf(rows);
    const bool is_rewrite =
        absl::IsUnimplemented(fits) &&
        std::any_of(rows.changes.begin(), rows.changes.end(),
                    [](const Change& change) { return change.relation->rewrite_of != 0; });
    TOWLINE_RETURN_IF_ERROR(is_rewrite ? ddl_.RefuseRewrite(fits) : fits);
    return !is_rewrite;
  }

  // After ReadTargetsOf(). A batch of whole transactions needs no savepoint: if it is refused, its
  // transaction is rolled back and opened again. A part keeps what came before it.
  absl::Status Write(const Batch& batch) {
    const bool is_part = batch.part != BatchPart::kWhole;
    if (is_part) TOWLINE_RETURN_IF_ERROR(connection_.Exec("SAVEPOINT towline_part").status());
    absl::Status written = writer_.Write(batch, 0, batch.changes.size());
    if (written.ok()) written = writer_.Drain();
    if (!written.ok()) TOWLINE_RETURN_IF_ERROR(WriteRefused(batch, written));
    if (is_part) {
      TOWLINE_RETURN_IF_ERROR(connection_.Exec("RELEASE SAVEPOINT towline_part").status());
    }
    writer_.Count(batch);
    return absl::OkStatus();
  }

  absl::Status WriteRefused(const Batch& batch, const absl::Status& written) {
    writer_.set_replaces(true);
    absl::Status again = WriteAgain(batch, written);
    writer_.set_replaces(false);
    return again;
  }

  // As a whole if that may be all that it needs, else in slices.
  absl::Status WriteAgain(const Batch& batch, absl::Status written) {
    std::optional<BatchWriter::Failed> failed = writer_.TakeFailure(batch);
    if (failed.has_value() && writer_.MayBeClash(batch, *failed)) {
      writer_.NoteClash(failed->target->table.oid);
      TOWLINE_RETURN_IF_ERROR(Reopen(batch));
      written = writer_.Write(batch, 0, batch.changes.size());
      if (written.ok()) written = writer_.Drain();
      if (written.ok()) {
        ++counts_.clashes;
        return absl::OkStatus();
      }
      failed = writer_.TakeFailure(batch);
    }
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
  void BeginWithNext(Lsn end_lsn) {
    StepWithNext("BEGIN");
    writer_.pipeline().Before(
        {MovePositionSql(options_.claim, positions_.sent(), end_lsn), [](const PGresult* moved) {
           int64_t rows = 0;
           const char* tag = PQcmdTuples(const_cast<PGresult*>(moved));
           return CheckPositionMoved(absl::SimpleAtoi(tag, &rows) ? rows : 0);
         }});
  }

  void StepWithNext(const std::string& command) {
    writer_.pipeline().Before({command, [](const PGresult*) { return absl::OkStatus(); }});
  }

  absl::Status Begin(Lsn end_lsn) {
    BeginWithNext(end_lsn);
    return writer_.Drain();
  }

  // All answers to what the transaction holds must be there.
  void CommitWithNext(Lsn end_lsn, bool is_synchronous, std::function<void()> on_committed) {
    Pipeline& pipeline = writer_.pipeline();
    CheckShapes(end_lsn);
    if (is_synchronous) StepWithNext("SET LOCAL synchronous_commit = on");
    // The next transaction is built on it. If it fails, none comes.
    positions_.Send(end_lsn);
    pipeline.Before({"COMMIT",
                     [this, end_lsn, is_synchronous,
                      on_committed = std::move(on_committed)](const PGresult* committed) {
                       // COMMIT of a transaction that has failed succeeds, as a rollback.
                       absl::string_view tag = PQcmdStatus(const_cast<PGresult*>(committed));
                       if (tag != "COMMIT") {
                         return absl::InternalError(absl::StrCat("COMMIT was answered with ", tag));
                       }
                       positions_.Commit(end_lsn, is_synchronous);
                       if (is_synchronous) durable_time_ = std::chrono::steady_clock::now();
                       on_committed();
                       return absl::OkStatus();
                     },
                     [this](const absl::Status& refused) {
                       refused_commit_ = refused;
                       return refused;
                     }});
  }

  absl::Status Commit(Lsn end_lsn, bool is_synchronous) {
    ScopedStage stage(clock(), Stage::kCommit);
    TOWLINE_RETURN_IF_ERROR(log_.Finish());
    CommitWithNext(end_lsn, is_synchronous, [] {});
    TOWLINE_RETURN_IF_ERROR(writer_.Drain());
    is_open_ = false;
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
    TOWLINE_ASSIGN_OR_RETURN(
        prepared_, ReadPreparedState(connection_, options_.claim, positions_.committed(), gid_,
                                     batch.prepared_xid));
    return absl::OkStatus();
  }

  absl::Status Prepare(const Batch& batch) {
    if (!IsPrepared() && !is_empty_) {
      FaultPoint("apply:before-prepare");
      CheckShapes(batch.end_lsn);
      TOWLINE_RETURN_IF_ERROR(writer_.Drain());
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
    if (sqlstate != "0A000") {
      if (!status.ok()) refused_commit_ = status;
      return status;
    }
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
    const Relation& relation = *stop.target->relation;
    explained = WithFailedTable(explained, {relation.name, relation.oid, relation.rewrite_of != 0});
    if (!stop.hint.empty()) explained = WithHint(explained, stop.hint);
    if (!absl::IsUnimplemented(explained) || !stop.is_session_usable) return explained;
    NoteRecorded(Record([&] {
      return log_.Add(change, stop.kind.value_or(ConflictKind::kValueRefused),
                      ConflictAction::kStop, stop.existing);
    }));
    return explained;
  }

  template <typename Add>
  absl::Status Record(Add add) {
    TOWLINE_RETURN_IF_ERROR(connection_.Exec("ROLLBACK; BEGIN").status());
    log_.Discard();
    TOWLINE_RETURN_IF_ERROR(add());
    TOWLINE_RETURN_IF_ERROR(log_.Finish());
    return connection_.Exec("COMMIT").status();
  }

  static void NoteRecorded(const absl::Status& recorded) {
    if (recorded.ok()) return;
    LogWarning("cannot write the conflict into towline_state.conflict",
               {{"stage", "apply"}, {"reason", std::string(recorded.message())}});
  }

  // At the end of a transaction.
  void CheckShapes(Lsn end_lsn) {
    ended_ = {writer_.Touched(), end_lsn};
    writer_.CheckShapes();
  }

  // The server has rolled back, and passes over what was sent behind.
  absl::Status EndRefused(const absl::Status& refused) {
    if (!IsRefusal(refused) || !writer_.pipeline().RecoverFromStep().ok()) return refused;
    absl::Status explained = ExplainRefusedCommit(connection_, refused, ended_);
    if (!absl::IsUnimplemented(explained)) return explained;
    const std::optional<FailedTable> table = FailedTableOf(explained);
    NoteRecorded(Record([&] {
      return log_.AddRefusedCommit(table.has_value() ? table->name : TableName(), ended_.end_lsn,
                                   refused);
    }));
    return explained;
  }

  // Of what only moves the position nobody wants to know.
  void CountApplied(const Batch& batch, absl::Time started) {
    if (options_.meter == nullptr || (batch.changes.empty() && batch.transaction_count == 0 &&
                                      batch.part == BatchPart::kWhole)) {
      return;
    }
    options_.meter->CountBatch(batch, SteadyNow() - started);
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
    const std::vector<TableChanges> tables = writer_.TakeTableChanges();
    if (options_.meter != nullptr) options_.meter->CountTables(tables);
  }

  const Options options_;
  Connection connection_;
  BatchWriter writer_;
  DdlRunner ddl_;
  ConflictLog log_;
  Positions positions_;
  std::optional<Batch> sent_;        // or part, whose answers may be missing,
  std::optional<Batch> committing_;  // and one of whose COMMIT the answer is
  EndedTransaction ended_;           // the last one whose COMMIT was queued
  std::optional<absl::Status> refused_commit_;
  absl::Time started_;  // when the last one that is not committed was begun
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
  TOWLINE_ASSIGN_OR_RETURN(absl::Duration round_trip, MeasureRoundTrip(connection));
  auto impl = std::make_unique<Impl>(options, std::move(connection), round_trip);
  // What we read as the position may be an asynchronous commit that is not on disk yet.
  TOWLINE_RETURN_IF_ERROR(impl->Flush());
  TOWLINE_RETURN_IF_ERROR(impl->CountPrepared());
  return std::unique_ptr<Applier>(new Applier(std::move(impl)));
}

Applier::Applier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Applier::~Applier() = default;

absl::Status Applier::Apply(const Batch& batch) { return impl_->Apply(batch); }
absl::Status Applier::Send(Batch batch) { return impl_->Send(std::move(batch)); }
absl::StatusOr<bool> Applier::AwaitAnswers(absl::Duration wait_max) {
  return impl_->AwaitAnswers(wait_max);
}
absl::Status Applier::Settle() { return impl_->Settle(); }
bool Applier::is_settled() const { return impl_->is_settled(); }
int64_t Applier::oldest_unsettled_us() const { return impl_->oldest_unsettled_us(); }
absl::Status Applier::MakeDurable() { return impl_->MakeDurable(); }
Lsn Applier::position() const { return impl_->position(); }
Lsn Applier::durable_lsn() const { return impl_->durable_lsn(); }
const Applier::Counts& Applier::counts() const { return impl_->counts(); }
Connection& Applier::session() { return impl_->session(); }

}  // namespace towline

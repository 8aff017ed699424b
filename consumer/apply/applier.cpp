#include "apply/applier.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "apply/batch_writer.h"
#include "apply/conflict.h"
#include "apply/session.h"
#include "base/check.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace towline {

class Applier::Impl {
 public:
  Impl(Options options, Connection connection)
      : options_(std::move(options)),
        connection_(std::move(connection)),
        writer_(&connection_, options_.append_tables, options_.source_oids),
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
    bool opens = batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst;
    TOWLINE_CHECK(opens != is_open_);
    if (opens) TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn));
    absl::Status written = writer_.Write(batch);
    if (!written.ok()) return Explain(batch, written);
    if (batch.part == BatchPart::kFirst || batch.part == BatchPart::kMiddle) {
      FaultPoint("apply:in-part");
      return absl::OkStatus();
    }
    FaultPoint("apply:before-commit");
    TOWLINE_RETURN_IF_ERROR(Commit(batch.end_lsn, IsFlushDue()));
    FaultPoint("apply:after-commit");
    UpdateCounts(batch);
    return absl::OkStatus();
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

  // Tells what went wrong with which change, and writes conflicts down.
  absl::Status Explain(const Batch& batch, const absl::Status& written) {
    std::optional<BatchWriter::Failed> failed = writer_.TakeFailure(batch);
    if (!failed.has_value()) return written;
    FailedChange change{&batch, failed->target, &failed->failure};
    absl::Status explained = ExplainFailure(change, options_.claim.task);
    if (!absl::IsUnimplemented(explained) || !failed->is_session_usable) return explained;
    absl::Status recorded = connection_.Exec("ROLLBACK").status();
    if (recorded.ok()) {
      recorded = RecordConflict(connection_, options_.claim, change, options_.conflict_rows_max);
    }
    if (!recorded.ok()) {
      LogWarning("cannot write the conflict into towline_state.conflict",
                 {{"stage", "apply"}, {"reason", std::string(recorded.message())}});
    }
    return explained;
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
  Lsn position_;
  Lsn durable_lsn_;
  std::chrono::steady_clock::time_point durable_time_;  // of the last synchronous commit
  bool is_open_ = false;  // a destination transaction, which the next part continues
  bool has_failed_ = false;
  Counts counts_;
};

absl::StatusOr<std::unique_ptr<Applier>> Applier::Open(const Options& options,
                                                       const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Connection connection,
                           OpenApplySession(options.destination, options.claim.task, shutdown));
  auto impl = std::make_unique<Impl>(options, std::move(connection));
  // What we read as the position may be an asynchronous commit that is not on disk yet.
  TOWLINE_RETURN_IF_ERROR(impl->Flush());
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

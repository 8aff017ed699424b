#include "apply/pipeline.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// An answer is some 30 bytes and the server keeps answers back until 8 kB are full or we ask for
// them. So we ask every so many statements, and may wait until no more than two such groups are on
// the way.
constexpr size_t kGroupStatements = 256;
constexpr size_t kPendingMax = 4 * kGroupStatements;
// What libpq holds for us is written out whenever this much has gathered.
constexpr size_t kGroupBytes = 256 << 10;

}  // namespace

absl::Status Pipeline::Enter() {
  if (failure_.has_value()) return absl::AbortedError("the batch has failed before");
  TOWLINE_RETURN_IF_ERROR(fatal_);
  TOWLINE_RETURN_IF_ERROR(FinishCopy());
  if (PQpipelineStatus(connection_->raw()) == PQ_PIPELINE_OFF &&
      PQenterPipelineMode(connection_->raw()) == 0) {
    return connection_->ErrorOf(nullptr);
  }
  return SendSteps();
}

absl::Status Pipeline::SendSteps() {
  while (!steps_.empty()) {
    if (PQsendQueryParams(connection_->raw(), steps_.front().sql.c_str(), 0, nullptr, nullptr,
                          nullptr, nullptr, 0) == 0) {
      return connection_->ErrorOf(nullptr);
    }
    is_unsynced_ = true;
    pending_.push_back({{}, false, false, std::move(steps_.front())});
    steps_.pop_front();
  }
  return absl::OkStatus();
}

absl::Status Pipeline::CheckStep(const Step& step, const PGresult* result) {
  ExecStatusType status = PQresultStatus(result);
  const bool is_done = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
  fatal_ = is_done ? step.check(result) : connection_->ErrorOf(result);
  if (!is_done && step.explain) fatal_ = step.explain(fatal_);
  return fatal_;
}

// Outside of pipeline mode: the steps and `more` as one message, which the server executes in order
// up to the first error.
absl::Status Pipeline::ExecSteps(const std::string& more, size_t change) {
  PGconn* raw = connection_->raw();
  std::string sql;
  for (const Step& step : steps_) absl::StrAppend(&sql, step.sql, "; ");
  if (PQsendQuery(raw, absl::StrCat(sql, more).c_str()) == 0) return connection_->ErrorOf(nullptr);
  absl::Status failed;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(PgResultPtr result, connection_->NextResult());
    if (PQstatus(raw) != CONNECTION_OK) return connection_->ErrorOf(result.get());
    if (result == nullptr) break;
    // Begun in spite of a step whose answer is not the right one: the session must go.
    if (PQresultStatus(result.get()) == PGRES_COPY_IN) return failed;
    if (!failed.ok()) continue;
    if (!steps_.empty()) {
      failed = CheckStep(steps_.front(), result.get());
      steps_.pop_front();
    } else {
      failed = connection_->ErrorOf(result.get());
      if (!more.empty()) failure_ = ApplyFailure{change, failed, 0, ""};
    }
  }
  TOWLINE_RETURN_IF_ERROR(failed);
  if (!steps_.empty() || !more.empty()) return absl::InternalError("no COPY started");
  return absl::OkStatus();
}

absl::Status Pipeline::BeginCopy(const std::string& sql, size_t first) {
  if (failure_.has_value()) return absl::AbortedError("the batch has failed before");
  TOWLINE_RETURN_IF_ERROR(fatal_);
  TOWLINE_RETURN_IF_ERROR(FinishCopy());
  if (PQpipelineStatus(connection_->raw()) != PQ_PIPELINE_OFF) TOWLINE_RETURN_IF_ERROR(Drain());
  return ExecSteps(sql, first);
}

absl::Status Pipeline::EndCopy(std::vector<uint32_t> changes) {
  is_copying_ = true;
  copy_changes_ = std::move(changes);
  return connection_->CopyInPutEnd();
}

absl::Status Pipeline::FinishCopy() {
  if (!is_copying_) return absl::OkStatus();
  is_copying_ = false;
  int64_t copied = -1;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(PgResultPtr result, connection_->NextResult());
    if (PQstatus(connection_->raw()) != CONNECTION_OK) return connection_->ErrorOf(result.get());
    if (result == nullptr) break;
    if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) {
      if (!absl::SimpleAtoi(PQcmdTuples(result.get()), &copied)) copied = -1;
      continue;
    }
    auto field = [&result](int code) {
      const char* text = PQresultErrorField(result.get(), code);
      return std::string(text != nullptr ? text : "");
    };
    size_t line = LineOfCopyContext(field(PG_DIAG_CONTEXT));
    size_t row = std::clamp<size_t>(line, 1, copy_changes_.size()) - 1;
    failure_ = ApplyFailure{copy_changes_[row], connection_->ErrorOf(result.get()), 0,
                            field(PG_DIAG_MESSAGE_DETAIL)};
  }
  if (copied == static_cast<int64_t>(copy_changes_.size())) return absl::OkStatus();
  if (!failure_.has_value()) {
    failure_ = ApplyFailure{copy_changes_.front(), absl::OkStatus(), copied, ""};
  }
  return absl::AbortedError("the batch has failed");
}

absl::Status Pipeline::Prepare(const std::string& name, const std::string& sql,
                               absl::Span<const Oid> types, size_t change) {
  TOWLINE_RETURN_IF_ERROR(Enter());
  if (PQsendPrepare(connection_->raw(), name.c_str(), sql.c_str(), static_cast<int>(types.size()),
                    types.data()) == 0) {
    return connection_->ErrorOf(nullptr);
  }
  pending_.push_back({{change, 0, 0}, false, false, std::nullopt});
  return AfterSend(sql.size());
}

absl::Status Pipeline::Send(const std::string& name, const Values& values,
                            const Expected& expected) {
  TOWLINE_RETURN_IF_ERROR(Enter());
  if (PQsendQueryPrepared(connection_->raw(), name.c_str(), static_cast<int>(values.values.size()),
                          values.values.data(), values.lengths.data(), values.formats.data(),
                          0) == 0) {
    return connection_->ErrorOf(nullptr);
  }
  pending_.push_back({expected, false, true, std::nullopt});
  return AfterSend(std::accumulate(values.lengths.begin(), values.lengths.end(), size_t{32}));
}

absl::Status Pipeline::AfterSend(size_t bytes) {
  is_unsynced_ = true;
  unflushed_bytes_ += bytes;
  if (++unflushed_statements_ < kGroupStatements && unflushed_bytes_ < kGroupBytes) {
    return absl::OkStatus();
  }
  if (PQsendFlushRequest(connection_->raw()) == 0) return connection_->ErrorOf(nullptr);
  unflushed_statements_ = 0;
  unflushed_bytes_ = 0;
  return Exchange(kPendingMax);
}

// Writes out what libpq holds and reads answers until no more than `pending_max` are missing.
absl::Status Pipeline::Exchange(size_t pending_max) {
  PGconn* raw = connection_->raw();
  while (true) {
    int flushed = PQflush(raw);
    if (flushed < 0) return connection_->ErrorOf(nullptr);
    if (PQconsumeInput(raw) == 0) return connection_->ErrorOf(nullptr);
    TOWLINE_RETURN_IF_ERROR(ReadResults());
    if (flushed == 0 && pending_.size() <= pending_max) return absl::OkStatus();
    TOWLINE_RETURN_IF_ERROR(connection_->WaitSocket(flushed == 1, absl::InfiniteDuration()));
  }
}

absl::Status Pipeline::ReadResults() {
  PGconn* raw = connection_->raw();
  while (!pending_.empty() && PQisBusy(raw) == 0) {
    PgResultPtr result(PQgetResult(raw));
    if (result == nullptr) {
      // A sync has no such end of its own.
      TOWLINE_CHECK(!pending_.front().is_sync || PQstatus(raw) != CONNECTION_OK);
      pending_.pop_front();
      if (PQstatus(raw) != CONNECTION_OK) return connection_->ErrorOf(nullptr);
      continue;
    }
    if (PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC) {
      TOWLINE_CHECK(pending_.front().is_sync);
      pending_.pop_front();
      continue;
    }
    if (PQstatus(raw) != CONNECTION_OK) return connection_->ErrorOf(result.get());
    if (failure_.has_value() || !fatal_.ok()) continue;
    if (pending_.front().step.has_value()) {
      CheckStep(*pending_.front().step, result.get()).IgnoreError();  // stays in fatal_
    } else {
      Check(result.get(), pending_.front());
    }
  }
  TOWLINE_RETURN_IF_ERROR(fatal_);
  if (failure_.has_value() && !is_recovering_) return absl::AbortedError("the batch has failed");
  return absl::OkStatus();
}

void Pipeline::Check(const PGresult* result, const Pending& pending) {
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    const char* detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    failure_ = ApplyFailure{pending.expected.change, connection_->ErrorOf(result), 0,
                            detail != nullptr ? detail : "", pending.expected.is_set};
    return;
  }
  if (!pending.counts_rows) return;
  int64_t rows = 0;
  const char* tag = PQcmdTuples(const_cast<PGresult*>(result));
  if (!absl::SimpleAtoi(tag, &rows) || rows < pending.expected.rows_min ||
      rows > pending.expected.rows_max) {
    failure_ =
        ApplyFailure{pending.expected.change, absl::OkStatus(), rows, "", pending.expected.is_set};
  } else if (rows == 0 && pending.expected.is_counted) {
    ++missed_rows_;
  }
}

absl::Status Pipeline::Push() {
  PGconn* raw = connection_->raw();
  if (PQpipelineStatus(raw) == PQ_PIPELINE_OFF || !is_unsynced_) return absl::OkStatus();
  if (PQpipelineSync(raw) == 0) return connection_->ErrorOf(nullptr);
  pending_.push_back({{}, true, false, std::nullopt});
  is_unsynced_ = false;
  unflushed_statements_ = 0;
  unflushed_bytes_ = 0;
  return Exchange(pending_.size());
}

absl::StatusOr<bool> Pipeline::AwaitAnswers(absl::Duration wait_max) {
  PGconn* raw = connection_->raw();
  for (bool has_waited = false;; has_waited = true) {
    const int flushed = PQflush(raw);
    if (flushed < 0 || PQconsumeInput(raw) == 0) return true;
    const bool are_here =
        is_copying_ ? PQisBusy(raw) == 0 : !ReadResults().ok() || pending_.empty();
    if (are_here || has_waited) return are_here;
    absl::Status waited = connection_->WaitSocket(flushed == 1, wait_max);
    if (!absl::IsDeadlineExceeded(waited)) TOWLINE_RETURN_IF_ERROR(waited);
  }
}

absl::Status Pipeline::Drain() {
  TOWLINE_RETURN_IF_ERROR(fatal_);
  TOWLINE_RETURN_IF_ERROR(FinishCopy());
  PGconn* raw = connection_->raw();
  if (PQpipelineStatus(raw) == PQ_PIPELINE_OFF) {
    return steps_.empty() ? absl::OkStatus() : ExecSteps("", 0);
  }
  TOWLINE_RETURN_IF_ERROR(SendSteps());
  TOWLINE_RETURN_IF_ERROR(Push());
  TOWLINE_RETURN_IF_ERROR(Exchange(0));
  return PQexitPipelineMode(raw) == 1 ? absl::OkStatus() : connection_->ErrorOf(nullptr);
}

void Pipeline::Reset() {
  failure_.reset();
  is_recovering_ = false;
  unflushed_statements_ = 0;
  unflushed_bytes_ = 0;
}

absl::Status Pipeline::Recover() {
  is_recovering_ = true;
  if (PQstatus(connection_->raw()) != CONNECTION_OK) return connection_->ErrorOf(nullptr);
  return Drain();
}

absl::Status Pipeline::RecoverFromStep() {
  steps_.clear();
  fatal_ = absl::OkStatus();
  failure_ = ApplyFailure{};  // no answer is looked at
  return Recover();
}

size_t LineOfCopyContext(absl::string_view context) {
  constexpr absl::string_view kLine = ", line ";
  context = context.substr(0, context.find('\n'));
  size_t at = context.rfind(kLine);
  if (at == absl::string_view::npos) return 0;
  context.remove_prefix(at + kLine.size());
  size_t line = 0;
  context = context.substr(0, context.find_first_not_of("0123456789"));
  return absl::SimpleAtoi(context, &line) ? line : 0;
}

absl::StatusOr<Result> AskWithValues(Connection& connection, const std::string& sql,
                                     absl::Span<const Oid> types, const Pipeline::Values& values) {
  PGconn* raw = connection.raw();
  if (PQsendQueryParams(raw, sql.c_str(), static_cast<int>(types.size()), types.data(),
                        values.values.data(), values.lengths.data(), values.formats.data(),
                        0) == 0) {
    return connection.ErrorOf(nullptr);
  }
  absl::Status failure;
  PgResultPtr answer;
  while (true) {
    int flushed = PQflush(raw);
    if (flushed < 0) return connection.ErrorOf(nullptr);
    if (flushed > 0 || PQisBusy(raw) != 0) {
      TOWLINE_RETURN_IF_ERROR(connection.WaitSocket(flushed > 0, absl::InfiniteDuration()));
      if (PQconsumeInput(raw) == 0) return connection.ErrorOf(nullptr);
      continue;
    }
    PgResultPtr result(PQgetResult(raw));
    if (result == nullptr) break;
    if (PQstatus(raw) != CONNECTION_OK) return connection.ErrorOf(result.get());
    ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      failure = connection.ErrorOf(result.get());
    }
    answer = std::move(result);
  }
  TOWLINE_RETURN_IF_ERROR(failure);
  if (answer == nullptr) return connection.ErrorOf(nullptr);
  return Result(std::move(answer));
}

}  // namespace towline

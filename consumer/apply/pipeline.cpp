#include "apply/pipeline.h"

#include <numeric>

#include "absl/strings/numbers.h"
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
  if (PQpipelineStatus(connection_->raw()) == PQ_PIPELINE_ON) return absl::OkStatus();
  if (PQenterPipelineMode(connection_->raw()) == 0) return connection_->ErrorOf(nullptr);
  return absl::OkStatus();
}

absl::Status Pipeline::Prepare(const std::string& name, const std::string& sql,
                               absl::Span<const Oid> types, size_t change) {
  TOWLINE_RETURN_IF_ERROR(Enter());
  if (PQsendPrepare(connection_->raw(), name.c_str(), sql.c_str(), static_cast<int>(types.size()),
                    types.data()) == 0) {
    return connection_->ErrorOf(nullptr);
  }
  pending_.push_back({{change, 0, 0}, false, false});
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
  pending_.push_back({expected, false, true});
  return AfterSend(std::accumulate(values.lengths.begin(), values.lengths.end(), size_t{32}));
}

absl::Status Pipeline::AfterSend(size_t bytes) {
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
    if (!failure_.has_value()) Check(result.get(), pending_.front());
  }
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

absl::Status Pipeline::Drain() {
  PGconn* raw = connection_->raw();
  if (PQpipelineStatus(raw) == PQ_PIPELINE_OFF) return absl::OkStatus();
  if (PQpipelineSync(raw) == 0) return connection_->ErrorOf(nullptr);
  pending_.push_back({{}, true, false});
  TOWLINE_RETURN_IF_ERROR(Exchange(0));
  unflushed_statements_ = 0;
  unflushed_bytes_ = 0;
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
  // A sync that is on the way already serves as well.
  if (!pending_.empty() && pending_.back().is_sync) {
    TOWLINE_RETURN_IF_ERROR(Exchange(0));
    return PQexitPipelineMode(connection_->raw()) == 1 ? absl::OkStatus()
                                                       : connection_->ErrorOf(nullptr);
  }
  return Drain();
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

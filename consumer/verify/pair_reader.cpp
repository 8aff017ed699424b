#include "verify/pair_reader.h"

#include <thread>

#include "base/status_macros.h"

namespace towline {
namespace {

constexpr char kBegin[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

absl::StatusOr<Result> ReadAndEnd(Connection& session, const std::string& sql) {
  absl::StatusOr<Result> rows = session.Exec(sql);
  if (session.is_alive()) {
    absl::Status ended = session.Exec("ROLLBACK").status();
    if (rows.ok() && !ended.ok()) return ended;
  }
  return rows;
}

}  // namespace

absl::StatusOr<PairReader::Pair> PairReader::Read(const std::string& source_sql,
                                                  const std::string& destination_sql) {
  TOWLINE_RETURN_IF_ERROR(source_.Exec(kBegin).status());
  absl::StatusOr<Lsn> insert_lsn = ReadInsertLsn(source_);  // and takes the snapshot
  if (!insert_lsn.ok()) {
    if (source_.is_alive()) source_.Exec("ROLLBACK").status().IgnoreError();
    return insert_lsn.status();
  }
  absl::StatusOr<Result> source_rows = absl::InternalError("not read");
  std::thread reading([&] { source_rows = ReadAndEnd(source_, source_sql); });
  absl::StatusOr<bool> has_passed = follower_.WaitPassed(*insert_lsn, destination_);
  absl::StatusOr<Result> destination_rows = absl::InternalError("not read");
  if (has_passed.ok()) {
    destination_rows = destination_.Exec(destination_sql);
  }
  if (!has_passed.ok() || !destination_rows.ok()) source_.Cancel();
  reading.join();
  TOWLINE_RETURN_IF_ERROR(has_passed.status());
  TOWLINE_RETURN_IF_ERROR(destination_rows.status());
  TOWLINE_RETURN_IF_ERROR(source_rows.status());
  return Pair{*std::move(source_rows), *std::move(destination_rows), *has_passed};
}

}  // namespace towline

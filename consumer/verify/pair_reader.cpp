#include "verify/pair_reader.h"

#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr char kOldestRunningSql[] =
    "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())";
constexpr char kBegin[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

absl::StatusOr<uint64_t> ReadNumber(Connection& session, const char* sql) {
  TOWLINE_ASSIGN_OR_RETURN(std::string text, session.QueryValue(sql));
  uint64_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  return absl::InternalError(absl::StrCat("\"", text, "\" is no transaction number"));
}

}  // namespace

absl::StatusOr<uint64_t> PairReader::MarkRunning() {
  if (!has_task()) return 0;
  return ReadNumber(source_, "SELECT pg_catalog.txid_current()");
}

absl::StatusOr<PairReader::Snapshot> PairReader::BeginSource() {
  if (is_held_) return Snapshot();
  if (has_task()) TOWLINE_RETURN_IF_ERROR(FlushLog(source_));
  TOWLINE_RETURN_IF_ERROR(source_.Exec(kBegin).status());
  absl::StatusOr<Lsn> insert_lsn = ReadInsertLsn(source_);  // and takes the snapshot
  absl::StatusOr<uint64_t> oldest_running = 0;
  if (insert_lsn.ok() && has_task()) oldest_running = ReadNumber(source_, kOldestRunningSql);
  if (insert_lsn.ok() && oldest_running.ok()) return Snapshot{*insert_lsn, *oldest_running};
  if (source_.is_alive()) source_.Exec("ROLLBACK").status().IgnoreError();
  return insert_lsn.ok() ? oldest_running.status() : insert_lsn.status();
}

absl::Status PairReader::EndSource() {
  if (is_held_ || !source_.is_alive()) return absl::OkStatus();
  return source_.Exec("ROLLBACK").status();
}

absl::StatusOr<PairReader::Pair> PairReader::Read(const std::string& source_sql,
                                                  const std::string& destination_sql) {
  TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, BeginSource());
  absl::StatusOr<Result> source_rows = absl::InternalError("not read");
  std::thread reading([&] {
    source_rows = source_.Exec(source_sql);
    absl::Status ended = EndSource();
    if (source_rows.ok() && !ended.ok()) source_rows = ended;
  });
  absl::StatusOr<bool> has_passed = follower_.WaitPassed(snapshot.insert_lsn, destination_);
  absl::StatusOr<Result> destination_rows = absl::InternalError("not read");
  if (has_passed.ok()) {
    destination_rows = destination_.Exec(destination_sql);
  }
  if (!has_passed.ok() || !destination_rows.ok()) source_.Cancel();
  reading.join();
  TOWLINE_RETURN_IF_ERROR(has_passed.status());
  TOWLINE_RETURN_IF_ERROR(destination_rows.status());
  TOWLINE_RETURN_IF_ERROR(source_rows.status());
  return Pair{*std::move(source_rows), *std::move(destination_rows), *has_passed,
              snapshot.oldest_running};
}

}  // namespace towline

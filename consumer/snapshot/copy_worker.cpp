#include "snapshot/copy_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "pg/sqlstate.h"
#include "snapshot/large_rows.h"

namespace towline {
namespace {

// Rows come one a message and are small as a rule; sent on together they cost one system call for
// many.
constexpr size_t kWriteBytes = 256 << 10;

bool IsAtSource(const absl::Status& status) {
  return absl::StartsWith(status.message(), "source: ");
}

bool HasRule(const CopyTarget& target) {
  return !target.where.empty() ||
         std::any_of(target.is_expression.begin(), target.is_expression.end(),
                     [](bool is_expression) { return is_expression; });
}

absl::Status ExplainTableError(const absl::Status& status, const Table& table,
                               const CopyTarget& target, const std::string& source_role) {
  std::string name = QuoteQualified(table.name.schema, table.name.name);
  if (IsTooLarge(status)) {
    return WithHint(
        WithCode(WithContext(status, absl::StrCat("table ", name,
                                                  " has a row that is too large to be copied")),
                 absl::StatusCode::kUnimplemented),
        "Exclude the table, or make the row smaller, and run again.");
  }
  std::string sqlstate = GetSqlState(status);
  bool is_at_source = IsAtSource(status);
  if (sqlstate == "42P01" && is_at_source) {
    return WithCode(WithContext(status, absl::StrCat("table ", name, " is gone")),
                    absl::StatusCode::kAborted);
  }
  absl::Status explained = WithContext(status, absl::StrCat("copying table ", name));
  if (sqlstate == "42501" && table.has_row_security) {
    return WithHint(explained,
                    "ALTER ROLE ... BYPASSRLS for the source's role: a policy would hide "
                    "rows from the copy.");
  }
  if (sqlstate == "42501" && is_at_source) {
    std::string role = source_role.empty() ? "the source's role" : QuoteIdentifier(source_role);
    return WithHint(explained, absl::StrCat("At the source: GRANT SELECT ON TABLE ", name, " TO ",
                                            role, "; then run again."));
  }
  if (!is_at_source && (sqlstate == "42P01" || sqlstate == "42883" || sqlstate == "42704")) {
    return WithHint(explained,
                    "A value of regclass or a type like it names something that the destination "
                    "does not have, as indexes are made after the rows: exclude the table, or take "
                    "the value out, and run again.");
  }
  if (is_at_source && absl::StartsWith(sqlstate, "22") && HasRule(target)) {
    return WithHint(
        WithCode(WithContext(explained, "an expression of the table's rule fails"),
                 absl::StatusCode::kUnimplemented),
        "Correct the table's where or columns in the configuration so that it holds for "
        "every row, and run again: the copy starts anew.");
  }
  if (absl::StartsWith(sqlstate, "23") || absl::StartsWith(sqlstate, "22")) {
    // The same rows meet the same constraint again.
    return WithHint(WithCode(explained, absl::StatusCode::kFailedPrecondition),
                    "The destination's table has a constraint or a type that does not take the "
                    "source's rows: drop the table or the constraint, and run again.");
  }
  return explained;
}

absl::Status RowsMissing(const Table& table, const CopyTarget& target, int64_t sent, int64_t rows) {
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat("the source sent ", sent, " rows of table ",
                                                 QuoteQualified(table.name.schema, table.name.name),
                                                 ", and ", rows, " have come to be in ",
                                                 target.relation, " at the destination")),
      "A trigger there keeps rows away: disable it, or the rule or policy that does (ALTER TABLE "
      "... DISABLE TRIGGER ...), and run again.");
}

}  // namespace

// Of one part; see copy_progress.h for what is counted.
class CopyWorker::PartProgress {
 public:
  PartProgress(CopyProgress* progress, const TableName& table, int64_t estimate)
      : progress_(progress), table_(progress->tables.Find(table)), bytes_left_(estimate) {
    if (table_ != nullptr) table_->Begin();
  }
  ~PartProgress() {
    if (table_ != nullptr) table_->End();
  }
  PartProgress(const PartProgress&) = delete;
  PartProgress& operator=(const PartProgress&) = delete;
  void Add(int64_t bytes, int64_t rows) {
    bytes = std::min(bytes, bytes_left_);
    bytes_left_ -= bytes;
    rows_ += rows;
    progress_->bytes_done.fetch_add(bytes, std::memory_order_relaxed);
    progress_->rows_done.fetch_add(rows, std::memory_order_relaxed);
    if (table_ != nullptr) table_->Add(bytes, rows);
  }
  void Finish(int64_t rows) { Add(bytes_left_, rows - rows_); }

 private:
  CopyProgress* progress_;
  TableProgress::Counts* table_;
  int64_t bytes_left_;
  int64_t rows_ = 0;
};

absl::Status CopyWorker::InTransaction(absl::FunctionRef<absl::Status()> work) {
  TOWLINE_RETURN_IF_ERROR(destination_.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(destination_, options_.claim));
  TOWLINE_RETURN_IF_ERROR(work());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(destination_, options_.claim));
  return destination_.Exec("COMMIT").status();
}

absl::StatusOr<int64_t> CopyWorker::CopyPartOf(const Table& table, const CopyTarget& target,
                                               const CopyPart& part, Mark mark) {
  int64_t rows = 0;
  PartProgress progress(progress_, table.name, part.bytes);
  auto copy = [&](absl::FunctionRef<absl::StatusOr<int64_t>()> copy_rows) {
    return InTransaction([&]() -> absl::Status {
      TOWLINE_ASSIGN_OR_RETURN(rows, copy_rows());
      TOWLINE_RETURN_IF_ERROR(CheckTable(table));
      return mark(destination_, rows);
    });
  };
  TOWLINE_RETURN_IF_ERROR(source_.Exec(absl::StrCat("SAVEPOINT ", kPartSavepoint)).status());
  absl::Status status = copy([&] { return CopyRows(table, target, part, progress); });
  if (IsTooLarge(status) && IsAtSource(status)) {
    LogInfo(
        "a row is too large to be sent whole: the part is copied again, row by row where needed",
        {{"table", QuoteQualified(table.name.schema, table.name.name)}});
    TOWLINE_RETURN_IF_ERROR(destination_.Exec("ROLLBACK").status());
    const absl::Time began = SteadyNow();
    status = copy([&] { return CopyRowsCarefully(table, target, part); });
    if (status.ok()) status = Rest(part.bytes, rows, began);
  }
  if (!status.ok()) return ExplainTableError(status, table, target, options_.source_role);
  TOWLINE_RETURN_IF_ERROR(
      source_.Exec(absl::StrCat("RELEASE SAVEPOINT ", kPartSavepoint)).status());
  progress.Finish(rows);
  return rows;
}

absl::StatusOr<int64_t> CopyWorker::CopyRowsCarefully(const Table& table, const CopyTarget& target,
                                                      const CopyPart& part) {
  TOWLINE_ASSIGN_OR_RETURN(
      int64_t rows,
      LargeRowCopier(&source_, &destination_, options_.large_row_turn, &table, &target).Copy(part));
  return rows;
}

absl::Status CopyWorker::MarkTable(int64_t rows, Mark mark) {
  return InTransaction([&] { return mark(destination_, rows); });
}

absl::StatusOr<int64_t> CopyWorker::CopyRows(const Table& table, const CopyTarget& target,
                                             const CopyPart& part, PartProgress& progress) {
  if (target.columns.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(std::string count,
                             source_.QueryValue(CountRowsSql(table, target, part)));
    int64_t rows = 0;
    if (!absl::SimpleAtoi(count, &rows)) return absl::InternalError("a count is no number");
    TOWLINE_ASSIGN_OR_RETURN(Result made, destination_.Query(MakeRowsSql(target, rows)));
    if (made.affected_rows() != rows) {
      return RowsMissing(table, target, rows, made.affected_rows());
    }
    return rows;
  }
  if (!target.inexact.empty()) TOWLINE_RETURN_IF_ERROR(RefuseInexact(table, target, part));
  TOWLINE_RETURN_IF_ERROR(destination_.CopyInBegin(CopyInSql(target)));
  absl::Status read = source_.CopyOutBegin(CopyOutSql(table, target, part));
  if (read.ok()) read = Pump(progress);
  if (!read.ok()) {
    destination_.CopyInAbort("the source failed");
    return read;
  }
  TOWLINE_ASSIGN_OR_RETURN(const int64_t rows, destination_.CopyInEnd());
  const int64_t sent = source_.copied_out_rows();
  return rows == sent ? absl::StatusOr<int64_t>(rows) : RowsMissing(table, target, sent, rows);
}

// Binary carries these values, but another column of the table has to go as text, and COPY takes
// one form for all.
absl::Status CopyWorker::RefuseInexact(const Table& table, const CopyTarget& target,
                                       const CopyPart& part) {
  TOWLINE_ASSIGN_OR_RETURN(Result found, source_.Query(FindInexactSql(table, target, part)));
  if (found.row_count() == 0) return absl::OkStatus();
  return WithHint(
      absl::UnimplementedError(
          "a \"char\" above 127, or a name that is too long in the destination's encoding, would "
          "be "
          "changed on its way: the table is copied as text, as a column of it needs that"),
      absl::StrCat("Find such rows at the source by ", FindInexactSql(table, target, CopyPart{}),
                   " (without the limit) and change them, or exclude the table; or use a "
                   "destination of the source's version and encoding."));
}

// A rewrite or TRUNCATE is not MVCC-safe: had the exporting session, which locks all tables, ended
// before we came to this one, our snapshot might have shown it empty. From the moment we read it
// our own transaction locks it, so it is enough that the exporting one is still there now. (Without
// lock_key our lock is older than the snapshot.)
//
// COPY finds the table by the name that it has at that moment, whatever the snapshot sees, and
// ALTER SCHEMA RENAME needs no lock on tables: by the same name another may have been read.
absl::Status CopyWorker::CheckTable(const Table& table) {
  const std::string name = QuoteQualified(table.name.schema, table.name.name);
  TOWLINE_ASSIGN_OR_RETURN(
      const Result found,
      source_.Query("SELECT CASE WHEN $1::bigint = 0 THEN false "
                    "ELSE pg_catalog.pg_try_advisory_xact_lock($1::bigint) END, "
                    "pg_catalog.to_regclass($2)::oid IS NOT DISTINCT FROM $3::bigint::oid",
                    {{absl::StrCat(options_.lock_key), name, absl::StrCat(table.oid)}}));
  if (found.Get(0, 0) == "t") return absl::UnavailableError("the snapshot of the copy is lost");
  if (found.Get(0, 1) == "t") return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat("table ", name, " was renamed, or its schema was, while its rows were copied"));
}

// `began`: that work. A rest for the rate's sake counts as work for the pace, which is a share of
// the speed that there would be.
absl::Status CopyWorker::Rest(int64_t bytes, int64_t rows, absl::Time began) {
  const Shutdown& stop = *options_.stop;
  const bool goes_on =
      (options_.rate_limit == nullptr || options_.rate_limit->Rest(bytes, rows, stop)) &&
      (options_.pace == nullptr || options_.pace->Rest(SteadyNow() - began, stop));
  return goes_on ? absl::OkStatus() : absl::CancelledError("shutting down");
}

absl::Status CopyWorker::Pump(PartProgress& progress) {
  std::string buffer;
  CopyReader reader(&source_, options_.large_row_turn);
  const RateLimit* limit = options_.rate_limit;
  // Since the last look at progress and limit. A message is a row, but for the end mark of the
  // binary form; CopyPartOf() puts the count right.
  int64_t bytes = 0;
  int64_t rows = 0;
  absl::Time began = SteadyNow();
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(std::optional<absl::string_view> row, reader.Next());
    bool is_end = !row.has_value();
    if (!is_end) {
      bytes += static_cast<int64_t>(row->size());
      ++rows;
    }
    bool is_due = limit != nullptr && limit->IsDue(bytes, rows);
    if (!is_end && row->size() >= kWriteBytes) {
      // Not copied once more: a row may be as large as the server allows.
      TOWLINE_RETURN_IF_ERROR(destination_.CopyWrite(buffer));
      buffer.clear();
      TOWLINE_RETURN_IF_ERROR(destination_.CopyWrite(*row));
    } else if (!is_end) {
      buffer.append(row->data(), row->size());
    }
    if (bytes >= static_cast<int64_t>(kWriteBytes) || is_due || is_end) {
      TOWLINE_RETURN_IF_ERROR(destination_.CopyWrite(buffer));
      buffer.clear();
      progress.Add(bytes, rows);
      FaultPoint("copy:in-table");
      TOWLINE_RETURN_IF_ERROR(Rest(std::exchange(bytes, 0), std::exchange(rows, 0), began));
      began = SteadyNow();
    }
    if (is_end) return absl::OkStatus();
  }
}

}  // namespace towline

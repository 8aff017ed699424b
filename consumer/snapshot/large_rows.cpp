#include "snapshot/large_rows.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/key_hash.h"
#include "pg/quoting.h"
#include "pg/sqlstate.h"
#include "state/value_staging.h"

namespace towline {
namespace {

// Signature, flags, length of the header's extension (PostgreSQL manual, COPY, "Binary Format").
constexpr absl::string_view kHeader("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr absl::string_view kTrailer("\377\377", 2);

// Columns that identify a row in the stream as well, in the table's order.
std::vector<std::string> KeyColumns(const Table& table) {
  auto find = [&](bool UniqueIndex::*flag) {
    return std::find_if(table.unique_indexes.begin(), table.unique_indexes.end(),
                        [&](const UniqueIndex& index) { return index.*flag; });
  };
  auto index = find(&UniqueIndex::is_replica_identity);
  if (index == table.unique_indexes.end()) index = find(&UniqueIndex::is_primary);
  std::vector<std::string> columns;
  if (index == table.unique_indexes.end()) return columns;
  for (const TableColumn& column : table.columns) {
    bool is_in = std::find(index->columns.begin(), index->columns.end(), column.name) !=
                 index->columns.end();
    if (is_in) columns.push_back(QuoteIdentifier(column.name));
  }
  return columns;
}

}  // namespace

// Back to the savepoint after a failure, and to plans that give rows in the order of their places.
absl::Status LargeRowCopier::BeginAgain() {
  return source_
      ->Exec(
          absl::StrCat("ROLLBACK TO SAVEPOINT ", kPartSavepoint,
                       "; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; "
                       "SET LOCAL enable_bitmapscan = off; "
                       "SET LOCAL max_parallel_workers_per_gather = 0"))
      .status();
}

absl::StatusOr<int64_t> LargeRowCopier::Copy(CopyPart part) {
  TOWLINE_RETURN_IF_ERROR(BeginAgain());
  TOWLINE_ASSIGN_OR_RETURN(
      ValueStaging staging,
      ValueStaging::Create(*destination_, target_->relation, target_->columns, false));
  staging_ = &staging;
  const CopyPart all = part;
  int64_t rows = 0;
  while (true) {
    int64_t rows_before = 0;
    TOWLINE_ASSIGN_OR_RETURN(bool is_complete, CopyUntilTooLarge(part, &rows_before));
    rows += rows_before;
    if (is_complete) break;
    TOWLINE_RETURN_IF_ERROR(BeginAgain());
    TOWLINE_ASSIGN_OR_RETURN(
        part.after, source_->QueryValue(FindPlaceSql(*table_, *target_, part, rows_before)));
    TOWLINE_RETURN_IF_ERROR(CopyRow(part.after));
    ++rows;
  }
  TOWLINE_RETURN_IF_ERROR(staging.Drop(*destination_));
  // All of this stands on the order of a scan: see to it that no row fell between two of them.
  TOWLINE_ASSIGN_OR_RETURN(std::string counted,
                           source_->QueryValue(CountRowsSql(*table_, *target_, all)));
  // For the plans of what the session reads next.
  TOWLINE_RETURN_IF_ERROR(
      source_->Exec(absl::StrCat("ROLLBACK TO SAVEPOINT ", kPartSavepoint)).status());
  if (counted == absl::StrCat(rows)) return rows;
  return absl::InternalError(
      absl::StrCat("the source has ", counted, " rows and ", rows, " were copied one by one"));
}

// False: the row behind those that have arrived is too large.
absl::StatusOr<bool> LargeRowCopier::CopyUntilTooLarge(const CopyPart& part, int64_t* rows) {
  TOWLINE_RETURN_IF_ERROR(destination_->CopyInBegin(CopyInSql(*target_)));
  has_sent_ = false;
  absl::Status read = source_->CopyOutBegin(CopyOutSql(*table_, *target_, part));
  if (read.ok()) read = Pump();
  if (!read.ok() && !(IsTooLarge(read) && source_->is_alive())) {
    destination_->CopyInAbort("the source failed");
    return read;
  }
  if (!read.ok() && target_->is_binary) {
    if (!has_sent_) TOWLINE_RETURN_IF_ERROR(destination_->CopyWrite(kHeader));
    TOWLINE_RETURN_IF_ERROR(destination_->CopyWrite(kTrailer));
  }
  TOWLINE_ASSIGN_OR_RETURN(*rows, destination_->CopyInEnd());
  return read.ok();
}

// The server sends every row in a message of its own, or none of it.
absl::Status LargeRowCopier::Pump() {
  CopyReader reader(source_, turn_);
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(std::optional<absl::string_view> row, reader.Next());
    if (!row.has_value()) return absl::OkStatus();
    TOWLINE_RETURN_IF_ERROR(destination_->CopyWrite(*row));
    has_sent_ = true;
  }
}

absl::Status LargeRowCopier::CopyRow(const std::string& place) {
  std::vector<std::string> values;
  for (size_t column = 0; column < target_->columns.size(); ++column) {
    absl::Status copied = CopyValue(place, column);
    if (!copied.ok()) {
      return Refuse(WithContext(copied, absl::StrCat("column ", target_->columns[column])), place);
    }
    values.push_back(staging_->ValueSql(column));
  }
  absl::StatusOr<Result> inserted = destination_->Exec(InsertSql(*target_, values));
  if (!inserted.ok()) return Refuse(inserted.status(), place);
  if (inserted->affected_rows() != 1) return absl::InternalError("INSERT of one row made none");
  TOWLINE_ASSIGN_OR_RETURN(std::string row, DescribeRow(place));
  LogInfo("a large row is copied column by column",
          {{"table", QuoteQualified(table_->name.schema, table_->name.name)}, {"row", row}});
  return staging_->Empty(*destination_);
}

absl::Status LargeRowCopier::CopyValue(const std::string& place, size_t column) {
  TOWLINE_RETURN_IF_ERROR(
      destination_->CopyInBegin(staging_->CopySql(column, target_->binary_columns[column])));
  absl::Status read = source_->CopyOutBegin(ValueOutSql(*table_, *target_, column, place));
  if (read.ok()) read = Pump();
  if (!read.ok()) {
    destination_->CopyInAbort("the source failed");
    return read;
  }
  TOWLINE_ASSIGN_OR_RETURN(int64_t rows, destination_->CopyInEnd());
  if (rows == 1) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("a row was found ", rows, " times at its place"));
}

absl::Status LargeRowCopier::Refuse(const absl::Status& status, const std::string& place) {
  if (!IsTooLarge(status) || !source_->is_alive()) return status;
  TOWLINE_RETURN_IF_ERROR(BeginAgain());
  TOWLINE_ASSIGN_OR_RETURN(std::string row, DescribeRow(place));
  return WithContext(status, row);
}

absl::StatusOr<std::string> LargeRowCopier::DescribeRow(const std::string& place) {
  std::vector<std::string> columns = KeyColumns(*table_);
  std::string key = "without key";
  if (!columns.empty()) {
    TOWLINE_RETURN_IF_ERROR(source_->CopyOutBegin(ColumnsOutSql(*table_, columns, place)));
    KeyHash hash;
    bool has_row = false;
    while (true) {
      TOWLINE_ASSIGN_OR_RETURN(std::optional<Connection::CopyChunk> chunk, source_->CopyRead());
      if (!chunk.has_value()) break;
      if (has_row) continue;  // the end mark
      has_row = true;
      RowReader reader(chunk->bytes.substr(kHeader.size()));
      for (int i = 0; i < reader.field_count(); ++i) hash.Add(reader.Next());
    }
    key = absl::StrCat("key hash ", hash.Text());
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string bytes,
                           source_->QueryValue(RowBytesSql(*table_, *target_, place)));
  return absl::StrCat(key, ", place ", place, ", ", bytes, " bytes as stored");
}

}  // namespace towline

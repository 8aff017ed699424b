#include "apply/conflict.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "model/key_hash.h"
#include "model/row_image.h"
#include "pg/quoting.h"
#include "pg/sqlstate.h"

namespace towline {
namespace {

// A large row is not written into the log of conflicts.
constexpr size_t kShownBytesMax = 64 << 10;

absl::string_view KindName(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kInsert:
      return "INSERT";
    case ChangeKind::kUpdate:
      return "UPDATE";
    case ChangeKind::kDelete:
      return "DELETE";
    case ChangeKind::kTruncate:
      return "TRUNCATE";
  }
  return "change";
}

const TransactionMark& TransactionOf(const Batch& batch, size_t change) {
  static const TransactionMark kUnknown;
  auto after = std::upper_bound(
      batch.transactions.begin(), batch.transactions.end(), change,
      [](size_t index, const TransactionMark& mark) { return index < mark.first_change; });
  return after == batch.transactions.begin() ? kUnknown : *std::prev(after);
}

// One column of a change with its value, for people.
struct ShownColumn {
  const TargetColumn* column;
  Field field;
};

std::vector<ShownColumn> Show(const Target& target, absl::string_view image, bool is_key_image,
                              const std::vector<int>& only) {
  std::vector<ShownColumn> shown;
  if (image.empty()) return shown;
  RowReader reader(image);
  const std::vector<int>& order = is_key_image ? target.relation->key : target.relation->sent;
  for (int index : order) {
    Field field = reader.Next();
    bool is_wanted = only.empty() || std::find(only.begin(), only.end(), index) != only.end();
    if (is_wanted) shown.push_back({&target.columns[static_cast<size_t>(index)], field});
  }
  return shown;
}

// By the old image if there is one: it is the row that was looked for.
std::vector<ShownColumn> ShowKey(const Target& target, const Change& change) {
  bool has_old = change.old_image != OldImage::kNone;
  return Show(target, has_old ? change.old_row : change.new_row, change.old_image == OldImage::kKey,
              target.match);
}

// "(id, kind)=(12, NULL)" by the server's own text functions, as its messages have it.
absl::StatusOr<Param> ValuesText(Connection& connection, const std::vector<ShownColumn>& shown) {
  if (shown.empty()) return Param();
  std::vector<std::string> names;
  std::vector<std::string> texts;
  std::vector<Oid> types;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
  std::vector<std::string> kept(shown.size());
  size_t bytes = 0;
  for (const ShownColumn& column : shown) bytes += column.field.bytes.size();
  if (bytes > kShownBytesMax) return Param(absl::StrCat("(", bytes, " bytes)"));
  for (size_t i = 0; i < shown.size(); ++i) {
    const auto& [column, field] = shown[i];
    names.push_back(column->name);
    texts.push_back(absl::StrCat("coalesce($", i + 1, "::pg_catalog.text, ",
                                 field.kind == FieldKind::kNull ? "'NULL'" : "'(not sent)'", ")"));
    kept[i] = std::string(field.bytes);
    types.push_back(column->type_oid);
    values.push_back(field.kind == FieldKind::kValue ? kept[i].c_str() : nullptr);
    lengths.push_back(static_cast<int>(field.bytes.size()));
    formats.push_back(column->is_binary ? 1 : 0);
  }
  std::string sql = absl::StrCat("SELECT ", absl::StrJoin(texts, " || ', ' || "));
  PGconn* raw = connection.raw();
  if (PQsendQueryParams(raw, sql.c_str(), static_cast<int>(types.size()), types.data(),
                        values.data(), lengths.data(), formats.data(), 0) == 0) {
    return connection.ErrorOf(nullptr);
  }
  Param text;
  while (true) {
    int flushed = PQflush(raw);
    if (flushed < 0) return connection.ErrorOf(nullptr);
    if (flushed > 0 || PQisBusy(raw) != 0) {
      TOWLINE_RETURN_IF_ERROR(connection.WaitSocket(flushed > 0, absl::InfiniteDuration()));
      if (PQconsumeInput(raw) == 0) return connection.ErrorOf(nullptr);
      continue;
    }
    PgResultPtr result(PQgetResult(raw));
    if (result == nullptr) return text;
    if (PQstatus(raw) != CONNECTION_OK) return connection.ErrorOf(result.get());
    if (PQntuples(result.get()) != 1) continue;
    text =
        absl::StrCat("(", absl::StrJoin(names, ", "), ")=(", PQgetvalue(result.get(), 0, 0), ")");
  }
}

std::string RowCountText(ChangeKind kind, int64_t rows) {
  if (rows == 0) return absl::StrCat(KindName(kind), " found no row to change");
  return absl::StrCat(KindName(kind), " touched ", rows, " rows and not the number it should");
}

}  // namespace

std::string ConflictType(ChangeKind kind, const ApplyFailure& failure) {
  bool is_insert = kind == ChangeKind::kInsert;
  if (failure.status.ok()) {
    if (is_insert || failure.affected_rows != 0) return "row_count";
    return kind == ChangeKind::kUpdate ? "update_missing" : "delete_missing";
  }
  std::string sqlstate = GetSqlState(failure.status);
  constexpr absl::string_view kUniqueViolation = "23505";
  constexpr absl::string_view kExclusionViolation = "23P01";
  if (sqlstate == kUniqueViolation || sqlstate == kExclusionViolation) {
    return is_insert ? "insert_exists" : "update_exists";
  }
  // A data exception, such as a character that the destination's encoding lacks.
  if (absl::StartsWith(sqlstate, "22")) return "value_refused";
  return absl::StartsWith(sqlstate, "23") ? "constraint_violation" : "";
}

std::string KeyHashOf(const Target& target, const Change& change) {
  KeyHash hash;
  for (const ShownColumn& shown : ShowKey(target, change)) hash.Add(shown.field);
  return hash.Text();
}

absl::Status ExplainFailure(const FailedChange& failed, const std::string& task) {
  const ApplyFailure& failure = *failed.failure;
  const Change& change = failed.batch->changes[failure.change];
  const TransactionMark& transaction = TransactionOf(*failed.batch, failure.change);
  std::string place = absl::StrCat("table ", failed.target->label, ", key hash ",
                                   KeyHashOf(*failed.target, change), ", transaction ",
                                   transaction.xid, " ending at ", transaction.end_lsn.ToString());
  std::string type = ConflictType(change.kind, failure);
  if (IsTooLarge(failure.status)) {
    return WithHint(
        WithCode(WithContext(failure.status,
                             absl::StrCat(KindName(change.kind), " of ",
                                          std::max(change.new_row.size(), change.old_row.size()),
                                          " bytes is too large for the destination (", place, ")")),
                 absl::StatusCode::kUnimplemented),
        "Make the change by hand at the destination, or exclude the table, and run again.");
  }
  if (type.empty()) {
    return WithContext(failure.status,
                       absl::StrCat(KindName(change.kind), " failed (", place, ")"));
  }
  absl::Status status =
      failure.status.ok()
          ? absl::UnimplementedError(RowCountText(change.kind, failure.affected_rows))
          : WithCode(failure.status, absl::StatusCode::kUnimplemented);
  return WithHint(
      WithContext(status, absl::StrCat("conflict ", type, " (", place, ")")),
      absl::StrCat("SELECT * FROM towline_state.conflict WHERE task = ", QuoteLiteral(task),
                   " ORDER BY number DESC; make the destination's row what it was at the source "
                   "before this change, then run again."));
}

absl::Status RecordConflict(Connection& connection, const TaskClaim& claim,
                            const FailedChange& failed, int64_t rows_max) {
  const ApplyFailure& failure = *failed.failure;
  const Change& change = failed.batch->changes[failure.change];
  const TransactionMark& transaction = TransactionOf(*failed.batch, failure.change);
  TOWLINE_ASSIGN_OR_RETURN(Param key, ValuesText(connection, ShowKey(*failed.target, change)));
  TOWLINE_ASSIGN_OR_RETURN(Param row,
                           ValuesText(connection, Show(*failed.target, change.new_row, false, {})));
  std::string message = failure.status.ok() ? RowCountText(change.kind, failure.affected_rows)
                                            : std::string(failure.status.message());
  if (!failure.server_detail.empty()) absl::StrAppend(&message, "\n", failure.server_detail);
  TOWLINE_RETURN_IF_ERROR(
      connection
          .Query("INSERT INTO towline_state.conflict (task, end_lsn, xid, schema_name, table_name, "
                 "type, resolution, sqlstate, message, key_values, row_values) "
                 "SELECT $1::text, $2::pg_lsn, $3::numeric, $4::text, $5::text, $6::text, 'stop', "
                 "$7::text, $8::text, $9::text, $10::text "
                 "WHERE (SELECT count(*) FROM towline_state.conflict c WHERE c.task = $1) "
                 "< $11::bigint",
                 std::vector<Param>{
                     claim.task, transaction.end_lsn.ToString(), absl::StrCat(transaction.xid),
                     failed.target->relation->name.schema, failed.target->relation->name.name,
                     ConflictType(change.kind, failure), GetSqlState(failure.status), message, key,
                     row, absl::StrCat(rows_max)})
          .status());
  return absl::OkStatus();
}

}  // namespace towline

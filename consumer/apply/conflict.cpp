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
  TOWLINE_ASSIGN_OR_RETURN(Result text,
                           AskWithValues(connection, sql, types, {values, lengths, formats}));
  return Param(absl::StrCat("(", absl::StrJoin(names, ", "), ")=(", text.Get(0, 0), ")"));
}

std::string RowCountText(ChangeKind kind, int64_t rows) {
  if (rows == 0) return absl::StrCat(KindName(kind), " found no row to change");
  return absl::StrCat(KindName(kind), " touched ", rows, " rows and not the number it should");
}

}  // namespace

const TransactionMark& TransactionOf(const Batch& batch, size_t change) {
  static const TransactionMark kUnknown;
  auto after = std::upper_bound(
      batch.transactions.begin(), batch.transactions.end(), change,
      [](size_t index, const TransactionMark& mark) { return index < mark.first_change; });
  return after == batch.transactions.begin() ? kUnknown : *std::prev(after);
}

std::optional<ConflictKind> ConflictKindOf(ChangeKind kind, const ApplyFailure& failure) {
  const bool is_insert = kind == ChangeKind::kInsert;
  if (failure.status.ok()) {
    if (is_insert || failure.affected_rows != 0) return ConflictKind::kRowCount;
    return kind == ChangeKind::kUpdate ? ConflictKind::kUpdateMissing
                                       : ConflictKind::kDeleteMissing;
  }
  const std::string sqlstate = GetSqlState(failure.status);
  // PostgreSQL manual, appendix A.
  if (sqlstate == "23505") {
    return is_insert ? ConflictKind::kInsertExists : ConflictKind::kUpdateExists;
  }
  if (sqlstate == "23503") return ConflictKind::kForeignKey;
  if (sqlstate == "23514") return ConflictKind::kCheck;
  if (sqlstate == "23502") return ConflictKind::kNotNull;
  if (sqlstate == "23P01") return ConflictKind::kExclusion;
  // A data exception, such as a character that the destination's encoding lacks; or a type that
  // takes no input at all (pg_node_tree in a table made from a catalog).
  if (absl::StartsWith(sqlstate, "22") || sqlstate == "0A000") return ConflictKind::kValueRefused;
  if (absl::StartsWith(sqlstate, "23")) return ConflictKind::kOtherConstraint;
  return std::nullopt;
}

bool IsHiddenInSet(const ApplyFailure& failure) {
  const absl::Status& status = failure.status;
  return failure.is_of_set && !absl::IsAborted(status) && !absl::IsUnavailable(status) &&
         !absl::IsResourceExhausted(status) && !absl::IsCancelled(status) &&
         !absl::IsDeadlineExceeded(status);
}

bool IsClashError(const absl::Status& status) {
  const std::string sqlstate = GetSqlState(status);
  return sqlstate == "23505" || sqlstate == "23P01";
}

std::string KeyHashOf(const Target& target, const Change& change) {
  KeyHash hash;
  for (const ShownColumn& shown : ShowKey(target, change)) hash.Add(shown.field);
  return hash.Text();
}

absl::Status ExplainFailure(const FailedChange& failed, std::optional<ConflictKind> kind,
                            const std::string& task) {
  const ApplyFailure& failure = *failed.failure;
  const Change& change = failed.batch->changes[failure.change];
  const TransactionMark& transaction = TransactionOf(*failed.batch, failure.change);
  std::string place = absl::StrCat("table ", failed.target->label, ", key hash ",
                                   KeyHashOf(*failed.target, change), ", transaction ",
                                   transaction.xid, " ending at ", transaction.end_lsn.ToString());
  if (IsTooLarge(failure.status)) {
    return WithHint(
        WithCode(WithContext(failure.status,
                             absl::StrCat(KindName(change.kind), " of ",
                                          std::max(change.new_row.size(), change.old_row.size()),
                                          " bytes is too large for the destination (", place, ")")),
                 absl::StatusCode::kUnimplemented),
        "Make the change by hand at the destination, or exclude the table, and run again.");
  }
  if (!kind.has_value()) {
    return WithContext(failure.status,
                       absl::StrCat(KindName(change.kind), " failed (", place, ")"));
  }
  absl::Status status =
      failure.status.ok()
          ? absl::UnimplementedError(RowCountText(change.kind, failure.affected_rows))
          : WithCode(failure.status, absl::StatusCode::kUnimplemented);
  return WithHint(
      WithContext(status, absl::StrCat("conflict ", FactsOf(*kind).name, " (", place, ")")),
      absl::StrCat("SELECT * FROM towline_state.conflict WHERE task = ", QuoteLiteral(task),
                   " ORDER BY number DESC; make the destination's row what it was at the source "
                   "before this change, or choose another policy (on_conflict), then run again."));
}

std::string MessageOf(const FailedChange& failed) {
  const ApplyFailure& failure = *failed.failure;
  const Change& change = failed.batch->changes[failure.change];
  std::string message = failure.status.ok() ? RowCountText(change.kind, failure.affected_rows)
                                            : std::string(failure.status.message());
  if (!failure.server_detail.empty()) absl::StrAppend(&message, "\n", failure.server_detail);
  return message;
}

absl::StatusOr<Param> KeyText(Connection& connection, const Target& target, const Change& change) {
  return ValuesText(connection, ShowKey(target, change));
}

absl::StatusOr<Param> NewRowText(Connection& connection, const Target& target,
                                 const Change& change) {
  return ValuesText(connection, Show(target, change.new_row, false, {}));
}

}  // namespace towline

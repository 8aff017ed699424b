#include "apply/conflict_log.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/error_object.h"

namespace towline {
namespace {

constexpr char kAddSql[] =
    "INSERT INTO towline_state.conflict (task, end_lsn, xid, schema_name, table_name, type, "
    "resolution, sqlstate, message, key_values, row_values, existing_values) "
    "VALUES ($1::text, $2::pg_lsn, $3::numeric, $4::text, $5::text, $6::text, $7::text, $8::text, "
    "$9::text, $10::text, $11::text, $12::text)";

constexpr char kCountSql[] =
    "INSERT INTO towline_state.conflict_total AS t (task, type, resolution, count) "
    "VALUES ($1::text, $2::text, $3::text, $4::bigint) "
    "ON CONFLICT (task, type, resolution) DO UPDATE SET count = t.count + EXCLUDED.count";

constexpr char kDropOldestSql[] =
    "DELETE FROM towline_state.conflict WHERE task = $1::text AND number <= (SELECT c.number "
    "FROM towline_state.conflict c WHERE c.task = $1::text ORDER BY c.number DESC "
    "OFFSET $2::bigint LIMIT 1)";

// What the destination refuses as a value it cannot show either.
absl::StatusOr<Param> OrNothing(Connection& connection, absl::StatusOr<Param> text) {
  if (text.ok() || GetSqlState(text.status()).empty() || !connection.is_alive()) return text;
  TOWLINE_RETURN_IF_ERROR(connection.Exec("ROLLBACK TO SAVEPOINT towline_text").status());
  return Param();
}

}  // namespace

absl::Status ConflictLog::Add(const FailedChange& failed, ConflictKind kind, ConflictAction action,
                              const Param& existing) {
  ++pending_[{kind, action}];
  if (rows_max_ == 0) return absl::OkStatus();
  const Change& change = failed.batch->changes[failed.failure->change];
  const TransactionMark& transaction = TransactionOf(*failed.batch, failed.failure->change);
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("SAVEPOINT towline_text").status());
  TOWLINE_ASSIGN_OR_RETURN(Param key,
                           OrNothing(*connection_, KeyText(*connection_, *failed.target, change)));
  TOWLINE_ASSIGN_OR_RETURN(
      Param row, OrNothing(*connection_, NewRowText(*connection_, *failed.target, change)));
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("RELEASE SAVEPOINT towline_text").status());
  const TableName& table = failed.target->relation->name;
  return connection_
      ->Query(kAddSql, std::vector<Param>{claim_.task, transaction.end_lsn.ToString(),
                                          absl::StrCat(transaction.xid), table.schema, table.name,
                                          FactsOf(kind).name, NameOf(action),
                                          GetSqlState(failed.failure->status), MessageOf(failed),
                                          key, row, existing})
      .status();
}

absl::Status ConflictLog::AddRefusedCommit(const TableName& table, Lsn end_lsn,
                                           const absl::Status& refused) {
  constexpr ConflictKind kKind = ConflictKind::kOtherConstraint;
  ++pending_[{kKind, ConflictAction::kStop}];
  if (rows_max_ == 0) return absl::OkStatus();
  std::string message(refused.message());
  const std::optional<ErrorObject> object = ErrorObjectOf(refused);
  if (object.has_value() && !object->detail.empty()) {
    absl::StrAppend(&message, "\n", object->detail);
  }
  return connection_
      ->Query(kAddSql,
              std::vector<Param>{claim_.task, end_lsn.ToString(), Param(), table.schema, table.name,
                                 FactsOf(kKind).name, NameOf(ConflictAction::kStop),
                                 GetSqlState(refused), message, Param(), Param(), Param()})
      .status();
}

absl::Status ConflictLog::Finish() {
  if (pending_.empty()) return absl::OkStatus();
  for (const auto& [what, count] : pending_) {
    TOWLINE_RETURN_IF_ERROR(
        connection_
            ->Query(kCountSql, std::vector<Param>{claim_.task, FactsOf(what.first).name,
                                                  NameOf(what.second), absl::StrCat(count)})
            .status());
  }
  pending_.clear();
  return connection_
      ->Query(kDropOldestSql, std::vector<Param>{claim_.task, absl::StrCat(rows_max_)})
      .status();
}

}  // namespace towline

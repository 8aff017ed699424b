#include "apply/refused_commit.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "model/failed_table.h"
#include "pg/error_object.h"

namespace towline {
namespace {

// Of the tables $1 those that have deferrable triggers that fire for us, on themselves or their
// partitions; whether the error is about it ($2, $3: its table; of a foreign key the one that
// refers, whichever of the two was changed), and how its constraint ($4) would be switched off.
// Those of foreign keys are named by their constraint.
constexpr char kDeferredSql[] = R"(
SELECT k.oid, pg_catalog.bool_or((n.nspname = $2::text AND c.relname = $3::text)
    OR (o.conname = $4::text AND EXISTS (
      SELECT 1 FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
      WHERE r.oid = o.conrelid AND rn.nspname = $2::text AND r.relname = $3::text))),
  pg_catalog.string_agg(
    pg_catalog.format('ALTER TABLE %I.%I ENABLE TRIGGER %I;', n.nspname, c.relname, t.tgname), ' '
    ORDER BY n.nspname, c.relname, t.tgname) FILTER (WHERE $4::text IN ('', o.conname))
FROM unnest($1::pg_catalog.oid[]) AS k(oid)
JOIN pg_catalog.pg_trigger t ON t.tgrelid = k.oid
  OR t.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(k.oid) p)
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint o ON o.oid = t.tgconstraint
WHERE t.tgdeferrable AND t.tgenabled IN ('A', 'R')
GROUP BY k.oid ORDER BY k.oid)";

struct Culprit {
  const Target* target = nullptr;  // null: it is not known which
  std::string statements;          // that switch its triggers off for us; may be empty
};

// Errors of a server that lacks room or is broken: nobody's trigger has raised them.
bool IsOfServer(absl::string_view sqlstate) {
  return absl::StartsWith(sqlstate, "53") || absl::StartsWith(sqlstate, "58") ||
         absl::StartsWith(sqlstate, "XX");
}

absl::StatusOr<Culprit> FindCulprit(Connection& connection, const ErrorObject& object,
                                    const std::vector<const Target*>& targets) {
  std::vector<Oid> oids;
  for (const Target* target : targets) oids.push_back(target->table.oid);
  TOWLINE_ASSIGN_OR_RETURN(
      Result deferred,
      connection.Query(kDeferredSql, {absl::StrCat("{", absl::StrJoin(oids, ","), "}"),
                                      object.schema, object.table, object.constraint}));
  auto culprit = [&](int row) {
    Culprit found;
    Oid oid = 0;
    if (!absl::SimpleAtoi(deferred.Get(row, 0), &oid)) return found;
    auto at = std::find_if(targets.begin(), targets.end(),
                           [&](const Target* target) { return target->table.oid == oid; });
    if (at != targets.end()) found.target = *at;
    if (!deferred.IsNull(row, 2)) found.statements = deferred.GetString(row, 2);
    return found;
  };
  for (int row = 0; row < deferred.row_count(); ++row) {
    if (deferred.GetBool(row, 1)) return culprit(row);
  }
  // A trigger need not name a table. If there is but one that has any, it comes from there.
  return object.table.empty() && deferred.row_count() == 1 ? culprit(0) : Culprit();
}

std::string PlaceOf(const Culprit& culprit, const ErrorObject& object, Lsn end_lsn) {
  std::string place;
  if (culprit.target != nullptr) {
    absl::StrAppend(&place, "table ", culprit.target->label, ", ");
  } else if (!object.table.empty()) {
    absl::StrAppend(&place, "about table ", object.schema, ".", object.table, ", ");
  }
  if (!object.constraint.empty()) absl::StrAppend(&place, "constraint ", object.constraint, ", ");
  return absl::StrCat(place, "transactions up to ", end_lsn.ToString());
}

}  // namespace

bool IsRefusal(const absl::Status& status) {
  return !GetSqlState(status).empty() && !absl::IsAborted(status) && !absl::IsUnavailable(status) &&
         !absl::IsResourceExhausted(status) && !IsOfServer(GetSqlState(status));
}

absl::Status ExplainRefusedCommit(Connection& connection, const absl::Status& refused,
                                  const EndedTransaction& ended) {
  const ErrorObject object = ErrorObjectOf(refused).value_or(ErrorObject());
  // Without an answer the error is what the server said.
  const Culprit culprit = FindCulprit(connection, object, ended.targets).value_or(Culprit());
  absl::Status explained =
      WithContext(refused, absl::StrCat("the destination refuses at COMMIT what it checks there (",
                                        PlaceOf(culprit, object, ended.end_lsn), ")"));
  if (absl::StartsWith(GetSqlState(refused), "23")) {
    explained = WithCode(explained, absl::StatusCode::kUnimplemented);
  }
  if (culprit.target != nullptr) {
    const Relation& relation = *culprit.target->relation;
    explained = WithFailedTable(explained, {relation.name, relation.oid});
  }
  const std::string statements =
      culprit.statements.empty() ? "ALTER TABLE ... ENABLE TRIGGER ...;" : culprit.statements;
  return WithHint(explained,
                  absl::StrCat("At the destination make the rows fit what its deferred trigger "
                               "demands, or let it fire for applications only: ",
                               statements, " Then run again."));
}

}  // namespace towline

#include "verify/deferred_constraints.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// A row for each part of a constraint: its name, which rows it looks at (a predicate, or empty),
// the part's expression, and the operator by which two rows exclude each other; of a unique one
// whether NULLs are equal to each other ('==', from version 15 on) or not ('=').
constexpr char kPartsSql[] = R"sql(
SELECT k.conname, COALESCE(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
       pg_catalog.pg_get_indexdef(i.indexrelid, part.n, false),
       CASE WHEN k.conexclop IS NOT NULL THEN
         (SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
          FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
          WHERE o.oid = k.conexclop[part.n])
       WHEN (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean THEN '==' ELSE '=' END
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relname = $2
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace AND s.nspname = $1
JOIN pg_catalog.pg_index i ON i.indexrelid = k.conindid
CROSS JOIN LATERAL pg_catalog.generate_series(1, i.indnkeyatts::int) part(n)
WHERE k.contype IN ('p', 'u', 'x') AND k.condeferrable
ORDER BY k.conname, part.n
)sql";

struct Constraint {
  std::string name;
  std::string predicate;
  std::vector<std::string> expressions;
  std::vector<std::string> operators;
};

std::string IsBrokenSql(const TableName& table, const Constraint& constraint) {
  std::vector<std::string> values;
  std::vector<std::string> keys;
  std::vector<std::string> terms;
  const bool is_unique = constraint.operators.front().front() == '=';
  for (size_t i = 0; i < constraint.expressions.size(); ++i) {
    values.push_back(absl::StrCat("(", constraint.expressions[i], ") AS k", i));
    keys.push_back(absl::StrCat("k", i));
    if (!is_unique) {
      terms.push_back(absl::StrCat("a.k", i, " ", constraint.operators[i], " b.k", i));
    } else if (constraint.operators[i] == "=") {
      terms.push_back(absl::StrCat("k", i, " IS NOT NULL"));
    }
  }
  const std::string rows = absl::StrCat(
      "(SELECT ctid AS place, ", absl::StrJoin(values, ", "), " FROM ONLY ",
      QuoteQualified(table.schema, table.name),
      constraint.predicate.empty() ? "" : absl::StrCat(" WHERE ", constraint.predicate), ")");
  if (is_unique) {
    return absl::StrCat("SELECT EXISTS (SELECT FROM ", rows, " AS a",
                        terms.empty() ? "" : " WHERE ", absl::StrJoin(terms, " AND "), " GROUP BY ",
                        absl::StrJoin(keys, ", "), " HAVING pg_catalog.count(*) > 1)");
  }
  return absl::StrCat("SELECT EXISTS (SELECT FROM ", rows, " AS a JOIN ", rows,
                      " AS b ON a.place <> b.place AND ", absl::StrJoin(terms, " AND "), ")");
}

}  // namespace

absl::StatusOr<std::string> FindBrokenConstraints(Connection& destination, const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(Result parts,
                           destination.Query(kPartsSql, {{table.schema, table.name}}));
  std::vector<Constraint> constraints;
  for (int row = 0; row < parts.row_count(); ++row) {
    const std::string name = parts.GetString(row, 0);
    if (constraints.empty() || constraints.back().name != name) {
      constraints.push_back({name, parts.GetString(row, 1), {}, {}});
    }
    constraints.back().expressions.push_back(parts.GetString(row, 2));
    constraints.back().operators.push_back(parts.GetString(row, 3));
  }
  std::vector<std::string> broken;
  for (const Constraint& constraint : constraints) {
    const std::string sql = IsBrokenSql(table, constraint);
    TOWLINE_ASSIGN_OR_RETURN(std::string is_broken, destination.QueryValue(sql));
    if (is_broken == "t") {
      TOWLINE_ASSIGN_OR_RETURN(is_broken, destination.QueryValue(sql));
    }
    if (is_broken == "t") broken.push_back(QuoteIdentifier(constraint.name));
  }
  return absl::StrJoin(broken, ", ");
}

}  // namespace towline

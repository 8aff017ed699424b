#include "schema/extension_tables.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr char kRowsSql[] = R"sql(
SELECT n.nspname, c.relname,
       COALESCE(NULLIF(pg_catalog.btrim(pg_catalog.regexp_replace(
         member.condition, '^\s*where\M', '', 'i')), ''), 'true')
FROM pg_catalog.pg_extension e
CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS member(oid, condition)
JOIN pg_catalog.pg_class c ON c.oid = member.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND e.extname NOT IN ('towline', 'timescaledb')
ORDER BY 1, 2
)sql";

}  // namespace

absl::StatusOr<ExtensionRows> ReadExtensionRows(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(Result found, source.Query(kRowsSql));
  ExtensionRows rows;
  for (int row = 0; row < found.row_count(); ++row) {
    rows[{found.GetString(row, 0), found.GetString(row, 1)}] = found.GetString(row, 2);
  }
  return rows;
}

ExtensionRows SelectedRows(const ExtensionRows& rows, const std::vector<Table>& selected) {
  ExtensionRows chosen;
  for (const Table& table : selected) {
    auto found = rows.find(table.name);
    if (found != rows.end()) chosen.insert(*found);
  }
  return chosen;
}

void AddExtensionRules(const ExtensionRows& rows, TableRules* rules) {
  for (const auto& [table, condition] : rows) {
    TableRule& rule = (*rules)[table];
    rule.table = table;
    rule.where = rule.where.empty()
                     ? condition
                     : absl::StrCat(AsOperand(rule.where), " AND ", AsOperand(condition));
  }
}

}  // namespace towline

#include "apply/unique_keys.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// 3 is btree's equality, and only btree has unique indexes. indnullsnotdistinct came with 15.
constexpr char kKeysSql[] = R"(
SELECT i.indexrelid, c.relname, pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false), n.nspname,
       o.oprname, COALESCE(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
       COALESCE((pg_catalog.to_jsonb(i)->>'indnullsnotdistinct')::pg_catalog.bool, false)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
CROSS JOIN LATERAL pg_catalog.generate_series(1, i.indnkeyatts) AS k (n)
JOIN pg_catalog.pg_opclass s ON s.oid = i.indclass[k.n - 1]
JOIN pg_catalog.pg_amop a ON a.amopfamily = s.opcfamily AND a.amoplefttype = s.opcintype
  AND a.amoprighttype = s.opcintype AND a.amopstrategy = 3
JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indimmediate AND i.indisready
ORDER BY i.indexrelid, k.n)";

// Of plain columns there is no dependency where a constraint owns the index, of expressions no
// number in indkey.
constexpr char kColumnsSql[] = R"(
SELECT i.indexrelid, a.attname
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum > 0
WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indimmediate AND i.indisready
  AND (a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) OR EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))
ORDER BY i.indexrelid, a.attnum)";

}  // namespace

absl::StatusOr<std::vector<UniqueKey>> ReadUniqueKeys(Connection& connection, Oid table) {
  const std::vector<Param> of_table = {Param(absl::StrCat(table))};
  TOWLINE_ASSIGN_OR_RETURN(Result rows, connection.Query(kKeysSql, of_table));
  TOWLINE_ASSIGN_OR_RETURN(Result columns, connection.Query(kColumnsSql, of_table));
  std::vector<UniqueKey> keys;
  int64_t last = 0;
  for (int row = 0; row < rows.row_count(); ++row) {
    const int64_t index = rows.GetInt(row, 0);
    if (keys.empty() || index != last) {
      keys.emplace_back();
      keys.back().name = rows.GetString(row, 1);
      keys.back().predicate = rows.GetString(row, 5);
      keys.back().are_nulls_equal = rows.GetBool(row, 6);
      for (int column = 0; column < columns.row_count(); ++column) {
        if (columns.GetInt(column, 0) != index) continue;
        keys.back().columns.push_back(QuoteIdentifier(columns.Get(column, 1)));
      }
      last = index;
    }
    keys.back().expressions.push_back(rows.GetString(row, 2));
    keys.back().equals.push_back(
        absl::StrCat("OPERATOR(", QuoteIdentifier(rows.Get(row, 3)), ".", rows.Get(row, 4), ")"));
  }
  return keys;
}

}  // namespace towline

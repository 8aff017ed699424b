#include "verify/table_shape.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// One short statement: it is asked twice for each table.
constexpr char kShapeSql[] = R"sql(
SELECT c.oid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated,
       a.attidentity
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
ORDER BY a.attnum
)sql";

char FirstChar(absl::string_view text) { return text.empty() ? '\0' : text[0]; }

absl::StatusOr<std::string> ReadShape(Connection& session, const TableName& name) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, session.Query(kShapeSql, {{name.schema, name.name}}));
  Table table;
  for (int row = 0; row < rows.row_count(); ++row) {
    table.oid = static_cast<Oid>(rows.GetInt(row, 0));
    if (rows.IsNull(row, 1)) continue;  // a table without columns
    TableColumn column;
    column.attnum = static_cast<int>(rows.GetInt(row, 1));
    column.name = rows.GetString(row, 2);
    column.type_oid = static_cast<Oid>(rows.GetInt(row, 3));
    column.typmod = static_cast<int32_t>(rows.GetInt(row, 4));
    column.is_not_null = rows.GetBool(row, 5);
    column.generated = FirstChar(rows.Get(row, 6));
    column.identity = FirstChar(rows.Get(row, 7));
    table.columns.push_back(std::move(column));
  }
  return ShapeOf(table);
}

}  // namespace

std::string ShapeOf(const Table& table) {
  if (table.oid == 0) return "";
  std::string shape = absl::StrCat(table.oid);
  for (const TableColumn& column : table.columns) {
    // That a column may hold NULL says whether ranges of it hold all rows.
    absl::StrAppend(&shape, " ", column.attnum, ":", QuoteIdentifier(column.name), ":",
                    column.type_oid, ":", column.typmod, column.is_not_null ? "n" : "",
                    column.generated != '\0' ? "g" : "", column.identity == 'a' ? "i" : "");
  }
  return shape;
}

absl::StatusOr<PairShape> ReadPairShape(Connection& source, Connection& destination,
                                        const TableName& table) {
  PairShape shape;
  TOWLINE_ASSIGN_OR_RETURN(shape.source, ReadShape(source, table));
  TOWLINE_ASSIGN_OR_RETURN(shape.destination, ReadShape(destination, table));
  return shape;
}

}  // namespace towline

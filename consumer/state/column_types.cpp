#include "state/column_types.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

bool IsSameType(const TableColumn& a, const TableColumn& b) {
  return a.type_schema == b.type_schema && a.type_name == b.type_name && a.typmod == b.typmod &&
         a.base == b.base;
}

}  // namespace

absl::Status StoreColumnTypes(Connection& session, const TaskClaim& claim,
                              const std::vector<Table>& source,
                              const std::vector<Table>& destination, bool keeps_others) {
  ArrayLiteral values[6];
  ArrayLiteral schemas, names;
  for (size_t i = 0; i < source.size(); ++i) {
    schemas.Add(source[i].name.schema);
    names.Add(source[i].name.name);
    for (const TableColumn& column : source[i].columns) {
      const TableColumn* there = destination[i].FindColumn(column.name);
      if (there == nullptr || IsSameType(column, *there)) continue;
      values[0].Add(source[i].name.schema);
      values[1].Add(source[i].name.name);
      values[2].Add(column.name);
      values[3].Add(column.type_schema);
      values[4].Add(column.type_name);
      values[5].Add(absl::StrCat(column.typmod));
    }
  }
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  TOWLINE_RETURN_IF_ERROR(
      session
          .Query("DELETE FROM towline_state.column_type WHERE task = $1 AND (NOT $2::boolean OR "
                 "(schema_name, table_name) IN (SELECT * FROM unnest($3::text[], $4::text[])))",
                 std::vector<Param>{claim.task, keeps_others ? "t" : "f", schemas.ToString(),
                                    names.ToString()})
          .status());
  TOWLINE_RETURN_IF_ERROR(
      session
          .Query("INSERT INTO towline_state.column_type (task, schema_name, table_name, "
                 "column_name, type_schema, type_name, type_modifier) SELECT $1, t.* FROM "
                 "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[]) t",
                 std::vector<Param>{claim.task, values[0].ToString(), values[1].ToString(),
                                    values[2].ToString(), values[3].ToString(),
                                    values[4].ToString(), values[5].ToString()})
          .status());
  return session.Exec("COMMIT").status();
}

absl::StatusOr<CopiedTypes> ReadColumnTypes(Connection& session, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("SELECT schema_name, table_name, column_name, type_schema, type_name, "
                    "type_modifier FROM towline_state.column_type WHERE task = $1",
                    {{task}}));
  CopiedTypes types;
  for (int row = 0; row < result.row_count(); ++row) {
    TableName table{result.GetString(row, 0), result.GetString(row, 1)};
    types[{std::move(table), result.GetString(row, 2)}] = {
        result.GetString(row, 3), result.GetString(row, 4),
        static_cast<int32_t>(result.GetInt(row, 5))};
  }
  return types;
}

}  // namespace towline

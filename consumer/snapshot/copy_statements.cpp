#include "snapshot/copy_statements.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"

namespace towline {
namespace {

std::string Qualified(const Table& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

std::string Where(const CopyPart& part) {
  std::string condition = PartCondition(part);
  return condition.empty() ? "" : absl::StrCat(" WHERE ", condition);
}

}  // namespace

CopyTarget MakeTarget(const Table& source, const Table& destination) {
  CopyTarget target;
  target.is_binary = true;
  target.relation = Qualified(destination);
  for (const TableColumn& column : source.columns) {
    if (column.generated != '\0') continue;
    const TableColumn* other = destination.FindColumn(column.name);
    target.columns.push_back(QuoteIdentifier(column.name));
    target.is_binary = target.is_binary && column.is_portable_binary && other != nullptr &&
                       other->is_portable_binary;
  }
  return target;
}

std::string CopyOutSql(const Table& source, const CopyTarget& target, const CopyPart& part) {
  std::string columns = absl::StrJoin(target.columns, ", ");
  absl::string_view format = target.is_binary ? " TO STDOUT (FORMAT binary)" : " TO STDOUT";
  // The plain form spares the executor; like the other it reads this table alone, not those that
  // inherit from it.
  if (part.is_whole) return absl::StrCat("COPY ", Qualified(source), " (", columns, ")", format);
  return absl::StrCat("COPY (SELECT ", columns, " FROM ONLY ", Qualified(source), Where(part), ")",
                      format);
}

std::string CopyInSql(const CopyTarget& target) {
  return absl::StrCat("COPY ", target.relation, " (", absl::StrJoin(target.columns, ", "),
                      ") FROM STDIN", target.is_binary ? " (FORMAT binary)" : "");
}

std::string CountRowsSql(const Table& source, const CopyPart& part) {
  return absl::StrCat("SELECT pg_catalog.count(*) FROM ONLY ", Qualified(source), Where(part));
}

std::string MakeRowsSql(const CopyTarget& target, int64_t rows) {
  return absl::StrCat("INSERT INTO ", target.relation,
                      " SELECT FROM pg_catalog.generate_series(1, ", rows, "::bigint)");
}

}  // namespace towline

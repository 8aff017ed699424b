#include "snapshot/copy_statements.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "schema/type_passage.h"

namespace towline {
namespace {

std::string Qualified(const Table& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

std::string FromPlace(const Table& source, const std::string& place) {
  return absl::StrCat(" FROM ONLY ", Qualified(source), " WHERE ctid = '", place, "'::tid");
}

std::string Where(const CopyTarget& target, const CopyPart& part) {
  std::string range = PartCondition(part);
  std::string rule = target.where.empty() ? "" : AsOperand(target.where);
  if (range.empty() && rule.empty()) return "";
  // The range first: it is what the server finds rows by.
  return absl::StrCat(" WHERE ", range, range.empty() || rule.empty() ? "" : " AND ", rule);
}

// What text does not carry between this pair of servers. The text of a "char" above 127 is a byte
// that no encoding converts, or an escape that versions before 16 do not read. A name is cut short,
// silently, when it is read; in the destination's encoding it may have become longer.
std::string InexactCondition(const TableColumn& column, const std::string& value,
                             const ServerPair& pair) {
  constexpr Oid kChar = 18;
  constexpr Oid kName = 19;
  constexpr Oid kCharArray = 1002;
  constexpr Oid kNameArray = 1003;
  constexpr int kNameBytesMax = 63;  // NAMEDATALEN - 1
  const Oid type = column.base_type_oid;
  const bool is_array = type == kCharArray || type == kNameArray;
  const std::string scalar = is_array ? "towline_element" : value;
  std::string condition;
  if ((type == kChar || type == kCharArray) &&
      (pair.encodings_differ || pair.is_destination_older)) {
    condition = absl::StrCat("(", scalar, ")::pg_catalog.\"char\"::pg_catalog.int4 < 0");
  } else if ((type == kName || type == kNameArray) && pair.encodings_differ) {
    absl::string_view encoding =
        pair.destination_encoding == "SQL_ASCII" ? "UTF8" : pair.destination_encoding;
    // By way of UTF-8: not every two encodings have a conversion.
    condition = absl::StrCat("pg_catalog.octet_length(pg_catalog.convert(pg_catalog.convert_to((",
                             scalar, ")::pg_catalog.text, 'UTF8'), 'UTF8', ",
                             QuoteLiteral(encoding), ")) > ", kNameBytesMax);
  }
  if (condition.empty() || !is_array) return condition;
  return absl::StrCat("EXISTS (SELECT FROM pg_catalog.unnest(", value,
                      ") AS towline_elements(towline_element) WHERE ", condition, ")");
}

}  // namespace

CopyTarget MakeTarget(const Table& source, const Table& destination, const TableRule* rule,
                      const ServerPair& pair) {
  CopyTarget target;
  target.is_binary = true;
  target.relation = Qualified(destination);
  if (rule != nullptr) target.where = rule->where;
  bool has_values = false;
  std::vector<std::string> inexact;
  for (const TableColumn& column : source.columns) {
    if (column.generated != '\0') continue;
    const TableColumn* other = destination.FindColumn(column.name);
    const bool is_cast =
        other != nullptr && FindPassage(TypeOf(column), TypeOf(*other)) == Passage::kCast;
    const TableColumn& sent = is_cast ? *other : column;
    target.columns.push_back(QuoteIdentifier(column.name));
    target.binary_columns.push_back(
        sent.is_portable_binary && other != nullptr && other->is_portable_binary &&
        (!pair.AllowsBasicTypesOnly() || IsBasicType(sent.base_type_oid)));
    target.is_binary = target.is_binary && target.binary_columns.back();
    const RuleColumn* listed = rule == nullptr ? nullptr : rule->FindColumn(column.name);
    bool is_expression = listed != nullptr && listed->expression.has_value();
    has_values |= is_expression || is_cast;
    target.is_expression.push_back(is_expression);
    target.values.push_back(is_expression ? RuleValueSql(column, *listed->expression)
                                          : target.columns.back());
    if (is_cast) absl::StrAppend(&target.values.back(), "::", CastTypeText(*other));
    std::string condition = InexactCondition(sent, target.values.back(), pair);
    if (!condition.empty()) inexact.push_back(std::move(condition));
  }
  if (!target.is_binary) target.inexact = absl::StrJoin(inexact, " OR ");
  if (!has_values) target.values.clear();
  return target;
}

std::string CopyOutSql(const Table& source, const CopyTarget& target, const CopyPart& part) {
  std::string columns = absl::StrJoin(target.columns, ", ");
  absl::string_view format = target.is_binary ? " TO STDOUT (FORMAT binary)" : " TO STDOUT";
  // The plain form spares the executor; like the other it reads this table alone, not those that
  // inherit from it.
  if (part.is_whole && part.after.empty() && target.values.empty() && target.where.empty()) {
    return absl::StrCat("COPY ", Qualified(source), " (", columns, ")", format);
  }
  std::string values = target.values.empty() ? columns : absl::StrJoin(target.values, ", ");
  return absl::StrCat("COPY (SELECT ", values, " FROM ONLY ", Qualified(source),
                      Where(target, part), ")", format);
}

std::string FindInexactSql(const Table& source, const CopyTarget& target, const CopyPart& part) {
  std::string where = Where(target, part);
  return absl::StrCat("SELECT true FROM ONLY ", Qualified(source), where,
                      where.empty() ? " WHERE (" : " AND (", target.inexact, ") LIMIT 1");
}

std::string CopyInSql(const CopyTarget& target) {
  return absl::StrCat("COPY ", target.relation, " (", absl::StrJoin(target.columns, ", "),
                      ") FROM STDIN", target.is_binary ? " (FORMAT binary)" : "");
}

std::string CountRowsSql(const Table& source, const CopyTarget& target, const CopyPart& part) {
  return absl::StrCat("SELECT pg_catalog.count(*) FROM ONLY ", Qualified(source),
                      Where(target, part));
}

std::string MakeRowsSql(const CopyTarget& target, int64_t rows) {
  return absl::StrCat("INSERT INTO ", target.relation,
                      " SELECT FROM pg_catalog.generate_series(1, ", rows, "::bigint)");
}

std::string FindPlaceSql(const Table& source, const CopyTarget& target, const CopyPart& part,
                         int64_t rows_before) {
  return absl::StrCat("SELECT ctid FROM ONLY ", Qualified(source), Where(target, part), " OFFSET ",
                      rows_before, " LIMIT 1");
}

std::string ValueOutSql(const Table& source, const CopyTarget& target, size_t column,
                        const std::string& place) {
  const std::string& value = target.values.empty() ? target.columns[column] : target.values[column];
  return absl::StrCat("COPY (SELECT ", column, ", ", value, FromPlace(source, place), ") TO STDOUT",
                      target.binary_columns[column] ? " (FORMAT binary)" : "");
}

std::string ColumnsOutSql(const Table& source, const std::vector<std::string>& columns,
                          const std::string& place) {
  return absl::StrCat("COPY (SELECT ", absl::StrJoin(columns, ", "), FromPlace(source, place),
                      ") TO STDOUT (FORMAT binary)");
}

std::string RowBytesSql(const Table& source, const CopyTarget& target, const std::string& place) {
  std::vector<std::string> sizes;
  for (const std::string& column : target.columns) {
    sizes.push_back(absl::StrCat("coalesce(pg_catalog.pg_column_size(", column, "), 0)::bigint"));
  }
  return absl::StrCat("SELECT ", absl::StrJoin(sizes, " + "), FromPlace(source, place));
}

std::string InsertSql(const CopyTarget& target, const std::vector<std::string>& values) {
  return absl::StrCat("INSERT INTO ", target.relation, " (", absl::StrJoin(target.columns, ", "),
                      ") OVERRIDING SYSTEM VALUE VALUES (", absl::StrJoin(values, ", "), ")");
}

}  // namespace towline

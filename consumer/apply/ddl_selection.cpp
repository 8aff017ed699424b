#include "apply/ddl_selection.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Without the table itself. The nearest first.
constexpr char kAncestorsSql[] =
    "SELECT n.nspname, c.relname FROM "
    "pg_catalog.pg_partition_ancestors(pg_catalog.to_regclass($1)) WITH ORDINALITY AS a(oid, "
    "distance) JOIN pg_catalog.pg_class c ON c.oid = a.oid JOIN pg_catalog.pg_namespace n ON n.oid "
    "= c.relnamespace WHERE a.oid <> pg_catalog.to_regclass($1)::pg_catalog.oid ORDER BY "
    "a.distance";

constexpr char kBelowSql[] =
    "WITH RECURSIVE below(oid) AS (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = "
    "pg_catalog.to_regclass($1) UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b "
    "ON i.inhparent = b.oid) SELECT n.nspname, c.relname FROM below b JOIN pg_catalog.pg_class c "
    "ON c.oid = b.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN "
    "('r', 'p')";

constexpr char kTableOfIndexSql[] =
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = "
    "i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE i.indexrelid = "
    "pg_catalog.to_regclass($1)";

}  // namespace

DdlSelection::DdlSelection(Connection* connection, const TargetPolicies* policies,
                           std::vector<TablePattern> include, std::vector<TablePattern> exclude)
    : connection_(connection),
      policies_(policies),
      include_(std::move(include)),
      exclude_(std::move(exclude)),
      selects_all_(include_.empty() &&
                   std::all_of(exclude_.begin(), exclude_.end(), IsOfOwnSchema)) {}

absl::StatusOr<bool> DdlSelection::IsSelected(const TableName& table) {
  std::vector<TableName> names = {table};
  if (!selects_all_) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<TableName> above, TablesAbove(table));
    names.insert(names.end(), above.begin(), above.end());
  }
  return AreSelected(names);
}

absl::StatusOr<bool> DdlSelection::AreSelected(const std::vector<TableName>& names) {
  bool is_included = include_.empty();
  for (const TableName& name : names) {
    TOWLINE_ASSIGN_OR_RETURN(const bool is_excluded, Matches(name, exclude_));
    if (is_excluded) return false;
    if (is_included) continue;
    TOWLINE_ASSIGN_OR_RETURN(is_included, Matches(name, include_));
  }
  return is_included;
}

absl::StatusOr<bool> DdlSelection::HasRule(const TableName& table) {
  if (policies_->rules.empty()) return false;
  return AnyOfAbove(table,
                    [this](const TableName& name) { return policies_->rules.contains(name); });
}

absl::StatusOr<bool> DdlSelection::HasOwnRules(const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(const bool has_rule, HasRule(table));
  const std::vector<TableName>& appended = policies_->append_tables;
  if (has_rule || appended.empty()) return has_rule;
  return AnyOfAbove(table, [&](const TableName& name) {
    return std::find(appended.begin(), appended.end(), name) != appended.end();
  });
}

// Partitions of the destination follow what is said of a table above them.
template <typename Predicate>
absl::StatusOr<bool> DdlSelection::AnyOfAbove(const TableName& table, Predicate is_named) {
  if (is_named(table)) return true;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableName> above, TablesAbove(table));
  return std::any_of(above.begin(), above.end(), is_named);
}

absl::StatusOr<std::vector<TableName>> DdlSelection::TablesAbove(const TableName& table) {
  return ReadNames(kAncestorsSql, table);
}

absl::StatusOr<std::vector<TableName>> DdlSelection::TablesBelow(const TableName& table) {
  return ReadNames(kBelowSql, table);
}

absl::StatusOr<std::vector<TableName>> DdlSelection::ReadNames(const std::string& sql,
                                                               const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           connection_->Query(sql, {{QuoteQualified(table.schema, table.name)}}));
  std::vector<TableName> names;
  for (int row = 0; row < rows.row_count(); ++row) {
    names.push_back({rows.GetString(row, 0), rows.GetString(row, 1)});
  }
  return names;
}

absl::StatusOr<TableName> DdlSelection::TableOfIndex(const std::string& index) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, connection_->Query(kTableOfIndexSql, {{index}}));
  return rows.row_count() == 0 ? TableName()
                               : TableName{rows.GetString(0, 0), rows.GetString(0, 1)};
}

absl::StatusOr<bool> DdlSelection::Matches(const TableName& table,
                                           const std::vector<TablePattern>& patterns) {
  for (const TablePattern& pattern : patterns) {
    TOWLINE_ASSIGN_OR_RETURN(
        std::string matches,
        connection_->QueryValue(
            "SELECT $1::text OPERATOR(pg_catalog.~) $2::text AND $3::text OPERATOR(pg_catalog.~) "
            "$4::text",
            {{table.schema, pattern.schema_regex, table.name, pattern.name_regex}}));
    if (matches == "t") return true;
  }
  return false;
}

}  // namespace towline

#include "apply/ddl_checks.h"

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apply/ddl_decision.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

constexpr char kMissingTablesSql[] =
    "SELECT t.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS t(name) WHERE "
    "pg_catalog.to_regclass(t.name) IS NULL";

constexpr char kMissingSchemasSql[] =
    "SELECT s.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS s(name) WHERE NOT EXISTS "
    "(SELECT "
    "1 FROM pg_catalog.pg_namespace n WHERE n.nspname = s.name)";

// What such a command makes stands in the schema of its object; ALTER names that itself.
bool MakesInSchema(const DdlCommand& command) {
  return (absl::StartsWith(command.tag, "CREATE ") || command.tag == "SELECT INTO") &&
         command.tag != "CREATE SCHEMA" && command.tag != "CREATE EXTENSION";
}

}  // namespace

absl::StatusOr<std::string> WhyTableMissing(Connection* connection, const DdlCommand& command) {
  static constexpr std::array<absl::string_view, 9> kTags = {
      "ALTER TABLE",   "CREATE INDEX", "CREATE TRIGGER", "CREATE RULE",      "CREATE POLICY",
      "ALTER TRIGGER", "ALTER POLICY", "ALTER RULE",     "CREATE STATISTICS"};
  if (std::find(kTags.begin(), kTags.end(), command.tag) == kTags.end()) return std::string();
  auto has = [&](absl::string_view action) {
    return std::find(command.actions.begin(), command.actions.end(), action) !=
           command.actions.end();
  };
  if (has("RENAME TABLE") || has("SET SCHEMA")) return std::string();
  const std::vector<TableName> names = TablesOf(command, {});
  ArrayLiteral tables;
  for (const TableName& name : names) tables.Add(QuoteQualified(name.schema, name.name));
  if (names.empty()) return std::string();
  TOWLINE_ASSIGN_OR_RETURN(Result missing,
                           connection->Query(kMissingTablesSql, {{tables.ToString()}}));
  if (missing.row_count() == 0) return std::string();
  return absl::StrCat("table ", missing.GetString(0, 0), " is not at the destination");
}

absl::StatusOr<std::string> WhySchemaMissing(Connection* connection, const DdlCommand& command) {
  std::set<std::string> names;
  for (const DdlObject& object : command.objects) {
    if (!object.schema.empty()) names.insert(object.schema);
  }
  if (names.empty() || !MakesInSchema(command)) return std::string();
  ArrayLiteral schemas;
  for (const std::string& name : names) schemas.Add(name);
  TOWLINE_ASSIGN_OR_RETURN(Result missing,
                           connection->Query(kMissingSchemasSql, {{schemas.ToString()}}));
  if (missing.row_count() == 0) return std::string();
  return absl::StrCat("schema ", QuoteIdentifier(missing.GetString(0, 0)),
                      " is not at the destination");
}

}  // namespace towline

// The tables that the selection names, at the source.
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"

namespace towline {
namespace {

// As `run` does once it has begun.
void AddExtensionTables(CheckContext& context, const ExtensionRows& rows) {
  CheckOptions& options = context.options;
  options.extension_rows = SelectedRows(rows, context.tables);
  std::map<TableName, TableRule> rules = options.rules;
  AddExtensionRules(options.extension_rows, &rules);
  options.rules = std::move(rules);
}

// Reads context.tables.
void CheckSelection(CheckContext& context) {
  CheckOptions& options = context.options;
  ExtensionRows rows;
  if (options.copies_extension_tables && options.extension_rows.empty()) {
    absl::StatusOr<ExtensionRows> found = ReadExtensionRows(*context.source);
    if (!found.ok()) return context.FailBy("source.tables", found.status());
    rows = *std::move(found);
    for (const auto& [table, condition] : rows) {
      options.selection.extension_tables.push_back(table);
    }
  }
  absl::StatusOr<std::vector<Table>> tables =
      ReadTables(*context.source, context.options.selection);
  if (!tables.ok()) {
    context.FailBy("source.tables", tables.status());
    return;
  }
  context.tables = *std::move(tables);
  if (!rows.empty()) AddExtensionTables(context, rows);
  if (context.tables.empty()) {
    context.Warn(
        "source.tables", "no table is selected",
        {.text = "Nothing, if the database is to be empty for now: the schema is copied."});
  } else {
    context.Pass("source.tables",
                 absl::StrCat(Counted(context.tables.size(), "table"), " selected"));
  }
}

// One column of names by a query over the selected tables.
std::optional<std::vector<std::string>> NamesBy(CheckContext& context, const char* id,
                                                absl::string_view sql,
                                                const std::vector<Param>& params) {
  std::optional<Result> result = context.Ask(id, *context.source, sql, params);
  if (!result) return std::nullopt;
  std::vector<std::string> names;
  for (int row = 0; row < result->row_count(); ++row) names.push_back(result->GetString(row, 0));
  return names;
}

// A privilege question about a role that does not exist is an error; then all is missing.
std::string Unless(const ServerFacts& facts, absl::string_view has_privilege) {
  return facts.role_exists ? absl::StrCat("NOT ", has_privilege) : "true";
}

void CheckPrivileges(CheckContext& context) {
  constexpr char kId[] = "source.table_privileges";
  const ServerFacts& facts = context.source_facts;
  auto schemas = NamesBy(
      context, kId,
      absl::StrCat("SELECT DISTINCT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_class c "
                   "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                   "WHERE c.oid = ANY ($1::oid[]) AND $2::text IS NOT NULL AND ",
                   Unless(facts, "pg_catalog.has_schema_privilege($2::name, n.oid, 'USAGE')"),
                   " ORDER BY 1"),
      {OidsOf(context.tables), facts.role});
  auto tables = NamesBy(
      context, kId,
      absl::StrCat("SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM "
                   "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                   "WHERE c.oid = ANY ($1::oid[]) AND $2::text IS NOT NULL AND ",
                   Unless(facts, "pg_catalog.has_table_privilege($2::name, c.oid, 'SELECT')"),
                   " ORDER BY 1"),
      {OidsOf(context.tables), facts.role});
  if (!schemas || !tables) return;
  if (schemas->empty() && tables->empty()) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " may read every table"));
    return;
  }
  std::vector<std::string> statements;
  std::vector<std::string> found;
  if (!schemas->empty()) {
    found.push_back(absl::StrCat("USAGE on ", Counted(schemas->size(), "schema"), " (",
                                 ListNames(*schemas), ")"));
    statements.push_back(absl::StrCat("GRANT USAGE ON SCHEMA ", absl::StrJoin(*schemas, ", "),
                                      " TO ", facts.QuotedRole(), ";"));
  }
  if (!tables->empty()) {
    found.push_back(absl::StrCat("SELECT on ", Counted(tables->size(), "table"), " (",
                                 ListNames(*tables), ")"));
    statements.push_back(absl::StrCat("GRANT SELECT ON TABLE ", absl::StrJoin(*tables, ", "),
                                      " TO ", facts.QuotedRole(), ";"));
  }
  context.Fail(kId,
               absl::StrCat("role ", facts.QuotedRole(), " lacks ", absl::StrJoin(found, ", ")),
               {.statement = absl::StrJoin(statements, "\n")});
}

void CheckRowSecurity(CheckContext& context) {
  constexpr char kId[] = "source.row_security";
  const ServerFacts& facts = context.source_facts;
  if (facts.bypasses_row_security) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " bypasses row security"));
    return;
  }
  auto tables = NamesBy(
      context, kId,
      absl::StrCat(
          "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM "
          "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
          "WHERE c.oid = ANY ($1::oid[]) AND c.relrowsecurity AND $2::text IS NOT NULL AND "
          "(c.relforcerowsecurity OR ",
          Unless(facts, "pg_catalog.pg_has_role($2::name, c.relowner, 'USAGE')"), ") ORDER BY 1"),
      {OidsOf(context.tables), facts.role});
  if (!tables) return;
  if (tables->empty()) {
    context.Pass(kId, "no table is under row security");
    return;
  }
  context.Fail(
      kId,
      absl::StrCat(Counted(tables->size(), "table"), " under row security: ", ListNames(*tables)),
      {.statement = absl::StrCat("ALTER ROLE ", facts.QuotedRole(), " BYPASSRLS;")});
}

bool HasIdentity(const Table& table) {
  if (table.replica_identity == ReplicaIdentity::kFull) return true;
  for (const UniqueIndex& index : table.unique_indexes) {
    // The server logs no key of a deferrable primary key (relcache.c, RelationGetIndexList).
    if (table.replica_identity == ReplicaIdentity::kDefault && index.is_primary &&
        !index.is_deferrable) {
      return true;
    }
    if (table.replica_identity == ReplicaIdentity::kIndex && index.is_replica_identity) return true;
  }
  return false;
}

void CheckReplicaIdentity(CheckContext& context) {
  constexpr char kId[] = "source.replica_identity";
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (const Table& table : context.tables) {
    // Rows lie in partitions, and theirs is the identity that is logged.
    if (table.kind == 'p' || HasIdentity(table)) continue;
    names.push_back(QuotedName(table.name));
    statements.push_back(absl::StrCat("ALTER TABLE ", names.back(), " REPLICA IDENTITY FULL;"));
  }
  if (names.empty()) {
    context.Pass(kId, "updates and deletes of every table name their row");
  } else {
    context.Warn(kId,
                 absl::StrCat(Counted(names.size(), "table"), " without key: ", ListNames(names)),
                 {.statement = absl::StrJoin(statements, "\n")});
  }
}

void CheckUnlogged(CheckContext& context) {
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (const Table& table : context.tables) {
    if (table.persistence != 'u') continue;
    names.push_back(QuotedName(table.name));
    statements.push_back(absl::StrCat("ALTER TABLE ", names.back(), " SET LOGGED;"));
  }
  if (names.empty()) {
    context.Pass("source.unlogged_tables", "no table is unlogged");
  } else {
    context.Warn("source.unlogged_tables",
                 absl::StrCat(Counted(names.size(), "unlogged table"), ": ", ListNames(names)),
                 {.statement = absl::StrJoin(statements, "\n")});
  }
}

}  // namespace

void CheckSourceTables(CheckContext& context) {
  CheckSelection(context);
  CheckSourceObjects(context);
  CheckSourceSequences(context);
  if (context.tables.empty()) return;
  CheckPrivileges(context);
  CheckRowSecurity(context);
  CheckReplicaIdentity(context);
  CheckUnlogged(context);
  CheckTableFamilies(context);
  CheckTableRules(context);
}

}  // namespace towline

// What the destination has beside the tables that are compared: what sees our DDL, what has a name
// that the schema needs; and columns that number rows in another way.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Those that fire under session_replication_role = replica, but for the ones that capture DDL.
void CheckEventTriggers(CheckContext& context) {
  constexpr char kId[] = "destination.event_triggers";
  if (!context.options.is_first_start && !context.options.ddl) return;
  std::optional<Result> result = context.Ask(
      kId, *context.destination,
      "SELECT pg_catalog.quote_ident(e.evtname) FROM pg_catalog.pg_event_trigger e WHERE "
      "e.evtenabled IN ('A', 'R') AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN "
      "pg_catalog.pg_extension x ON x.oid = d.refobjid WHERE d.classid = "
      "'pg_catalog.pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e' AND "
      "x.extname = 'towline') ORDER BY 1");
  if (!result) return;
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (int row = 0; row < result->row_count(); ++row) {
    names.push_back(result->GetString(row, 0));
    statements.push_back(absl::StrCat("ALTER EVENT TRIGGER ", names.back(), " ENABLE;"));
  }
  context.WarnOf(kId, names, "event trigger", "firing for the schema changes of towline",
                 "no event trigger fires for the schema changes of towline",
                 {.statement = absl::StrJoin(statements, "\n")});
}

// By the same number: the name, what is to have it (r, i or S), and the table of an index.
struct Wanted {
  ArrayLiteral schemas;
  ArrayLiteral names;
  ArrayLiteral kinds;
  ArrayLiteral tables;

  void Add(absl::string_view schema, absl::string_view name, const char* kind,
           absl::string_view table) {
    schemas.Add(schema);
    names.Add(name);
    kinds.Add(kind);
    tables.Add(table);
  }
};

constexpr char kTakenSql[] = R"sql(
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
       CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'S' THEN 'a sequence'
                      WHEN 'f' THEN 'a foreign table' WHEN 'c' THEN 'a type' WHEN 'r' THEN 'a table'
                      WHEN 'p' THEN 'a table'
                      ELSE 'an index of ' || pg_catalog.format('%I.%I', n.nspname, t.relname) END
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
     WITH ORDINALITY AS wanted(nspname, relname, kind, table_name, number)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relname
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
WHERE CASE wanted.kind WHEN 'r' THEN c.relkind NOT IN ('r', 'p')
                       WHEN 'S' THEN c.relkind <> 'S'
                       ELSE c.relkind NOT IN ('i', 'I') OR t.relname <> wanted.table_name END
ORDER BY wanted.number
)sql";

// What is there already is left as it is, and what was to have the name is not made.
void CheckNames(CheckContext& context) {
  constexpr char kId[] = "destination.names";
  if (!context.options.copies_schema) return;
  Wanted wanted;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const TableName& table = context.tables[i].name;
    if (context.existing[i].oid == 0) wanted.Add(table.schema, table.name, "r", "");
  }
  std::optional<Result> indexes = context.Ask(
      kId, *context.source,
      "SELECT n.nspname, ic.relname, t.relname FROM pg_catalog.pg_index i JOIN "
      "pg_catalog.pg_class ic ON ic.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = "
      "i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = ic.relnamespace WHERE i.indrelid = ANY "
      "($1::oid[]) ORDER BY 1, 2",
      {{OidsOf(context.tables)}});
  if (!indexes) return;
  for (int row = 0; row < indexes->row_count(); ++row) {
    wanted.Add(indexes->Get(row, 0), indexes->Get(row, 1), "i", indexes->Get(row, 2));
  }
  for (const SequenceValue& sequence : context.sequences) {
    wanted.Add(sequence.name.schema, sequence.name.name, "S", "");
  }
  std::optional<Result> taken = context.Ask(kId, *context.destination, kTakenSql,
                                            {{wanted.schemas.ToString(), wanted.names.ToString(),
                                              wanted.kinds.ToString(), wanted.tables.ToString()}});
  if (!taken) return;
  std::vector<std::string> names;
  for (int row = 0; row < taken->row_count(); ++row) {
    names.push_back(absl::StrCat(taken->Get(row, 0), " (", taken->Get(row, 1), ")"));
  }
  context.WarnOf(kId, names, "name", "taken by something else",
                 "the names of tables, indexes and sequences are free", {});
}

const char* IdentityText(char identity) {
  return identity == 'a' ? "ALWAYS" : identity == 'd' ? "BY DEFAULT" : "no identity";
}

// What makes the destination's column number rows as the source's does; empty: nothing need. A
// serial column and an identity BY DEFAULT take what they are given and number the rest.
std::string IdentityStatements(const TableName& table, const TableColumn& column,
                               const TableColumn& other, bool copies_schema) {
  if (column.identity == other.identity) return "";
  const std::string alter = absl::StrCat("ALTER TABLE ", QuotedName(table), " ALTER COLUMN ",
                                         QuoteIdentifier(column.name));
  if (other.identity != '\0') {
    if (column.identity == '\0' && other.identity == 'd') return "";
    return absl::StrCat(alter, " SET GENERATED ", column.identity == 'a' ? "ALWAYS" : "BY DEFAULT",
                        ";");
  }
  // The dump's own statement adds it, where it can.
  if (other.has_default || (copies_schema && other.is_not_null)) return "";
  return absl::StrCat(other.is_not_null ? "" : absl::StrCat(alter, " SET NOT NULL;\n"), alter,
                      " ADD GENERATED ", IdentityText(column.identity), " AS IDENTITY;");
}

void CheckIdentityColumns(CheckContext& context) {
  constexpr char kId[] = "destination.identity_columns";
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& there = context.existing[i];
    // Before version 17 a partition's column is none of its own.
    if (there.oid == 0 || !there.ancestors.empty()) continue;
    for (const TableColumn& column : context.tables[i].columns) {
      const TableColumn* other = there.FindColumn(column.name);
      if (other == nullptr) continue;
      std::string own =
          IdentityStatements(there.name, column, *other, context.options.copies_schema);
      if (own.empty()) continue;
      names.push_back(absl::StrCat(QuotedName(there.name), ".", QuoteIdentifier(column.name), " (",
                                   IdentityText(other->identity), " instead of ",
                                   IdentityText(column.identity), ")"));
      statements.push_back(std::move(own));
    }
  }
  context.WarnOf(kId, names, "column", "of another identity than the source's",
                 "tables that are there number their rows as the source's do",
                 {.statement = absl::StrJoin(statements, "\n")});
}

}  // namespace

void CheckDestinationObjects(CheckContext& context) {
  if (context.is_same_database) return;
  CheckEventTriggers(context);
  // Else the tables were not compared.
  if (!context.options.is_first_start || context.existing.size() != context.tables.size()) return;
  if (context.tables.empty()) return;
  CheckNames(context);
  CheckIdentityColumns(context);
}

}  // namespace towline

// The destination's tables against those of the source: what is there must fit, what is not there
// must be possible to create. Only before the copy; afterwards the tables are ours.
#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"
#include "schema/catalog_reader.h"
#include "schema/shared_rows.h"
#include "schema/table_fit.h"

namespace towline {
namespace {

struct Pair {
  const Table* source;
  const Table* destination;  // exists
};

// The statements that make the destination's columns fit, as far as SQL can tell what is wanted.
std::vector<std::string> FittingStatements(const Pair& pair) {
  std::vector<std::string> statements;
  std::string alter = absl::StrCat("ALTER TABLE ", QuotedName(pair.destination->name), " ");
  for (const TableColumn& column : pair.source->columns) {
    std::string name = QuoteIdentifier(column.name);
    const TableColumn* other = pair.destination->FindColumn(column.name);
    if (other == nullptr) {
      statements.push_back(absl::StrCat(alter, "ADD COLUMN ", name, " ", column.type_text, ";"));
    } else if (!HasFittingType(column, *other)) {
      statements.push_back(absl::StrCat(alter, "ALTER COLUMN ", name, " TYPE ", column.type_text,
                                        " USING ", name, "::", column.type_text, ";"));
    }
  }
  for (const TableColumn& column : pair.source->columns) {
    const TableColumn* other = pair.destination->FindColumn(column.name);
    if (column.generated == '\0' && other != nullptr && other->generated == 's') {
      statements.push_back(
          absl::StrCat(alter, "ALTER COLUMN ", QuoteIdentifier(column.name), " DROP EXPRESSION;"));
    }
  }
  if (pair.source->persistence == 'p' && pair.destination->persistence == 'u') {
    statements.push_back(absl::StrCat(alter, "SET LOGGED;"));
  }
  for (const TableColumn* column : UnfilledColumns(*pair.source, *pair.destination)) {
    statements.push_back(
        absl::StrCat(alter, "ALTER COLUMN ", QuoteIdentifier(column->name), " DROP NOT NULL;"));
  }
  return statements;
}

// Of tables that will be created: primary keys of which a column gets no value.
std::vector<std::string> UnfilledKeys(const CheckContext& context,
                                      const std::vector<Table>& there) {
  std::vector<std::string> found;
  for (size_t i = 0; i < there.size(); ++i) {
    const Table& table = context.tables[i];
    if (there[i].oid != 0) continue;
    for (const TableColumn* column : UnfilledColumns(context.published[i], table)) {
      for (const UniqueIndex& index : table.unique_indexes) {
        bool is_in = std::find(index.columns.begin(), index.columns.end(), column->name) !=
                     index.columns.end();
        if (!index.is_primary || !is_in) continue;
        found.push_back(
            absl::StrCat(QuotedName(table.name), ": column ", QuoteIdentifier(column->name),
                         " of its primary key is not sent and has no default; list it"));
      }
    }
  }
  return found;
}

// "public.t.v (integer to bigint)" of columns whose values are cast.
std::vector<std::string> CastColumns(const std::vector<Pair>& pairs) {
  std::vector<std::string> found;
  for (const Pair& pair : pairs) {
    for (const TableColumn& column : pair.source->columns) {
      const TableColumn* other = pair.destination->FindColumn(column.name);
      if (other == nullptr || other->type_text == column.type_text) continue;
      found.push_back(absl::StrCat(QuotedName(pair.source->name), ".", QuoteIdentifier(column.name),
                                   " (", column.type_text, " to ", other->type_text, ")"));
    }
  }
  return found;
}

void CheckColumns(CheckContext& context, const std::vector<Pair>& pairs,
                  std::vector<std::string> found) {
  std::vector<std::string> statements;
  for (const Pair& pair : pairs) {
    for (const std::string& misfit : DescribeMisfit(*pair.source, *pair.destination)) {
      found.push_back(absl::StrCat(QuotedName(pair.source->name), ": ", misfit));
    }
    if (!found.empty()) {
      for (std::string& statement : FittingStatements(pair)) {
        statements.push_back(std::move(statement));
      }
    }
  }
  if (found.empty()) {
    absl::Status shared = CheckSharedFit(*context.destination, context.options.rules,
                                         context.published, context.existing);
    if (absl::IsFailedPrecondition(shared)) {
      context.Fail("destination.tables", std::string(shared.message()), {.text = GetHint(shared)});
      return;
    }
    if (!shared.ok()) return context.FailBy("destination.tables", shared);
  }
  if (!found.empty()) {
    context.Fail("destination.tables", ListNames(found, 10),
                 {.statement = absl::StrJoin(statements, "\n")});
  } else {
    std::vector<std::string> cast = CastColumns(pairs);
    context.Pass("destination.tables",
                 absl::StrCat(Counted(pairs.size(), "table"), " there already and fitting",
                              cast.empty() ? "" : ", columns of other types: ",
                              cast.empty() ? "" : ListNames(cast)));
  }
}

void CheckTablePrivileges(CheckContext& context, const std::vector<Pair>& pairs) {
  constexpr char kId[] = "destination.table_privileges";
  const ServerFacts& facts = context.destination_facts;
  ArrayLiteral oids;
  for (const Pair& pair : pairs) oids.Add(absl::StrCat(pair.destination->oid));
  std::string lacks = facts.role_exists
                          ? "NOT (pg_catalog.has_schema_privilege($2::name, n.oid, 'USAGE') AND "
                            "pg_catalog.has_table_privilege($2::name, c.oid, 'SELECT') AND "
                            "pg_catalog.has_table_privilege($2::name, c.oid, 'INSERT') AND "
                            "pg_catalog.has_table_privilege($2::name, c.oid, 'UPDATE') AND "
                            "pg_catalog.has_table_privilege($2::name, c.oid, 'DELETE') AND "
                            "pg_catalog.has_table_privilege($2::name, c.oid, 'TRUNCATE'))"
                          : "$2::text IS NOT NULL";
  std::optional<Result> result =
      context.Ask(kId, *context.destination,
                  absl::StrCat("SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), "
                               "pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_class c "
                               "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                               "WHERE c.oid = ANY ($1::oid[]) AND ",
                               lacks, " ORDER BY 1"),
                  {{oids.ToString(), facts.role}});
  if (!result) return;
  std::vector<std::string> tables;
  std::set<std::string> schemas;
  for (int row = 0; row < result->row_count(); ++row) {
    tables.push_back(result->GetString(row, 0));
    schemas.insert(result->GetString(row, 1));
  }
  if (tables.empty()) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " may write every table there is"));
    return;
  }
  context.Fail(
      kId,
      absl::StrCat("role ", facts.QuotedRole(), " may not write ", Counted(tables.size(), "table"),
                   ": ", ListNames(tables)),
      {.statement = absl::StrCat("GRANT USAGE ON SCHEMA ", absl::StrJoin(schemas, ", "), " TO ",
                                 facts.QuotedRole(),
                                 ";\nGRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE ",
                                 absl::StrJoin(tables, ", "), " TO ", facts.QuotedRole(), ";")});
}

// Schemas of the source in which something will be created. The dump brings every user schema.
void CheckCreateTables(CheckContext& context, size_t missing_tables) {
  constexpr char kId[] = "destination.create_tables";
  if (!context.options.copies_schema) return;
  const ServerFacts& facts = context.destination_facts;
  std::optional<Result> source_schemas =
      context.Ask(kId, *context.source,
                  "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' "
                  "AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state') "
                  "AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = "
                  "'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')");
  if (!source_schemas) return;
  ArrayLiteral names;
  for (int row = 0; row < source_schemas->row_count(); ++row) {
    names.Add(source_schemas->Get(row, 0));
  }
  std::string may_create = facts.role_exists
                               ? "pg_catalog.has_schema_privilege($2::name, n.oid, 'CREATE') AND "
                                 "pg_catalog.has_schema_privilege($2::name, n.oid, 'USAGE')"
                               : "$2::text IS NULL";
  std::string may_create_schema = facts.role_exists ? "pg_catalog.has_database_privilege($2::name, "
                                                      "pg_catalog.current_database(), 'CREATE')"
                                                    : "$2::text IS NULL";
  std::optional<Result> result = context.Ask(
      kId, *context.destination,
      absl::StrCat("SELECT pg_catalog.quote_ident(wanted.name), n.oid IS NOT NULL FROM "
                   "pg_catalog.unnest($1::text[]) AS wanted(name) LEFT JOIN "
                   "pg_catalog.pg_namespace n ON n.nspname = wanted.name WHERE NOT CASE WHEN n.oid "
                   "IS NULL THEN ",
                   may_create_schema, " ELSE ", may_create, " END ORDER BY 1"),
      {{names.ToString(), facts.role}});
  if (!result) return;
  std::vector<std::string> closed;
  std::vector<std::string> absent;
  for (int row = 0; row < result->row_count(); ++row) {
    (result->GetBool(row, 1) ? closed : absent).push_back(result->GetString(row, 0));
  }
  if (closed.empty() && absent.empty()) {
    context.Pass(kId, absl::StrCat(Counted(missing_tables, "table"), " will be created"));
    return;
  }
  std::vector<std::string> statements;
  if (!closed.empty()) {
    statements.push_back(absl::StrCat("GRANT USAGE, CREATE ON SCHEMA ", absl::StrJoin(closed, ", "),
                                      " TO ", facts.QuotedRole(), ";"));
  }
  if (!absent.empty()) {
    statements.push_back(absl::StrCat("GRANT CREATE ON DATABASE ", QuoteIdentifier(facts.database),
                                      " TO ", facts.QuotedRole(), ";"));
  }
  std::vector<std::string> all = closed;
  all.insert(all.end(), absent.begin(), absent.end());
  context.Fail(kId,
               absl::StrCat("role ", facts.QuotedRole(), " may not create in ",
                            Counted(all.size(), "schema"), ": ", ListNames(all)),
               {.statement = absl::StrJoin(statements, "\n")});
}

// What schema: skip leaves to the user.
void CheckMissing(CheckContext& context) {
  std::vector<std::string> missing;
  for (const Table& table : context.existing) {
    if (table.oid == 0) missing.push_back(QuotedName(table.name));
  }
  if (missing.empty()) return;
  context.Fail("destination.tables",
               absl::StrCat("schema is skip, and ", Counted(missing.size(), "table"),
                            " missing: ", ListNames(missing)),
               {.text = "Create them, with all that belongs to them, or set schema: copy."});
}

// Our role owns the tables that it creates and so is free of their policies, unless they are
// forced.
void CheckRowSecurity(CheckContext& context, const std::vector<Pair>& pairs) {
  constexpr char kId[] = "destination.row_security";
  const ServerFacts& facts = context.destination_facts;
  if (facts.bypasses_row_security) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " bypasses row security"));
    return;
  }
  ArrayLiteral source_oids;
  for (const Table& table : context.tables) source_oids.Add(absl::StrCat(table.oid));
  std::optional<Result> forced = context.Ask(
      kId, *context.source,
      "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN "
      "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[]) AND "
      "c.relrowsecurity AND c.relforcerowsecurity ORDER BY 1",
      {{source_oids.ToString()}});
  if (!forced) return;
  std::set<std::string> names;
  for (int row = 0; row < forced->row_count(); ++row) names.insert(forced->GetString(row, 0));
  for (const Pair& pair : pairs) {
    if (pair.destination->has_row_security) names.insert(QuotedName(pair.destination->name));
  }
  if (names.empty()) {
    context.Pass(kId, "no table will be under row security");
  } else {
    context.Fail(kId,
                 absl::StrCat(Counted(names.size(), "table"),
                              " under row security: ", ListNames({names.begin(), names.end()})),
                 {.statement = absl::StrCat("ALTER ROLE ", facts.QuotedRole(), " BYPASSRLS;")});
  }
}

}  // namespace

void CheckDestinationTables(CheckContext& context) {
  if (!context.source || context.is_same_database || !context.options.is_first_start) return;
  std::vector<TableName> names;
  for (const Table& table : context.tables) names.push_back(table.name);
  absl::StatusOr<std::vector<Table>> there = ReadTablesByName(*context.destination, names);
  if (!there.ok()) {
    context.FailBy("destination.tables", there.status());
    return;
  }
  context.existing = *std::move(there);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& table = context.existing[i];
    if (table.oid != 0) pairs.push_back({&context.published[i], &table});
  }
  if (!context.options.copies_schema) CheckMissing(context);
  CheckColumns(context, pairs, UnfilledKeys(context, context.existing));
  CheckExistingRows(context);
  CheckTablePrivileges(context, pairs);
  if (context.options.copies_schema) {
    CheckCreateTables(context, context.tables.size() - pairs.size());
  }
  CheckRowSecurity(context, pairs);
  CheckDestinationKeys(context);
  if (context.options.copies_schema) CheckDestinationTypes(context);
}

}  // namespace towline

// Whether schema changes can be run at the destination's tables, however long they have been there:
// ddl may be switched on for a task that is old.
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Of $1.$2 those that none of the roles $3, which may not exist, can alter. An extension's tables
// change by ALTER EXTENSION.
constexpr char kOfOthersSql[] = R"sql(
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM unnest($1::text[], $2::text[]) AS wanted(schema_name, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
WHERE c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r
                  WHERE r.rolname = ANY ($3::text[])
                    AND pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
ORDER BY 1
)sql";

}  // namespace

void CheckDestinationOwners(CheckContext& context) {
  constexpr char kId[] = "destination.table_owners";
  if (!context.options.ddl_on_tables || !context.source || context.is_same_database) return;
  const ServerFacts& facts = context.destination_facts;
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const Table& table : context.tables) {
    schemas.Add(table.name.schema);
    names.Add(table.name.name);
  }
  std::set<std::string> roles = context.options.ddl_roles;
  if (roles.empty()) roles.insert(facts.role);
  ArrayLiteral altering;
  std::vector<std::string> quoted;
  for (const std::string& role : roles) {
    altering.Add(role);
    quoted.push_back(QuoteIdentifier(role));
  }
  const std::string who =
      absl::StrCat(roles.size() == 1 ? "role " : "none of the roles ", ListNames(quoted), " may ");
  std::optional<Result> result =
      context.Ask(kId, *context.destination, kOfOthersSql,
                  {{schemas.ToString(), names.ToString(), altering.ToString()}});
  if (!result) return;
  std::vector<std::string> tables;
  std::vector<std::string> statements;
  for (int row = 0; row < result->row_count(); ++row) {
    tables.push_back(result->GetString(row, 0));
    statements.push_back(
        absl::StrCat("ALTER TABLE ", tables.back(), " OWNER TO ", quoted.front(), ";"));
  }
  if (tables.empty()) {
    context.Pass(kId, "every table there is may be altered");
    return;
  }
  context.FailUnlessAccepted(kId,
                             absl::StrCat(who, roles.size() == 1 ? "not alter " : "alter ",
                                          Counted(tables.size(), "table"), ": ", ListNames(tables)),
                             {.statement = absl::StrJoin(statements, "\n")});
}

}  // namespace towline

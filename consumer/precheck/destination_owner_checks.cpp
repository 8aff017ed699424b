// Whether schema changes can be run at the destination's tables, however long they have been there:
// ddl may be switched on for a task that is old.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Of $1.$2 those that role $3, which may not exist, can not alter. An extension's tables change by
// ALTER EXTENSION.
constexpr char kOfOthersSql[] = R"sql(
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM unnest($1::text[], $2::text[]) AS wanted(schema_name, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
WHERE c.relkind IN ('r', 'p')
  AND NOT COALESCE((SELECT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
                    FROM pg_catalog.pg_roles r WHERE r.rolname = $3::text), false)
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
  std::optional<Result> result = context.Ask(kId, *context.destination, kOfOthersSql,
                                             {{schemas.ToString(), names.ToString(), facts.role}});
  if (!result) return;
  std::vector<std::string> tables;
  std::vector<std::string> statements;
  for (int row = 0; row < result->row_count(); ++row) {
    tables.push_back(result->GetString(row, 0));
    statements.push_back(
        absl::StrCat("ALTER TABLE ", tables.back(), " OWNER TO ", facts.QuotedRole(), ";"));
  }
  if (tables.empty()) {
    context.Pass(kId, absl::StrCat("role ", facts.QuotedRole(), " may alter every table there is"));
    return;
  }
  context.FailUnlessAccepted(kId,
                             absl::StrCat("role ", facts.QuotedRole(), " may not alter ",
                                          Counted(tables.size(), "table"), ": ", ListNames(tables)),
                             {.statement = absl::StrJoin(statements, "\n")});
}

}  // namespace towline

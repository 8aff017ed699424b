#include "schema/materialized_views.h"

#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Level by level through the views that each reads, plain ones in between included; a view's place
// is its deepest one. Views cannot depend on themselves, so the recursion ends.
constexpr char kViewsSql[] = R"sql(
WITH RECURSIVE reads AS MATERIALIZED (
  SELECT DISTINCT r.ev_class AS view, d.refobjid AS read
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_class f ON f.oid = d.refobjid AND f.relkind IN ('v', 'm')
  WHERE r.ev_class >= 16384),
place(view, level) AS (
  SELECT c.oid, 0 FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384
  UNION
  SELECT reads.view, place.level + 1 FROM place JOIN reads ON reads.read = place.view)
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN place ON place.view = c.oid
WHERE c.relkind = 'm' AND c.relispopulated
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
GROUP BY n.nspname, c.relname
ORDER BY pg_catalog.max(place.level), n.nspname, c.relname
)sql";

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadRefreshStatements(Connection& source,
                                                               const ExcludedObjects& excluded) {
  TOWLINE_ASSIGN_OR_RETURN(Result result, source.Query(kViewsSql));
  std::vector<std::string> statements;
  for (int row = 0; row < result.row_count(); ++row) {
    TableName view{result.GetString(row, 0), result.GetString(row, 1)};
    if (excluded.relations.contains(view)) continue;
    statements.push_back("REFRESH MATERIALIZED VIEW " + QuoteQualified(view.schema, view.name));
  }
  return statements;
}

}  // namespace towline

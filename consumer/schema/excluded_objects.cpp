#include "schema/excluded_objects.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// Unlogged and partitioned ones too; extensions keep their own tables.
constexpr char kTablesSql[] = R"sql(
SELECT n.nspname, c.relname, c.oid
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.oid <> ALL ($1::oid[])
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
ORDER BY 1, 2
)sql";

constexpr char kViewsSql[] = R"sql(
WITH RECURSIVE gone(oid) AS (
  SELECT pg_catalog.unnest($1::oid[])
  UNION
  SELECT r.ev_class
  FROM gone
  JOIN pg_catalog.pg_depend d
    ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = gone.oid
   AND d.classid = 'pg_catalog.pg_rewrite'::regclass
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm'))
SELECT n.nspname, c.relname
FROM gone
JOIN pg_catalog.pg_class c ON c.oid = gone.oid AND c.relkind IN ('v', 'm')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2
)sql";

constexpr char kForeignKeysSql[] = R"sql(
SELECT n.nspname, c.relname, k.conname, rn.nspname, rc.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class rc ON rc.oid = k.confrelid
JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
WHERE k.contype = 'f' AND k.conrelid <> ALL ($1::oid[]) AND k.confrelid = ANY ($1::oid[])
ORDER BY 1, 2, 3
)sql";

}  // namespace

absl::StatusOr<ExcludedObjects> ReadExcludedObjects(Connection& connection,
                                                    const std::vector<Table>& selected) {
  auto oids_of = [](const std::vector<std::string>& oids) {
    return absl::StrCat("{", absl::StrJoin(oids, ","), "}");
  };
  std::vector<std::string> kept;
  for (const Table& table : selected) kept.push_back(absl::StrCat(table.oid));
  ExcludedObjects excluded;
  std::vector<std::string> gone;
  TOWLINE_ASSIGN_OR_RETURN(Result tables, connection.Query(kTablesSql, {{oids_of(kept)}}));
  for (int row = 0; row < tables.row_count(); ++row) {
    excluded.tables.push_back({tables.GetString(row, 0), tables.GetString(row, 1)});
    gone.push_back(tables.GetString(row, 2));
  }
  if (gone.empty()) return excluded;
  TOWLINE_ASSIGN_OR_RETURN(Result views, connection.Query(kViewsSql, {{oids_of(gone)}}));
  for (int row = 0; row < views.row_count(); ++row) {
    excluded.views.push_back({views.GetString(row, 0), views.GetString(row, 1)});
  }
  TOWLINE_ASSIGN_OR_RETURN(Result keys, connection.Query(kForeignKeysSql, {{oids_of(gone)}}));
  for (int row = 0; row < keys.row_count(); ++row) {
    excluded.foreign_keys.push_back({{keys.GetString(row, 0), keys.GetString(row, 1)},
                                     keys.GetString(row, 2),
                                     {keys.GetString(row, 3), keys.GetString(row, 4)}});
  }
  return excluded;
}

}  // namespace towline

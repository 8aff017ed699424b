#include "schema/excluded_objects.h"

#include <map>

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

// Down to whatever depends on an object that is gone, and from a part to the whole that cannot be
// without it ('i': from a view's rule to the view, from an entry of an operator class to the
// class). What a partition has from its parent ('P', 'S': indexes, keys) can be without it.
constexpr char kObjectsSql[] = R"sql(
WITH RECURSIVE kept(oid) AS MATERIALIZED (
  SELECT pg_catalog.unnest($2::oid[])
  UNION
  SELECT s.oid
  FROM pg_catalog.pg_attrdef a
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = a.oid
   AND d.refclassid = 'pg_catalog.pg_class'::regclass
  JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
  WHERE a.adrelid = ANY ($2::oid[])),
gone(class_oid, oid) AS (
  SELECT 'pg_catalog.pg_class'::regclass::oid, pg_catalog.unnest($1::oid[])
  UNION
  SELECT next.class_oid, next.oid
  FROM gone
  CROSS JOIN LATERAL (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
    WHERE d.refclassid = gone.class_oid AND d.refobjid = gone.oid AND d.deptype NOT IN ('e', 'x', 'P', 'S')
    UNION ALL
    SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d
    WHERE d.classid = gone.class_oid AND d.objid = gone.oid AND d.deptype = 'i') next(class_oid, oid)
  WHERE NOT (next.class_oid = 'pg_catalog.pg_class'::regclass AND next.oid IN (SELECT oid FROM kept)))
SELECT gone.class_oid, gone.oid, n.nspname, c.relname
FROM gone
LEFT JOIN pg_catalog.pg_class c
  ON gone.class_oid = 'pg_catalog.pg_class'::regclass AND c.oid = gone.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
)sql";

// What an object and its internal parts refer to. Tables and views come first: they say more than
// their types and indexes.
constexpr char kNeedsSql[] = R"sql(
WITH part AS (
  SELECT w.number, w.class_oid, w.oid
  FROM unnest($1::oid[], $2::oid[]) WITH ORDINALITY AS w(class_oid, oid, number)
  UNION
  SELECT w.number, d.classid, d.objid
  FROM unnest($1::oid[], $2::oid[]) WITH ORDINALITY AS w(class_oid, oid, number)
  JOIN pg_catalog.pg_depend d ON d.refclassid = w.class_oid AND d.refobjid = w.oid AND d.deptype = 'i')
SELECT DISTINCT part.number, c.relkind IN ('r', 'p', 'v', 'm', 'f'), d.refclassid, d.refobjid,
       pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
FROM part
JOIN pg_catalog.pg_depend d ON d.classid = part.class_oid AND d.objid = part.oid
LEFT JOIN pg_catalog.pg_class c
  ON d.refclassid = 'pg_catalog.pg_class'::regclass AND c.oid = d.refobjid
WHERE NOT EXISTS (SELECT 1 FROM part own WHERE own.number = part.number
                  AND own.class_oid = d.refclassid AND own.oid = d.refobjid)
ORDER BY 1, 2 DESC NULLS LAST, 5
)sql";

std::string OidArray(const std::vector<std::string>& oids) {
  return absl::StrCat("{", absl::StrJoin(oids, ","), "}");
}

Oid GetOid(const Result& result, int row, int column) {
  return static_cast<Oid>(result.GetInt(row, column));
}

}  // namespace

absl::StatusOr<ExcludedObjects> ReadExcludedObjects(Connection& connection,
                                                    const std::vector<Table>& selected) {
  std::vector<std::string> kept;
  for (const Table& table : selected) kept.push_back(absl::StrCat(table.oid));
  ExcludedObjects excluded;
  std::vector<std::string> gone;
  TOWLINE_ASSIGN_OR_RETURN(Result tables, connection.Query(kTablesSql, {{OidArray(kept)}}));
  for (int row = 0; row < tables.row_count(); ++row) {
    excluded.tables.push_back({tables.GetString(row, 0), tables.GetString(row, 1)});
    gone.push_back(tables.GetString(row, 2));
  }
  if (gone.empty()) return excluded;
  TOWLINE_ASSIGN_OR_RETURN(Result objects,
                           connection.Query(kObjectsSql, {OidArray(gone), OidArray(kept)}));
  for (int row = 0; row < objects.row_count(); ++row) {
    excluded.objects.insert({GetOid(objects, row, 0), GetOid(objects, row, 1)});
    if (objects.IsNull(row, 3)) continue;
    excluded.relations.insert({objects.GetString(row, 2), objects.GetString(row, 3)});
  }
  return excluded;
}

absl::StatusOr<std::vector<std::string>> DescribeNeeds(Connection& connection,
                                                       const ExcludedObjects& excluded,
                                                       const std::vector<ObjectId>& objects) {
  std::vector<std::string> needs(objects.size());
  std::vector<std::string> classes;
  std::vector<std::string> oids;
  for (const ObjectId& object : objects) {
    classes.push_back(absl::StrCat(object.class_oid));
    oids.push_back(absl::StrCat(object.oid));
  }
  TOWLINE_ASSIGN_OR_RETURN(Result found,
                           connection.Query(kNeedsSql, {OidArray(classes), OidArray(oids)}));
  for (int row = 0; row < found.row_count(); ++row) {
    std::string& need = needs[static_cast<size_t>(found.GetInt(row, 0) - 1)];
    bool is_gone = excluded.objects.contains({GetOid(found, row, 2), GetOid(found, row, 3)});
    if (need.empty() && is_gone) need = found.GetString(row, 4);
  }
  return needs;
}

}  // namespace towline

#include "cli/ddl_grants.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "schema/ddl_capture.h"
#include "schema/table_patterns.h"

namespace towline {
namespace {

constexpr char kOwnersOfTablesSql[] = R"sql(
SELECT DISTINCT r.rolname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.oid = ANY ($1::oid[]) AND r.rolname <> $2::text ORDER BY 1
)sql";

// Of $2.$3 the tables that role $1, which may not exist yet, does not own. Those of an extension
// change by ALTER EXTENSION.
constexpr char kTablesSql[] = R"sql(
SELECT 'TABLE', pg_catalog.format('%I.%I', n.nspname, c.relname), r.rolname, r.rolsuper
FROM unnest($2::text[], $3::text[]) AS wanted(schema_name, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p')
  AND NOT COALESCE((SELECT pg_catalog.pg_has_role(o.oid, c.relowner, 'USAGE')
                    FROM pg_catalog.pg_roles o WHERE o.rolname = $1::text), false)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2
)sql";

// Of kinds $2 what else has an owner that role $1 is not, and is not part of a table or of another
// type. Everybody's schema public stays whose it is.
constexpr char kObjectsSql[] = R"sql(
WITH object AS (
  SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'SEQUENCE' END
           AS kind, 'pg_class'::regclass AS class, c.oid, c.relowner AS owner,
         c.relnamespace AS namespace
  FROM pg_catalog.pg_class c
  WHERE c.relkind IN ('v', 'm', 'S') AND c.relpersistence <> 't'
    AND NOT (c.relkind = 'S' AND EXISTS (
      SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
  UNION ALL
  SELECT 'ROUTINE', 'pg_proc'::regclass, p.oid, p.proowner, p.pronamespace
  FROM pg_catalog.pg_proc p
  UNION ALL
  SELECT 'TYPE', 'pg_type'::regclass, t.oid, t.typowner, t.typnamespace
  FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  WHERE t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
  UNION ALL
  SELECT 'SCHEMA', 'pg_namespace'::regclass, n.oid, n.nspowner, n.oid
  FROM pg_catalog.pg_namespace n WHERE n.nspname <> 'public')
SELECT o.kind, i.identity, r.rolname, r.rolsuper
FROM object o JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
JOIN pg_catalog.pg_roles r ON r.oid = o.owner
CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.class, o.oid, 0) i
WHERE o.kind = ANY ($2::text[]) AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND NOT COALESCE((SELECT pg_catalog.pg_has_role(ours.oid, o.owner, 'USAGE')
                    FROM pg_catalog.pg_roles ours WHERE ours.rolname = $1::text), false)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY 1, 2
)sql";

struct OwnedObject {
  std::string kind;
  std::string identity;
  std::string owner;
  bool is_superusers = false;

  std::pair<std::string, std::string> key() const { return {kind, identity}; }
};

absl::StatusOr<std::vector<OwnedObject>> ReadOwned(Connection& connection, absl::string_view sql,
                                                   const std::vector<Param>& params) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, connection.Query(sql, params));
  std::vector<OwnedObject> objects;
  for (int row = 0; row < rows.row_count(); ++row) {
    objects.push_back({rows.GetString(row, 0), rows.GetString(row, 1), rows.GetString(row, 2),
                       rows.GetBool(row, 3)});
  }
  return objects;
}

// Of objects that belong to no table, types are carried whatever tables are selected.
std::string KindsToOwn(const DdlPolicy& policy, bool is_all) {
  ArrayLiteral kinds;
  if (policy.Runs(DdlKind::kType)) kinds.Add("TYPE");
  if (!is_all) return kinds.ToString();
  if (policy.Runs(DdlKind::kView)) kinds.Add("VIEW");
  if (policy.Runs(DdlKind::kMaterializedView)) kinds.Add("MATERIALIZED VIEW");
  if (policy.Runs(DdlKind::kSequence)) kinds.Add("SEQUENCE");
  if (policy.Runs(DdlKind::kRoutine)) kinds.Add("ROUTINE");
  if (policy.Runs(DdlKind::kSchema)) kinds.Add("SCHEMA");
  return kinds.ToString();
}

// What is there, belongs to others and may be altered by a command of the source's.
absl::StatusOr<std::vector<OwnedObject>> FindOfOthers(const Config& config, GrantsServer& source,
                                                      GrantsServer& destination,
                                                      const GrantsTouched& touched) {
  std::vector<OwnedObject> found;
  if (config.ddl.RunsOnTables()) {
    ArrayLiteral schemas;
    ArrayLiteral names;
    for (const Table& table : touched.tables) {
      schemas.Add(table.name.schema);
      names.Add(table.name.name);
    }
    TOWLINE_ASSIGN_OR_RETURN(
        found, ReadOwned(destination.connection, kTablesSql,
                         {destination.role_name, schemas.ToString(), names.ToString()}));
  }
  TOWLINE_ASSIGN_OR_RETURN(const bool is_all, SelectsAllTables(config));
  const std::string kinds = KindsToOwn(config.ddl, is_all);
  // No role has an empty name: all of them.
  TOWLINE_ASSIGN_OR_RETURN(std::vector<OwnedObject> there,
                           ReadOwned(source.connection, kObjectsSql, {"", kinds}));
  TOWLINE_ASSIGN_OR_RETURN(
      std::vector<OwnedObject> here,
      ReadOwned(destination.connection, kObjectsSql, {destination.role_name, kinds}));
  std::set<std::pair<std::string, std::string>> known;
  for (const OwnedObject& object : there) known.insert(object.key());
  for (OwnedObject& object : here) {
    if (known.contains(object.key())) found.push_back(std::move(object));
  }
  return found;
}

void AddOwners(const std::vector<OwnedObject>& objects, const GrantsServer& destination,
               GrantsScript& script) {
  if (objects.empty()) return;
  script.Say("Only its owner may alter an object. Who owns these until now keeps no right of it.");
  std::set<std::string> owners;
  for (const OwnedObject& object : objects) {
    if (!object.is_superusers) owners.insert(object.owner);
  }
  for (const std::string& owner : owners) {
    const std::string name = QuoteIdentifier(owner);
    script.Say(absl::StrCat("To leave ", name, " what it owns, instead: GRANT ", name, " TO ",
                            destination.role, ";"));
  }
  for (const OwnedObject& object : objects) {
    script.Add(
        absl::StrCat("ALTER ", object.kind, " ", object.identity, " OWNER TO ", destination.role));
  }
}

// A table that comes later is streamed without a right of its own; the values of its sequences, and
// its rows if it is ever copied again, are read.
absl::Status AddForLaterTables(const Config& config, GrantsServer& source,
                               const GrantsTouched& touched, GrantsScript& script) {
  ArrayLiteral oids;
  std::set<std::string> schemas;
  for (const Table& table : touched.tables) {
    if (std::find(touched.extension_tables.begin(), touched.extension_tables.end(), table.name) !=
        touched.extension_tables.end()) {
      continue;
    }
    oids.Add(absl::StrCat(table.oid));
    schemas.insert(QuoteIdentifier(table.name.schema));
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result owners,
      source.connection.Query(kOwnersOfTablesSql, {{oids.ToString(), source.role_name}}));
  if (owners.row_count() == 0) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(const bool is_all, SelectsAllTables(config));
  const std::string where = is_all ? "" : absl::StrCat(" IN SCHEMA ", absl::StrJoin(schemas, ", "));
  script.Say("Of what these roles make later. Others that make tables grant SELECT themselves.");
  for (int row = 0; row < owners.row_count(); ++row) {
    const std::string alter =
        absl::StrCat("ALTER DEFAULT PRIVILEGES FOR ROLE ", QuoteIdentifier(owners.Get(row, 0)));
    for (const char* kind : {"TABLES", "SEQUENCES"}) {
      script.Add(absl::StrCat(alter, where, " GRANT SELECT ON ", kind, " TO ", source.role));
    }
    if (is_all && config.ddl.Runs(DdlKind::kSchema)) {
      script.Add(absl::StrCat(alter, " GRANT USAGE ON SCHEMAS TO ", source.role));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool MakesObjects(const Config& config) {
  static constexpr DdlKind kMade[] = {
      DdlKind::kTable,   DdlKind::kIndex, DdlKind::kView,    DdlKind::kMaterializedView,
      DdlKind::kRoutine, DdlKind::kType,  DdlKind::kSequence};
  return config.stages.stream &&
         std::any_of(std::begin(kMade), std::end(kMade),
                     [&config](DdlKind kind) { return config.ddl.Runs(kind); });
}

absl::StatusOr<bool> SelectsAllTables(const Config& config) {
  if (!config.include.empty()) return false;
  for (const std::string& text : config.exclude) {
    TOWLINE_ASSIGN_OR_RETURN(TablePattern pattern, ParseTablePattern(text));
    if (!IsOfOwnSchema(pattern)) return false;
  }
  return true;
}

absl::Status AddDdlAtSource(const Config& config, GrantsServer& source,
                            const GrantsTouched& touched, GrantsScript& script) {
  if (!config.ddl.is_on || !config.stages.stream) return absl::OkStatus();
  if (config.ddl.Runs(DdlKind::kTable)) {
    TOWLINE_RETURN_IF_ERROR(AddForLaterTables(config, source, touched, script));
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string is_captured,
                           source.connection.QueryValue(kIsDdlCapturedSql));
  if (is_captured == "t") {
    script.Say("Schema changes are captured already.");
    return absl::OkStatus();
  }
  script.Say("Schema changes are captured from here on. This once, only a superuser may do it.");
  script.Add("CREATE EXTENSION IF NOT EXISTS towline");
  script.Add("ALTER EXTENSION towline UPDATE");
  script.Add("SELECT towline.enable_ddl()");
  return absl::OkStatus();
}

absl::Status AddDdlAtDestination(const Config& config, GrantsServer& source,
                                 GrantsServer& destination, const GrantsTouched& touched,
                                 const std::set<std::string>& members, GrantsScript& script) {
  if (!config.ddl.is_on || !config.stages.stream) return absl::OkStatus();
  const std::set<std::string> roles = config.ddl_roles.All();
  std::vector<std::string> makers;
  for (const std::string& role : roles) makers.push_back(QuoteIdentifier(role));
  if (makers.empty()) makers.push_back(destination.role);
  if (config.ddl.Runs(DdlKind::kSchema) || config.ddl.Runs(DdlKind::kExtension)) {
    script.Say(
        "For schemas, and extensions that are trusted, which come later. A command that "
        "only a superuser may run is held.");
    for (const std::string& maker : makers) {
      script.Add(absl::StrCat("GRANT CREATE ON DATABASE ", destination.database, " TO ", maker));
    }
  }
  if (!roles.empty()) {
    script.Say(
        "Schema changes are run as these (ddl_role). Give them CREATE in the schemas where they "
        "make things, and the tables that they are to alter: towline check names those that they "
        "do not own (destination.table_owners).");
    for (const std::string& maker : makers) {
      script.Add(absl::StrCat("GRANT ", maker, " TO ", destination.role));
    }
    return absl::OkStatus();
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<OwnedObject> objects,
                           FindOfOthers(config, source, destination, touched));
  std::erase_if(objects, [&](const OwnedObject& object) { return members.contains(object.owner); });
  AddOwners(objects, destination, script);
  return absl::OkStatus();
}

}  // namespace towline

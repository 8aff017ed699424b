// grants: two scripts of exactly the rights that a run of this configuration needs, for a role that
// has none. init prints what is missing for everything to work; this prints all of one thing, so
// that an administrator can read it, change the role's name and keep it.
#include <algorithm>
#include <cstdio>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/ddl_grants.h"
#include "cli/grants_script.h"
#include "cli/task_finder.h"
#include "pg/quoting.h"
#include "precheck/server_facts.h"
#include "schema/catalog_reader.h"
#include "schema/extension_tables.h"
#include "schema/sequences.h"

namespace towline {
namespace {

// Before it only a superuser may set session_replication_role.
constexpr int kParameterGrantsVersionMin = 150000;
// From 19 on a second argument, with a default, names the process that holds the origin.
constexpr int kSharedOriginsVersionMin = 190000;

constexpr char kUserSchemasSql[] = R"sql(
SELECT n.nspname FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_namespace'::regclass
                  AND d.objid = n.oid AND d.deptype = 'e')
ORDER BY 1
)sql";

// With its schema, where that is the user's choice.
constexpr char kExtensionsSql[] = R"sql(
SELECT e.extname, CASE WHEN v.schema IS NULL THEN n.nspname ELSE '' END
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN pg_catalog.pg_available_extension_versions v
  ON v.name = e.extname AND v.version = e.extversion
WHERE e.extname NOT IN ('plpgsql', 'towline') ORDER BY 1
)sql";

constexpr char kExtensionSequencesSql[] = R"sql(
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
  AND d.deptype = 'e'
WHERE c.relkind = 'S'
)sql";

constexpr char kOwnersSql[] = R"sql(
SELECT DISTINCT r.rolname FROM pg_catalog.pg_shdepend d
JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
WHERE d.deptype = 'o' AND NOT r.rolsuper AND d.dbid =
  (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY 1
)sql";

using Names = std::vector<std::string>;

absl::StatusOr<GrantsServer> OpenServer(const ConnectOptions& options, const std::string& role,
                                        const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, OpenFor(options, shutdown));
  GrantsServer server(std::move(connection));
  TOWLINE_ASSIGN_OR_RETURN(
      Result facts,
      server.connection.Query(
          "SELECT pg_catalog.current_database(), COALESCE(NULLIF($1::text, ''), current_user), "
          "EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = "
          "COALESCE(NULLIF($1::text, ''), current_user))",
          {role}));
  server.database = QuoteIdentifier(facts.Get(0, 0));
  server.role_name = facts.GetString(0, 1);
  server.role = QuoteIdentifier(server.role_name);
  server.role_exists = facts.GetBool(0, 2);
  return server;
}

absl::StatusOr<Names> Column(Connection& connection, absl::string_view sql) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, connection.Exec(sql));
  Names names;
  for (int row = 0; row < rows.row_count(); ++row) names.push_back(rows.GetString(row, 0));
  return names;
}

std::string Quoted(const TableName& name) { return QuoteQualified(name.schema, name.name); }

Names QuotedNames(const std::vector<TableName>& names) {
  Names quoted;
  for (const TableName& name : names) quoted.push_back(Quoted(name));
  return quoted;
}

// Of schemas by name, in order and once each.
std::set<std::string> SchemasOf(const GrantsTouched& touched) {
  std::set<std::string> schemas;
  for (const Table& table : touched.tables) schemas.insert(table.name.schema);
  for (const TableName& sequence : touched.sequences) schemas.insert(sequence.schema);
  return schemas;
}

absl::Status ReadTouchedTables(const Config& config, Connection& source, GrantsTouched& touched) {
  TableSelection selection{config.include, config.exclude};
  ExtensionRows rows;
  if (config.copies_extension_tables) {
    TOWLINE_ASSIGN_OR_RETURN(rows, ReadExtensionRows(source));
    for (const auto& [table, condition] : rows) selection.extension_tables.push_back(table);
  }
  TOWLINE_ASSIGN_OR_RETURN(touched.tables, ReadTables(source, selection));
  for (const auto& [table, condition] : SelectedRows(rows, touched.tables)) {
    touched.extension_tables.push_back(table);
  }
  return absl::OkStatus();
}

absl::StatusOr<GrantsTouched> ReadTouched(const Config& config, Connection& source) {
  GrantsTouched touched;
  TOWLINE_RETURN_IF_ERROR(ReadTouchedTables(config, source, touched));
  SequenceSelection selection;
  selection.is_all = config.include.empty();
  Names oids;
  for (const Table& table : touched.tables) {
    selection.tables.push_back(table.name);
    oids.push_back(absl::StrCat(table.oid));
  }
  std::vector<TableName> unreadable;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SequenceValue> values,
                           ReadSequences(source, selection, &unreadable));
  for (SequenceValue& value : values) touched.sequences.push_back(std::move(value.name));
  touched.sequences.insert(touched.sequences.end(), unreadable.begin(), unreadable.end());
  std::sort(touched.sequences.begin(), touched.sequences.end());
  TOWLINE_ASSIGN_OR_RETURN(Result members, source.Exec(kExtensionSequencesSql));
  for (int row = 0; row < members.row_count(); ++row) {
    const TableName name{members.GetString(row, 0), members.GetString(row, 1)};
    if (std::binary_search(touched.sequences.begin(), touched.sequences.end(), name)) {
      touched.extension_sequences.push_back(name);
    }
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result security, source.Query("SELECT COALESCE(pg_catalog.bool_or(relrowsecurity), false), "
                                    "COALESCE(pg_catalog.bool_or(relforcerowsecurity), false) "
                                    "FROM pg_catalog.pg_class WHERE oid = ANY ($1::oid[])",
                                    {absl::StrCat("{", absl::StrJoin(oids, ","), "}")}));
  touched.has_row_security = security.GetBool(0, 0);
  touched.has_forced_row_security = security.GetBool(0, 1);
  if (config.stages.copy && config.CopiesLargeObjects()) {
    TOWLINE_ASSIGN_OR_RETURN(
        Result objects,
        source.Exec("SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)"));
    touched.has_large_objects = objects.GetBool(0, 0);
  }
  return touched;
}

void AddRole(const GrantsServer& server, absl::string_view attributes, GrantsScript& script) {
  if (!server.role_exists) {
    script.Add(absl::StrCat("CREATE ROLE ", server.role, " LOGIN"));
    script.Say("Give it a password with psql's \\password.");
  }
  if (!attributes.empty()) script.Add(absl::StrCat("ALTER ROLE ", server.role, attributes));
  script.Add(absl::StrCat("GRANT CONNECT ON DATABASE ", server.database, " TO ", server.role));
}

// Each has rights of its own, and there may be very many.
void AddLargeObjects(const GrantsServer& source, GrantsScript& script) {
  script.Say(
      "Of all large objects that there are by now; what comes before the copy needs it too.");
  script.Add(absl::StrCat(
      "DO ", QuoteLiteral(absl::StrCat(
                 "DECLARE number oid; BEGIN FOR number IN SELECT oid FROM "
                 "pg_catalog.pg_largeobject_metadata LOOP EXECUTE ",
                 QuoteLiteral("GRANT SELECT ON LARGE OBJECT "), " || number || ",
                 QuoteLiteral(absl::StrCat(" TO ", source.role)), "; END LOOP; END"))));
}

absl::StatusOr<std::string> SourceScript(const Config& config, GrantsServer& source,
                                         const GrantsTouched& touched) {
  GrantsScript script;
  std::string attributes = config.stages.stream ? " REPLICATION" : "";
  if (config.stages.copy && touched.has_row_security) absl::StrAppend(&attributes, " BYPASSRLS");
  AddRole(source, attributes, script);
  if (config.stages.stream && source.connection.server_version() >= kTemporaryVersionMin) {
    script.Say("A temporary table is made and dropped behind a new slot, so that it reads all.");
    script.Add(absl::StrCat("GRANT TEMPORARY ON DATABASE ", source.database, " TO ", source.role));
  }
  Names schemas;
  for (const std::string& schema : SchemasOf(touched)) schemas.push_back(QuoteIdentifier(schema));
  script.Grant("USAGE ON SCHEMA", schemas, source);
  // pg_dump locks the tables that it reads, and the copy reads them.
  Names tables;
  for (const Table& table : touched.tables) tables.push_back(Quoted(table.name));
  script.Grant("SELECT ON TABLE", tables, source);
  if (config.stages.copy || config.stages.stream) {
    script.Grant("SELECT ON SEQUENCE", QuotedNames(touched.sequences), source);
  }
  if (touched.has_large_objects) AddLargeObjects(source, script);
  if (config.has_source_standby && config.stages.stream) {
    script.Grant("EXECUTE ON FUNCTION", {"pg_catalog.pg_log_standby_snapshot()"}, source);
  }
  TOWLINE_RETURN_IF_ERROR(AddDdlAtSource(config, source, touched, script));
  return script.text();
}

absl::Status AddExtensions(GrantsServer& source, GrantsServer& destination, GrantsScript& script) {
  TOWLINE_ASSIGN_OR_RETURN(Result extensions, source.connection.Exec(kExtensionsSql));
  TOWLINE_ASSIGN_OR_RETURN(Names installed, Column(destination.connection,
                                                   "SELECT extname FROM pg_catalog.pg_extension"));
  for (int row = 0; row < extensions.row_count(); ++row) {
    std::string name = extensions.GetString(row, 0);
    if (std::find(installed.begin(), installed.end(), name) != installed.end()) continue;
    std::string schema = extensions.GetString(row, 1);
    script.Add(absl::StrCat("CREATE EXTENSION ", QuoteIdentifier(name),
                            schema.empty() ? "" : " SCHEMA " + QuoteIdentifier(schema)));
  }
  return absl::OkStatus();
}

// Schemas in which something is made, by the copy of the schema or by schema changes: made or given
// beforehand, so that the role need not make them itself. Of the others it needs to see the tables.
absl::Status AddSchemas(const Config& config, GrantsServer& source, GrantsServer& destination,
                        const GrantsTouched& touched, GrantsScript& script) {
  std::set<std::string> seen = SchemasOf(touched);
  if (config.stages.schema || MakesObjects(config)) {
    TOWLINE_ASSIGN_OR_RETURN(Names wanted, Column(source.connection, kUserSchemasSql));
    TOWLINE_ASSIGN_OR_RETURN(Names there, Column(destination.connection, kUserSchemasSql));
    // Types are made wherever they are at the source, whatever tables are selected.
    TOWLINE_ASSIGN_OR_RETURN(bool is_any, SelectsAllTables(config));
    is_any |= config.stages.schema || config.ddl.Runs(DdlKind::kType);
    for (const std::string& schema : wanted) {
      const bool is_seen = seen.erase(schema) > 0;
      if (!is_any && !is_seen) continue;
      std::string name = QuoteIdentifier(schema);
      if (std::find(there.begin(), there.end(), schema) == there.end()) {
        script.Add(absl::StrCat("CREATE SCHEMA ", name, " AUTHORIZATION ", destination.role));
      } else {
        script.Add(absl::StrCat("GRANT USAGE, CREATE ON SCHEMA ", name, " TO ", destination.role));
      }
    }
  }
  if (config.stages.schema) {
    TOWLINE_RETURN_IF_ERROR(AddExtensions(source, destination, script));
  }
  Names others;
  for (const std::string& schema : seen) others.push_back(QuoteIdentifier(schema));
  script.Grant("USAGE ON SCHEMA", others, destination);
  return absl::OkStatus();
}

// Of what belongs to the source's owners. Gives the roles, as the catalog has them.
absl::StatusOr<std::set<std::string>> AddMemberships(const Config& config, GrantsServer& source,
                                                     GrantsServer& destination,
                                                     GrantsScript& script) {
  std::set<std::string> members;
  if (!config.with_owners || (!config.stages.schema && !config.ddl.is_on)) return members;
  TOWLINE_ASSIGN_OR_RETURN(Names owners, Column(source.connection, kOwnersSql));
  TOWLINE_ASSIGN_OR_RETURN(Names roles, Column(destination.connection,
                                               "SELECT rolname FROM pg_catalog.pg_roles "
                                               "WHERE NOT rolsuper"));
  for (const std::string& owner : owners) {
    if (owner == destination.role_name) continue;
    if (std::find(roles.begin(), roles.end(), owner) == roles.end()) continue;
    script.Add(absl::StrCat("GRANT ", QuoteIdentifier(owner), " TO ", destination.role));
    members.insert(owner);
  }
  return members;
}

// Of tables and sequences that are there already.
absl::StatusOr<bool> AddForRelations(const std::vector<TableName>& names, const char* rights,
                                     GrantsServer& destination, GrantsScript& script) {
  Names quoted;
  for (const TableName& name : names) quoted.push_back(QuoteLiteral(Quoted(name)));
  TOWLINE_ASSIGN_OR_RETURN(
      Result found, destination.connection.Query(absl::StrCat(
                        "WITH wanted AS (SELECT pg_catalog.to_regclass(w) AS oid FROM "
                        "pg_catalog.unnest(ARRAY[",
                        absl::StrJoin(quoted, ", "),
                        "]::text[]) w) SELECT n.nspname, c.relname, c.relrowsecurity FROM wanted "
                        "JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n "
                        "ON n.oid = c.relnamespace ORDER BY 1, 2")));
  bool has_row_security = false;
  Names objects;
  for (int row = 0; row < found.row_count(); ++row) {
    objects.push_back(QuoteQualified(found.Get(row, 0), found.Get(row, 1)));
    has_row_security |= found.GetBool(row, 2);
  }
  script.Grant(rights, objects, destination);
  return has_row_security;
}

// Of relations that are there with their extension, which this script makes, and of others that are
// there already. Gives whether a table of the latter has row security.
absl::StatusOr<bool> AddForAll(const std::vector<TableName>& names,
                               const std::vector<TableName>& made, const char* rights,
                               GrantsServer& destination, GrantsScript& script) {
  script.Grant(rights, QuotedNames(made), destination);
  std::vector<TableName> others;
  for (const TableName& name : names) {
    if (std::find(made.begin(), made.end(), name) == made.end()) others.push_back(name);
  }
  return AddForRelations(others, rights, destination, script);
}

absl::StatusOr<bool> AddForData(const Config& config, GrantsServer& destination,
                                const GrantsTouched& touched, GrantsScript& script) {
  const bool are_made = config.stages.schema;
  std::vector<TableName> tables;
  for (const Table& table : touched.tables) tables.push_back(table.name);
  TOWLINE_ASSIGN_OR_RETURN(
      const bool has_row_security,
      AddForAll(tables, are_made ? touched.extension_tables : std::vector<TableName>(),
                "SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE", destination, script));
  TOWLINE_RETURN_IF_ERROR(
      AddForAll(touched.sequences,
                are_made ? touched.extension_sequences : std::vector<TableName>(),
                "SELECT, UPDATE ON SEQUENCE", destination, script)
          .status());
  return has_row_security;
}

absl::StatusOr<std::string> DestinationScript(const Config& config, GrantsServer& source,
                                              GrantsServer& destination,
                                              const GrantsTouched& touched) {
  GrantsScript script;
  AddRole(destination, "", script);
  const int version = destination.connection.server_version();
  if (version >= kParameterGrantsVersionMin) {
    script.Add(
        absl::StrCat("GRANT SET ON PARAMETER session_replication_role TO ", destination.role));
  } else {
    script.Say("Before version 15 only a superuser may set session_replication_role.");
    script.Add(absl::StrCat("ALTER ROLE ", destination.role, " SUPERUSER"));
  }
  const char* setup =
      version >= kSharedOriginsVersionMin ? "session_setup(text, integer)" : "session_setup(text)";
  Names functions;
  for (const char* function : {"oid(text)", "create(text)", setup, "drop(text)"}) {
    functions.push_back(absl::StrCat("pg_catalog.pg_replication_origin_", function));
  }
  script.Grant("EXECUTE ON FUNCTION", functions, destination);
  script.Add(
      absl::StrCat("CREATE SCHEMA IF NOT EXISTS towline_state AUTHORIZATION ", destination.role));
  TOWLINE_RETURN_IF_ERROR(AddSchemas(config, source, destination, touched, script));
  TOWLINE_ASSIGN_OR_RETURN(std::set<std::string> members,
                           AddMemberships(config, source, destination, script));
  TOWLINE_ASSIGN_OR_RETURN(const bool has_row_security,
                           AddForData(config, destination, touched, script));
  if (has_row_security || (config.stages.schema && touched.has_forced_row_security)) {
    script.Add(absl::StrCat("ALTER ROLE ", destination.role, " BYPASSRLS"));
  }
  // Before that version the role is a superuser by now.
  if (version >= kParameterGrantsVersionMin) {
    TOWLINE_RETURN_IF_ERROR(
        AddDdlAtDestination(config, source, destination, touched, members, script));
  }
  return script.text();
}

std::string RunText(const Config& config) {
  const Stages& stages = config.stages;
  Names names;
  if (stages.schema) names.push_back("schema");
  if (stages.copy) names.push_back("copy");
  if (stages.stream) names.push_back("stream");
  return absl::StrCat("stages ", absl::StrJoin(names, ","),
                      stages.stream && config.ddl.is_on ? ", and schema changes" : "");
}

}  // namespace

absl::StatusOr<int> GrantsCommand(const Arguments& arguments, const Config& config,
                                  Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(RequireBothUris(config));
  TOWLINE_ASSIGN_OR_RETURN(GrantsServer source,
                           OpenServer(config.source, arguments.role, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(GrantsServer destination,
                           OpenServer(config.destination, arguments.role, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(GrantsTouched touched, ReadTouched(config, source.connection));
  TOWLINE_ASSIGN_OR_RETURN(std::string at_source, SourceScript(config, source, touched));
  TOWLINE_ASSIGN_OR_RETURN(std::string at_destination,
                           DestinationScript(config, source, destination, touched));
  printf("-- At the source (%s): all that role %s needs, %s\n%s\n",
         config.source.Describe().c_str(), source.role.c_str(), RunText(config).c_str(),
         at_source.c_str());
  printf("-- At the destination (%s): all that role %s needs, %s\n%s",
         config.destination.Describe().c_str(), destination.role.c_str(), RunText(config).c_str(),
         at_destination.c_str());
  return 0;
}

}  // namespace towline

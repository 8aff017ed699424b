// The schema of the source as statements, by pg_dump under an exported snapshot: everything it
// knows how to write in an order that works, before the rows (pre) and after them (post). Without
// rows: the contents of materialized views are materialized_views.h's.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "schema/dump_script.h"
#include "schema/excluded_objects.h"

namespace towline {

// What the user chooses of it.
struct SchemaOptions {
  std::string pg_dump;           // the program; empty: found
  bool with_owners = false;      // OWNER TO
  bool with_privileges = false;  // GRANT, REVOKE, default privileges
};

struct DumpOptions {
  ConnectOptions source;
  int server_version = 0;     // of the source, as libpq counts
  std::string encoding;       // of the source's database
  std::string snapshot_name;  // pg_export_snapshot()
  std::string application_name;
  ExcludedObjects excluded;
  SchemaOptions schema;
};

struct SchemaDump {
  std::vector<DumpStatement> pre;
  std::vector<DumpStatement> post;
  std::vector<LeftOutEntry> left_out;
};

// kAborted with SQLSTATE 55P03 if a table could not be locked in a short time.
absl::StatusOr<SchemaDump> DumpSchema(const DumpOptions& options, const Shutdown& shutdown);

// --exclude-table arguments that match exactly these names: many in one, as alternatives, so that
// thousands fit into an argument list and pg_dump asks a few queries.
std::vector<std::string> ExcludeArguments(const std::vector<TableName>& names);

}  // namespace towline

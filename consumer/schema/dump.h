// The schema of the source as statements, by pg_dump under an exported snapshot: everything it
// knows how to write in an order that works, before the rows (pre) and after them (post). Without
// rows: the contents of materialized views are materialized_views.h's.
//
// All identifiers come quoted, so that statements can be recognised by their beginnings.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "schema/excluded_objects.h"

namespace towline {

struct DumpOptions {
  ConnectOptions source;
  int server_version = 0;     // of the source, as libpq counts
  std::string encoding;       // of the source's database
  std::string snapshot_name;  // pg_export_snapshot()
  std::string application_name;
  ExcludedObjects excluded;
};

struct DumpStatement {
  std::string text;
  bool is_setting = false;  // SET or set_config: to be run again in each session
};

struct SchemaDump {
  std::vector<DumpStatement> pre;
  std::vector<DumpStatement> post;
};

// Says on the log what the selection leaves out. kAborted with SQLSTATE 55P03 if a table could not
// be locked in a short time.
absl::StatusOr<SchemaDump> DumpSchema(const DumpOptions& options, const Shutdown& shutdown);

// --exclude-table arguments that match exactly these names: many in one, as alternatives, so that
// thousands fit into an argument list and pg_dump asks a few queries.
std::vector<std::string> ExcludeArguments(const std::vector<TableName>& names);

// The script's statements without those that must not reach a destination: the extension towline,
// timeouts, and the foreign keys that the selection leaves out.
absl::StatusOr<std::vector<DumpStatement>> ParseDump(const std::string& script,
                                                     const std::vector<ForeignKey>& left_out);

}  // namespace towline

// Tables of extensions whose rows are the users' in part. The extension says in which part by the
// text of a WHERE clause (pg_extension_config_dump()); all other rows are its own, and CREATE
// EXTENSION makes them at the destination as well.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/table_rules.h"

namespace towline {

// By table the condition that is true for users' rows, an SQL expression. It comes from the source
// and is run at the destination too, as the statements of the schema are.
using ExtensionRows = std::map<TableName, std::string>;

// Not of our own extension, nor of TimescaleDB, whose tables say how others are stored.
absl::StatusOr<ExtensionRows> ReadExtensionRows(Connection& source);

// Those of the tables that are selected.
ExtensionRows SelectedRows(const ExtensionRows& rows, const std::vector<Table>& selected);

// Gives each of these tables a rule, or adds the condition to the one that it has.
void AddExtensionRules(const ExtensionRows& rows, TableRules* rules);

}  // namespace towline

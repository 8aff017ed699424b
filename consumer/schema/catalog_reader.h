// Reads tables from a server's catalog, in a few queries for all of them (never one per table).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/oid.h"
#include "model/table.h"
#include "pg/connection.h"

namespace towline {

struct TableSelection {
  std::vector<std::string> include;  // psql patterns; empty: every user table
  std::vector<std::string> exclude;
  // Of those that belong to an extension, the ones that may be selected (extension_tables.h).
  std::vector<TableName> extension_tables = {};
};

// The ordinary and partitioned tables of user schemas that the selection names, with columns and
// unique indexes, by schema and name. Left out always: system schemas, towline, towline_state,
// temporary tables, tables that belong to an extension, except those of the selection's. Unlogged
// ones come (persistence 'u') so that check can speak of them. A pattern that matches nothing is
// kInvalidArgument naming it.
absl::StatusOr<std::vector<Table>> ReadTables(Connection& connection,
                                              const TableSelection& selection);

struct ListedTable {
  Oid oid = 0;
  TableName name;
  bool is_selected = false;
  bool is_excluded = false;  // by a pattern of the selection's
};

// All tables that a selection could name (ReadTables), by name only, and whether it does. A pattern
// that matches nothing is no error here.
absl::StatusOr<std::vector<ListedTable>> ListTables(Connection& connection,
                                                    const TableSelection& selection);

// The tables of these names, in their order; a missing one has oid 0. Without their sizes, unless
// `has_sizes`: those wait for whoever has locked a table.
absl::StatusOr<std::vector<Table>> ReadTablesByName(Connection& connection,
                                                    const std::vector<TableName>& names,
                                                    bool has_sizes = false);

// Those of these OIDs, in their order; what is gone is left out.
absl::StatusOr<std::vector<Table>> ReadTablesByOid(Connection& connection,
                                                   const std::vector<Oid>& oids, bool has_sizes);

}  // namespace towline

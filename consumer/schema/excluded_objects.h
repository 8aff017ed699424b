// What else must stay behind when tables are not selected: views over them, foreign keys to them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"

namespace towline {

struct ForeignKey {
  TableName table;
  std::string name;
  TableName referenced;
};

struct ExcludedObjects {
  std::vector<TableName> tables;         // user tables that are not selected
  std::vector<TableName> views;          // views and materialized views that need one of them
  std::vector<ForeignKey> foreign_keys;  // of selected tables to tables that are not
};

// Reads them as of the session's snapshot.
absl::StatusOr<ExcludedObjects> ReadExcludedObjects(Connection& connection,
                                                    const std::vector<Table>& selected);

}  // namespace towline

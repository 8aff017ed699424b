// What the options say of rows that are at the destination before the copy. One place for the
// checks, the copy and the healing, which must not understand them differently.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/config.h"
#include "model/name.h"
#include "model/table.h"

namespace towline {

struct ExistingPolicy {
  ExistingTables of_task = ExistingTables::kStop;
  std::map<TableName, ExistingTables> by_table;

  // The table's own, else that of the nearest table above it in a partition tree, as rules go
  // (schema/table_rules.h), else the task's. The source's tree counts: the destination's may be
  // another.
  ExistingTables For(const TableName& table, const std::vector<TableName>& ancestors) const;
  ExistingTables For(const Table& source) const { return For(source.name, source.ancestors); }
};

ExistingPolicy ExistingPolicyOf(const Config& config);

// "stop", "append" or "truncate".
std::string ExistingName(ExistingTables existing);

}  // namespace towline

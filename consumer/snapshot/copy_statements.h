// The texts of one table's copy. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/table.h"
#include "model/table_rule.h"
#include "snapshot/copy_plan.h"

namespace towline {

// Where a table's rows go and how.
struct CopyTarget {
  std::vector<std::string> columns;  // quoted; the published ones without generated ones
  std::vector<std::string> values;   // of each what the source selects; empty: the columns
  std::string where;                 // of the rule; empty: every row
  bool is_binary = false;            // every type's bytes mean the same on both ends
  std::string relation;              // quoted; the table, or its staging table
};

// `source` as it is published (schema/table_rules.h) under the rule, null: without one;
// `destination` has its columns (schema/table_fit.h).
CopyTarget MakeTarget(const Table& source, const Table& destination, const TableRule* rule);

std::string CopyOutSql(const Table& source, const CopyTarget& target, const CopyPart& part);
std::string CopyInSql(const CopyTarget& target);

// A table without columns of its own, or with generated ones only, has rows that COPY cannot name:
// they are counted and made again.
std::string CountRowsSql(const Table& source, const CopyTarget& target, const CopyPart& part);
std::string MakeRowsSql(const CopyTarget& target, int64_t rows);

}  // namespace towline

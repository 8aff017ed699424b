// The texts of one table's copy. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/table.h"
#include "model/table_rule.h"
#include "schema/type_rules.h"
#include "snapshot/copy_plan.h"

namespace towline {

// Where a table's rows go and how.
struct CopyTarget {
  std::vector<std::string> columns;  // quoted; the published ones without generated ones
  std::vector<std::string> values;   // of each what the source selects; empty: the columns
  std::vector<bool> is_expression;   // of each whether a rule gives the value
  std::string where;                 // of the rule; empty: every row
  bool is_binary = false;            // every type's bytes mean the same on both ends
  std::vector<bool> binary_columns;  // of each whether they do
  std::string inexact;               // true for rows that a text copy would change; empty: for none
  std::string relation;              // quoted; the table, or its staging table
};

// `source` as it is published (schema/table_rules.h) under the rule, null: without one;
// `destination` has its columns (schema/table_fit.h).
CopyTarget MakeTarget(const Table& source, const Table& destination, const TableRule* rule,
                      const ServerPair& pair = {});

std::string CopyOutSql(const Table& source, const CopyTarget& target, const CopyPart& part);
std::string CopyInSql(const CopyTarget& target);

// Gives a row for a part with rows for which `inexact` is true.
std::string FindInexactSql(const Table& source, const CopyTarget& target, const CopyPart& part);

// A table without columns of its own, or with generated ones only, has rows that COPY cannot name:
// they are counted and made again.
std::string CountRowsSql(const Table& source, const CopyTarget& target, const CopyPart& part);
std::string MakeRowsSql(const CopyTarget& target, int64_t rows);

// For a row that goes column by column (large_rows.h). `place` is its ctid.
std::string FindPlaceSql(const Table& source, const CopyTarget& target, const CopyPart& part,
                         int64_t rows_before);
std::string ValueOutSql(const Table& source, const CopyTarget& target, size_t column,
                        const std::string& place);
// COPY in binary of `columns` of the source's table, as they are.
std::string ColumnsOutSql(const Table& source, const std::vector<std::string>& columns,
                          const std::string& place);
// The stored size of the values that are copied.
std::string RowBytesSql(const Table& source, const CopyTarget& target, const std::string& place);
std::string InsertSql(const CopyTarget& target, const std::vector<std::string>& values);

}  // namespace towline

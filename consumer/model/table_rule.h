// What the user asked for a table: which rows, which columns and values, which operations. The
// texts are SQL of the source; they are bound there only (by the plugin for the stream, in the
// copy's SELECT), never here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/name.h"

namespace towline {

// A column that is sent: as it is, or the value of an expression under its name.
struct RuleColumn {
  std::string name;
  std::optional<std::string> expression;

  friend bool operator==(const RuleColumn&, const RuleColumn&) = default;
};

struct RuleOperations {
  bool has_insert = true;
  bool has_update = true;
  bool has_delete = true;
  bool has_truncate = true;

  friend bool operator==(const RuleOperations&, const RuleOperations&) = default;
};

struct TableRule {
  TableName table;           // exact; of a partitioned table it holds for its partitions
  std::string where;         // empty: every row
  bool has_columns = false;  // else all columns as they are
  std::vector<RuleColumn> columns;
  RuleOperations operations;
  // Where several tasks write the destination's table: the one of `columns` that tells whose a row
  // is, and its value, which is a literal. Empty: all rows are the task's.
  std::string shared;
  std::string shared_value;

  const RuleColumn* FindColumn(const std::string& column) const {
    for (const RuleColumn& candidate : columns) {
      if (candidate.name == column) return &candidate;
    }
    return nullptr;
  }
};

}  // namespace towline

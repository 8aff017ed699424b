// The SQL of many changes of one table in one statement: their values come as arrays, one per
// column. Pure text, as statement.h.
#pragma once

#include <string>
#include <vector>

#include "apply/target.h"
#include "model/change.h"
#include "model/oid.h"

namespace towline {

struct SetShape {
  ChangeKind kind = ChangeKind::kInsert;
  std::vector<bool> is_unchanged;  // kUpdate, of target.written: not to be written; empty: none
  std::vector<bool> is_null;  // kDelete under kExact, of target.match: NULL in all; empty: none
};

struct SetStatement {
  std::string sql;
  std::vector<int> columns;  // of Target::columns: what the arrays hold, in order
  std::vector<Oid> types;    // of the parameters
  bool has_counts = false;   // behind them an array of int8: how many rows each one means
};

// Which sets of a target's changes can be written so.
bool CanDeleteSet(const Target& target);
bool CanUpdateSet(const Target& target, const std::vector<bool>& is_unchanged);
bool CanInsertSet(const Target& target);
// Under kExact: one pass over the table for all of them.
bool CanDeleteEqualRows(const Target& target, const std::vector<bool>& is_null);

SetStatement BuildSetStatement(const Target& target, const SetShape& shape);

}  // namespace towline

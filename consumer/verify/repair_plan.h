// What must be written so that the destination's rows of a key become the source's. Pure.
//
// Rows that are the same on both sides are left alone, as many times as they are on both. Of what
// is left, a row of each side is a row that changes; the others go, or come. So it is right for
// tables without key as well, whose "key" is the row's own text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "verify/compared_table.h"

namespace towline {

// One row as a server shows it.
struct ReadRow {
  using Value = std::optional<std::string>;

  std::string id;    // of its key (side_query.h)
  std::string ctid;  // where it stands, and who wrote it there: another version has others
  std::string xmin;
  std::vector<Value> values;  // of the compared columns
  std::vector<Value> others;  // of the columns that only the destination has

  int64_t bytes() const;
};

// One row that changes. Both rows are borrowed.
struct RowRepair {
  const ReadRow* source = nullptr;       // null: it goes
  const ReadRow* destination = nullptr;  // null: it comes
  std::vector<size_t> columns = {};      // that differ, if it is on both sides
};

// All of one key's rows; empty: they are the same.
std::vector<RowRepair> PlanRepair(const std::vector<const ReadRow*>& source,
                                  const std::vector<const ReadRow*>& destination);

struct RepairStatement {
  std::string sql;
  int64_t rows = 0;  // that it must touch
};

struct RepairStyle {
  // Each row that changes is deleted and inserted, all deletes first: unique values that change
  // places are in nobody's way. Else it is updated, in the columns that differ.
  bool replaces_rows = false;
  // Each statement stands for itself, and does nothing to a row that was written since.
  bool is_guarded = false;
};

// Deletes, then updates, then inserts.
std::vector<RepairStatement> RepairStatements(const ComparedTable& table,
                                              const std::vector<RowRepair>& rows,
                                              RepairStyle style);

}  // namespace towline

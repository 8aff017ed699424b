// Which column of a table may divide it into key ranges. Pure.
//
// The stream must say of every changed row in which range it lay and lies (hazards A5): the column
// is part of the replica identity and is sent as it is. It is never NULL and has a unique index of
// its own, by which the server reads a range without looking at the rest. And its order is known
// here exactly (model/key_value.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/key_field.h"
#include "model/table.h"
#include "model/table_rule.h"

namespace towline {

// What the catalog says of a column that has a unique index of its own, besides Table
// (snapshot/key_reader.h reads it).
struct KeyCandidate {
  std::string index;
  std::string column;
  std::string collation;              // of the column: schema.name; empty: the type's default
  bool is_sorted_by_bytes = false;    // by that collation; a type without collations: true
  bool is_index_in_order = false;     // its operator class and collation are the column's own
  std::optional<double> correlation;  // of the key's order and the heap's; none: never analyzed
};

struct KeyChoice {
  std::optional<ChunkKey> key;
  std::string index;                  // that finds a range's rows
  std::optional<double> correlation;  // as above
  std::string reason;                 // without a key: "its key has 2 columns"
};

// `table` and `rule` (null: none) of the source, `encoding` that of its database. Of several
// columns that would do (REPLICA IDENTITY FULL) the one that follows the heap best.
KeyChoice ChooseKey(const Table& table, const TableRule* rule,
                    const std::vector<KeyCandidate>& candidates, const std::string& encoding);

}  // namespace towline

// The unique indexes of a destination table, as far as a statement needs them to find the rows that
// are in a change's way.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/oid.h"
#include "pg/connection.h"

namespace towline {

struct UniqueKey {
  std::string name;
  std::vector<std::string> expressions;  // over the table's columns, which are mostly one
  std::vector<std::string> equals;       // operator of each
  std::string predicate;                 // of a partial index; empty: none
  bool are_nulls_equal = false;
  std::vector<std::string> columns;  // quoted: all that expressions and predicate look at
};

// Those that are enforced at once: under the replica role deferrable ones are not.
absl::StatusOr<std::vector<UniqueKey>> ReadUniqueKeys(Connection& connection, Oid table);

}  // namespace towline

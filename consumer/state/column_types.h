// Which type each column had at the source when it was copied into one of another type
// (docs/types.md), in towline_state.column_type.
//
// A cast is agreed upon at the copy. When the source changes a column's type later, it has
// rewritten the rows that the destination holds, in a way that only its owner knows (USING), and
// new values would fit as well as before: only what was copied tells that the two have parted.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/table.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

struct CopiedType {
  std::string schema;
  std::string name;
  int32_t typmod = -1;
};

// By table and column, as the source names them.
using CopiedTypes = std::map<std::pair<TableName, std::string>, CopiedType>;

// Replaces what is known of these tables, and forgets others unless `keeps_others` (a copy that
// goes on with the tables that are not done). `destination` has the tables of the same index as
// `source`.
absl::Status StoreColumnTypes(Connection& session, const TaskClaim& claim,
                              const std::vector<Table>& source,
                              const std::vector<Table>& destination, bool keeps_others);

absl::StatusOr<CopiedTypes> ReadColumnTypes(Connection& session, const std::string& task);

}  // namespace towline

// Deferrable unique and exclusion constraints of the destination. Under session_replication_role =
// replica nothing enforces them for what the task writes (hazards C1), so that rows may break one
// that only the destination has.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "pg/connection.h"

namespace towline {

// The names of those of the table's deferrable constraints that its rows break, for people; empty:
// none. Reads the table once for each. Rows that others are about to change are looked at twice.
absl::StatusOr<std::string> FindBrokenConstraints(Connection& destination, const TableName& table);

}  // namespace towline

// TRUNCATE at the destination.
#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "apply/target.h"
#include "pg/connection.h"

namespace towline {

// Empties the tables, inside the open transaction, as one statement. Where tables that are not
// among them refer to them by a foreign key, TRUNCATE is refused even under the replica role
// (hazards C2), so their rows are deleted instead. Of a table in which other tasks have rows only
// the task's go, and its sequences go on.
absl::Status TruncateTables(Connection& connection, absl::Span<const Target* const> targets,
                            bool restarts_identity);

}  // namespace towline

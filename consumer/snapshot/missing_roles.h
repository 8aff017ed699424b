// Roles are the cluster's and never copied; a schema names them as owners and in rights.
#pragma once

#include "absl/status/status.h"
#include "pg/connection.h"
#include "schema/dump.h"

namespace towline {

// Takes out of the dump the statements about owners, rights and user mappings that name a role
// which the destination does not have, with a warning for each role.
absl::Status LeaveOutMissingRoles(Connection& destination, SchemaDump* dump);

}  // namespace towline

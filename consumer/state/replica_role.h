// session_replication_role = replica: triggers and foreign keys are off for what a session writes.
#pragma once

#include "absl/status/status.h"
#include "pg/connection.h"

namespace towline {

// kPermissionDenied says how to allow it.
absl::Status TakeReplicaRole(Connection& session);

}  // namespace towline

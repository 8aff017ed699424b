// The destination session that applies: pinned settings, replica role, replication origin.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "pg/connection.h"

namespace towline {

// The role must be allowed to set session_replication_role; kPermissionDenied says how to allow it.
// The replication origin "towline_<task>" is taken, if it is required or may be (state/origin.h).
absl::StatusOr<Connection> OpenApplySession(const ConnectOptions& destination,
                                            const std::string& task, bool requires_origin,
                                            const Shutdown& shutdown);

}  // namespace towline

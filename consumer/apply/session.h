// The destination session that applies: pinned settings, replica role, replication origin.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "pg/connection.h"

namespace towline {

// The role must be allowed to set session_replication_role; kPermissionDenied says how to allow it.
// The replication origin "towline_<task>", by which others can tell our writes from local ones, is
// taken where the role may, with a log line where it may not.
absl::StatusOr<Connection> OpenApplySession(const ConnectOptions& destination,
                                            const std::string& task, const Shutdown& shutdown);

}  // namespace towline

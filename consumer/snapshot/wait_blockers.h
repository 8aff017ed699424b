// Who a wait on the source is waiting for, as people can act on it (A15).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "pg/connection.h"

namespace towline {

// The oldest transactions with an xid up to `xid_max` (64 bits; 0: any), prepared ones included, at
// most three: "transaction of pid 123 (user app, database shop, idle in transaction for 5m03s)".
// Empty if there is none. `except_pid` is our own session.
absl::StatusOr<std::string> DescribeBlockers(Connection& source, uint64_t xid_max, int except_pid);

}  // namespace towline

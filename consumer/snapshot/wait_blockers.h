// Who a wait on the source is waiting for, as people can act on it (A15).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "pg/connection.h"

namespace towline {

// The oldest transactions with an xid up to `xid_max` (64 bits; 0: any), prepared ones included, at
// most three: "transaction of pid 123 (user app, database shop, idle in transaction for 5m03s)".
// Empty if there is none. `except_pid` is our own session.
absl::StatusOr<std::string> DescribeBlockers(Connection& source, uint64_t xid_max, int except_pid);

// Who has the table locked at the session's server, at most three, in the same words without age;
// `with_readers`: also who only reads it. Empty: nobody any more.
absl::StatusOr<std::string> DescribeTableLocks(Connection& session, const TableName& table,
                                               bool with_readers);

}  // namespace towline

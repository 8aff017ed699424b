// The tables of towline_state and their versions. docs/state.md describes every column.
#pragma once

#include "absl/status/status.h"
#include "pg/connection.h"

namespace towline {

inline constexpr int kStateSchemaVersion = 18;

// Creates the schema or brings it up to our version, in one transaction, one consumer at a time. A
// version above ours is kFailedPrecondition: an older consumer must not guess at newer state. The
// role needs CREATE on the database, or the schema made for it beforehand and empty.
absl::Status EnsureStateSchema(Connection& connection);

// Whether towline_state has its tables here.
absl::StatusOr<bool> HasStateSchema(Connection& connection);

// Taken in the transactions that create, upgrade or drop the schema.
absl::Status LockStateSchema(Connection& connection);

}  // namespace towline

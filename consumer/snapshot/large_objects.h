// Large objects (lo_*), copied once and under their own numbers: they are not in the logical log,
// so what changes in them afterwards does not follow.
//
// Those that are made are noted in towline_state.made_object, in the transactions that make them,
// so that a copy which starts again can tell them from objects of the destination's own.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

struct LargeObjectOptions {
  bool with_owners = false;
  bool with_privileges = false;
};

struct LargeObjectCounts {
  int64_t objects = 0;
  int64_t bytes = 0;
};

// All of the source's, as the open transaction of its session sees them. kFailedPrecondition if the
// destination has one of the same number, or the source's role may not read one.
absl::StatusOr<LargeObjectCounts> CopyLargeObjects(Connection& source, Connection& destination,
                                                   const TaskClaim& claim,
                                                   const LargeObjectOptions& options);

// Those that an interrupted copy of the task has made.
absl::Status RemoveLargeObjects(Connection& destination, const TaskClaim& claim);

// The copy is complete: they are the destination's from now on.
absl::Status ReleaseLargeObjects(Connection& destination, const TaskClaim& claim);

}  // namespace towline

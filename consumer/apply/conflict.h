// What is told about a change that the destination did not take: the error for the operator,
// without values, and the row of towline_state.conflict, with them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "apply/pipeline.h"
#include "apply/target.h"
#include "model/batch.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

struct FailedChange {
  const Batch* batch = nullptr;
  const Target* target = nullptr;
  const ApplyFailure* failure = nullptr;
};

// The name of the conflict as PostgreSQL has them for subscriptions (insert_exists, update_missing,
// ...), or empty: an error of another kind.
std::string ConflictType(ChangeKind kind, const ApplyFailure& failure);

// Of the row that the change is about (model/key_hash.h).
std::string KeyHashOf(const Target& target, const Change& change);

// kUnimplemented (waits for the operator) for a conflict, else the server's error with the place.
absl::Status ExplainFailure(const FailedChange& failed, const std::string& task);

// Writes the row, in a transaction of its own, while the task has fewer than rows_max of them.
absl::Status RecordConflict(Connection& connection, const TaskClaim& claim,
                            const FailedChange& failed, int64_t rows_max);

}  // namespace towline

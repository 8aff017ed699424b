// towline_state.conflict and conflict_total: what was refused and what was done about it.
//
// The row of a conflict that was allowed is written in the transaction of the data, so that it is
// there if and only if the data is. How many there were, and that the oldest rows go, waits for the
// transaction that moves the position: a transaction that is prepared keeps its locks until its
// end, which comes behind others in the stream, and these have conflicts of their own.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "apply/conflict.h"
#include "model/conflict_policy.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

class ConflictLog {
 public:
  // Rows beyond rows_max go, the oldest first.
  ConflictLog(Connection* connection, TaskClaim claim, int64_t rows_max)
      : connection_(connection), claim_(std::move(claim)), rows_max_(rows_max) {}

  // Within the open transaction. `existing`: the destination's rows in the change's way.
  absl::Status Add(const FailedChange& failed, ConflictKind kind, ConflictAction action,
                   const Param& existing);
  // A transaction that the destination has refused at COMMIT: nobody knows for which change. The
  // table's name may be empty.
  absl::Status AddRefusedCommit(const TableName& table, Lsn end_lsn, const absl::Status& refused);
  // Within the transaction that moves the position, before its COMMIT.
  absl::Status Finish();
  // The transaction was rolled back.
  void Discard() { pending_.clear(); }

 private:
  Connection* connection_;
  const TaskClaim claim_;
  const int64_t rows_max_;
  std::map<std::pair<ConflictKind, ConflictAction>, int64_t> pending_;
};

}  // namespace towline

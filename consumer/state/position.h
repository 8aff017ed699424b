// The compare-and-set that opens every writing transaction (I1), and the statements that other
// stages run inside their own transactions. Plain functions on the caller's session: whoever writes
// rows does it in one transaction with these.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/lsn.h"
#include "model/name.h"
#include "pg/connection.h"

namespace towline {

// Who writes: names the task row and the epoch under which it was taken over.
struct TaskClaim {
  std::string task;
  int64_t epoch = 0;
};

// "UPDATE towline_state.task SET position = ... WHERE task AND epoch AND position = old": as text,
// so that it can travel together with BEGIN. One row must be touched; CheckPositionMoved() turns
// any other outcome into kAborted (another writer, or our own COMMIT whose answer was lost, B1).
std::string MovePositionSql(const TaskClaim& claim, Lsn old_position, Lsn new_position);
absl::Status CheckPositionMoved(int64_t affected_rows);

// Within somebody else's transaction, which may not take long: the position does not move until it
// ends, and no transaction of the stream is half written. Take LockOutPrepares() (prepared.h)
// before it.
absl::Status HoldPosition(Connection& session, const std::string& task);

// First statement of a writing transaction that does not move the position (copy, schema): kAborted
// unless the epoch is still ours. Call it again before COMMIT: the second look is what counts.
absl::Status CheckEpoch(Connection& session, const TaskClaim& claim);

// Whether it is at least there still: kAborted where a crash of the destination has taken commits
// back. With a synchronous commit behind it they are durable.
absl::Status CheckPosition(Connection& session, const TaskClaim& claim, Lsn position);

// Within a copy transaction: the piece is done, or advanced by rows.
absl::Status MarkPieceCopied(Connection& session, const TaskClaim& claim, const TableName& table,
                             int64_t rows);
// Before rows of ranges of different tables are read: under which snapshot they will be. Rows that
// are found in the tables from then on may be ours. A transaction of its own, and durable when it
// returns. Writes nothing of the task's row, which the stream may hold.
struct RangeId {
  TableName table;
  int64_t ordinal = 1;
};
absl::Status StartRanges(Connection& session, const TaskClaim& claim,
                         const std::vector<RangeId>& ranges, const std::string& snapshot,
                         Lsn lsn_after);
// Within the transaction of its rows.
absl::Status MarkRangeCopied(Connection& session, const TaskClaim& claim, const TableName& table,
                             int64_t ordinal, int64_t rows);
// Within a transaction of the stream: a table that was not copied is met for the first time.
absl::Status AddStreamedPiece(Connection& session, const TaskClaim& claim, const TableName& table,
                              uint32_t source_oid, const std::string& rule);
// The same for one that the source has dropped or renamed.
absl::Status RemovePiece(Connection& session, const TaskClaim& claim, const TableName& table);
absl::Status RenamePiece(Connection& session, const TaskClaim& claim, const TableName& before,
                         const TableName& now);
absl::Status MarkSchemaStatementDone(Connection& session, const TaskClaim& claim,
                                     const std::string& section, int64_t ordinal);
// The same for all from `first` to `last`.
absl::Status MarkSchemaStatementsDone(Connection& session, const TaskClaim& claim,
                                      const std::string& section, int64_t first, int64_t last);

}  // namespace towline

// Tables that are copied by themselves while the task streams, in towline_state: each is a piece
// with one range without bounds, which has the snapshot.
//
//   streamed, parked or new ─▶ joining, which is out of the stream ─▶ emptied, with a range ─▶
//   copied: range and piece, in the transaction of its last rows ─▶ the task's lsn_after
//
// A joining one that is found by another attempt is emptied and begun again. The range is forgotten
// when the stream has passed lsn_after, and with it what the snapshot held.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/name.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

struct JoiningPiece {
  TableName table;
  uint32_t source_oid = 0;
  std::string rule;
  std::string source_form;
  int64_t bytes_total = 0;
};

// In the caller's transaction, which empties them: they are all that is joining.
absl::Status StartJoining(Connection& session, const TaskClaim& claim,
                          const std::vector<JoiningPiece>& pieces);

// What it is to be copied as, where that was not known yet when it was begun.
absl::Status PlanJoining(Connection& session, const TaskClaim& claim, const JoiningPiece& piece);

// In the caller's transaction: which table of the source it is, whatever its name will be.
absl::Status SetSourceOid(Connection& session, const TaskClaim& claim, const TableName& table,
                          uint32_t source_oid);

// The task's lsn_after is behind the snapshots of those that are copied; no effect without any.
absl::Status SettleJoined(Connection& session, const TaskClaim& claim);

// In the caller's transaction: a table that the task has not had, or has no more, belongs to it.
// `rule`: as it will be copied; other tasks that share the table look at it. `was_empty`: it was
// found so, and must be until its copy begins.
absl::Status AddPiece(Connection& session, const TaskClaim& claim, const TableName& table,
                      const std::string& rule, bool was_empty);

}  // namespace towline

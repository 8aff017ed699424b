// That a table has left the stream, in towline_state.piece.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/failed_table.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

// In the caller's transaction: state parked. A table that was not met yet is known as such from
// then on, with this rule. An OID of 0 leaves the one that is stored.
absl::Status ParkPiece(Connection& session, const TaskClaim& claim, const FailedTable& table,
                       const std::string& rule, const std::string& reason);

// In the caller's transaction, of a table that is known: another state out of the stream, and what
// a copy for itself had begun, or found, is forgotten.
absl::Status SetPieceState(Connection& session, const TaskClaim& claim, const TableName& table,
                           const std::string& state, const std::string& reason);

}  // namespace towline

#include "state/parked_piece.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {

absl::Status ParkPiece(Connection& session, const TaskClaim& claim, const FailedTable& table,
                       const std::string& rule, const std::string& reason) {
  TOWLINE_RETURN_IF_ERROR(AddStreamedPiece(session, claim, table.name, table.source_oid, rule));
  return session
      .Query(
          "UPDATE towline_state.piece SET state = 'parked', source_oid = CASE $4::bigint WHEN 0 "
          "THEN source_oid ELSE $4::bigint END, reason = $5 WHERE task = $1 AND schema_name = $2 "
          "AND table_name = $3",
          {{claim.task, table.name.schema, table.name.name, absl::StrCat(table.source_oid),
            reason}})
      .status();
}

absl::Status SetPieceState(Connection& session, const TaskClaim& claim, const TableName& table,
                           const std::string& state, const std::string& reason) {
  TOWLINE_RETURN_IF_ERROR(
      session
          .Query("DELETE FROM towline_state.range WHERE task = $1 AND schema_name = $2 "
                 "AND table_name = $3",
                 {{claim.task, table.schema, table.name}})
          .status());
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("UPDATE towline_state.piece SET state = $4, reason = $5, was_empty = false, "
                    "has_left = false WHERE task = $1 AND schema_name = $2 AND table_name = $3",
                    {{claim.task, table.schema, table.name, state, reason}}));
  return CheckPositionMoved(result.affected_rows());
}

}  // namespace towline

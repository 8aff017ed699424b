#include "state/joining_piece.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "state/parked_piece.h"

namespace towline {

absl::Status StartJoining(Connection& session, const TaskClaim& claim,
                          const std::vector<JoiningPiece>& pieces) {
  TOWLINE_RETURN_IF_ERROR(
      session.Query("DELETE FROM towline_state.range WHERE task = $1", {{claim.task}}).status());
  for (const JoiningPiece& piece : pieces) {
    TOWLINE_ASSIGN_OR_RETURN(
        Result updated,
        session.Query(
            "UPDATE towline_state.piece SET source_oid = $4::bigint, rule = $5, source_form = $6, "
            "bytes_total = $7::bigint, rows_done = 0, bytes_done = 0, key_column = NULL, "
            "key_type = NULL, key_type_oid = NULL, key_collation = NULL, snapshot_number = NULL "
            "WHERE task = $1 AND schema_name = $2 AND table_name = $3 AND state = 'joining'",
            {{claim.task, piece.table.schema, piece.table.name, absl::StrCat(piece.source_oid),
              piece.rule, piece.source_form, absl::StrCat(piece.bytes_total)}}));
    TOWLINE_RETURN_IF_ERROR(CheckPositionMoved(updated.affected_rows()));
    TOWLINE_RETURN_IF_ERROR(
        session
            .Query("INSERT INTO towline_state.range (task, schema_name, table_name, ordinal, "
                   "state, rows_done) VALUES ($1, $2, $3, 1, 'pending', 0)",
                   {{claim.task, piece.table.schema, piece.table.name}})
            .status());
  }
  return absl::OkStatus();
}

absl::Status PlanJoining(Connection& session, const TaskClaim& claim, const JoiningPiece& piece) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result updated, session.Query("UPDATE towline_state.piece SET rule = $4, source_form = $5, "
                                    "bytes_total = $6::bigint WHERE task = $1 AND schema_name = $2 "
                                    "AND table_name = $3 AND state = 'joining'",
                                    {{claim.task, piece.table.schema, piece.table.name, piece.rule,
                                      piece.source_form, absl::StrCat(piece.bytes_total)}}));
  return CheckPositionMoved(updated.affected_rows());
}

absl::Status SetSourceOid(Connection& session, const TaskClaim& claim, const TableName& table,
                          uint32_t source_oid) {
  return session
      .Query(
          "UPDATE towline_state.piece SET source_oid = $4::bigint WHERE task = $1 "
          "AND schema_name = $2 AND table_name = $3",
          {{claim.task, table.schema, table.name, absl::StrCat(source_oid)}})
      .status();
}

absl::Status SettleJoined(Connection& session, const TaskClaim& claim) {
  return session
      .Query(
          "UPDATE towline_state.task t SET lsn_after = GREATEST(t.lsn_after, r.lsn_after) "
          "FROM (SELECT max(lsn_after) AS lsn_after FROM towline_state.range WHERE task = $1 "
          "AND state = 'copied') r WHERE t.task = $1 AND t.epoch = $2::bigint "
          "AND r.lsn_after IS NOT NULL AND t.lsn_after IS DISTINCT FROM "
          "GREATEST(t.lsn_after, r.lsn_after)",
          {{claim.task, absl::StrCat(claim.epoch)}})
      .status();
}

absl::Status AddPiece(Connection& session, const TaskClaim& claim, const TableName& table,
                      const std::string& rule, bool was_empty) {
  TOWLINE_RETURN_IF_ERROR(AddStreamedPiece(session, claim, table, /*source_oid=*/0, rule));
  TOWLINE_RETURN_IF_ERROR(SetPieceState(session, claim, table, "joining", ""));
  return session
      .Query(
          "UPDATE towline_state.piece SET is_added = true, existing = 'stop', rule = $5, "
          "was_empty = $4::boolean WHERE task = $1 AND schema_name = $2 AND table_name = $3",
          {{claim.task, table.schema, table.name, was_empty ? "t" : "f", rule}})
      .status();
}

}  // namespace towline

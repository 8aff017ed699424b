#include "state/position.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

absl::Status LostClaim() {
  return absl::AbortedError(
      "the task's epoch or position is not ours any more: another consumer has taken over, or a "
      "commit of ours arrived whose answer was lost");
}

std::vector<Param> ClaimParams(const TaskClaim& claim) {
  return {claim.task, absl::StrCat(claim.epoch)};
}

}  // namespace

std::string MovePositionSql(const TaskClaim& claim, Lsn old_position, Lsn new_position) {
  // The applier asserts what the assembler promises: the stream never runs backwards.
  TOWLINE_CHECK(old_position.is_valid() && new_position >= old_position);
  return absl::StrCat("UPDATE towline_state.task SET position = '", new_position.ToString(),
                      "' WHERE task = ", QuoteLiteral(claim.task), " AND epoch = ", claim.epoch,
                      " AND position = '", old_position.ToString(), "'");
}

absl::Status CheckPositionMoved(int64_t affected_rows) {
  return affected_rows == 1 ? absl::OkStatus() : LostClaim();
}

absl::Status CheckEpoch(Connection& session, const TaskClaim& claim) {
  // FOR KEY SHARE conflicts with one thing only: a change of the epoch, which is part of a unique
  // index (state_schema.cpp). So nobody takes over between this look and our COMMIT, while the
  // task's other columns may still be written.
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("SELECT 1 FROM towline_state.task WHERE task = $1 AND epoch = $2::bigint "
                    "FOR KEY SHARE",
                    ClaimParams(claim)));
  return result.row_count() == 1 ? absl::OkStatus() : LostClaim();
}

absl::Status CheckPosition(Connection& session, const TaskClaim& claim, Lsn position) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result found,
      session.Query("SELECT FROM towline_state.task WHERE task = $1 AND epoch = $2::bigint "
                    "AND (position >= $3::pg_lsn OR $3::pg_lsn = '0/0')",
                    {{claim.task, absl::StrCat(claim.epoch), position.ToString()}}));
  if (found.row_count() == 1) return absl::OkStatus();
  return absl::AbortedError("the destination has lost what the stream had written there");
}

absl::Status AddStreamedPiece(Connection& session, const TaskClaim& claim, const TableName& table,
                              uint32_t source_oid, const std::string& rule) {
  return session
      .Query(
          "INSERT INTO towline_state.piece (task, schema_name, table_name, ordinal, source_oid, "
          "existing, state, bytes_total, rows_done, rule) "
          "SELECT $1, $2, $3, COALESCE(max(ordinal), 0) + 1, $4::bigint, 'stop', 'streamed', 0, 0, "
          "$5 FROM towline_state.piece WHERE task = $1 ON CONFLICT DO NOTHING",
          {{claim.task, table.schema, table.name, absl::StrCat(source_oid), rule}})
      .status();
}

absl::Status RemovePiece(Connection& session, const TaskClaim& claim, const TableName& table) {
  for (const char* state_table : {"piece", "range", "column_type"}) {
    TOWLINE_RETURN_IF_ERROR(
        session
            .Query(absl::StrCat("DELETE FROM towline_state.", state_table,
                                " WHERE task = $1 AND schema_name = $2 AND table_name = $3"),
                   {{claim.task, table.schema, table.name}})
            .status());
  }
  return absl::OkStatus();
}

absl::Status RenamePiece(Connection& session, const TaskClaim& claim, const TableName& before,
                         const TableName& now) {
  for (const char* state_table : {"piece", "range", "column_type"}) {
    TOWLINE_RETURN_IF_ERROR(
        session
            .Query(absl::StrCat("UPDATE towline_state.", state_table,
                                " SET schema_name = $4, table_name = $5 WHERE task = $1 AND "
                                "schema_name = $2 AND table_name = $3"),
                   {{claim.task, before.schema, before.name, now.schema, now.name}})
            .status());
  }
  return absl::OkStatus();
}

absl::Status MarkPieceCopied(Connection& session, const TaskClaim& claim, const TableName& table,
                             int64_t rows) {
  std::vector<Param> params = ClaimParams(claim);
  params.insert(params.end(), {table.schema, table.name, absl::StrCat(rows)});
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("UPDATE towline_state.piece p SET state = 'copied', rows_done = $5::bigint, "
                    "bytes_done = bytes_total "
                    "FROM towline_state.task t "
                    "WHERE t.task = $1 AND t.epoch = $2::bigint AND p.task = t.task "
                    "AND p.schema_name = $3 AND p.table_name = $4",
                    params));
  return CheckPositionMoved(result.affected_rows());
}

absl::Status HoldPosition(Connection& session, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      session.Query("SELECT phase = 'healing' FROM towline_state.task WHERE task = $1 FOR NO KEY "
                    "UPDATE",
                    {task}));
  if (row.row_count() == 1 && row.GetBool(0, 0)) {
    return absl::FailedPreconditionError(absl::StrCat("task \"", task, "\" is being healed"));
  }
  if (row.row_count() == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("task \"", task, "\" has gone from the destination meanwhile"));
}

absl::Status StartRanges(Connection& session, const TaskClaim& claim,
                         const std::vector<RangeId>& ranges, const std::string& snapshot,
                         Lsn lsn_after) {
  ArrayLiteral schemas;
  ArrayLiteral names;
  ArrayLiteral ordinals;
  for (const RangeId& range : ranges) {
    schemas.Add(range.table.schema);
    names.Add(range.table.name);
    ordinals.Add(absl::StrCat(range.ordinal));
  }
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN; SET LOCAL synchronous_commit = on").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("UPDATE towline_state.range r SET state = 'copying', snapshot = $5, "
                    "lsn_after = $6::pg_lsn "
                    "FROM unnest($2::text[], $3::text[], $4::bigint[]) AS k(s, n, o) "
                    "WHERE r.task = $1 AND r.schema_name = k.s AND r.table_name = k.n "
                    "AND r.ordinal = k.o AND r.state <> 'copied'",
                    {{claim.task, schemas.ToString(), names.ToString(), ordinals.ToString(),
                      snapshot, lsn_after.ToString()}}));
  if (result.affected_rows() != static_cast<int64_t>(ranges.size())) return LostClaim();
  TOWLINE_RETURN_IF_ERROR(
      session
          .Query("UPDATE towline_state.piece p SET was_empty = false "
                 "FROM unnest($2::text[], $3::text[]) AS k(s, n) WHERE p.task = $1 "
                 "AND p.schema_name = k.s AND p.table_name = k.n AND p.was_empty",
                 {{claim.task, schemas.ToString(), names.ToString()}})
          .status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  return session.Exec("COMMIT").status();
}

absl::Status MarkRangeCopied(Connection& session, const TaskClaim& claim, const TableName& table,
                             int64_t ordinal, int64_t rows) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query(
          "UPDATE towline_state.range SET state = 'copied', rows_done = $5::bigint "
          "WHERE task = $1 AND schema_name = $2 AND table_name = $3 "
          "AND ordinal = $4::bigint AND state = 'copying'",
          {{claim.task, table.schema, table.name, absl::StrCat(ordinal), absl::StrCat(rows)}}));
  return CheckPositionMoved(result.affected_rows());
}

absl::Status MarkSchemaStatementDone(Connection& session, const TaskClaim& claim,
                                     const std::string& section, int64_t ordinal) {
  return MarkSchemaStatementsDone(session, claim, section, ordinal, ordinal);
}

absl::Status MarkSchemaStatementsDone(Connection& session, const TaskClaim& claim,
                                      const std::string& section, int64_t first, int64_t last) {
  std::vector<Param> params = ClaimParams(claim);
  params.insert(params.end(), {section, absl::StrCat(first), absl::StrCat(last)});
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      session.Query("UPDATE towline_state.schema_statement s SET is_done = true "
                    "FROM towline_state.task t "
                    "WHERE t.task = $1 AND t.epoch = $2::bigint AND s.task = t.task "
                    "AND s.section = $3 AND s.ordinal BETWEEN $4::bigint AND $5::bigint",
                    params));
  return CheckPositionMoved(result.affected_rows() > 0 ? 1 : 0);
}

}  // namespace towline

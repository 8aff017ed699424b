#include "state/table_request.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// The answer of the control socket is bounded.
constexpr size_t kNoteBytesMax = 400;

}  // namespace

absl::Status CheckTableRequest(const TableName& table, absl::string_view action,
                               const PieceRow* piece) {
  const std::string name = absl::StrCat("table ", QuoteQualified(table.schema, table.name));
  const bool is_known = action == "park" || action == "remove" || action == "rejoin" ||
                        action == "recopy" || action == "add";
  if (!is_known) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("\"", action, "\" cannot be asked of a table")),
        "towline table park, rejoin, recopy, add or remove.");
  }
  if (action == "add") {
    if (piece == nullptr || piece->state == "removed") return absl::OkStatus();
    return WithHint(absl::FailedPreconditionError(absl::StrCat(name, " belongs to the task")),
                    piece->state == "parked" ? "It is parked: towline table rejoin."
                                             : "To copy it anew: towline table recopy.");
  }
  if (piece == nullptr) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("the task has no ", name)),
        "Name it as schema.table, as it is at the source; partitions one by one. towline table add "
        "lets one join; one that came after the copy is known from its first change on.");
  }
  if (piece->state == "removed") {
    return WithHint(absl::FailedPreconditionError(absl::StrCat(name, " has left the task already")),
                    "To have it again: towline table add.");
  }
  if (action == "remove") return absl::OkStatus();
  const bool is_parked = piece->state == "parked";
  if (action == "park") {
    return is_parked ? absl::FailedPreconditionError(absl::StrCat(name, " is parked already"))
                     : absl::OkStatus();
  }
  if (piece->state == "joining") {
    return WithHint(absl::FailedPreconditionError(absl::StrCat(name, " is being copied already")),
                    "To give that up: towline table park.");
  }
  if (action == "rejoin" && !is_parked) {
    return WithHint(absl::FailedPreconditionError(absl::StrCat(name, " is streamed")),
                    "To copy it anew: towline table recopy.");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> AskForTable(Connection& session, const std::string& task,
                                    const TableName& table, const std::string& action) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      session.Query(
          "INSERT INTO towline_state.table_request (task, schema_name, table_name, action) "
          "VALUES ($1, $2, $3, $4) ON CONFLICT (task, schema_name, table_name) DO UPDATE "
          "SET number = DEFAULT, asked_at = DEFAULT, action = $4, refusal = '' RETURNING number",
          {{task, table.schema, table.name, action}}));
  return row.GetInt(0, 0);
}

absl::StatusOr<std::vector<TableRequest>> ReadTableRequests(Connection& session,
                                                            const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows, session.Query("SELECT number, schema_name, table_name, action, refusal "
                                 "FROM towline_state.table_request WHERE task = $1 ORDER BY number",
                                 {task}));
  std::vector<TableRequest> requests;
  for (int i = 0; i < rows.row_count(); ++i) {
    requests.push_back({rows.GetInt(i, 0),
                        {rows.GetString(i, 1), rows.GetString(i, 2)},
                        rows.GetString(i, 3),
                        rows.GetString(i, 4)});
  }
  return requests;
}

absl::Status ForgetTableRequest(Connection& session, const TaskClaim& claim,
                                const TableRequest& request) {
  return session
      .Query("DELETE FROM towline_state.table_request WHERE task = $1 AND number = $2::bigint",
             {{claim.task, absl::StrCat(request.number)}})
      .status();
}

absl::Status RefuseTableRequest(Connection& session, const TaskClaim& claim,
                                const TableRequest& request, const std::string& refusal) {
  return session
      .Query(
          "UPDATE towline_state.table_request SET refusal = $3 WHERE task = $1 "
          "AND number = $2::bigint",
          {{claim.task, absl::StrCat(request.number), refusal}})
      .status();
}

std::vector<TableNote> NotesOf(const std::vector<PieceRow>& pieces,
                               const std::vector<TableRequest>& requests) {
  std::vector<TableNote> notes;
  for (const TableRequest& request : requests) {
    notes.push_back({request.table, request.refusal.empty() ? "asked" : "refused",
                     request.refusal.empty()
                         ? request.action
                         : absl::StrCat(request.action, ": ", request.refusal)});
  }
  for (const PieceRow& piece : pieces) {
    if (piece.is_out_of_stream()) notes.push_back({piece.table, piece.state, piece.reason});
  }
  if (notes.size() > kTablesShownMax) notes.resize(kTablesShownMax);
  for (TableNote& note : notes) {
    if (note.text.size() > kNoteBytesMax) note.text.resize(kNoteBytesMax);
  }
  return notes;
}

}  // namespace towline

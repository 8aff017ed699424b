// What the operator has asked of one table of a task: towline_state.table_request. Whoever asks
// writes it beside the task, running or not; the task takes it up while it streams, and is the only
// one who changes its pieces. What is done is forgotten in the transaction that does it; what is
// refused stays, with why, until something else is asked of the table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/name.h"
#include "observe/task_status.h"
#include "pg/connection.h"
#include "state/position.h"
#include "state/state_store.h"

namespace towline {

struct TableRequest {
  int64_t number = 0;  // one that takes another's place has another
  TableName table;
  std::string action;   // park, remove, rejoin, recopy, add
  std::string refusal;  // empty: not taken up yet

  bool is_to_leave() const { return action == "park" || action == "remove"; }
};

// Whether it can be asked of a table in that state; `piece` null: the task does not know the table.
// kInvalidArgument where it makes no sense, kFailedPrecondition where it comes at a wrong moment.
absl::Status CheckTableRequest(const TableName& table, absl::string_view action,
                               const PieceRow* piece);

// Takes the place of what was asked of the table before. Gives its number.
absl::StatusOr<int64_t> AskForTable(Connection& session, const std::string& task,
                                    const TableName& table, const std::string& action);

// In the order in which they were asked.
absl::StatusOr<std::vector<TableRequest>> ReadTableRequests(Connection& session,
                                                            const std::string& task);

// In the open transaction. Neither touches one that has taken this one's place.
absl::Status ForgetTableRequest(Connection& session, const TaskClaim& claim,
                                const TableRequest& request);
absl::Status RefuseTableRequest(Connection& session, const TaskClaim& claim,
                                const TableRequest& request, const std::string& refusal);

// What people see of tables that are out of the stream, and of what is asked.
std::vector<TableNote> NotesOf(const std::vector<PieceRow>& pieces,
                               const std::vector<TableRequest>& requests);

}  // namespace towline

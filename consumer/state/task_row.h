// Between TaskRow and the table towline_state.task: its columns in our order, and the assignments
// that change the state. Private to state/.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "state/state_store.h"

namespace towline {

// For SELECT and RETURNING of towline_state.task t; GetTaskRow() reads a row of them.
extern const char kTaskColumns[];
absl::StatusOr<TaskRow> GetTaskRow(const Result& rows, int number);

// SET list that moves the task to a state; StateParams() gives its parameters $3, $4 and $5.
extern const char kStateAssignments[];
std::vector<Param> StateParams(TaskState state, absl::string_view error);

// Rolls back unless the body and COMMIT succeed. A lost connection needs no rollback.
template <typename Body>
absl::Status InTransaction(Connection& connection, Body body) {
  absl::Status done = connection.Exec("BEGIN").status();
  if (!done.ok()) return done;
  done = body();
  if (done.ok()) return connection.Exec("COMMIT").status();
  if (connection.is_alive()) connection.Exec("ROLLBACK").status().IgnoreError();
  return done;
}

}  // namespace towline

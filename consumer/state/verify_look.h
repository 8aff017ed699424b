// What the comparisons of a task know of each table, in towline_state.verify_look: the last look at
// it, whoever made it. But a look at a part of the rows (a sample, their number alone) does not
// take back what another look has found: only one at all rows does, or a second count what a count
// has found. Nor does a look that could not tell take back a difference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/verify_summary.h"
#include "pg/connection.h"

namespace towline {

struct VerifyLook {
  TableName table;
  std::string verdict;         // equal, different, undecided
  int64_t rows_different = 0;  // still, behind what was repaired
};

// Of a run that is in towline_state.verify_run. In the caller's transaction.
absl::Status NoteVerifyLook(Connection& session, const std::string& task, int64_t run,
                            const VerifyLook& look);

// The tables of which there is a look.
absl::StatusOr<std::vector<TableName>> ReadLookedAt(Connection& session, const std::string& task);
absl::Status ForgetLooks(Connection& session, const std::string& task,
                         const std::vector<TableName>& tables);

// Of a task that `session`'s database is the destination of; towline_state of version 17 or later.
absl::StatusOr<VerifySummary> ReadVerifySummary(Connection& session, const std::string& task);

}  // namespace towline

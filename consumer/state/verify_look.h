// What the comparisons of a task know of each table, in towline_state.verify_look: the last look at
// it, whoever made it. But a look at a part of the rows (a sample, their number alone) does not
// take back what another look has found: only one at all rows does, or a second count what a count
// has found. Nor does a look that could not tell take back a difference, nor one that was begun
// before what it would take back was known: it may have read the rows before that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/name.h"
#include "model/verify_summary.h"
#include "pg/connection.h"

namespace towline {

struct VerifyLook {
  int64_t run = 0;             // of towline_state.verify_run
  std::string mode;            // of that run (verify/comparison.cpp)
  std::string verdict;         // equal, different, undecided
  int64_t rows_different = 0;  // still, behind what was repaired
};

// What is known of a table behind the look `now`; null: what was. `is_later`: `now` was begun when
// what is known was known already. Pure.
std::optional<VerifyLook> MergeLooks(const VerifyLook& known, const VerifyLook& now, bool is_later);

// When the look at the table that is known was noted, as text; empty: there is none. To be asked
// when another is begun. Two such times are only ever compared for being the same: clocks are set.
absl::StatusOr<std::string> ReadKnownAt(Connection& session, const std::string& task,
                                        const TableName& table);
// `known_at`: what that said when the look was begun; empty: that is not known either. In the
// caller's transaction.
absl::Status NoteVerifyLook(Connection& session, const std::string& task, const TableName& table,
                            const VerifyLook& look, const std::string& known_at);

// The tables of which there is a look.
absl::StatusOr<std::vector<TableName>> ReadLookedAt(Connection& session, const std::string& task);
absl::Status ForgetLooks(Connection& session, const std::string& task,
                         const std::vector<TableName>& tables);

// Of a task that `session`'s database is the destination of; towline_state of version 17 or later.
absl::StatusOr<VerifySummary> ReadVerifySummary(Connection& session, const std::string& task);

}  // namespace towline

// Other tasks that write a table of the destination.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/name.h"
#include "pg/connection.h"
#include "schema/table_rules.h"

namespace towline {

// The first of those whose rows in the table may be the ones that this task writes under this rule
// (RuleText()); empty: there is none. Tasks that share the table (TableRule::shared) write others.
absl::StatusOr<std::string> FindOtherWriter(Connection& destination, const std::string& task,
                                            const TableName& table, absl::string_view rule);

// kFailedPrecondition if another task writes the rows of a table that these rules share. Asked when
// the task's own pieces are stored as well, it tells at least one of two tasks that begin at once.
absl::Status CheckSharedAlone(Connection& destination, const std::string& task,
                              const TableRules& rules);

}  // namespace towline

// Tables of the destination that several tasks write (TableRule::shared), each the rows with its
// own value in one column. Such a table is the user's to make: every key of it must hold that
// column, so that no task's rows are in another's way.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/extension_tables.h"
#include "schema/table_rules.h"

namespace towline {

// By table the condition that is true for the task's rows at the destination, an SQL expression:
// those of extensions, and those that the rules share.
ExtensionRows OwnRows(const ExtensionRows& extension_rows, const TableRules& rules);

// Why the destination's table cannot be shared as the rule says, one sentence part each; empty: it
// can, or the rule shares nothing. `destination.oid` is not 0.
std::vector<std::string> DescribeSharedMisfit(const TableRule* rule, const Table& destination);

// kFailedPrecondition if a table that is shared is missing, does not fit, or cannot tell the
// value from every other. Tables of one index belong together.
absl::Status CheckSharedFit(Connection& destination, const TableRules& rules,
                            const std::vector<Table>& source, const std::vector<Table>& there);

}  // namespace towline

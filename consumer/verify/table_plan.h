// Which tables are compared, and how; of the others why they are not.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"
#include "schema/extension_tables.h"
#include "schema/table_rules.h"
#include "verify/compared_table.h"
#include "verify/follower.h"
#include "verify/range_progress.h"
#include "verify/recent_ranges.h"
#include "verify/report.h"
#include "verify/table_shape.h"

namespace towline {

// One table's place in the work.
struct TableJob {
  TableReport report;
  std::optional<ComparedTable> table;      // none: the report says why
  PairShape shape;                         // in which it was planned
  int64_t bytes = 0;                       // at the source
  bool is_recorded = false;                // by an earlier run that goes on
  std::optional<RangeProgress> resumed;    // where that run was within the table
  double seconds_before = 0;               // that it had spent there
  std::optional<WriteMark> written_since;  // of its last comparison
  std::optional<WriteMark> begun;          // of this one, if that is known
};

struct TablePlanOptions {
  TableSelection selection;
  TableRules rules;
  // Of extensions' tables: those that are selected and in `rules` already, or they are found out.
  ExtensionRows extension_rows;
  bool finds_extension_tables = false;
  std::map<TableName, std::string> apart;  // tables that do not follow the source, and why
  std::map<TableName, std::set<std::string>> shared = {};  // followed_task.h
};

// The largest first: with several workers the end is not one of them alone. Sessions whose
// search_path is that of kRuleSearchPathSql. `follower`: of the task that may alter the
// destination's tables meanwhile (table_pairs.h).
absl::StatusOr<std::vector<TableJob>> PlanTables(Connection& source, Connection& destination,
                                                 Follower follower, const TablePlanOptions& options,
                                                 const Shutdown& shutdown);

}  // namespace towline

// Whether a table can be copied by itself while the task streams, exactly, and what its copy needs.
// It is emptied at the destination and copied under a snapshot of its own, so whatever would act on
// other rows than the task's, or could not be placed between snapshot and stream, is refused before
// anything is touched.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "model/name.h"
#include "model/oid.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"
#include "snapshot/copier.h"
#include "snapshot/copy_statements.h"
#include "state/state_store.h"

namespace towline {

struct JoinPlan {
  Table table;  // of the source, as it is published
  Table there;  // of the destination
  CopyTarget target;
  std::string source_form;  // snapshot/range_plan.h
  std::string rule;
  bool was_empty = false;  // PieceRow
};

// A table of the task that is to be copied by itself.
struct JoinedTable {
  TableName name;             // where the stream stands, and so at the destination
  Oid source_oid = 0;         // 0: the source's of that name
  std::string existing = "";  // what was asked for when it was copied first; empty: it was not
};

// Where schema changes are followed the source may be ahead of the destination, which the stream
// brings there. kAhead: only what that leaves as it is is looked at.
enum class JoinLook { kAhead, kWhole };

// Of the task as a whole. `is_two_phase`: of its slot.
absl::Status CheckMayJoin(const Config& config, bool is_two_phase);

// Of a table that is at the source, among all that a selection could name there (ListTables()): one
// that it leaves out would be copied, and its changes would not come. Found by its OID, as it may
// be renamed at any moment.
absl::Status CheckSelected(const std::vector<ListedTable>& tables, const Table& table);

// `destination`: a session of the copy's (OpenDestination()). What is refused is such an error as
// IsTableFault() knows. With kAhead the plan has no target, and its table is not as it is
// published.
absl::StatusOr<JoinPlan> PlanJoin(Connection& source, Connection& destination,
                                  const CopierOptions& options, const JoinedTable& joined,
                                  JoinLook look);

// For a table that is parked by it: the task goes on, so running it again, which mends a copy that
// ended so, brings the table back as little as mending alone. The hint names what does.
absl::Status WithRejoinHint(const absl::Status& status, const TableName& table);

// The table, or what it is to be, is to blame: another try meets the same, and the other tables
// would suffer for it.
bool IsTableFault(const absl::Status& status);

}  // namespace towline

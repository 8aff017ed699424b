// Which tables are copied in ranges of their key, each under a short snapshot of its own, and why
// the others are not (key_plan.h decides by size and order, this by what else hangs on the table).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/key_field.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"
#include "snapshot/copier.h"

namespace towline {

struct RangedPlan {
  ChunkKey key;
  std::string source_form;  // ReadSourceForm()
};

// What the first snapshot and each later one must agree about: relation, file and columns, as text.
// A TRUNCATE and whatever rewrites the table give it another file. Read under the table's lock.
absl::StatusOr<std::string> ReadSourceForm(Connection& source, const TableName& table);

// Why a table with this key must have one snapshot; empty: it need not. `there`: at the
// destination, oid 0 if it is missing. `has_exclusion`: an exclusion constraint, on either side.
//
// Ranges contradict one another until the stream has passed them all: a value moves from a row that
// was copied before it left to one that was copied after it came. No unique index or exclusion
// constraint but the key's own may look at them before (hazards A3). And a change of the key is
// half an insert or half a delete, which a rule without all operations does not mean.
std::string WhyNotRanged(const Table& table, const Table& there, const ChunkKey& key,
                         const TableRule* rule, bool has_exclusion);

// `tables` of the source as they are published, `there` the destination's by the same index.
// `source` holds their locks. Says in the log what becomes of each large one.
absl::StatusOr<std::map<TableName, RangedPlan>> PlanRanged(const CopierOptions& options,
                                                           Connection& source,
                                                           Connection& destination,
                                                           const std::vector<Table>& tables,
                                                           const std::vector<Table>& there);

}  // namespace towline

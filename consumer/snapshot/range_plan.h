// Which tables are copied in ranges of their key, each under a short snapshot of its own, why the
// others are not (key_plan.h decides by size and order, this by what else hangs on the table), and
// which of those are copied under later snapshots: large ones, each under its own, and of small
// ones what is too much for the first, in groups; where no rows of other tables are kept and no
// captured DDL follows. All others share the first. So do all tables, large ones too, where they
// are few parts together or captured DDL follows (both with copy_planner auto); and large ones of a
// source that cannot read ranges of ctid: one worker would copy each, and the others stand by.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/key_field.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/dump_script.h"
#include "snapshot/copier.h"

namespace towline {

struct RangedPlan {
  std::optional<ChunkKey> key;       // none: it is one piece
  std::string source_form;           // ReadSourceForms()
  std::set<std::string> early_keys;  // with a key: KeyIndexes()
};

// Names of the source's unique indexes that ranges cannot contradict one another in, as a value of
// the key lies in one: the one that serves it, and a primary key on it. Another on that column may
// take for equal what the key does not.
std::set<std::string> KeyIndexes(const Table& table, const ChunkKey& key, const std::string& index);

// So many parts may all tables be together to share one snapshot, which then lives as long as they
// take. Pages are cheaper to read than ranges of a key, which cost the source's CPU a third more
// (docs/decisions/017).
inline constexpr int64_t kPartsTogetherMax = 8;

bool FitTogether(const std::vector<Table>& tables, int64_t part_bytes);

// Of tables no larger than a part those that do not fit under one snapshot, by kPartsTogetherMax.
// The smallest do. None where tables are not divided (part_bytes 0).
std::set<Oid> TooManyTogether(const std::vector<Table>& tables, int64_t part_bytes);

// Of tables that share one snapshot. Where they are small together one is divided if it is most of
// them: two sessions that write to one table cost more than they gain where processors are few, and
// little time is to be won.
int64_t SharedPartBytes(const std::vector<Table>& tables, int64_t part_bytes);

// What the first snapshot and each later one must agree about: relation, file and columns, as text.
// A TRUNCATE and whatever rewrites the table give it another file. Read under the table's lock. Of
// many: of those that are there.
absl::StatusOr<std::string> ReadSourceForm(Connection& source, const TableName& table);
absl::StatusOr<std::map<TableName, std::string>> ReadSourceForms(
    Connection& source, const std::vector<TableName>& tables);
// The same but for the file: what a table must be that has one snapshot, whatever became of its
// rows before.
bool HaveSameColumns(const std::string& form, const std::string& other);

// Why a table with this key must have one snapshot; empty: it need not. `there`: at the
// destination, oid 0 if it is missing. `has_exclusion`: an exclusion constraint there.
// `cannot_wait`: UniqueThatCannotWait() of what we are to make.
//
// Ranges contradict one another until the stream has passed them all: a value moves from a row that
// was copied before it left to one that was copied after it came. No unique index or exclusion
// constraint but the key's own may look at them before (hazards A3): what we make ourselves is made
// behind that, what is there already stands against ranges. And a change of the key is half an
// insert or half a delete, which a rule without all operations does not mean.
std::string WhyNotRanged(const Table& there, const ChunkKey& key, const TableRule* rule,
                         bool has_exclusion, const std::string& cannot_wait);

// `tables` of the source as they are published, `there` the destination's by the same index.
// `source` holds their locks. `post` is what will be made at the destination behind the rows. Says
// in the log what becomes of each large one, and in `reasons` why each is copied as it is
// (TableStatus::reason).
absl::StatusOr<std::map<TableName, RangedPlan>> PlanRanged(
    const CopierOptions& options, Connection& source, Connection& destination,
    const std::vector<Table>& tables, const std::vector<Table>& there,
    const std::vector<DumpStatement>& post, std::map<TableName, std::string>* reasons);

}  // namespace towline

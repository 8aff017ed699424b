// A copy that was interrupted goes on: tables that are done stay, and ranges of keys that are; the
// other tables are emptied and copied under a new snapshot. So is a table that is not what it was;
// then the schema is read again as well, and what is at the destination stays as it is. When
// nothing can stay, all starts over, and these say why. Pure.
//
// Why this is exact: what has been streamed already (beside the copy of ranges, or before a table
// was copied again) had ended before the marker that the new snapshot waits for, so that snapshot
// holds it; and every transaction that is not visible in some snapshot comes from the position on.
// Each table is judged by its own (I4). What lies between the
// snapshots is judged so as well: a transaction that was committed there, whenever it began, is new
// to the tables of the first and known to those of the second; so is a TRUNCATE; a rewrite (VACUUM
// FULL, CLUSTER) changes no row. A table that is copied again belongs to the new snapshot, whatever
// it was before: all that was done to it until then is known to it, in columns of then. A table
// that was altered, and altered back, in between is a schema change while running, which nothing
// notices (docs/ARCHITECTURE.md). Transaction ids are 64 bits wide: they do not wrap.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/table.h"
#include "schema/table_rules.h"
#include "state/state_store.h"

namespace towline {

// Empty if something may stay. Before the source has been asked.
std::string WhyStartOver(const std::vector<PieceRow>& pieces,
                         const std::vector<SnapshotRow>& snapshots,
                         const std::vector<RangeRow>& ranges);

// Tables that are not what they were when the copy began, were not there then or are gone, and why.
// `tables`: the selected ones as the new snapshot sees them; `shapes`: StateStore::ReadShapes().
std::map<TableName, std::string> ChangedTables(const std::vector<PieceRow>& pieces,
                                               const std::map<TableName, std::string>& shapes,
                                               const std::vector<Table>& tables,
                                               const TableRules& rules);

inline constexpr char kTableIsGone[] = "it is gone, or not selected any more";
inline constexpr char kTableIsNew[] = "it is new";
inline constexpr char kTableNotBegun[] = "it was not begun again";

// Whether what is there of the piece is worth keeping while its table is as it was: it is whole, or
// in ranges of a key, of which those that are not done have left nothing.
bool IsWorthKeeping(const PieceRow& piece);

// For `status`: "12 of 40 tables were done and stay; not so t (its columns have changed: ...)".
std::string DescribeGoingOn(int64_t kept, int64_t total,
                            const std::map<TableName, std::string>& again);

}  // namespace towline

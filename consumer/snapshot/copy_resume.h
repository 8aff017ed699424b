// A copy that was interrupted goes on: tables that are done stay, and ranges of keys that are; the
// other tables are emptied and copied under a new snapshot. When it cannot, it starts all over, and
// these say why. Pure.
//
// Why this is exact: what has been streamed already (beside the copy of ranges, or before a table
// was copied again) had ended before the marker that the new snapshot waits for, so that snapshot
// holds it; and every transaction that is not visible in some snapshot comes from the position on.
// Each table is judged by its own (I4). What lies between the
// snapshots is judged so as well: a transaction that was committed there, whenever it began, is new
// to the tables of the first and known to those of the second; so is a TRUNCATE; a rewrite (VACUUM
// FULL, CLUSTER) changes no row. A table that was altered, and altered back, in between is a schema
// change while running, which nothing notices (docs/ARCHITECTURE.md). Transaction ids are 64 bits
// wide: they do not wrap.
#pragma once

#include <string>
#include <vector>

#include "model/table.h"
#include "schema/table_rules.h"
#include "state/state_store.h"

namespace towline {

// Both empty if the copy can go on. Before the source has been asked:
std::string WhyStartOver(const std::vector<PieceRow>& pieces,
                         const std::vector<SnapshotRow>& snapshots,
                         const std::vector<RangeRow>& ranges);
// `tables`: the selected ones as the new snapshot sees them; `shape`: ShapeOf() them.
std::string WhyStartOver(const std::vector<PieceRow>& pieces,
                         const std::vector<SnapshotRow>& snapshots,
                         const std::vector<Table>& tables, const std::string& shape,
                         const TableRules& rules);

}  // namespace towline

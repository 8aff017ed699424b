// What the changes of a batch, or of a slice of one, become at the destination, before anything of
// it is sent: the changes of each table folded where they can be, and in which order all is to be
// written. Made by BatchPlanner, which asks nobody, and written by BatchWriter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "apply/fold.h"
#include "apply/target.h"
#include "model/change.h"
#include "model/oid.h"

namespace towline {

// Changes of one relation, in one of two ways.
struct PlannedWrite {
  const Target* target = nullptr;
  NetChanges net;
  // Indexes into the batch of changes that are written as they came; empty: `net` is written.
  std::vector<uint32_t> in_order;
};

// Of one table of the destination, to be written one behind the other. There is more than one where
// a change cannot be joined with those before it, and where the table was described anew.
struct PlannedTable {
  Oid table = 0;
  std::vector<PlannedWrite> writes;
};

struct PlannedSegment {
  std::vector<PlannedTable> tables;  // in any order: their rows do not look at each other
  // Index of a change that is written alone when all of the tables is: TRUNCATE, or of a table that
  // keeps its order among all (Target::keeps_order).
  std::optional<size_t> barrier;
};

// Points into the batch it was made of, which may be moved but not altered, and to Targets of the
// planner: BatchPlanner::IsCurrent() tells whether it may still be written.
struct BatchPlan {
  std::vector<PlannedSegment> segments;  // one behind the other
  // Tables with updates for which the memory of clashes was asked, and what it said.
  std::vector<std::pair<Oid, bool>> replaces;
  const Change* changes = nullptr;  // of the batch
  size_t begin = 0;                 // the slice: changes [begin, end)
  size_t end = 0;
  uint64_t generation = 0;  // of the planner
};

}  // namespace towline

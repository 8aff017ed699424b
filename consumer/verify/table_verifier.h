// Compares one table: first by one hash of all rows, or one of each part of a large table; then, if
// that differs, by hashes of buckets; then the keys of the buckets that differ; then those keys
// again until they are decided (key_check.h).
//
// The reads of both sides begin at the same place of the source's log, give or take the task's lag,
// so what differs at first is what was written in that time, however long the reads take.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/rate_limit.h"
#include "base/shutdown.h"
#include "verify/compared_table.h"
#include "verify/load_watch.h"
#include "verify/pair_reader.h"
#include "verify/range_progress.h"
#include "verify/recent_ranges.h"
#include "verify/repairer.h"
#include "verify/report.h"

namespace towline {

struct TableVerifyOptions {
  bool is_count_only = false;
  double percent = 100;          // of the table's ranges
  uint64_t seed = 0;             // chooses them
  RateLimit* rate = nullptr;     // borrowed; null: none
  Repairer* repairer = nullptr;  // borrowed; null: nothing is repaired
  LoadWatch* watch = nullptr;    // borrowed; null: it never gives way
  // A larger table is compared in parts of it, where the rows lie in the order of the key.
  int64_t part_bytes = std::numeric_limits<int64_t>::max();
  // Of a table in ranges: those with rows written since come first.
  std::optional<WriteMark> written_since = std::nullopt;
  const RangeProgress* resumed = nullptr;  // borrowed; where to go on; null: from the beginning
  // More is done, and counted in the report; what is not told so is to be done again.
  std::function<void(const RangeProgress&)> on_progress = nullptr;
};

// An error of the connection or the wish to stop; all else is in the report.
absl::Status VerifyTable(PairReader& reader, ComparedTable table, const TableVerifyOptions& options,
                         const Shutdown& shutdown, TableReport* report);

}  // namespace towline

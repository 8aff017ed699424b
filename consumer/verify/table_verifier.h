// Compares one table: first by hashes of buckets, which both servers compute in one pass; then the
// keys of the buckets that differ; then those keys again until they are decided (key_check.h).
//
// Both passes begin at the same place of the source's log, give or take the task's lag, so what
// differs at first is what was written in that time, however long the passes take.
#pragma once

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "verify/compared_table.h"
#include "verify/pair_reader.h"
#include "verify/report.h"

namespace towline {

// An error of the connection or the wish to stop; all else is in the report.
absl::Status VerifyTable(PairReader& reader, ComparedTable table, bool is_count_only,
                         const Shutdown& shutdown, TableReport* report);

}  // namespace towline

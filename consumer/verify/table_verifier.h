// Compares one table: first by one hash of all rows; then, if that differs, by hashes of buckets;
// then the keys of the buckets that differ; then those keys again until they are decided
// (key_check.h).
//
// The reads of both sides begin at the same place of the source's log, give or take the task's lag,
// so what differs at first is what was written in that time, however long the reads take.
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

// Makes the destination's tables what the source's are under one snapshot, where neither moves: the
// source's rows by that snapshot, the destination's because the task that writes them stands still.
// What is equal is left alone. The comparison is that of `verify` (table_verifier.h); since both
// sides stand still, one look at a row decides.
//
// Each table is compared and repaired, and compared again, until a look finds nothing. Where a
// further unique or exclusion constraint is in the way of more rows than one transaction takes,
// first all rows go that the source has not or has otherwise, and then the source's come: what is
// left by then is part of what the source has, where nothing clashes (hazards E1). Of such rows the
// values of columns that only the destination has are lost.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/rate_limit.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "pg/connection.h"
#include "state/position.h"
#include "state/verify_record.h"
#include "verify/report.h"
#include "verify/table_plan.h"

namespace towline {

struct SnapshotRepairOptions {
  ConnectOptions destination;
  TaskClaim claim;                 // of the task, whose own process this is
  int first_origin = 0;            // of the workers' replication origins (state/origin.h)
  VerifyRecord* record = nullptr;  // borrowed
  RateLimit* rate = nullptr;       // borrowed; null: none
};

// `jobs` are all to be compared (each has a table). `readers`: sessions of the source in
// transactions under the snapshot, one for each worker; they are used up. `on_table` is called by
// one thread at a time, with a table's report when it is equal: its counts are of what the first
// look has found, all of it mended.
// kFailedPrecondition: the rows of a table cannot be made those of the source; it says which and
// why.
absl::Status RepairAtSnapshot(const SnapshotRepairOptions& options, std::vector<TableJob> jobs,
                              std::vector<Connection> readers,
                              const std::function<void(const TableReport&)>& on_table,
                              const Shutdown& shutdown);

}  // namespace towline

// One look at all tables that are selected, by so many workers.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "pg/connection.h"
#include "verify/report.h"
#include "verify/table_plan.h"
#include "verify/verify.h"

namespace towline {

absl::StatusOr<Connection> OpenVerifySession(const ConnectOptions& options,
                                             const Shutdown& shutdown);

struct ComparisonHooks {
  std::function<void(const VerifyProgress&)> on_progress;  // on the caller's thread
  // Puts the tables into the order in which they are compared; null: the largest first.
  std::function<absl::Status(Connection& source, Connection& destination,
                             std::vector<TableJob>* jobs)>
      order;
  // The run is written down and can be resumed; may be null.
  std::function<void()> on_run = nullptr;
  // A table is done; not of those that an interrupted run had done. One thread at a time; may be
  // null.
  std::function<void(const TableJob& job, int64_t run)> on_table;
};

absl::StatusOr<VerifyReport> CompareTables(const VerifyOptions& options,
                                           const ComparisonHooks& hooks, const Shutdown& shutdown);

}  // namespace towline

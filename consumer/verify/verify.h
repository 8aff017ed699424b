// `towline verify`: whether the destination holds what the source has, row for row, while the task
// runs or stands.
//
// Shares with the copy and the application of changes only what stands below them: sessions,
// quoting, the model, the catalog, and what the rules and casts of the task mean (schema/). The
// include check keeps it so.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "schema/catalog_reader.h"
#include "schema/table_rules.h"
#include "verify/report.h"

namespace towline {

struct VerifyOptions {
  ConnectOptions source;
  ConnectOptions destination;
  std::string task;  // if `is_task_given`, it must be there
  bool is_task_given = false;
  TableSelection selection;
  TableRules rules;
  bool compares_extension_tables = false;
  bool is_count_only = false;
  int workers = 1;                              // tables at a time; each is two sessions
  absl::Duration stand_max = absl::Minutes(1);  // position that does not move
};

struct VerifyProgress {
  size_t tables_done = 0;
  size_t tables = 0;
  int64_t bytes_done = 0;  // at the source
  int64_t bytes = 0;
};

// An error: nothing could be told. `on_progress` is called by one thread at a time.
absl::StatusOr<VerifyReport> Verify(const VerifyOptions& options,
                                    const std::function<void(const VerifyProgress&)>& on_progress,
                                    const Shutdown& shutdown);

}  // namespace towline

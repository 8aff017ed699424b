// `towline verify`: whether the destination holds what the source has, row for row, while the task
// runs or stands.
//
// Shares with the copy and the application of changes only what stands below them: sessions,
// quoting, the model, the catalog, and what the rules and casts of the task mean (schema/). The
// include check keeps it so.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "schema/catalog_reader.h"
#include "schema/dump.h"
#include "schema/table_rules.h"
#include "verify/load_watch.h"
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
  bool is_schema_only = false;
  SchemaOptions schema;          // what of it is compared
  double percent = 100;          // of the ranges of each table
  std::optional<uint64_t> seed;  // chooses them; none: by chance
  int64_t bytes_rate = 0;        // a second, of the source's rows; 0: no limit
  int64_t rows_rate = 0;
  LoadLimits load;              // above them it gives way
  int64_t part_bytes = 0;       // larger tables are compared in parts (table_verifier.h)
  bool is_repaired = false;     // what differs
  std::string repair_sql_file;  // not empty: the statements go there instead
  bool resumes = false;         // the task's last comparison, which was interrupted
  bool is_continuous = false;   // round after round, until the wish to stop
  absl::Duration interval;      // between the beginnings of two rounds, at least
  int workers = 1;              // tables at a time; each is two sessions
  absl::Duration stand_max = absl::Minutes(1);  // position that does not move
};

struct VerifyProgress {
  int64_t round = 0;  // of a continuous comparison
  size_t tables_done = 0;
  size_t tables = 0;
  int64_t bytes_done = 0;  // at the source
  int64_t bytes = 0;
  std::string waiting_for;  // load_watch.h
};

// An error: nothing could be told. `on_progress` is called on this thread, now and then.
absl::StatusOr<VerifyReport> Verify(const VerifyOptions& options,
                                    const std::function<void(const VerifyProgress&)>& on_progress,
                                    const Shutdown& shutdown);

}  // namespace towline

// The initial copy: one exported snapshot for everything (DESIGN 4, first form). Pre-data of the
// schema, then all tables in parallel, largest first, big ones in ctid ranges, then post-data,
// sequences and statistics. A crash before the last table is done starts the copy again under a
// new snapshot, because an exported snapshot dies with its session (hazards A4); a crash after it
// goes on with the post-data statements that are left.
#pragma once

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/rate_limit.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "observe/copy_progress.h"
#include "pg/connect_options.h"
#include "schema/catalog_reader.h"
#include "schema/dump.h"
#include "schema/table_rules.h"
#include "state/state_store.h"

namespace towline {

struct CopierOptions {
  ConnectOptions source;
  ConnectOptions destination;
  TableSelection selection;
  // "stop", "append" or "truncate", for one table.
  std::function<std::string(const TableName&)> existing;
  TableRules rules;
  SchemaOptions schema;
  bool is_once = false;       // no stream follows, and nothing need be known of one
  bool copies_schema = true;  // false: the tables must be there, nothing is made
  int workers = 2;
  int64_t part_bytes = 0;  // larger tables are copied in ctid ranges of this size
  absl::Duration snapshot_wait_max;
  RateLimit* rate_limit = nullptr;  // of all workers together; outlives the copy; null: none
  bool requires_origin = false;     // an error where what we write cannot be marked
  std::string task;
};

// Runs the copy from wherever the task's state says it stands (checking, copying_schema, copying,
// indexing) to the end of post-data, storing each state before acting on it. The slot exists.
// `on_wait` as in slot.h.
absl::Status RunCopy(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                     const Shutdown& shutdown, absl::FunctionRef<void(const std::string&)> on_wait);

// The schema alone, for a task without a slot, which afterwards stands where a new one does. An
// interrupted one starts again, and what it has made is found there.
absl::Status MakeSchemaOnly(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                            const Shutdown& shutdown,
                            absl::FunctionRef<void(const std::string&)> on_wait);

}  // namespace towline

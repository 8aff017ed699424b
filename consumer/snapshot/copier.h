// The initial copy: pre-data of the schema, then small tables in parallel under one exported
// snapshot, and their indexes; then, with that snapshot gone, large tables, and small ones that
// were too much for it, while the stream follows in all that is done: each large one in ctid ranges
// under a snapshot of its own, and the small ones in groups (piece_copier.h), or in ranges of its
// key with a short snapshot each (range_copier.h); then the rest of post-data, sequences and
// statistics.
//
// An exported snapshot dies with its session. A copy that was interrupted keeps the tables that are
// done and copies the others, from their beginning, under a new one (copy_resume.h); each piece
// names its snapshot. Ranges of a key that are done stay as well. ctid ranges are never resumed, as
// rows move between them (hazards A4): a table is one piece. A crash behind the last table goes on
// with the post-data statements that are left.
#pragma once

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/pace.h"
#include "base/rate_limit.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "observe/copy_progress.h"
#include "pg/connect_options.h"
#include "schema/catalog_reader.h"
#include "schema/dump.h"
#include "schema/extension_tables.h"
#include "schema/table_rules.h"
#include "snapshot/copy_companion.h"
#include "snapshot/key_plan.h"
#include "state/state_store.h"

namespace towline {

struct CopierOptions {
  ConnectOptions source;
  ConnectOptions destination;
  TableSelection selection;
  // "stop", "append" or "truncate", for one table of the source.
  std::function<std::string(const Table&)> existing;
  TableRules rules;
  ExtensionRows extension_rows;  // of the selected tables of extensions, which have rules by them
  ExtensionRows own_rows;  // of these tables only such rows are the task's (schema/shared_rows.h)
  SchemaOptions schema;
  // Captured DDL follows: a command that only some snapshots of the copy hold cannot be placed, so
  // all tables share one, unless ranges of keys are asked for. For the same reason the schema is
  // that of the rows' snapshot to the last object.
  bool follows_ddl = false;
  bool is_once = false;       // no stream follows, and nothing need be known of one
  bool copies_schema = true;  // false: the tables must be there, nothing is made
  bool copies_large_objects = false;
  int workers = 2;
  int index_workers = 2;
  int64_t index_memory = 0;                  // of each of those; 0: see SetIndexMemory()
  int64_t part_bytes = 0;                    // larger tables are copied in ranges of this size
  CopyPlanner planner = CopyPlanner::kAuto;  // by what
  absl::Duration snapshot_wait_max;
  RateLimit* rate_limit = nullptr;  // of all workers together; outlives the copy; null: none
  const Pace* pace = nullptr;       // of each worker; likewise
  bool requires_origin = false;     // an error where what we write cannot be marked
  std::string task;
};

// Runs the copy from wherever the task's state says it stands (checking, copying_schema, copying,
// indexing) to the end of post-data, storing each state before acting on it. The slot exists.
// `companion` has ended when it returns. `on_wait` as in slot.h.
absl::Status RunCopy(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                     CopyCompanion& companion, const Shutdown& shutdown,
                     absl::FunctionRef<void(const std::string&)> on_wait);

// The schema alone, for a task without a slot, which afterwards stands where a new one does. An
// interrupted one starts again, and what it has made is found there.
absl::Status MakeSchemaOnly(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                            const Shutdown& shutdown,
                            absl::FunctionRef<void(const std::string&)> on_wait);

}  // namespace towline

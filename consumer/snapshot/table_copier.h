// Copies the rows of all tables under one exported snapshot by several workers, each with a session
// on either side. One failure ends them all: what is half done is emptied and starts again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connect_options.h"
#include "pg/connection.h"
#include "snapshot/copier.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_statements.h"
#include "snapshot/exported_snapshot.h"
#include "state/state_store.h"

namespace towline {

struct TableCopyJob {
  std::vector<Table> tables;        // of the source, as the snapshot sees them
  std::vector<CopyTarget> targets;  // by the same index
  std::vector<bool> is_staged;      // its rows go to a staging table: no mark yet
  std::vector<CopyPart> parts;
  // Each has its range row, which is marked with it (piece_copier.h).
  bool are_own_pieces = false;
  // The numbers of the workers' origins begin so far behind those of the first.
  int origins_behind = 0;
  // Several times a second, on the thread of the call; an error ends the copy.
  std::function<absl::Status()> on_tick = [] { return absl::OkStatus(); };
  // Before the mark of a table, whose rows are all read; any thread. An error ends the copy.
  std::function<absl::Status()> check_read = [] { return absl::OkStatus(); };
  // On the thread of each worker that has nothing left to copy, with its session; null: nothing.
  // Whether all parts of a table are copied, and whether others copy still.
  std::function<absl::Status(Connection& destination,
                             absl::FunctionRef<bool(const TableName&)> is_copied,
                             absl::FunctionRef<bool()> is_copying)>
      on_idle;
};

// Writes pieces' marks in the transactions of their rows. The rows are durable only once a later
// commit is (synchronous_commit is off here): the caller's next change of state is. One worker for
// each of `readers` (ExportedSnapshot::TakeReaders). Lets go of the snapshot when all is read.
absl::Status CopyTables(const CopierOptions& options, const TableCopyJob& job,
                        ExportedSnapshot& snapshot, std::vector<Connection> readers,
                        StateStore& store, CopyProgress& progress, const Shutdown& shutdown);

// Of the copy's sessions (state/origin.h): the one for schema and indexes, then the workers.
inline constexpr int kSchemaOrigin = 1;

// Of the destination's sessions: somebody's lock there shows as an error that is retried, not as a
// silence.
inline constexpr char kCopyLockTimeoutSql[] = "SET lock_timeout = '30s'";

// A session with the destination for rows and schema: replica role where we may, commits not waited
// for, its own replication origin.
absl::StatusOr<Connection> OpenDestination(const CopierOptions& options, absl::string_view purpose,
                                           int origin_number, StateStore& store,
                                           const Shutdown& shutdown);

}  // namespace towline

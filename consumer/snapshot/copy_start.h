// The beginning of a copy at the source: marker, schema, locks, snapshot, readers. Whatever cannot
// be had for the moment (a lock, a schema that stands still) is tried again within a limit, telling
// who is in the way.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "schema/dump.h"
#include "snapshot/copier.h"
#include "snapshot/exported_snapshot.h"

namespace towline {

struct CopyStart {
  ExportedSnapshot snapshot;
  std::vector<Connection> readers;  // one for each worker
  SchemaDump dump;                  // of a moment before, with the same tables as the snapshot (all
                                    // objects, where DDL follows); empty when a copy goes on
  bool is_partial = false;          // not all tables are selected
  std::string catalogs = "";        // of the snapshot (SnapshotRow)
};

absl::StatusOr<CopyStart> StartAtSource(const CopierOptions& options, const Shutdown& shutdown,
                                        absl::FunctionRef<void(const std::string&)> on_wait);

// The same for a copy that goes on, whose schema is made already. A marker is taken and waited for
// anew: a snapshot relies on no wait but its own (hazards A1).
absl::StatusOr<CopyStart> ResumeAtSource(const CopierOptions& options, const Shutdown& shutdown,
                                         absl::FunctionRef<void(const std::string&)> on_wait);

// The snapshot sees commits that are not on the source's disk yet (synchronous_commit = off), and a
// crash there would take them back after they were copied. A commit that is waited for, behind
// them, flushes them; it needs a record of its own, or the server would not wait.
absl::Status FlushSourceLog(Connection& source);

// Whether two readings show the same tables with the same columns, so that a schema dumped under
// one takes rows read under the other.
bool HaveSameShape(const std::vector<Table>& a, const std::vector<Table>& b);

// Short and comparable across runs: equal where HaveSameShape() is true.
std::string ShapeOf(const std::vector<Table>& tables);

// Of one table, comparable across runs as well, and long enough to tell what has changed.
std::string TableShape(const Table& table);
// `before` and `after` differ: how, for people ("its columns have changed: ...").
std::string DescribeShapeChange(const std::string& before, const std::string& after);

}  // namespace towline

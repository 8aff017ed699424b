// Builds indexes and keys of tables that are copied while others still are, by a worker that has no
// rows left to copy: else a processor would stand idle until the largest table is done. Small ones:
// the copy's snapshot at the source lives until the last is built.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "pg/connection.h"
#include "snapshot/schema_runner.h"
#include "state/state_store.h"

namespace towline {

class IdleIndexer {
 public:
  // Of `statements`, all of run.section, those indexes and keys that nothing but settings stands in
  // front of; the others are left to RunPostData(). `bytes`: sizes of tables; of those with one up
  // to kSerialTableBytesMax, the largest first. `left_out`: tables whose rows are not in place when
  // they are copied. `session` is borrowed, and used from Run() only; `shutdown` is its own.
  IdleIndexer(Connection& session, TaskClaim claim, SchemaRun run,
              std::vector<SchemaStatement> statements, const std::map<TableName, int64_t>& bytes,
              const std::set<TableName>& left_out, const Shutdown& shutdown);

  // One statement after the other, as long as others copy; `stop` ends the one that runs. What is
  // refused is left to RunPostData() with all that follows, as rows of other tables must not be
  // lost for it. An error: the session is of no use any more. Any thread, but one at a time.
  absl::Status Run(const Shutdown& stop, absl::FunctionRef<bool(const TableName&)> is_copied,
                   absl::FunctionRef<bool()> is_copying);

 private:
  struct Job {
    size_t statement = 0;
    TableName table;
  };

  absl::Status Prepare();
  absl::Status GiveUp(const absl::Status& refused);
  absl::Status BuildWhile(absl::FunctionRef<bool(const TableName&)> is_copied,
                          absl::FunctionRef<bool()> is_copying);

  Connection& session_;
  const Shutdown& shutdown_;
  const TaskClaim claim_;
  const SchemaRun run_;
  const std::vector<SchemaStatement> statements_;
  std::vector<size_t> settings_;
  std::list<Job> jobs_;  // in the order in which to begin them
  bool is_prepared_ = false;
};

}  // namespace towline

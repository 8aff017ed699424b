// Builds indexes and keys of tables that are copied while others still are, by workers that have no
// rows left to copy: else a processor would stand idle until the largest table is done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "model/name.h"
#include "pg/connection.h"
#include "snapshot/schema_runner.h"
#include "state/state_store.h"

namespace towline {

class IdleIndexer {
 public:
  struct Options {
    size_t sessions_max = 1;   // that build at the same time
    int64_t index_memory = 0;  // bytes, as SetIndexMemory() takes them
  };

  // Of `statements`, all of run.section, those indexes and keys that nothing but settings stands in
  // front of; the others are left to RunPostData(). `bytes`: sizes of tables; of those with one up
  // to kSerialTableBytesMax, the largest first. `left_out`: tables whose rows are not in place when
  // they are copied.
  IdleIndexer(Options options, TaskClaim claim, SchemaRun run,
              std::vector<SchemaStatement> statements, const std::map<TableName, int64_t>& bytes,
              const std::set<TableName>& left_out);

  // One statement after the other on `session`, whose settings are then others, as long as anybody
  // else copies or builds: whoever is the last goes on to what runs all of them together. What is
  // refused is left to RunPostData() with all that has not begun, as rows of other tables must not
  // be lost for it. An error: the session is of no use any more. By several threads at once.
  absl::Status Run(Connection& session, absl::FunctionRef<bool(const TableName&)> is_copied,
                   absl::FunctionRef<bool()> is_copying);

 private:
  struct Job {
    size_t statement = 0;
    TableName table;
    bool is_alone = false;  // on its table
  };
  using Running = std::list<Job>::iterator;

  std::optional<Running> Begin(absl::FunctionRef<bool(const TableName&)> is_copied,
                               absl::FunctionRef<bool()> is_copying);
  void End(Running job);
  absl::Status Prepare(Connection& session) const;
  absl::Status GiveUp(Connection& session, const absl::Status& refused);

  const Options options_;
  const TaskClaim claim_;
  const SchemaRun run_;
  const std::vector<SchemaStatement> statements_;
  std::vector<size_t> settings_;
  absl::Mutex mutex_;
  std::list<Job> jobs_ ABSL_GUARDED_BY(mutex_);  // in the order in which to begin them
  std::list<Job> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace towline

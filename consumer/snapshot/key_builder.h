// Keys of tables that the stream follows while others are copied, one at a time and as soon as each
// is due: without its key a table cannot take the stream's changes at any speed. And, where that
// keeps nobody waiting, their other indexes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"
#include "snapshot/copier.h"
#include "snapshot/schema_runner.h"
#include "state/state_store.h"

namespace towline {

// Whether a table of the destination has a unique index on just these columns; none are asked for:
// it has.
bool HasKeyOn(const Table& there, const std::vector<std::string>& columns);

class KeyBuilder {
 public:
  static absl::StatusOr<std::unique_ptr<KeyBuilder>> Open(const CopierOptions& options,
                                                          StateStore& store, CopyProgress& progress,
                                                          const Shutdown& shutdown);

  // Ends its waits from now on.
  void set_shutdown(const Shutdown& shutdown) {
    absl::MutexLock lock(&mutex_);
    session_.set_shutdown(shutdown);
  }

  // All on any thread, one at a time. Whether the table has a unique index on these columns; none
  // are asked for: it has.
  using Columns = std::vector<std::string>;
  absl::StatusOr<bool> HasKey(const TableName& table, const Columns& columns);
  // Runs those statements of post-data that make the table's keys, and looks then. False where
  // another statement has to run before them.
  absl::StatusOr<bool> Build(const TableName& table, const Columns& columns);
  // Runs those that make its other indexes of columns alone, each if `goes_on` says so just before.
  // One that is refused is left, with all behind it and for all tables, to RunPostData().
  absl::Status BuildOthers(const TableName& table, absl::FunctionRef<bool()> goes_on);

 private:
  KeyBuilder(Connection session, TaskClaim claim, SchemaRun run,
             std::vector<SchemaStatement> statements)
      : claim_(std::move(claim)),
        run_(std::move(run)),
        session_(std::move(session)),
        statements_(std::move(statements)) {}

  const TaskClaim claim_;
  const SchemaRun run_;
  absl::Mutex mutex_;
  Connection session_ ABSL_GUARDED_BY(mutex_);
  std::vector<SchemaStatement> statements_ ABSL_GUARDED_BY(mutex_);
  bool is_refused_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace towline

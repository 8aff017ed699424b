#include "snapshot/table_copier.h"

#include <algorithm>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/timed_wait.h"
#include "pg/quoting.h"
#include "snapshot/copy_worker.h"
#include "snapshot/part_order.h"
#include "state/origin.h"
#include "state/task_name.h"

namespace towline {
namespace {

// How soon a wish to stop reaches the workers, and how often the snapshot's session is looked at.
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);
constexpr absl::Duration kAliveInterval = absl::Seconds(5);

std::vector<size_t> TablesOf(const TableCopyJob& job) {
  std::vector<size_t> tables;
  for (const CopyPart& part : job.parts) tables.push_back(part.table);
  return tables;
}

// What the workers share: the parts in their order and how far each table is.
class WorkQueue {
 public:
  WorkQueue(const TableCopyJob& job, int worker_count)
      : job_(job), order_(TablesOf(job)), reading_(worker_count), running_(worker_count) {
    parts_left_.resize(job.tables.size());
    rows_.resize(job.tables.size());
    for (const CopyPart& part : job.parts) {
      ++parts_left_[part.table];
      numbers_.emplace(job.tables[part.table].name, part.table);
    }
  }

  // For a worker that is done with `part`, if it had one. Null: nothing left, or the copy has
  // failed.
  const CopyPart* Next(const CopyPart* part) {
    absl::MutexLock lock(&mutex_);
    if (part != nullptr) --copying_;
    if (!failure_.ok()) return nullptr;
    const std::optional<size_t> next = order_.Take(
        part == nullptr ? std::nullopt
                        : std::optional<size_t>(static_cast<size_t>(part - job_.parts.data())));
    if (!next.has_value()) return nullptr;
    ++copying_;
    return &job_.parts[*next];
  }

  bool is_copying() {
    absl::MutexLock lock(&mutex_);
    return failure_.ok() && copying_ > 0;
  }
  bool IsCopied(const TableName& name) {
    absl::MutexLock lock(&mutex_);
    auto table = numbers_.find(name);
    return table != numbers_.end() && parts_left_[table->second] == 0;
  }

  // Whether it was the table's last part; `rows` is then the whole table's.
  bool Finish(const CopyPart& part, int64_t* rows) {
    absl::MutexLock lock(&mutex_);
    *rows = rows_[part.table] += *rows;
    return --parts_left_[part.table] == 0;
  }

  // The first error is the cause; those that follow (cancelled, lost) are its consequences.
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (failure_.ok()) failure_ = status;
  }

  // The caller has let go of its locks at the source.
  void ReaderEnds() {
    absl::MutexLock lock(&mutex_);
    --reading_;
  }
  bool is_all_read() {
    absl::MutexLock lock(&mutex_);
    return reading_ == 0;
  }

  void WorkerEnds() {
    absl::MutexLock lock(&mutex_);
    --running_;
    ended_.Notify();
  }

  // Waits for the workers' end, a failure or the timeout. True: all have ended.
  bool Await(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    auto has_ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return running_ == 0; };
    return ended_.Await(mutex_, has_ended, timeout);
  }

  absl::Status failure() {
    absl::MutexLock lock(&mutex_);
    return failure_;
  }

 private:
  const TableCopyJob& job_;
  std::map<TableName, size_t> numbers_;  // of tables with parts
  absl::Mutex mutex_;
  TimedWait ended_;
  PartOrder order_ ABSL_GUARDED_BY(mutex_);
  int copying_ ABSL_GUARDED_BY(mutex_) = 0;
  int reading_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> parts_left_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> rows_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

absl::Status WorkOnParts(const TableCopyJob& job, const TaskClaim& claim, CopyWorker& worker,
                         WorkQueue& queue, CopyProgress& progress) {
  const CopyPart* part = nullptr;
  while ((part = queue.Next(part)) != nullptr) {
    const Table& table = job.tables[part->table];
    bool has_mark = !job.is_staged[part->table];
    // Both marks at once: the one without the other would have the table emptied and not copied.
    auto mark = [&](Connection& destination, int64_t rows) -> absl::Status {
      TOWLINE_RETURN_IF_ERROR(job.check_read());
      if (job.are_own_pieces) {
        TOWLINE_RETURN_IF_ERROR(MarkRangeCopied(destination, claim, table.name, 1, rows));
      }
      return MarkPieceCopied(destination, claim, table.name, rows);
    };
    auto mark_if_whole = [&](Connection& destination, int64_t rows) {
      return has_mark && part->is_whole ? mark(destination, rows) : absl::OkStatus();
    };
    TOWLINE_ASSIGN_OR_RETURN(
        int64_t rows, worker.CopyPartOf(table, job.targets[part->table], *part, mark_if_whole));
    if (!queue.Finish(*part, &rows)) continue;
    if (has_mark && !part->is_whole) TOWLINE_RETURN_IF_ERROR(worker.MarkTable(rows, mark));
    progress.tables_done.fetch_add(1, std::memory_order_relaxed);
    if (auto* counts = progress.tables.Find(table.name); counts != nullptr) counts->Finish();
    LogDebug("table copied", {{"table", QuoteQualified(table.name.schema, table.name.name)},
                              {"rows", absl::StrCat(rows)}});
    FaultPoint("copy:table-done");
  }
  return absl::OkStatus();
}

absl::Status PassTime(const TableCopyJob& job, CopyWorker& worker, WorkQueue& queue) {
  if (job.on_idle == nullptr) return absl::OkStatus();
  return job.on_idle(
      worker.destination(), [&](const TableName& table) { return queue.IsCopied(table); },
      [&] { return queue.is_copying(); });
}

// Every row is read: a session that is gone has let go of its snapshot as well.
void Release(ExportedSnapshot& snapshot) {
  absl::Status released = snapshot.Release();
  if (!released.ok()) {
    LogDebug("the copy's snapshot is gone", {{"because", std::string(released.message())}});
  }
}

absl::StatusOr<CopyWorker> OpenWorker(const CopierOptions& options, int origin_number,
                                      int64_t lock_key, Connection source, StateStore& store,
                                      LargeRowTurn* turn, CopyProgress& progress,
                                      const Shutdown& stop) {
  source.set_shutdown(stop);
  TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                           OpenDestination(options, "copy", origin_number, store, stop));
  return CopyWorker(std::move(source), std::move(destination),
                    {store.claim(), lock_key, turn, options.source.user(), options.rate_limit,
                     options.pace, &stop},
                    &progress);
}

}  // namespace

absl::StatusOr<Connection> OpenDestination(const CopierOptions& options, absl::string_view purpose,
                                           int origin_number, StateStore& store,
                                           const Shutdown& shutdown) {
  Connection::Purpose session;
  session.application_name = DestinationApplication(options.task, purpose);
  session.settings = {"SET synchronous_commit = off", kCopyLockTimeoutSql};
  TOWLINE_ASSIGN_OR_RETURN(Connection connection,
                           Connection::Open(options.destination, session, shutdown));
  absl::Status replica = connection.Exec("SET session_replication_role = replica").status();
  if (absl::IsPermissionDenied(replica)) {
    LogDebug("no right to set session_replication_role; triggers of existing tables will fire");
  } else {
    TOWLINE_RETURN_IF_ERROR(replica);
  }
  TOWLINE_RETURN_IF_ERROR(
      TakeOrigin(connection, store.task(), origin_number, options.requires_origin));
  TOWLINE_RETURN_IF_ERROR(store.AddSession(connection, std::string(purpose)));
  return connection;
}

absl::Status CopyTables(const CopierOptions& options, const TableCopyJob& job,
                        ExportedSnapshot& snapshot, std::vector<Connection> readers,
                        StateStore& store, CopyProgress& progress, const Shutdown& shutdown) {
  size_t count = std::min(readers.size(), job.parts.size());
  Shutdown stop;  // the workers' own, so that one failure stops them all; outlives their sessions
  LargeRowTurn large_row_turn;
  std::vector<CopyWorker> workers;
  for (size_t i = 0; i < count; ++i) {
    if (shutdown.is_requested()) return absl::CancelledError("shutting down");
    TOWLINE_ASSIGN_OR_RETURN(
        CopyWorker worker,
        OpenWorker(options, kSchemaOrigin + 1 + job.origins_behind + static_cast<int>(i),
                   snapshot.lock_key(), std::move(readers[i]), store, &large_row_turn, progress,
                   stop));
    workers.push_back(std::move(worker));
  }
  readers.clear();  // those that nobody needs hold snapshot and locks as well
  WorkQueue queue(job, static_cast<int>(count));
  std::vector<std::thread> threads;
  for (CopyWorker& worker : workers) {
    threads.emplace_back([&job, claim = store.claim(), &worker, &queue, &progress] {
      absl::Status status = WorkOnParts(job, claim, worker, queue, progress);
      if (status.ok()) status = worker.EndReading();
      if (status.ok()) queue.ReaderEnds();
      if (status.ok()) status = PassTime(job, worker, queue);
      if (!status.ok()) queue.Fail(status);
      queue.WorkerEnds();
    });
  }
  absl::Time looked = SteadyNow();
  bool is_released = false;  // when all is read, as indexes may follow
  while (!queue.Await(kWatchInterval)) {
    if (shutdown.is_requested()) queue.Fail(absl::CancelledError("shutting down"));
    if (queue.failure().ok()) {
      if (absl::Status ticked = job.on_tick(); !ticked.ok()) queue.Fail(ticked);
    }
    if (queue.failure().ok() && !is_released && queue.is_all_read()) {
      Release(snapshot);
      is_released = true;
    }
    if (queue.failure().ok() && !is_released && SteadyNow() - looked >= kAliveInterval) {
      looked = SteadyNow();
      if (absl::Status alive = snapshot.CheckAlive(); !alive.ok()) queue.Fail(alive);
    }
    if (!queue.failure().ok()) stop.Request();
  }
  for (std::thread& thread : threads) thread.join();
  TOWLINE_RETURN_IF_ERROR(queue.failure());
  if (!is_released) Release(snapshot);
  return absl::OkStatus();
}

}  // namespace towline

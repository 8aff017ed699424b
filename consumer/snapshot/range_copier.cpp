#include "snapshot/range_copier.h"

#include <algorithm>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/copy_again.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "snapshot/copy_start.h"
#include "snapshot/copy_worker.h"
#include "snapshot/exported_snapshot.h"
#include "snapshot/key_plan.h"
#include "snapshot/key_reader.h"
#include "snapshot/range_plan.h"
#include "snapshot/table_copier.h"
#include "state/task_name.h"

namespace towline {
namespace {

// How soon a wish to stop reaches the workers.
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

// As for the exported snapshot: a deadlock with us never ends the user's transaction.
constexpr char kBeginSql[] =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '500ms'";
// The table is locked: what is left are locks on its indexes and its TOAST table.
constexpr char kNoLockTimeoutSql[] = "SET LOCAL lock_timeout = 0";
constexpr char kBoundsLockTimeoutSql[] = "SET lock_timeout = '30s'";

// How long a lock is waited for before the log says so, and how often it does.
constexpr absl::Duration kTellAfter = absl::Seconds(1);
constexpr absl::Duration kTellInterval = absl::Seconds(10);
constexpr absl::Duration kPause = absl::Milliseconds(100);

struct Job {
  size_t table = 0;
  size_t range = 0;
};

std::string Qualified(const Table& table) {
  return QuoteQualified(table.name.schema, table.name.name);
}

// What the workers share.
class RangeQueue {
 public:
  RangeQueue(const std::vector<RangedCopy>& tables, Connection flusher)
      : rows_(tables.size()), ranges_left_(tables.size()), flusher_(std::move(flusher)) {
    for (size_t table = 0; table < tables.size(); ++table) {
      for (size_t range = 0; range < tables[table].ranges.size(); ++range) {
        const RangeRow& row = tables[table].ranges[range];
        if (row.state == "copied") {
          rows_[table] += row.rows_done;
        } else {
          jobs_.push_back({table, range});
          ++ranges_left_[table];
        }
      }
    }
  }

  size_t job_count() const { return jobs_.size(); }
  bool is_done(size_t table) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return ranges_left_[table] == 0;
  }
  int64_t rows(size_t table) {
    absl::MutexLock lock(&mutex_);
    return rows_[table];
  }

  // Null: nothing left, or the copy has failed.
  const Job* Next() {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok() || next_ == jobs_.size()) return nullptr;
    return &jobs_[next_++];
  }

  // Whether it was the table's last.
  bool Finish(const Job& job, int64_t rows) {
    absl::MutexLock lock(&mutex_);
    rows_[job.table] += rows;
    return --ranges_left_[job.table] == 0;
  }

  // The first error is the cause; those that follow (cancelled) are its consequences.
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (failure_.ok()) failure_ = status;
  }

  void WorkerBegins() {
    absl::MutexLock lock(&mutex_);
    ++running_;
  }
  void WorkerEnds() {
    absl::MutexLock lock(&mutex_);
    --running_;
  }

  // Waits for the workers' end or the timeout. True: all have ended.
  bool Await(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    auto has_ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return running_ == 0; };
    return mutex_.AwaitWithTimeout(absl::Condition(&has_ended), timeout);
  }

  absl::Status failure() {
    absl::MutexLock lock(&mutex_);
    return failure_;
  }

  absl::Status Flush() {
    absl::MutexLock lock(&flush_mutex_);
    return FlushSourceLog(flusher_);
  }

 private:
  std::vector<Job> jobs_;
  absl::Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int64_t> rows_ ABSL_GUARDED_BY(mutex_);  // of the table's ranges that are done
  std::vector<int64_t> ranges_left_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  absl::Mutex flush_mutex_;
  Connection flusher_ ABSL_GUARDED_BY(flush_mutex_);
};

absl::StatusOr<Connection> OpenSource(const CopierOptions& options, absl::string_view word,
                                      std::vector<std::string> settings, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = SourceApplication(options.task, word);
  purpose.settings = std::move(settings);
  return Connection::Open(options.source, purpose, shutdown);
}

class RangeWorker {
 public:
  RangeWorker(const CopierOptions& options, TaskClaim claim, CopyWorker worker,
              const Shutdown& stop)
      : options_(options), claim_(std::move(claim)), worker_(std::move(worker)), stop_(stop) {}

  absl::StatusOr<int64_t> Copy(const RangedCopy& copy, const RangeRow& range, RangeQueue& queue);
  CopyWorker& worker() { return worker_; }

 private:
  absl::Status BeginAndLock(const Table& table);
  absl::Status CheckForm(const RangedCopy& copy);

  const CopierOptions& options_;
  TaskClaim claim_;
  CopyWorker worker_;
  const Shutdown& stop_;
};

// A statement that waits for this table is let through between two ranges, and between two tries.
absl::Status RangeWorker::BeginAndLock(const Table& table) {
  const absl::Time deadline = absl::Now() + options_.snapshot_wait_max;
  absl::Time tell_at = absl::Now() + kTellAfter;
  while (true) {
    TOWLINE_RETURN_IF_ERROR(worker_.source().Exec(kBeginSql).status());
    absl::Status locked =
        worker_.source()
            .Exec(absl::StrCat("LOCK TABLE ONLY ", Qualified(table), " IN ACCESS SHARE MODE"))
            .status();
    if (locked.ok()) return worker_.source().Exec(kNoLockTimeoutSql).status();
    const std::string sqlstate = GetSqlState(locked);
    if (sqlstate == "42P01" || sqlstate == "3F000") {
      return absl::AbortedError(
          absl::StrCat("table ", Qualified(table), " was dropped or renamed during its copy"));
    }
    if (!IsLockRefused(locked)) return WithContext(locked, "cannot lock a table for the copy");
    TOWLINE_RETURN_IF_ERROR(worker_.source().Exec("ROLLBACK").status());
    if (absl::Now() >= tell_at || absl::Now() >= deadline) {
      TOWLINE_ASSIGN_OR_RETURN(std::string holders, DescribeLockHolders(worker_.source()));
      std::string text =
          absl::StrCat("the copy waits for a lock on table ", Qualified(table),
                       ", held or wished for by ", holders.empty() ? "somebody" : holders);
      if (absl::Now() >= deadline) {
        return WithHint(absl::DeadlineExceededError(text),
                        "Let that transaction end, then run the same command again.");
      }
      LogInfo(text);
      tell_at = absl::Now() + kTellInterval;
    }
    if (!stop_.SleepFor(kPause)) return absl::CancelledError("shutting down");
  }
}

// The transaction's first query, which takes its snapshot.
absl::Status RangeWorker::CheckForm(const RangedCopy& copy) {
  absl::StatusOr<std::string> form = ReadSourceForm(worker_.source(), copy.table.name);
  if (!form.ok() && !absl::IsNotFound(form.status())) return form.status();
  if (form.ok() && *form == copy.source_form) return absl::OkStatus();
  return CopyAgainError(copy.table.oid,
                        absl::StrCat("table ", Qualified(copy.table),
                                     " was emptied, rewritten or altered while its ranges were "
                                     "copied, and is copied again"));
}

absl::StatusOr<int64_t> RangeWorker::Copy(const RangedCopy& copy, const RangeRow& range,
                                          RangeQueue& queue) {
  TOWLINE_RETURN_IF_ERROR(BeginAndLock(copy.table));
  TOWLINE_RETURN_IF_ERROR(CheckForm(copy));
  TOWLINE_ASSIGN_OR_RETURN(Result taken,
                           worker_.source().Query("SELECT pg_catalog.pg_current_snapshot(), "
                                                  "pg_catalog.pg_current_wal_insert_lsn()"));
  TOWLINE_ASSIGN_OR_RETURN(Lsn lsn_after, Lsn::Parse(taken.Get(0, 1)));
  TOWLINE_RETURN_IF_ERROR(queue.Flush());
  TOWLINE_RETURN_IF_ERROR(StartRange(worker_.destination(), claim_, copy.table.name, range.ordinal,
                                     taken.GetString(0, 0), lsn_after));
  FaultPoint("copy:range-begun");
  CopyPart part;
  part.is_whole = false;
  part.bytes = copy.table.total_bytes / static_cast<int64_t>(copy.ranges.size());
  part.key_condition = KeyCondition(copy.key, range.keys);
  auto mark = [&](Connection& destination, int64_t rows) {
    absl::Status marked =
        MarkRangeCopied(destination, claim_, copy.table.name, range.ordinal, rows);
    FaultPoint("copy:range-marked");
    return marked;
  };
  TOWLINE_ASSIGN_OR_RETURN(int64_t rows, worker_.CopyPartOf(copy.table, copy.target, part, mark));
  FaultPoint("copy:range-done");
  TOWLINE_RETURN_IF_ERROR(worker_.EndReading());
  return rows;
}

absl::Status WorkOnRanges(const std::vector<RangedCopy>& tables, RangeWorker& worker,
                          RangeQueue& queue, CopyProgress& progress) {
  while (const Job* job = queue.Next()) {
    const RangedCopy& copy = tables[job->table];
    TOWLINE_ASSIGN_OR_RETURN(int64_t rows, worker.Copy(copy, copy.ranges[job->range], queue));
    if (!queue.Finish(*job, rows)) continue;
    TOWLINE_RETURN_IF_ERROR(worker.worker().MarkTable(copy.table.name, queue.rows(job->table)));
    progress.tables_done.fetch_add(1, std::memory_order_relaxed);
    if (auto* counts = progress.tables.Find(copy.table.name); counts != nullptr) counts->Finish();
    FaultPoint("copy:table-done");
  }
  return absl::OkStatus();
}

// Bounds are stored before the first row, so that whoever goes on has the same ranges.
absl::Status Divide(const CopierOptions& options, Connection& source, StateStore& store,
                    std::vector<RangedCopy>* tables) {
  bool has_divided = false;
  for (RangedCopy& copy : *tables) {
    if (!copy.ranges.empty()) continue;
    KeyChoice choice;
    choice.key = copy.key;
    int64_t count =
        PlanKeys(copy.table, choice, {CopyPlanner::kKeys, options.part_bytes}).range_count;
    TOWLINE_ASSIGN_OR_RETURN(std::vector<std::string> bounds,
                             ReadKeyBounds(source, copy.table, copy.key, count));
    TOWLINE_RETURN_IF_ERROR(store.AddRanges(copy.table.name, RangesBetween(bounds)));
    has_divided = true;
  }
  if (!has_divided) return absl::OkStatus();
  FaultPoint("copy:ranges-stored");
  TOWLINE_ASSIGN_OR_RETURN(std::vector<RangeRow> stored, store.ReadRanges());
  for (RangedCopy& copy : *tables) {
    copy.ranges.clear();
    for (const RangeRow& range : stored) {
      if (range.table == copy.table.name) copy.ranges.push_back(range);
    }
  }
  return absl::OkStatus();
}

// What an earlier try has done.
absl::Status CountDone(const std::vector<RangedCopy>& tables, RangeQueue& queue, StateStore& store,
                       CopyProgress& progress) {
  int64_t kept = 0;
  for (size_t i = 0; i < tables.size(); ++i) {
    const RangedCopy& copy = tables[i];
    int64_t share = copy.table.total_bytes / static_cast<int64_t>(copy.ranges.size());
    auto* counts = progress.tables.Find(copy.table.name);
    for (const RangeRow& range : copy.ranges) {
      if (range.state != "copied") continue;
      ++kept;
      progress.bytes_done += share;
      progress.rows_done += range.rows_done;
      if (counts != nullptr) counts->Add(share, range.rows_done);
    }
    if (!queue.is_done(i)) continue;
    if (counts != nullptr) counts->Finish();
    // A crash came between the last range and this.
    TOWLINE_RETURN_IF_ERROR(
        MarkPieceCopied(store.connection(), store.claim(), copy.table.name, queue.rows(i)));
    progress.tables_done.fetch_add(1, std::memory_order_relaxed);
  }
  LogInfo("copying rows in ranges of keys", {{"tables", absl::StrCat(tables.size())},
                                             {"ranges", absl::StrCat(queue.job_count())},
                                             {"ranges_kept", absl::StrCat(kept)}});
  return absl::OkStatus();
}

}  // namespace

absl::Status CopyRanges(const CopierOptions& options, std::vector<RangedCopy> tables,
                        StateStore& store, CopyProgress& progress, const Shutdown& shutdown) {
  Shutdown stop;  // the workers' own, so that one failure stops them all; outlives their sessions
  TOWLINE_ASSIGN_OR_RETURN(Connection flusher,
                           OpenSource(options, "ranges", {kBoundsLockTimeoutSql}, shutdown));
  TOWLINE_RETURN_IF_ERROR(Divide(options, flusher, store, &tables));
  flusher.set_shutdown(stop);
  RangeQueue queue(tables, std::move(flusher));
  TOWLINE_RETURN_IF_ERROR(CountDone(tables, queue, store, progress));
  LargeRowTurn large_row_turn;
  const size_t count =
      std::min(static_cast<size_t>(std::max(options.workers, 1)), queue.job_count());
  std::vector<RangeWorker> workers;
  for (size_t i = 0; i < count; ++i) {
    if (shutdown.is_requested()) return absl::CancelledError("shutting down");
    TOWLINE_ASSIGN_OR_RETURN(Connection source,
                             OpenSource(options, "copy", {kRuleSearchPathSql}, shutdown));
    // Origins other than those of the workers that have just ended, which may be held for a moment.
    const int origin = kSchemaOrigin + 1 + options.workers + static_cast<int>(i);
    TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                             OpenDestination(options, "copy", origin, store, stop));
    source.set_shutdown(stop);
    workers.emplace_back(options, store.claim(),
                         CopyWorker(std::move(source), std::move(destination),
                                    {store.claim(), /*lock_key=*/0, &large_row_turn,
                                     options.source.user(), options.rate_limit, &stop},
                                    &progress),
                         stop);
  }
  std::vector<std::thread> threads;
  for (RangeWorker& worker : workers) {
    queue.WorkerBegins();
    threads.emplace_back([&tables, &worker, &queue, &progress] {
      absl::Status status = WorkOnRanges(tables, worker, queue, progress);
      if (!status.ok()) queue.Fail(status);
      queue.WorkerEnds();
    });
  }
  while (!queue.Await(kWatchInterval)) {
    if (shutdown.is_requested()) queue.Fail(absl::CancelledError("shutting down"));
    if (!queue.failure().ok()) stop.Request();
  }
  for (std::thread& thread : threads) thread.join();
  return queue.failure();
}

}  // namespace towline

#include "snapshot/post_data_runner.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/timed_wait.h"
#include "schema/post_data.h"
#include "snapshot/copy_finish.h"
#include "snapshot/table_copier.h"

namespace towline {
namespace {

// How soon a wish to stop reaches the sessions.
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

// A statement that takes longer than this is worth a line of the log.
constexpr absl::Duration kTellAfter = absl::Seconds(10);

struct Job {
  const SchemaStatement* statement = nullptr;
  TableName table;
  bool is_alone = false;   // on its table
  bool is_serial = false;  // without parallel workers of the server
};

// What the sessions share. A job is given out when its table is free for it, so that none of them
// waits for another's lock: the wait would count against lock_timeout, which is meant for others.
class JobQueue {
 public:
  JobQueue(std::vector<Job> jobs, size_t workers) : left_(std::move(jobs)), running_(workers) {}

  // Waits until one may begin; nothing: none is left, or one has failed.
  std::optional<Job> Next() {
    absl::MutexLock lock(&mutex_);
    while (failure_.ok() && !left_.empty()) {
      auto job = std::find_if(left_.begin(), left_.end(), [this](const Job& each) {
        mutex_.AssertHeld();
        auto used = used_.find(each.table);
        return used == used_.end() || (!each.is_alone && !used->second.is_alone);
      });
      if (job != left_.end()) {
        Job taken = std::move(*job);
        left_.erase(job);
        Use& use = used_[taken.table];
        ++use.jobs;
        use.is_alone = taken.is_alone;
        return taken;
      }
      changed_.Wait(&mutex_);
    }
    return std::nullopt;
  }

  void Finish(const Job& job) {
    absl::MutexLock lock(&mutex_);
    auto use = used_.find(job.table);
    if (--use->second.jobs == 0) used_.erase(use);
    changed_.SignalAll();
  }

  // The first error is the cause; those that follow (cancelled) are its consequences.
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (failure_.ok()) failure_ = status;
    changed_.SignalAll();
  }

  void WorkerEnds() {
    absl::MutexLock lock(&mutex_);
    --running_;
    ended_.Notify();
  }

  // Waits for the workers' end or the timeout. True: all have ended.
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
  struct Use {
    size_t jobs = 0;
    bool is_alone = false;
  };
  absl::Mutex mutex_;
  absl::CondVar changed_;
  TimedWait ended_;
  std::vector<Job> left_ ABSL_GUARDED_BY(mutex_);
  std::map<TableName, Use> used_ ABSL_GUARDED_BY(mutex_);
  size_t running_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

class Runner {
 public:
  Runner(const SchemaRun& run, const std::map<TableName, int64_t>& bytes, StateStore& store,
         const Shutdown& shutdown)
      : run_(run), bytes_(bytes), store_(store), shutdown_(shutdown), claim_(store.claim()) {}

  absl::Status Open(const CopierOptions& options, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      if (shutdown_.is_requested()) return absl::CancelledError("shutting down");
      TOWLINE_ASSIGN_OR_RETURN(
          Connection session,
          OpenDestination(options, "index", kSchemaOrigin + static_cast<int>(i), store_, stop_));
      TOWLINE_RETURN_IF_ERROR(SetIndexMemory(session, options.index_memory));
      sessions_.push_back({std::move(session)});
    }
    return absl::OkStatus();
  }

  absl::Status RunStep(const std::vector<SchemaStatement>& statements, const PostDataStep& step) {
    std::vector<Job> at_once;
    for (size_t index : step.at_once) {
      PostData found = ClassifyPostData(statements[index].statement);
      bool is_alone = found.kind != PostDataKind::kIndex;
      auto bytes = bytes_.find(found.table);
      bool is_serial = step.at_once.size() > 1 && sessions_.size() > 1 && bytes != bytes_.end() &&
                       bytes->second <= kSerialTableBytesMax;
      at_once.push_back({&statements[index], std::move(found.table), is_alone, is_serial});
    }
    TOWLINE_RETURN_IF_ERROR(RunJobs(std::move(at_once), sessions_.size()));
    std::vector<Job> in_order;
    for (size_t index : step.in_order) in_order.push_back({&statements[index], {}, true});
    return RunJobs(std::move(in_order), 1);
  }

 private:
  struct Session {
    Connection connection;
    bool is_serial = false;
  };

  static absl::Status SetSerial(Session& session, bool is_serial) {
    if (session.is_serial == is_serial) return absl::OkStatus();
    session.is_serial = is_serial;
    return session.connection
        .Exec(is_serial ? "SET max_parallel_maintenance_workers = 0"
                        : "RESET max_parallel_maintenance_workers")
        .status();
  }

  absl::Status RunJobs(std::vector<Job> jobs, size_t workers) {
    workers = std::min(workers, jobs.size());
    JobQueue queue(std::move(jobs), workers);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < workers; ++i) {
      threads.emplace_back([this, &queue, &session = sessions_[i]] {
        absl::Status status = Work(queue, session);
        if (!status.ok()) queue.Fail(status);
        queue.WorkerEnds();
      });
    }
    while (!queue.Await(kWatchInterval)) {
      if (shutdown_.is_requested()) queue.Fail(absl::CancelledError("shutting down"));
      if (!queue.failure().ok()) stop_.Request();
    }
    for (std::thread& thread : threads) thread.join();
    return queue.failure();
  }

  absl::Status Work(JobQueue& queue, Session& session) {
    while (std::optional<Job> job = queue.Next()) {
      const SchemaStatement& statement = *job->statement;
      const absl::Time began = SteadyNow();
      if (statement.is_setting) {
        // Nothing else runs meanwhile: it is for all of them.
        for (Session& each : sessions_) {
          TOWLINE_RETURN_IF_ERROR(ApplySchemaSetting(each.connection, statement.statement));
        }
      } else {
        TOWLINE_RETURN_IF_ERROR(SetSerial(session, job->is_serial));
        TOWLINE_RETURN_IF_ERROR(RunSchemaStatement(session.connection, claim_, run_, statement));
      }
      const absl::Duration time = SteadyNow() - began;
      (time >= kTellAfter ? LogInfo : LogDebug)(
          "schema statement done",
          {{"statement", ShortStatement(statement.statement)},
           {"duration", absl::FormatDuration(absl::Trunc(time, absl::Milliseconds(1)))}});
      queue.Finish(*job);
    }
    return absl::OkStatus();
  }

  const SchemaRun& run_;
  const std::map<TableName, int64_t>& bytes_;  // of tables, as far as known
  StateStore& store_;
  const Shutdown& shutdown_;
  const TaskClaim claim_;
  Shutdown stop_;  // the sessions' own, so that one failure stops them all
  std::vector<Session> sessions_;
};

int64_t BytesOf(const std::map<TableName, int64_t>& bytes, const TableName& table) {
  auto found = bytes.find(table);
  return found == bytes.end() ? 0 : found->second;
}

}  // namespace

std::vector<PostDataStep> PlanPostData(absl::Span<const SchemaStatement> statements,
                                       const std::map<TableName, int64_t>& bytes) {
  struct Order {
    int64_t bytes = 0;
    bool is_key = false;  // first, as nothing else can be done on the table meanwhile
  };
  std::vector<Order> orders(statements.size());
  std::vector<PostDataStep> steps;
  bool is_open = false;  // the last step takes more at once
  for (size_t i = 0; i < statements.size(); ++i) {
    if (statements[i].is_done) continue;
    PostData found =
        statements[i].is_setting ? PostData{} : ClassifyPostData(statements[i].statement);
    bool is_at_once = found.kind == PostDataKind::kIndex || found.kind == PostDataKind::kKey ||
                      found.kind == PostDataKind::kValidation;
    if (steps.empty() || (is_at_once && !is_open)) {
      steps.emplace_back();
      is_open = true;
    }
    if (is_at_once) {
      orders[i] = {BytesOf(bytes, found.table), found.kind == PostDataKind::kKey};
      steps.back().at_once.push_back(i);
    } else {
      steps.back().in_order.push_back(i);
      is_open = is_open && found.kind == PostDataKind::kDetail;
    }
  }
  for (PostDataStep& step : steps) {
    std::stable_sort(step.at_once.begin(), step.at_once.end(), [&orders](size_t a, size_t b) {
      if (orders[a].bytes != orders[b].bytes) return orders[a].bytes > orders[b].bytes;
      return orders[a].is_key && !orders[b].is_key;
    });
  }
  return steps;
}

void KeepWanted(absl::FunctionRef<bool(const PostData&)> is_wanted,
                std::vector<SchemaStatement>* statements) {
  bool may_run = true;
  for (SchemaStatement& statement : *statements) {
    if (statement.is_setting) continue;
    const PostData found = ClassifyPostData(statement.statement);
    const bool is_index = found.kind == PostDataKind::kIndex || found.kind == PostDataKind::kKey;
    if (!is_index && found.kind != PostDataKind::kDetail && !statement.is_done) may_run = false;
    if (!may_run || !found.is_plain || !is_wanted(found)) statement.is_done = true;
  }
}

namespace {

absl::Status RunSteps(const CopierOptions& options, const SchemaRun& run,
                      std::vector<SchemaStatement> statements, std::vector<PostDataStep> steps,
                      const std::map<TableName, int64_t>& bytes, StateStore& store,
                      const Shutdown& shutdown) {
  size_t width = 1;
  for (const PostDataStep& step : steps) width = std::max(width, step.at_once.size());
  Runner runner(run, bytes, store, shutdown);
  TOWLINE_RETURN_IF_ERROR(runner.Open(
      options, std::min(width, static_cast<size_t>(std::max(options.index_workers, 1)))));
  for (PostDataStep& step : steps) {
    if (!step.at_once.empty()) {
      // One that ran may have marked others that are not needed any more (a foreign key that was
      // there already: its validation).
      TOWLINE_ASSIGN_OR_RETURN(statements, store.ReadSchemaStatements(run.section));
      std::erase_if(step.at_once, [&](size_t index) { return statements[index].is_done; });
    }
    TOWLINE_RETURN_IF_ERROR(runner.RunStep(statements, step));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPostDataAhead(const CopierOptions& options, const SchemaRun& run,
                              absl::FunctionRef<bool(const PostData&)> is_wanted,
                              const std::map<TableName, int64_t>& bytes, StateStore& store,
                              const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           store.ReadSchemaStatements(run.section));
  KeepWanted(is_wanted, &statements);
  std::vector<PostDataStep> steps = PlanPostData(statements, bytes);
  if (std::all_of(steps.begin(), steps.end(),
                  [](const PostDataStep& step) { return step.at_once.empty(); })) {
    return absl::OkStatus();
  }
  return RunSteps(options, run, std::move(statements), std::move(steps), bytes, store, shutdown);
}

absl::Status RunPostData(const CopierOptions& options, const SchemaRun& run,
                         const std::map<TableName, int64_t>& bytes, StateStore& store,
                         const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           store.ReadSchemaStatements(run.section));
  std::vector<PostDataStep> steps = PlanPostData(statements, bytes);
  return RunSteps(options, run, std::move(statements), std::move(steps), bytes, store, shutdown);
}

}  // namespace towline

#include "verify/comparison.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rate_limit.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/timed_wait.h"
#include "pg/quoting.h"
#include "state/verify_record.h"
#include "verify/deferred_constraints.h"
#include "verify/followed_task.h"
#include "verify/later_tables.h"
#include "verify/repair_file.h"
#include "verify/repairer.h"
#include "verify/table_plan.h"
#include "verify/table_recorder.h"
#include "verify/table_verifier.h"

namespace towline {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);

// Of a continuous comparison, in memory: all that are named stand in towline_state.
constexpr size_t kRowsKeptOfTable = 10;

// Of one table, before it is undecided because its columns are changed in each.
constexpr int kComparisonsMax = 4;

// Of the replication origins (state/origin.h) of the workers that repair: beyond those of any copy.
constexpr int kFirstOrigin = 9000;

class Comparison {
 public:
  Comparison(const VerifyOptions& options, const ComparisonHooks& hooks, const Shutdown& shutdown)
      : options_(options), hooks_(hooks), shutdown_(shutdown) {}

  absl::StatusOr<VerifyReport> Run() {
    const absl::Time started = SteadyNow();
    TOWLINE_RETURN_IF_ERROR(Plan());
    TOWLINE_RETURN_IF_ERROR(OpenRecord());
    if (options_.load.has_any()) {
      TOWLINE_ASSIGN_OR_RETURN(
          watch_, LoadWatch::Start({options_.source, options_.destination, task_.followed,
                                    options_.load, task_.stand_max},
                                   shutdown_));
    }
    rate_.SetBytesPerSecond(options_.bytes_rate);
    rate_.SetRowsPerSecond(options_.rows_rate);
    if (!options_.repair_sql_file.empty()) {
      TOWLINE_ASSIGN_OR_RETURN(file_, RepairFile::Open(options_.repair_sql_file));
    }
    TOWLINE_RETURN_IF_ERROR(Work());
    if (file_ != nullptr) TOWLINE_RETURN_IF_ERROR(file_->Close());
    VerifyReport report;
    report.task = task_.followed;
    report.mode = Mode();
    if (options_.percent < 100) absl::StrAppend(&report.mode, ", seed ", seed_);
    report.has_repaired = IsRepairing();
    report.run = record_ == nullptr ? 0 : record_->run();
    absl::Status seen = SeeWhatChanged(&report.later_tables);
    if (!seen.ok()) {
      LogWarning("cannot tell which tables have come or gone meanwhile",
                 {{"reason", std::string(seen.message())}});
    }
    for (TableJob& job : jobs_) report.tables.push_back(std::move(job.report));
    std::sort(report.tables.begin(), report.tables.end(),
              [](const TableReport& a, const TableReport& b) { return a.table < b.table; });
    report.seconds = absl::ToDoubleSeconds(SteadyNow() - started);
    if (record_ != nullptr) WarnUnlessRecorded(record_->End(VerifyVerdictName(report.verdict())));
    return report;
  }

 private:
  bool IsRepairing() const { return options_.is_repaired || !options_.repair_sql_file.empty(); }
  bool IsThrottled() const { return options_.bytes_rate > 0 || options_.rows_rate > 0; }
  bool IsSample() const { return options_.percent < 100; }

  std::string Mode() const {
    std::string mode = options_.is_count_only ? "counts" : "rows";
    if (IsSample()) absl::StrAppend(&mode, ", sample ", options_.percent, " %");
    if (options_.is_repaired) mode += ", repair";
    // Never gone on with: what was written into the file is mended nowhere, and may not be there.
    if (!options_.repair_sql_file.empty()) mode += ", repair into a file";
    if (options_.is_continuous) absl::StrAppend(&mode, ", ", VerifyRecord::kContinuousMode);
    return mode;
  }

  absl::Status Plan() {
    TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenVerifySession(options_.source, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                             OpenVerifySession(options_.destination, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(task_, FindFollowedTask({options_.source, options_.task,
                                                      options_.is_task_given, options_.stand_max},
                                                     source, destination, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(
        jobs_, PlanTables(source, destination, MakeFollower(), PlanOptions(), shutdown_));
    WarnOfAdded();
    if (hooks_.order == nullptr) return absl::OkStatus();
    return hooks_.order(source, destination, &jobs_);
  }

  TablePlanOptions PlanOptions() const {
    return {.selection = FollowedSelection(task_, options_.selection),
            .rules = options_.rules,
            .extension_rows = {},
            .finds_extension_tables = options_.compares_extension_tables,
            .apart = task_.apart,
            .shared = task_.shared};
  }

  // The configuration does not know of them, and may mean not to.
  void WarnOfAdded() const {
    for (const TableName& table : task_.added) {
      if (std::any_of(jobs_.begin(), jobs_.end(),
                      [&](const TableJob& job) { return job.report.table == table; })) {
        continue;
      }
      LogWarning("a table that was added to the task is not selected, and not compared",
                 {{"table", QuoteQualified(table.schema, table.name)},
                  {"hint", "Name it with --include too."}});
    }
  }

  Follower MakeFollower() const { return {task_.followed, task_.stand_max, shutdown_}; }

  // What is repaired must be written down; a comparison alone asks for no right to write.
  absl::Status OpenRecord() {
    seed_ = options_.seed.has_value() ? *options_.seed : std::random_device{}();
    if (task_.recorded.empty()) {
      if (!options_.resumes || options_.is_continuous) return absl::OkStatus();
      return WithHint(absl::FailedPreconditionError(
                          "only the comparison of a task is written down and can be resumed"),
                      "Leave --resume out.");
    }
    absl::StatusOr<std::unique_ptr<VerifyRecord>> record =
        VerifyRecord::Open({options_.destination, task_.recorded, Mode(), options_.resumes,
                            IsSample() ? std::make_optional(seed_) : std::nullopt,
                            options_.is_continuous, !options_.repair_sql_file.empty()},
                           shutdown_);
    if (!record.ok()) {
      const bool must_be = options_.is_continuous ? absl::IsUnavailable(record.status())
                                                  : options_.is_repaired || options_.resumes;
      if (must_be) return record.status();
      WarnUnlessRecorded(record.status());
      return absl::OkStatus();
    }
    record_ = *std::move(record);
    if (hooks_.on_run != nullptr) hooks_.on_run();
    if (IsSample()) TOWLINE_RETURN_IF_ERROR(TakeSeed(record_->seed().value_or(seed_)));
    return TakeOverJobs();
  }

  absl::Status TakeSeed(uint64_t recorded) {
    if (options_.seed.has_value() && *options_.seed != recorded) {
      return WithHint(
          absl::FailedPreconditionError(absl::StrCat(
              "the comparison that was interrupted is of other ranges: its seed is ", recorded)),
          "Leave --seed out.");
    }
    seed_ = recorded;
    return absl::OkStatus();
  }

  // What an interrupted run has done.
  absl::Status TakeOverJobs() {
    std::map<TableName, TableJob*> job_of;
    for (TableJob& job : jobs_) job_of[job.report.table] = &job;
    // Null: it is not compared any more, or is parked or gone and so not what was compared.
    auto find = [&](const TableName& table) -> absl::StatusOr<TableJob*> {
      auto found = job_of.find(table);
      if (found == job_of.end() || found->second->is_recorded) return nullptr;
      if (found->second->table.has_value()) return found->second;
      TOWLINE_RETURN_IF_ERROR(record_->ForgetTable(table));
      return nullptr;
    };
    for (const VerifiedTable& done : record_->done()) {
      TOWLINE_ASSIGN_OR_RETURN(TableJob * job, find(done.table));
      if (job == nullptr) continue;
      TOWLINE_RETURN_IF_ERROR(TakeOverDone(done, FormOf(*job), record_.get(), job));
    }
    for (const VerifyProgressRow& begun : record_->begun()) {
      TOWLINE_ASSIGN_OR_RETURN(TableJob * job, find(begun.so_far.table));
      if (job == nullptr) continue;
      TOWLINE_RETURN_IF_ERROR(TakeOver(begun, FormOf(*job), record_.get(), job));
    }
    return absl::OkStatus();
  }

  absl::Status SeeWhatChanged(std::vector<TableName>* later) {
    TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenVerifySession(options_.source, shutdown_));
    // The next round of a continuous comparison plans what has come.
    if (!options_.is_continuous) TOWLINE_RETURN_IF_ERROR(NoteLaterTables(source, later));
    return record_ == nullptr ? absl::OkStatus() : ForgetTablesGone(source);
  }

  absl::Status NoteLaterTables(Connection& source, std::vector<TableName>* later) const {
    TableSelection selection = FollowedSelection(task_, options_.selection);
    if (options_.compares_extension_tables) {
      TOWLINE_ASSIGN_OR_RETURN(const ExtensionRows rows, ReadExtensionRows(source));
      for (const auto& [table, condition] : rows) selection.extension_tables.push_back(table);
    }
    std::set<TableName> planned;
    for (const TableJob& job : jobs_) planned.insert(job.report.table);
    TOWLINE_ASSIGN_OR_RETURN(*later, FindLaterTables(source, selection, planned));
    if (later->empty()) return absl::OkStatus();
    LogWarning("tables came meanwhile, and are not compared",
               {{"tables", absl::StrCat(later->size())},
                {"first", QuoteQualified(later->front().schema, later->front().name)}});
    return absl::OkStatus();
  }

  // What was found in a table is told (`status`) until it is compared again, or is no more.
  absl::Status ForgetTablesGone(Connection& source) {
    TOWLINE_ASSIGN_OR_RETURN(const std::vector<TableName> known, record_->LookedAt());
    TOWLINE_ASSIGN_OR_RETURN(const std::vector<Table> tables, ReadTablesByName(source, known));
    std::vector<TableName> gone;
    for (const Table& table : tables) {
      if (table.oid == 0) gone.push_back(table.name);
    }
    return record_->Forget(gone);
  }

  std::string FormOf(const TableJob& job) const {
    return IsSample() ? absl::StrCat(job.table->form, " sample ", options_.percent, " ", seed_)
                      : job.table->form;
  }

  absl::Status Work() {
    const size_t count = std::min(static_cast<size_t>(std::max(1, options_.workers)), jobs_.size());
    {
      absl::MutexLock lock(&mutex_);
      progress_.tables = jobs_.size();
      for (const TableJob& job : jobs_) progress_.bytes += job.bytes;
      working_ = count;
    }
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; ++i) {
      threads.emplace_back([this, i] {
        absl::Status ended = WorkerLoop(static_cast<int>(i));
        absl::MutexLock lock(&mutex_);
        status_.Update(ended);
        --working_;
        ended_.Notify();
      });
    }
    ShowProgress();
    for (std::thread& thread : threads) thread.join();
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  // Until all workers have ended.
  void ShowProgress() {
    auto is_over = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return working_ == 0; };
    for (bool is_last = false; !is_last;) {
      VerifyProgress now;
      {
        absl::MutexLock lock(&mutex_);
        is_last = ended_.Await(mutex_, is_over, kProgressInterval);
        now = progress_;
      }
      if (watch_ != nullptr) now.waiting_for = watch_->waiting_for();
      hooks_.on_progress(now);
    }
  }

  absl::Status WorkerLoop(int worker) {
    std::optional<PairReader> reader;
    std::unique_ptr<Repairer> repairer;
    while (TableJob* job = NextJob()) {
      int64_t bytes_shown = 0;  // of this table
      if (job->table.has_value()) {
        if (!reader.has_value()) {
          TOWLINE_ASSIGN_OR_RETURN(reader, OpenReader());
          if (IsRepairing()) {
            TOWLINE_ASSIGN_OR_RETURN(
                repairer,
                Repairer::Open({options_.destination, task_.followed, kFirstOrigin + worker,
                                task_.stand_max, file_.get(), record_.get()},
                               shutdown_));
          }
        }
        TOWLINE_RETURN_IF_ERROR(
            WithContext(CompareTable(*reader, repairer.get(), job, &bytes_shown),
                        QuoteQualified(job->report.table.schema, job->report.table.name)));
      } else if (!job->is_recorded) {
        TableRecorder(record_.get(), job, "").End();
      }
      absl::MutexLock lock(&mutex_);
      if (!job->is_recorded && hooks_.on_table != nullptr) {
        hooks_.on_table(*job, record_ == nullptr ? 0 : record_->run());
      }
      if (options_.is_continuous && job->report.rows.size() > kRowsKeptOfTable) {
        job->report.rows.resize(kRowsKeptOfTable);
      }
      ++progress_.tables_done;
      progress_.bytes_done += job->bytes - bytes_shown;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PairReader> OpenReader() {
    TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenVerifySession(options_.source, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                             OpenVerifySession(options_.destination, shutdown_));
    return PairReader(std::move(source), std::move(destination), MakeFollower());
  }

  // Again, until the table has kept its shape for as long as it was compared: a column that came
  // meanwhile would not have been looked at.
  absl::Status CompareTable(PairReader& reader, Repairer* repairer, TableJob* job,
                            int64_t* bytes_shown) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_as_planned, IsAsPlanned(reader, *job));
    for (int compared = 1;; ++compared) {
      if (!is_as_planned) TOWLINE_RETURN_IF_ERROR(PlanAnew(reader, job));
      if (!job->table.has_value()) {
        TableRecorder(record_.get(), job, "").End();
        return absl::OkStatus();
      }
      TableRecorder recorder(record_.get(), job, FormOf(*job));
      recorder.Begin();
      TOWLINE_RETURN_IF_ERROR(CompareOnce(reader, repairer, job, &recorder, bytes_shown));
      TOWLINE_ASSIGN_OR_RETURN(is_as_planned, IsAsPlanned(reader, *job));
      if (is_as_planned || !IsComparedAgain(compared, job)) {
        recorder.End();
        return absl::OkStatus();
      }
    }
  }

  static absl::StatusOr<bool> IsAsPlanned(PairReader& reader, const TableJob& job) {
    TOWLINE_ASSIGN_OR_RETURN(
        const PairShape shape,
        ReadPairShape(reader.source(), reader.destination(), job.report.table));
    return shape == job.shape;
  }

  // Of a table whose columns were changed while it was compared; else the report says why not.
  bool IsComparedAgain(int compared, TableJob* job) const {
    const TableName& table = job->report.table;
    if (file_ != nullptr && job->report.repaired > 0) {
      job->report.note =
          "its columns were changed after statements for it had been written into the file";
    } else if (compared == kComparisonsMax) {
      job->report.note =
          absl::StrCat("its columns were changed during each of ", compared, " comparisons of it");
    } else {
      LogInfo("verify compares a table again: its columns were changed meanwhile",
              {{"table", QuoteQualified(table.schema, table.name)}});
      return true;
    }
    job->report.verdict = VerifyVerdict::kUndecided;
    return false;
  }

  // The table as it is by now. Leaves no table to compare where the report says all.
  absl::Status PlanAnew(PairReader& reader, TableJob* job) {
    const TableName table = job->report.table;
    WarnUnlessRecorded(BeginAnew(record_.get(), job));
    job->table.reset();
    TablePlanOptions options = PlanOptions();
    options.selection.include = {QuoteQualified(table.schema, table.name)};
    absl::StatusOr<std::vector<TableJob>> planned =
        PlanTables(reader.source(), reader.destination(), MakeFollower(), options, shutdown_);
    if (absl::IsCancelled(planned.status()) || absl::IsUnavailable(planned.status())) {
      return planned.status();
    }
    if (!planned.ok() || planned->empty()) {
      job->report.verdict = VerifyVerdict::kUndecided;
      job->report.note = planned.ok() || absl::IsInvalidArgument(planned.status())
                             ? "it has gone from the source since the comparison began"
                             : Describe(planned.status());
      return absl::OkStatus();
    }
    TableJob& now = planned->front();
    job->report.verdict = now.report.verdict;
    job->report.note = std::move(now.report.note);
    job->table = std::move(now.table);
    job->shape = std::move(now.shape);
    return absl::OkStatus();
  }

  absl::Status CompareOnce(PairReader& reader, Repairer* repairer, TableJob* job,
                           TableRecorder* recorder, int64_t* bytes_shown) {
    TableVerifyOptions options;
    options.is_count_only = options_.is_count_only;
    options.percent = options_.percent;
    options.seed = seed_;
    options.rate = IsThrottled() ? &rate_ : nullptr;
    options.repairer = repairer;
    options.watch = watch_.get();
    options.part_bytes = options_.part_bytes;
    options.resumed = job->resumed.has_value() ? &*job->resumed : nullptr;
    options.written_since = job->written_since;
    // One that goes on has begun long before.
    if (options_.is_continuous && !job->resumed.has_value()) {
      TOWLINE_ASSIGN_OR_RETURN(job->begun, ReadWriteMark(reader.source(), reader.destination()));
    }
    options.on_progress = [&](const RangeProgress& progress) {
      recorder->Save(progress);
      ShowTable(*job, progress, bytes_shown);
    };
    const TableName& table = job->report.table;
    TOWLINE_ASSIGN_OR_RETURN(CopyMark before,
                             ReadCopyMark(reader.destination(), task_.recorded, table));
    TOWLINE_RETURN_IF_ERROR(
        VerifyTable(reader, *std::move(job->table), options, shutdown_, &job->report));
    if (job->report.verdict == VerifyVerdict::kEqual && !options_.is_count_only && !IsSample()) {
      TOWLINE_RETURN_IF_ERROR(CheckConstraints(reader.destination(), &job->report));
    }
    if (job->report.verdict != VerifyVerdict::kEqual) {
      TOWLINE_ASSIGN_OR_RETURN(CopyMark after,
                               ReadCopyMark(reader.destination(), task_.recorded, table));
      if (!before.Fits(after)) {
        job->report.verdict = VerifyVerdict::kUndecided;
        job->report.note =
            "it left the stream, or was copied again, meanwhile: what differs may be owed to that";
      }
    }
    return absl::OkStatus();
  }

  static absl::Status CheckConstraints(Connection& destination, TableReport* report) {
    absl::StatusOr<std::string> broken = FindBrokenConstraints(destination, report->table);
    if (absl::IsCancelled(broken.status()) || absl::IsUnavailable(broken.status())) {
      return broken.status();
    }
    if (!broken.ok()) {
      report->verdict = VerifyVerdict::kUndecided;
      report->note = Describe(broken.status());
    } else if (!broken->empty()) {
      report->verdict = VerifyVerdict::kDifferent;
      report->note = absl::StrCat(
          "its rows are the source's, and break deferrable constraints of the destination, which "
          "nothing enforces for what Towline writes: ",
          *broken);
    }
    return absl::OkStatus();
  }

  void ShowTable(const TableJob& job, const RangeProgress& progress, int64_t* bytes_shown) {
    const double ranges = static_cast<double>(progress.bounds.size() + 1) * options_.percent / 100;
    const double share = std::min(1.0, static_cast<double>(progress.ranges_done) / ranges);
    const auto bytes = static_cast<int64_t>(share * static_cast<double>(job.bytes));
    absl::MutexLock lock(&mutex_);
    progress_.bytes_done += bytes - *bytes_shown;
    *bytes_shown = bytes;
  }

  // Null: none is left, or another worker has failed.
  TableJob* NextJob() {
    absl::MutexLock lock(&mutex_);
    if (!status_.ok() || next_ == jobs_.size()) return nullptr;
    return &jobs_[next_++];
  }

  const VerifyOptions& options_;
  const ComparisonHooks& hooks_;
  const Shutdown& shutdown_;
  FollowedTask task_;
  uint64_t seed_ = 0;
  std::unique_ptr<VerifyRecord> record_;  // null: nothing is written down
  std::unique_ptr<LoadWatch> watch_;      // null: nothing is given way to
  std::unique_ptr<RepairFile> file_;      // null: what differs is not written there
  RateLimit rate_;                        // of all workers
  std::vector<TableJob> jobs_;
  absl::Mutex mutex_;
  TimedWait ended_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t working_ ABSL_GUARDED_BY(mutex_) = 0;  // threads
  VerifyProgress progress_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<Connection> OpenVerifySession(const ConnectOptions& options,
                                             const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = "towline verify";
  // The planner takes every key for a group of its own, and would sort all rows where a few
  // thousand buckets fit into a hash table.
  purpose.settings = {kRuleSearchPathSql, "SET enable_sort = off"};
  return Connection::Open(options, purpose, shutdown);
}

absl::StatusOr<VerifyReport> CompareTables(const VerifyOptions& options,
                                           const ComparisonHooks& hooks, const Shutdown& shutdown) {
  return Comparison(options, hooks, shutdown).Run();
}

}  // namespace towline

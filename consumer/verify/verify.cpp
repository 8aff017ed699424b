#include "verify/verify.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/extension_tables.h"
#include "schema/table_fit.h"
#include "state/state_store.h"
#include "verify/compared_table.h"
#include "verify/table_verifier.h"

namespace towline {
namespace {

// A task whose slot nobody reads will not move; the slot is free for a moment between two tries.
constexpr absl::Duration kIdleStandMax = absl::Seconds(5);

absl::StatusOr<Connection> OpenSession(const ConnectOptions& options, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = "towline verify";
  // The planner takes every key for a group of its own, and would sort all rows where a few
  // thousand buckets fit into a hash table.
  purpose.settings = {kRuleSearchPathSql, "SET enable_sort = off"};
  return Connection::Open(options, purpose, shutdown);
}

absl::Status CheckSide(absl::string_view side, const ServerIdentity& known,
                       const ServerIdentity& found) {
  bool is_system_same = known.system_identifier == found.system_identifier ||
                        known.system_identifier == 0 || found.system_identifier == 0;
  if (is_system_same && known.database_oid == found.database_oid) return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      "the ", side, " is not the database that the task was made for")),
                  absl::StrCat("Correct the URI of the ", side, ", or --task."));
}

// One table's place in the work: what is to be compared, or already why it is not.
struct Job {
  TableReport report;
  std::optional<ComparedTable> table;
  int64_t bytes = 0;
};

class Verifier {
 public:
  Verifier(const VerifyOptions& options, const Shutdown& shutdown)
      : options_(options), shutdown_(shutdown), rules_(options.rules) {}

  absl::StatusOr<VerifyReport> Run(const std::function<void(const VerifyProgress&)>& on_progress) {
    absl::Time started = absl::Now();
    TOWLINE_RETURN_IF_ERROR(Plan());
    TOWLINE_RETURN_IF_ERROR(Work(on_progress));
    VerifyReport report;
    report.task = task_;
    for (Job& job : jobs_) report.tables.push_back(std::move(job.report));
    std::sort(report.tables.begin(), report.tables.end(),
              [](const TableReport& a, const TableReport& b) { return a.table < b.table; });
    report.seconds = absl::ToDoubleSeconds(absl::Now() - started);
    return report;
  }

 private:
  absl::Status Plan() {
    TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenSession(options_.source, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(Connection destination, OpenSession(options_.destination, shutdown_));
    TOWLINE_RETURN_IF_ERROR(FindTask(source, destination));
    TableSelection selection = options_.selection;
    ExtensionRows extension_rows;
    if (options_.compares_extension_tables) {
      TOWLINE_ASSIGN_OR_RETURN(extension_rows, ReadExtensionRows(source));
      for (const auto& [table, condition] : extension_rows) {
        selection.extension_tables.push_back(table);
      }
    }
    TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTables(source, selection));
    // Rows stand in leaves; those of an unlogged table are not in the log.
    std::erase_if(tables,
                  [](const Table& table) { return table.kind == 'p' || table.persistence == 'u'; });
    extension_rows = SelectedRows(extension_rows, tables);
    AddExtensionRules(extension_rows, &rules_);
    TOWLINE_ASSIGN_OR_RETURN(
        tables, PublishTables(source, rules_, std::move(tables), AssignmentCheck::kSkip));
    std::vector<TableName> names;
    for (const Table& table : tables) names.push_back(table.name);
    TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> others, ReadTablesByName(destination, names));
    TOWLINE_ASSIGN_OR_RETURN(hash_, ChooseHash(source, destination));
    for (size_t i = 0; i < tables.size(); ++i) {
      auto condition = extension_rows.find(tables[i].name);
      PlanTable(tables[i], others[i],
                condition == extension_rows.end() ? "" : AsOperand(condition->second));
    }
    // The largest first: with several workers the end is not one of them alone.
    std::stable_sort(jobs_.begin(), jobs_.end(),
                     [](const Job& a, const Job& b) { return a.bytes > b.bytes; });
    return absl::OkStatus();
  }

  absl::Status FindTask(Connection& source, Connection& destination) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<TaskRow> tasks, StateStore::ListTasks(destination));
    auto found = std::find_if(tasks.begin(), tasks.end(),
                              [this](const TaskRow& row) { return row.task == options_.task; });
    if (found == tasks.end()) {
      if (!options_.is_task_given) return absl::OkStatus();
      std::vector<std::string> names;
      for (const TaskRow& row : tasks) names.push_back(row.task);
      return WithHint(
          absl::NotFoundError(absl::StrCat("there is no task \"", options_.task, "\"")),
          names.empty()
              ? "Leave --task out to compare two databases as they are."
              : absl::StrCat("Tasks at this destination: ", absl::StrJoin(names, ", "), "."));
    }
    TOWLINE_ASSIGN_OR_RETURN(ServerIdentity source_identity,
                             ReadSourceIdentity(source, options_.source, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(ServerIdentity destination_identity, ReadServerIdentity(destination));
    TOWLINE_RETURN_IF_ERROR(CheckSide("source", found->source, source_identity));
    TOWLINE_RETURN_IF_ERROR(CheckSide("destination", found->destination, destination_identity));
    TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces,
                             StateStore::ReadPieces(destination, found->task));
    for (const PieceRow& piece : pieces) {
      if (piece.state != "copied" && piece.state != "streamed") unfinished_.push_back(piece.table);
    }
    // Without a slot (stages without stream) nothing moves, and nothing is waited for.
    if (!found->position.is_valid()) return absl::OkStatus();
    task_ = found->task;
    stand_max_ = options_.stand_max;
    TOWLINE_ASSIGN_OR_RETURN(Result slot,
                             source.Query("SELECT active FROM pg_catalog.pg_replication_slots "
                                          "WHERE slot_name = $1",
                                          {{found->slot}}));
    if (slot.row_count() == 0 || !slot.GetBool(0, 0)) {
      stand_max_ = std::min(stand_max_, kIdleStandMax);
    }
    return absl::OkStatus();
  }

  void PlanTable(const Table& source, const Table& destination,
                 const std::string& destination_where) {
    Job job;
    job.report.table = source.name;
    job.bytes = source.total_bytes;
    const TableRule* rule = FindRule(rules_, source);
    auto decide = [&job](VerifyVerdict verdict, std::string note) {
      job.report.verdict = verdict;
      job.report.note = std::move(note);
    };
    std::vector<std::string> misfit;
    if (destination.oid != 0) misfit = DescribeMisfit(source, destination);
    if (std::find(unfinished_.begin(), unfinished_.end(), source.name) != unfinished_.end()) {
      decide(VerifyVerdict::kUndecided, "it is not copied yet");
    } else if (rule != nullptr && rule->operations != RuleOperations()) {
      decide(VerifyVerdict::kUndecided,
             "its rule leaves operations out, so the two may differ; leave it out (--exclude)");
    } else if (destination.oid == 0) {
      decide(VerifyVerdict::kDifferent, "it is missing at the destination");
    } else if (!misfit.empty()) {
      decide(VerifyVerdict::kDifferent, absl::StrJoin(misfit, "; "));
    } else {
      job.table = MakeComparedTable(source, destination, rule, destination_where, hash_);
    }
    jobs_.push_back(std::move(job));
  }

  absl::Status Work(const std::function<void(const VerifyProgress&)>& on_progress) {
    {
      absl::MutexLock lock(&mutex_);
      progress_.tables = jobs_.size();
      for (const Job& job : jobs_) progress_.bytes += job.bytes;
    }
    std::vector<std::thread> threads;
    auto count = static_cast<size_t>(std::max(1, options_.workers));
    for (size_t i = 0; i < std::min(count, jobs_.size()); ++i) {
      threads.emplace_back([&] {
        absl::Status ended = WorkerLoop(on_progress);
        absl::MutexLock lock(&mutex_);
        status_.Update(ended);
      });
    }
    for (std::thread& thread : threads) thread.join();
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  absl::Status WorkerLoop(const std::function<void(const VerifyProgress&)>& on_progress) {
    std::optional<PairReader> reader;
    while (Job* job = NextJob()) {
      if (job->table.has_value()) {
        if (!reader.has_value()) {
          TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenSession(options_.source, shutdown_));
          TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                                   OpenSession(options_.destination, shutdown_));
          reader.emplace(std::move(source), std::move(destination),
                         Follower(task_, stand_max_, shutdown_));
        }
        TOWLINE_RETURN_IF_ERROR(
            WithContext(VerifyTable(*reader, *std::move(job->table), options_.is_count_only,
                                    shutdown_, &job->report),
                        QuoteQualified(job->report.table.schema, job->report.table.name)));
      }
      absl::MutexLock lock(&mutex_);
      ++progress_.tables_done;
      progress_.bytes_done += job->bytes;
      on_progress(progress_);
    }
    return absl::OkStatus();
  }

  // Null: none is left, or another worker has failed.
  Job* NextJob() {
    absl::MutexLock lock(&mutex_);
    if (!status_.ok() || next_ == jobs_.size()) return nullptr;
    return &jobs_[next_++];
  }

  const VerifyOptions& options_;
  const Shutdown& shutdown_;
  TableRules rules_;
  std::string task_;  // empty: nothing is waited for
  absl::Duration stand_max_;
  RowHash hash_ = RowHash::kMd5;
  std::vector<TableName> unfinished_;
  std::vector<Job> jobs_;
  absl::Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  VerifyProgress progress_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<VerifyReport> Verify(const VerifyOptions& options,
                                    const std::function<void(const VerifyProgress&)>& on_progress,
                                    const Shutdown& shutdown) {
  return Verifier(options, shutdown).Run(on_progress);
}

}  // namespace towline

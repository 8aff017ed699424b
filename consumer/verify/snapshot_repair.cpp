#include "verify/snapshot_repair.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "state/task_name.h"
#include "verify/pair_reader.h"
#include "verify/repairer.h"
#include "verify/report_record.h"
#include "verify/table_verifier.h"

namespace towline {
namespace {

// The planner would sort all rows of a table where a few thousand buckets fit into a hash table.
constexpr char kNoSortSql[] = "SET enable_sort = off";

enum class Pass { kRepair, kDelete };
// What a look that finds something does about it. The last is a look that must find nothing.
constexpr Pass kPasses[] = {Pass::kRepair, Pass::kRepair, Pass::kDelete, Pass::kRepair,
                            Pass::kRepair};

bool HasDifferences(const TableReport& report) {
  return report.missing + report.extra + report.different + report.undecided > 0;
}

class SnapshotRepair {
 public:
  SnapshotRepair(const SnapshotRepairOptions& options, std::vector<TableJob> jobs,
                 const std::function<void(const TableReport&)>& on_table, const Shutdown& shutdown)
      : options_(options), jobs_(std::move(jobs)), on_table_(on_table), shutdown_(shutdown) {}

  absl::Status Run(std::vector<Connection> readers) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < readers.size(); ++i) {
      threads.emplace_back([this, i, source = std::move(readers[i])]() mutable {
        absl::Status ended = Work(static_cast<int>(i), std::move(source));
        absl::MutexLock lock(&mutex_);
        status_.Update(ended);
      });
    }
    for (std::thread& thread : threads) thread.join();
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  absl::Status Work(int worker, Connection source) {
    TOWLINE_RETURN_IF_ERROR(source.Exec(kNoSortSql).status());
    Connection::Purpose purpose;
    purpose.application_name = DestinationApplication(options_.claim.task, "heal");
    purpose.settings = {kRuleSearchPathSql, kNoSortSql};
    TOWLINE_ASSIGN_OR_RETURN(Connection destination,
                             Connection::Open(options_.destination, purpose, shutdown_));
    PairReader reader = PairReader::Held(std::move(source), std::move(destination), shutdown_);
    TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<Repairer> repairer,
                             Repairer::Open({.destination = options_.destination,
                                             .task = "",
                                             .origin_number = options_.first_origin + worker,
                                             .wait_max = absl::ZeroDuration(),
                                             .file = nullptr,
                                             .record = options_.record,
                                             .claim = options_.claim},
                                            shutdown_));
    while (TableJob* job = NextJob()) {
      const absl::Time started = SteadyNow();
      TOWLINE_RETURN_IF_ERROR(options_.record->BeginTable(job->report.table));
      TOWLINE_RETURN_IF_ERROR(RepairTable(reader, *repairer, *job));
      TOWLINE_RETURN_IF_ERROR(
          options_.record->AddTable(ToRecord(job->report, SteadyNow() - started)));
      absl::MutexLock lock(&mutex_);
      on_table_(job->report);
    }
    return absl::OkStatus();
  }

  absl::Status RepairTable(PairReader& reader, Repairer& repairer, TableJob& job) {
    const TableName name = job.report.table;
    bool is_first = true;
    TableReport last;
    repairer.TakeClashLeft();  // of another table
    for (Pass pass : kPasses) {
      // What else is refused would be refused again, with the rows gone.
      if (pass == Pass::kDelete && !repairer.TakeClashLeft()) continue;
      TableReport report;
      report.table = name;
      repairer.set_only_deletes(pass == Pass::kDelete);
      TOWLINE_RETURN_IF_ERROR(VerifyTable(
          reader, *job.table, {.rate = options_.rate, .repairer = &repairer}, shutdown_, &report));
      if (std::exchange(is_first, false)) {
        job.report = report;
      }
      if (report.verdict == VerifyVerdict::kEqual && !HasDifferences(report)) {
        job.report.verdict = VerifyVerdict::kEqual;
        job.report.repaired = job.report.missing + job.report.extra + job.report.different;
        return absl::OkStatus();
      }
      if (report.verdict == VerifyVerdict::kUndecided) {
        return Refuse(name, report.note);
      }
      last = std::move(report);
    }
    return Refuse(name, last.repair_note.empty() ? "its rows change while they are compared"
                                                 : last.repair_note);
  }

  static absl::Status Refuse(const TableName& name, const std::string& why) {
    return WithHint(absl::FailedPreconditionError(
                        absl::StrCat("table ", QuoteQualified(name.schema, name.name),
                                     " cannot be made what it is at the source: ", why)),
                    "Nobody but the task may write to it; mend what is in the way at the "
                    "destination (a constraint or a trigger that the source lacks), then run the "
                    "same command again.");
  }

  // Null: none is left, or another worker has failed.
  TableJob* NextJob() {
    absl::MutexLock lock(&mutex_);
    if (!status_.ok() || next_ == jobs_.size()) return nullptr;
    return &jobs_[next_++];
  }

  const SnapshotRepairOptions& options_;
  std::vector<TableJob> jobs_;
  const std::function<void(const TableReport&)>& on_table_;
  const Shutdown& shutdown_;
  absl::Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::Status RepairAtSnapshot(const SnapshotRepairOptions& options, std::vector<TableJob> jobs,
                              std::vector<Connection> readers,
                              const std::function<void(const TableReport&)>& on_table,
                              const Shutdown& shutdown) {
  return SnapshotRepair(options, std::move(jobs), on_table, shutdown).Run(std::move(readers));
}

}  // namespace towline

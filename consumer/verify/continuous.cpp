#include "verify/continuous.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "state/verify_record.h"
#include "verify/comparison.h"
#include "verify/recent_changes.h"

namespace towline {
namespace {

constexpr absl::Duration kRetryPauseMin = absl::Seconds(1);
constexpr absl::Duration kRetryPauseMax = absl::Seconds(30);

// A server that is restarted, a heal that takes its time.
bool IsPassing(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsDeadlineExceeded(status);
}

class ContinuousVerifier {
 public:
  ContinuousVerifier(const VerifyOptions& options,
                     const std::function<void(const VerifyProgress&)>& on_progress,
                     const Shutdown& shutdown)
      : options_(options),
        on_progress_(on_progress),
        shutdown_(shutdown),
        is_resumable_(options.resumes) {}

  absl::StatusOr<VerifyReport> Run() {
    const absl::Time started = SteadyNow();
    result_.rounds = 0;
    result_.mode = VerifyRecord::kContinuousMode;
    absl::Duration pause = kRetryPauseMin;
    while (!shutdown_.is_requested()) {
      const absl::Time round_started = SteadyNow();
      absl::StatusOr<VerifyReport> round = CompareTables(options_, Hooks(), shutdown_);
      if (shutdown_.is_requested() && !round.ok()) break;
      if (!round.ok() && !IsPassing(round.status())) return round.status();
      // A round of ours that was interrupted goes on; an older one only if that was asked for.
      if (round.ok()) is_resumable_ = false;
      options_.resumes = is_resumable_;
      if (!round.ok()) {
        LogWarning("verify tries again", {{"reason", std::string(round.status().message())},
                                          {"in", towline::FormatDuration(pause)}});
        shutdown_.SleepFor(pause);
        pause = std::min(pause * 2, kRetryPauseMax);
        continue;
      }
      pause = kRetryPauseMin;
      EndRound(*std::move(round));
      shutdown_.SleepFor(round_started + options_.interval - SteadyNow());
    }
    for (auto& [name, table] : last_) result_.tables.push_back(std::move(table));
    result_.seconds = absl::ToDoubleSeconds(SteadyNow() - started);
    return std::move(result_);
  }

 private:
  ComparisonHooks Hooks() {
    ComparisonHooks hooks;
    hooks.on_progress = [this](VerifyProgress progress) {
      progress.round = *result_.rounds + 1;
      on_progress_(progress);
    };
    hooks.order = [this](Connection& source, Connection& destination,
                         std::vector<TableJob>* jobs) -> absl::Status {
      counts_.clear();
      TOWLINE_RETURN_IF_ERROR(RecentChanges::Read(source, &counts_));
      TOWLINE_RETURN_IF_ERROR(RecentChanges::Read(destination, &counts_));
      changes_.Keep(*jobs);
      changes_.Order(counts_, jobs);
      return absl::OkStatus();
    };
    hooks.on_run = [this] { is_resumable_ = true; };
    hooks.on_table = [this](const TableJob& job, int64_t run) {
      if (job.report.verdict == VerifyVerdict::kDifferent) Tell(job.report, run);
      changes_.Compared(job.report.table, counts_, job.begun);
      Remember(job.report);
    };
    return hooks;
  }

  static void Tell(const TableReport& table, int64_t run) {
    LogWarning("a table differs", {{"table", QuoteQualified(table.table.schema, table.table.name)},
                                   {"missing", absl::StrCat(table.missing)},
                                   {"extra", absl::StrCat(table.extra)},
                                   {"different", absl::StrCat(table.different)},
                                   {"why", table.note},
                                   {"rows", absl::StrCat("towline_state.verify_row, run ", run)}});
  }

  void Remember(TableReport table) {
    result_.was_different |= table.verdict == VerifyVerdict::kDifferent;
    last_[table.table] = std::move(table);
  }

  void EndRound(VerifyReport round) {
    ++*result_.rounds;
    LogInfo("verify has compared all tables",
            {{"round", absl::StrCat(*result_.rounds)},
             {"run", absl::StrCat(round.run)},
             {"verdict", VerifyVerdictName(round.verdict())},
             {"tables", absl::StrCat(round.tables.size())},
             {"duration", towline::FormatDuration(absl::Seconds(round.seconds))}});
    // Those that an earlier process had done too; and no others any more.
    last_.clear();
    for (TableReport& table : round.tables) Remember(std::move(table));
    round.tables.clear();
    round.was_different = result_.was_different;
    round.rounds = result_.rounds;
    result_ = std::move(round);
  }

  VerifyOptions options_;
  const std::function<void(const VerifyProgress&)>& on_progress_;
  const Shutdown& shutdown_;
  bool is_resumable_;  // the round that has not come to its end
  VerifyReport result_;
  std::map<TableName, TableReport> last_;
  RecentChanges changes_;
  RecentChanges::Counts counts_;  // when the present round was planned
};

}  // namespace

absl::StatusOr<VerifyReport> VerifyContinuously(
    const VerifyOptions& options, const std::function<void(const VerifyProgress&)>& on_progress,
    const Shutdown& shutdown) {
  return ContinuousVerifier(options, on_progress, shutdown).Run();
}

}  // namespace towline

// What comparisons found and what was repaired, in towline_state.verify_run, .verify_result and
// .verify_row, for people and for a comparison that goes on where one was interrupted. The last
// kRunsKept runs of a task, of the rounds of continuous ones as many more that found all equal, and
// as many that did not; of each the first kRowsKept rows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "pg/connection.h"
#include "state/verify_look.h"

namespace towline {

struct VerifiedRow {
  std::string kind;  // missing, extra, different
  std::string key;
  std::vector<std::string> columns;
  bool is_repaired = false;
  std::string replaced;  // what the destination had; empty: nothing, or not asked for
};

struct VerifiedTable {
  TableName table;
  std::string verdict;  // equal, different, undecided
  int64_t source_rows = 0;
  int64_t destination_rows = 0;
  int64_t ranges = 0;
  int64_t missing = 0;
  int64_t extra = 0;
  int64_t different = 0;
  int64_t undecided = 0;
  int64_t repaired = 0;
  double seconds = 0;
  std::string note;
  std::string form;  // of what was compared with what, a short mark; empty: nothing was
  std::vector<VerifiedRow> rows;
};

// How far a table has come that is compared range after range.
struct VerifyProgressRow {
  VerifiedTable so_far;
  std::string form;                 // what is compared, and how: with another one it begins anew
  std::vector<std::string> bounds;  // of its ranges
  int64_t ranges_done = 0;          // of those that are compared, in their order
  std::vector<int64_t> order;       // which are compared, in this order; empty: as they lie
};

class VerifyRecord {
 public:
  static constexpr int64_t kRunsKept = 20;
  static constexpr int64_t kRowsKept = 10'000;
  // In the mode of a run that is a round of a continuous comparison.
  static constexpr char kContinuousMode[] = "continuous";

  struct Options {
    ConnectOptions destination;
    std::string task;
    std::string mode;      // what is compared and how
    bool resumes = false;  // the task's last run, if that was in this mode and has not ended
    std::optional<uint64_t> seed = std::nullopt;  // of a sample
    bool begins_if_none = false;                  // there is none to resume
    bool repairs_into_file = false;               // what it calls repaired differs still
  };

  // Begins a run, or goes on with one, on a session of its own. kFailedPrecondition: the schema is
  // of an older version, which the next `run` brings up, or there is nothing to resume, or another
  // process is at it.
  static absl::StatusOr<std::unique_ptr<VerifyRecord>> Open(const Options& options,
                                                            const Shutdown& shutdown);

  int64_t run() const { return run_; }
  // Of a run that goes on: the tables that are done, each with the rows that were written down.
  const std::vector<VerifiedTable>& done() const { return done_; }
  // The same of those that are not: what is known of them. No form: nothing but rows that were
  // repaired.
  const std::vector<VerifyProgressRow>& begun() const { return begun_; }
  // Of the run, whoever began it.
  std::optional<uint64_t> seed() const { return seed_; }

  // A table is looked at from now on. Where that was not said (nor by the run that goes on) the
  // look takes nothing back that others have found (state/verify_look.h). Any thread.
  absl::Status BeginTable(const TableName& table);
  // In the caller's transaction, on his session. Any thread.
  absl::Status AddRows(Connection& session, const TableName& table,
                       const std::vector<VerifiedRow>& rows);
  // A table begins anew, also one that was done: nothing is left of it but rows that were repaired.
  // Any thread.
  absl::Status ForgetTable(const TableName& table);
  // So many of its ranges are done. `so_far.rows`: those that were found since the last call; form,
  // bounds and order with the first one only. Any thread.
  absl::Status SaveProgress(const VerifyProgressRow& progress);
  // A table is done, with these rows beside those that were saved before. Those that were repaired
  // stand there already. If only the look could not be noted the rest is written, and the error
  // given. Any thread.
  absl::Status AddTable(const VerifiedTable& table);
  absl::Status End(const std::string& verdict);
  // The tables that this task's comparisons have looked at (state/verify_look.h), and those of them
  // that are gone.
  absl::StatusOr<std::vector<TableName>> LookedAt();
  absl::Status Forget(const std::vector<TableName>& gone);

 private:
  VerifyRecord(Connection session, const Options& options)
      : task_(options.task),
        mode_(options.mode),
        repairs_into_file_(options.repairs_into_file),
        session_(std::move(session)) {}
  absl::Status Begin(const Options& options, const Shutdown& shutdown);
  absl::Status Resume(const Options& options, const Shutdown& shutdown);
  absl::StatusOr<bool> FindRun(const Options& options, const Shutdown& shutdown);
  absl::Status LockRun(const Shutdown& shutdown) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Prune() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadDone();
  absl::Status ReadBegun(const std::vector<Param>& params,
                         std::map<TableName, std::vector<VerifiedRow>> rows_of)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Param> TableParams(const TableName& table) const;  // $1 to $4
  absl::Status AddRowsNotRepaired(const VerifiedTable& table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  VerifyLook LookOf(const VerifiedTable& table) const;

  const std::string task_;
  const std::string mode_;
  const bool repairs_into_file_;
  int64_t run_ = 0;
  std::optional<uint64_t> seed_;
  std::vector<VerifiedTable> done_;
  std::vector<VerifyProgressRow> begun_;
  absl::Mutex mutex_;
  Connection session_ ABSL_GUARDED_BY(mutex_);
  // Of the tables that are begun and not done (ReadKnownAt).
  std::map<TableName, std::string> known_at_ ABSL_GUARDED_BY(mutex_);
  absl::Mutex count_mutex_;
  int64_t rows_ ABSL_GUARDED_BY(count_mutex_) = 0;
};

}  // namespace towline

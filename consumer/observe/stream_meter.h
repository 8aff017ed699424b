// What the stream's threads count for /metrics and `status` beyond what a position tells: how late
// transactions are seen at the destination, how large batches are, where the time goes, and which
// tables change. It lives as long as the process, so that its counts only grow over attempts.
// Thread-safe.
//
// Latency is the time from the commit at the source to the moment when the destination has answered
// COMMIT, of each transaction that has brought changes. The commit time is the one in the source's
// log, by the source's clock; that clock is asked about once a second how far it is ahead of ours,
// with an error of half a round trip. Before the first answer nothing is counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/stage_clock.h"
#include "model/batch.h"
#include "observe/histogram.h"
#include "observe/task_status.h"

namespace towline {

class StreamMeter {
 public:
  // Tables with counts of their own; those that change later are counted together.
  static constexpr size_t kTablesMax = 1000;

  // Of the one thread that receives, and of the one that applies.
  StageClock& receiver_clock() { return receiver_clock_; }
  StageClock& applier_clock() { return applier_clock_; }

  // Of SteadyNow().
  void SetSourceClockAhead(absl::Duration ahead);
  // A batch, or a part of a transaction in parts, was applied; with the last part, or a whole
  // batch, its destination transaction was committed just now, `time` after its first statement.
  void CountBatch(const Batch& batch, absl::Duration time);
  // Committed with it.
  void CountTables(const std::vector<TableChanges>& tables);

  struct Histograms {
    Histogram latency_seconds{-4, 4};
    Histogram batch_rows{0, 6};
    Histogram apply_seconds{-3, 2};
  };
  Histograms histograms() const;
  // In the order of their names; the last, without a name, stands for all beyond kTablesMax.
  std::vector<TableChanges> tables() const;
  // Writes what `status` shows; latency and batches of the last half to one minute.
  void Show(absl::Time now, TaskStatus& status);

 private:
  void RotateWindow(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  StageClock receiver_clock_;
  StageClock applier_clock_;
  mutable absl::Mutex mutex_;
  std::optional<absl::Duration> source_clock_ahead_ ABSL_GUARDED_BY(mutex_);
  Histograms histograms_ ABSL_GUARDED_BY(mutex_);
  Histograms window_begin_ ABSL_GUARDED_BY(mutex_);  // as it was when the window began,
  Histograms window_middle_ ABSL_GUARDED_BY(mutex_);
  absl::Time middle_at_ ABSL_GUARDED_BY(mutex_);  // and when the next one will have begun
  int64_t rows_of_parts_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<TableName, TableChanges> tables_ ABSL_GUARDED_BY(mutex_);
  TableChanges other_tables_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace towline

// What is known of a running task, for `status`, the progress line and /metrics: one place that the
// stages' owners write and everybody reads. Thread-safe; values are copied.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "model/name.h"
#include "model/verify_summary.h"

namespace towline {

// A table of the initial copy.
struct TableStatus {
  TableName name;
  std::string state;        // waiting, copying, copied
  std::string copied_by;    // whole, keys, ctid; empty: not known
  std::string reason;       // why so; empty: not known
  int64_t bytes_total = 0;  // at the source when the copy was planned: the estimate
  int64_t bytes_done = 0;
  int64_t rows_estimate = -1;  // the source's statistics; -1: none
  int64_t rows_done = 0;
  double bytes_per_second = 0;  // of the last seconds
  double rows_per_second = 0;
  double eta_seconds = -1;  // -1: nobody knows
  double seconds = -1;      // from its first row to its last, or until now; -1: not known
  int64_t workers = 0;      // at most, at one time
};

// Changes of one table that were committed at the destination since the service started.
struct TableChanges {
  TableName name;
  int64_t inserted = 0;
  int64_t updated = 0;
  int64_t deleted = 0;
  int64_t truncated = 0;
};

struct ConflictTotal {
  std::string type;
  std::string resolution;
  int64_t count = 0;
};

// How far a heal is, and what it has found and mended; the last one's when it is over.
struct HealStatus {
  int64_t tables_total = 0;
  int64_t tables_done = 0;
  int64_t missing = 0;    // rows that were brought
  int64_t extra = 0;      // rows that were taken back
  int64_t different = 0;  // rows that were changed
};

// A table that is out of the stream, or of which something is asked (towline table).
struct TableNote {
  TableName name;
  std::string state;  // parked, removed, joining; asked; refused; rewritten
  std::string text;   // why it is parked; what is asked; what is refused, and why
};

// Its rows may differ since ALTER TABLE has written the source's anew; known to the process only.
inline constexpr char kRewrittenNote[] = "rewritten";

struct TaskStatus {
  std::string task;
  std::string state = "new";  // as in towline_state.task; also retrying, waiting
  std::string slot;
  std::string source;  // host, port, database; no secrets
  std::string destination;
  int64_t epoch = 0;
  int pid = 0;
  absl::Time since;  // of this state

  // copy
  int64_t tables_total = 0;
  int64_t tables_done = 0;
  int64_t copy_bytes_total = 0;
  int64_t copy_bytes_done = 0;
  int64_t copy_rows_done = 0;
  int64_t statements_total = 0;
  int64_t statements_done = 0;
  double copy_bytes_per_second = 0;  // of the last seconds
  double copy_rows_per_second = 0;
  double copy_eta_seconds = -1;  // -1: nobody knows
  int64_t copy_rate_max = 0;     // limits of now; 0: none
  int64_t copy_rows_max = 0;
  int64_t copy_speed_percent = 100;  // less while it gives way to the source
  std::string copy_gives_way_to;     // what is above its limit just now; empty: nothing
  std::string copy_note;  // of one that was interrupted: what stays of it, and why; else empty
  // Those being copied, then the largest; there may be thousands.
  std::vector<TableStatus> tables;
  int64_t tables_left_out = 0;

  // stream
  Lsn source_flush_lsn;
  Lsn received_lsn;
  Lsn position;  // committed at the destination
  Lsn durable_lsn;
  int64_t lag_bytes = 0;   // source_flush_lsn - durable position
  double lag_seconds = 0;  // source clock - commit time of the oldest pending transaction
  int64_t rows_inserted = 0;
  int64_t rows_updated = 0;
  int64_t rows_deleted = 0;
  int64_t truncates = 0;
  int64_t batches = 0;
  int64_t batches_refused = 0;  // as a whole, and then written in smaller pieces
  int64_t batches_clashed = 0;  // and then written as a whole, with updates as deletes and inserts
  int64_t transactions = 0;
  int64_t received_bytes = 0;
  int64_t queue_bytes = 0;
  // From commit at the source to visible at the destination, and rows of a destination transaction,
  // of the last half to one minute; negative: there were none.
  double latency_p50_seconds = -1;
  double latency_p99_seconds = -1;
  int64_t batch_rows_p50 = -1;
  int64_t batch_rows_p99 = -1;
  std::vector<std::pair<std::string, double>> stage_seconds;  // since the start; stage_clock.h
  std::vector<TableChanges> table_changes;                    // the most changed
  int64_t table_changes_left_out = 0;
  std::vector<TableName> parked;  // tables that have left the stream, at most kTablesShownMax
  int64_t parked_total = 0;
  std::vector<TableNote> table_notes;  // at most kTablesShownMax
  int64_t spool_transactions = 0;      // in progress at the source, received in part
  int64_t spool_memory_bytes = 0;
  int64_t spool_disk_bytes = 0;

  HealStatus heal;  // of this process; tables_total 0: none
  VerifySummary verify;

  // slot
  std::string wal_status;
  int64_t slot_safe_wal_bytes = -1;  // -1: unlimited
  int64_t slot_retained_bytes = 0;

  // retry and wait
  std::string waiting_for;  // what a wait is for, or why we retry
  int64_t retries = 0;
  absl::Duration retry_in;  // until the next try
  absl::Duration retry_window_left;
  int64_t conflicts = 0;  // that ever were, of which by type and resolution
  std::vector<ConflictTotal> conflict_totals;
  int64_t conflict_rows_dropped = 0;  // of which no row is in towline_state.conflict any more
  int64_t prepared = 0;               // transactions held prepared at the destination
  int64_t prepared_oldest_seconds = 0;
};

// Of TaskStatus::tables, ::table_changes: more is no use to a reader, and the answer of the socket
// is bounded.
inline constexpr size_t kTablesShownMax = 100;

class StatusBoard {
 public:
  TaskStatus Get() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  // Changes it under the lock: board.Update([&](TaskStatus& s) { s.state = ...; });
  template <typename Change>
  void Update(Change change) {
    absl::MutexLock lock(&mutex_);
    change(status_);
  }

 private:
  mutable absl::Mutex mutex_;
  TaskStatus status_ ABSL_GUARDED_BY(mutex_);
};

// The object that `status --json`, the control socket and /status give; names are stable.
std::string TaskStatusToJson(const TaskStatus& status);
// The way back, for whoever asked over a socket; what is missing keeps its default.
absl::StatusOr<TaskStatus> TaskStatusFromJson(absl::string_view json);

}  // namespace towline

// Watches one attempt from its takeover to its end, on sessions of its own: gives the destination
// our sign of life, notices a server that does not answer and a walsender that the source has
// ended, and keeps the StatusBoard. A query here is always quick, so a short limit tells a dead
// network from a slow statement, which the sessions that do the work cannot.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/lag_estimator.h"
#include "base/shutdown.h"
#include "observe/copy_progress.h"
#include "observe/stream_meter.h"
#include "observe/task_status.h"
#include "pg/connection.h"
#include "run/copy_brake.h"
#include "run/lock_waiters.h"
#include "run/stream_session.h"
#include "snapshot/slot.h"
#include "state/state_store.h"

namespace towline {

class Monitor {
 public:
  struct Options {
    ConnectOptions source;
    ConnectOptions destination;
    std::optional<ConnectOptions> source_standby;  // where the slot is, if not at the source
    TaskClaim claim;
    std::string slot;
    std::function<void()> on_failure;  // on the monitor's thread, once
    StreamMeter* meter = nullptr;      // borrowed
    CopyBrake* brake = nullptr;        // borrowed
    int64_t conflict_rows_max = 0;     // of towline_state.conflict
  };

  static absl::StatusOr<std::unique_ptr<Monitor>> Start(const Options& options, StateStore& store,
                                                        StatusBoard& board,
                                                        const Shutdown& shutdown);
  ~Monitor();

  // OK while it watches; why the attempt must end otherwise.
  absl::Status status() const;
  // The source's flushed position by the last look, invalid before the first.
  Lsn source_flush_lsn() const;

  // What to show; null takes it away. Neither may be destroyed before that.
  void Watch(CopyProgress* copy);
  void Watch(const StreamSession* stream);
  // The same for a stream beside the copy. What becomes of it is asked for (stream_status()), and
  // ends nothing else.
  void WatchBeside(const StreamSession* stream);
  // OK unless the stream's walsender is missing.
  absl::Status stream_status() const;

 private:
  Monitor(Options options, StatusBoard& board, const Shutdown& shutdown, Connection source,
          std::optional<Connection> standby, Connection destination);
  void Loop();
  absl::Status Look(int64_t round);
  void Fail(const absl::Status& status);
  absl::Status LookAtDestination();
  absl::Status NoteCopyProgress();
  absl::Status LookAtSource();
  absl::Status LookAtStandby();
  absl::Status LookAtSlot();
  absl::Status LookAtCopy();
  void UpdateBoard();
  void WatchStream(const StreamSession* stream, bool is_beside);
  void ShowCopy(TaskStatus& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ShowStream(TaskStatus& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  StatusBoard& board_;
  const Shutdown& shutdown_;
  Connection source_;
  std::optional<Connection> standby_;
  Connection destination_;
  Shutdown end_;  // of the thread
  absl::Time walsender_seen_at_;
  LockWaiters lock_waiters_;
  bool is_synchronous_told_ = false;

  mutable absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  Lsn source_flush_lsn_ ABSL_GUARDED_BY(mutex_);
  absl::Duration source_clock_offset_ ABSL_GUARDED_BY(mutex_);  // to SteadyNow()
  LagEstimator lag_ ABSL_GUARDED_BY(mutex_);
  CopyProgress* copy_ ABSL_GUARDED_BY(mutex_) = nullptr;
  RateWindow copy_rates_ ABSL_GUARDED_BY(mutex_);
  const StreamSession* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool is_beside_ ABSL_GUARDED_BY(mutex_) = false;  // stream_ is beside the copy
  absl::Status stream_status_ ABSL_GUARDED_BY(mutex_);
  TaskStatus before_stream_ ABSL_GUARDED_BY(mutex_);  // counts on the board only grow
  std::thread thread_;
};

}  // namespace towline

// One period of streaming: the receiver's thread and the apply thread with the queue between them.
// The only thing that travels back is the durable position.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "apply/applier.h"
#include "base/bounded_queue.h"
#include "base/shutdown.h"
#include "observe/stream_meter.h"
#include "run/apply_loop.h"
#include "spool/spool.h"
#include "state/state_store.h"
#include "stream/receiver.h"

namespace towline {

class StreamSession {
 public:
  struct Options {
    Receiver::Options receiver;
    Applier::Options applier;
    Assembler::Options assembler;
    std::optional<Spool::Options> spool;  // none: transactions in progress were not asked for
    bool takes_ddl = false;
    std::string compression;  // asked for; empty: none
    int64_t queue_bytes_max = 0;
    absl::Duration batch_time_max;
    StreamMeter* meter = nullptr;  // borrowed; of stages that have threads
    // As in ApplyLoop::Options.
    std::shared_ptr<MovedRowReader> moved_rows = nullptr;
    absl::Duration visible_wait_max = absl::ZeroDuration();
  };
  struct Progress {
    ApplyLoop::Progress apply;
    Lsn received_lsn;
    Lsn wal_end;  // of the last keepalive
    int64_t received_bytes = 0;
    int64_t queue_bytes = 0;
    Spool::Usage spool;  // transactions in progress
  };

  // Opens both ends and starts the threads. `shutdown` ends every wait in them.
  static absl::StatusOr<std::unique_ptr<StreamSession>> Start(Options options, StateStore& store,
                                                              const Shutdown& shutdown);
  ~StreamSession() { Stop(); }

  // OK while both threads run; the first failure otherwise.
  absl::Status status() const;
  // Ends at the next transaction border, sends the source the last durable position, joins.
  void Stop();
  Progress progress() const;
  int walsender_pid() const { return receiver_->backend_pid(); }

 private:
  StreamSession(Options options, std::unique_ptr<Receiver> receiver,
                std::unique_ptr<Applier> applier, std::unique_ptr<Spool> spool);
  void Apply();

  // In this order: the threads use what stands above them.
  BoundedQueue<Received> queue_;
  std::unique_ptr<Spool> spool_;  // null: none asked for. Empty with each START_REPLICATION (B10)
  std::unique_ptr<Receiver> receiver_;
  ApplyLoop loop_;
  mutable absl::Mutex mutex_;
  absl::Status apply_status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace towline

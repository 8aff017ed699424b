// The apply thread's work: takes frames off the queue, decodes and assembles them, applies batches,
// and reports what has become durable. It is the one owner of decoder, assembler and applier.
//
// A batch is whatever has arrived while the one before was applied: nothing waits when the queue is
// empty, and while frames keep coming a batch is closed when it is full or after batch_time_max.
// The destination works on one batch while the next is decoded; when nothing more has come it is
// waited for.
//
// Beside a copy that goes on (model/live_copy.h) a change may have to wait for its range, and a row
// that has moved between ranges for the source to show it (model/moved_row.h). All that is whole
// before it is applied and made durable, and no more is taken off the queue meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "apply/applier.h"
#include "assemble/assembler.h"
#include "base/bounded_queue.h"
#include "base/lsn.h"
#include "decode/decoder.h"
#include "model/moved_row.h"
#include "model/name.h"
#include "model/received.h"
#include "observe/stream_meter.h"

namespace towline {

class ApplyLoop {
 public:
  struct Options {
    Decoder::Options decoder;
    Assembler::Options assembler;
    absl::Duration batch_time_max;
    std::function<void(Lsn)> on_durable;  // the source may forget all before it (I2)
    StreamMeter* meter = nullptr;         // borrowed
    // Null: a table of which a row moves without its large values is copied again.
    std::shared_ptr<MovedRowReader> moved_rows = nullptr;
    absl::Duration visible_wait_max = absl::ZeroDuration();  // for the transaction of such a row
  };
  struct Progress {
    Lsn position;
    Lsn reached;  // all before it is at the destination; the position may follow later
    Lsn durable_lsn;
    int64_t oldest_pending_us = 0;  // commit time of the oldest transaction not yet committed there
    bool has_pending = false;       // anything received and not yet committed
    // Of the relations that this connection has described; 0 in the midst of a transaction that is
    // applied in parts, which an end of the session would take back.
    size_t description_bytes = 0;
    Applier::Counts counts;
  };

  ApplyLoop(Options options, std::unique_ptr<Applier> applier, BoundedQueue<Received>* queue);

  // Until Stop(), or the queue is closed and empty (OK), or an error. Ends at a transaction border:
  // a transaction in parts is left to be rolled back with the applier's session.
  absl::Status Run();
  // Any thread. The batch being applied is finished.
  void Stop() { stop_ = true; }
  Progress progress() const;

 private:
  Assembler::Options AssemblerOptions();
  absl::Status Work();
  absl::Status Gather(Received first);
  absl::Status Consume(Received received);
  absl::Status Replay();
  absl::Status AwaitCopy(const TableName& table);
  absl::StatusOr<std::optional<std::string>> ReadMoved(const MovedRow& moved);
  absl::Status StandStill();
  absl::Status ApplyDue(bool is_idle);
  absl::Status ApplyBatch(Batch batch);
  absl::Status ApplyProgress();
  absl::Status SettleDue();
  absl::Status Rest();
  void Publish(int64_t batch_oldest_us, bool has_pending);

  const Options options_;
  Decoder decoder_;
  Assembler assembler_;
  std::unique_ptr<Applier> applier_;
  BoundedQueue<Received>* const queue_;
  std::atomic<bool> stop_{false};
  bool is_in_parts_ = false;         // the applier holds an open transaction
  std::optional<Lsn> progress_lsn_;  // where the position may move without any change
  absl::Time progressed_at_;         // when it last did
  absl::Time sent_at_;               // the last batch
  // The copy of which the stream waits for, last waited for at, and of which it is told at.
  TableName awaited_;
  absl::Time awaited_at_ = absl::InfinitePast();
  absl::Time await_told_at_;
  Lsn reported_durable_;
  mutable absl::Mutex mutex_;
  Progress progress_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace towline

// The service between the two: the decoder, spool, assembler, planner with its folders, live copy
// and positions as they are, joined as run/apply_loop.cpp, apply/applier.cpp and batch_writer.cpp
// join them, with the destination's statements in the place of SQL. Between every two of its steps
// the world goes on, and may end it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "apply/batch_plan.h"
#include "apply/batch_planner.h"
#include "apply/fold.h"
#include "apply/positions.h"
#include "assemble/assembler.h"
#include "decode/decoder.h"
#include "model/live_copy.h"
#include "sim/destination.h"
#include "sim/source.h"
#include "spool/spool.h"

namespace towline::sim {

class Service {
 public:
  struct Options {
    Source* source = nullptr;
    Destination* destination = nullptr;
    Dice* dice = nullptr;
    int64_t batch_rows_max = 0;
    int64_t batch_bytes_max = 0;
    int64_t spool_memory_max = 0;
    bool streams = false;
    bool mirrors_prepared = false;
    // Anything may happen meanwhile; kCancelled: this service is no more.
    std::function<absl::Status()> meanwhile;
    // The destination has just committed.
    std::function<void()> on_commit;
    std::function<void(uint64_t)> on_durable;
  };
  explicit Service(Options options) : options_(std::move(options)) {}

  // kCancelled: it has been ended. Any other error is a bug.
  absl::Status Start();
  absl::Status Step();
  // All that was sent has been applied.
  bool is_idle() const;
  const std::string& what() const { return what_; }

 private:
  const Stored& Now() const { return options_.destination->committed(); }
  bool OneIn(size_t times) { return options_.dice->OneIn(times); }

  // The copy.
  absl::Status CopySharedStep();
  absl::Status CopyOwnStep();
  void CopyRows(size_t table, const Seen& seen);
  absl::Status StartStream();
  absl::StatusOr<std::optional<CopyBoundary>> Boundary();

  // As in ApplyLoop.
  absl::Status Receive();
  absl::Status ApplyDue(bool is_idle);
  absl::Status ApplyBatch(Batch batch);
  absl::Status Rest();
  absl::Status AwaitCopy();

  // As in Applier.
  absl::Status Begin(uint64_t end_lsn);
  absl::Status Commit(uint64_t end_lsn, bool is_synchronous);
  absl::Status Send(Batch batch);
  absl::Status WriteRest();
  absl::Status FinishSent();
  absl::Status Apply(const Batch& batch);
  absl::Status BeginPrepare(const Batch& batch);
  absl::Status Prepare(const Batch& batch);
  absl::Status EndPrepared(const Batch& batch);
  void Publish();

  // As in BatchWriter.
  struct Unwritten {  // of a plan
    BatchPlan plan;
    size_t segment = 0;
    size_t table = 0;
    size_t write = 0;
  };
  void ReadTargets(const Batch& batch);
  absl::Status Write(const Batch& batch, std::optional<BatchPlan> ahead, bool may_stop);
  absl::Status WriteAgain(const Batch& batch, const absl::Status& refused);
  absl::Status WriteOn(const Batch& batch, Unwritten rest, bool may_stop);
  absl::Status WriteSet(size_t table, std::vector<NetChange> set);
  absl::Status WriteOne(size_t table, const towline::Change& change);

  const Options options_;
  std::string what_;  // is being done, for messages
  uint64_t epoch_ = 0;
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<LiveCopy> live_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Assembler> assembler_;
  std::optional<Positions> positions_;
  bool is_streaming_ = false;
  bool is_announced_ = false;
  std::optional<Seen> shared_;  // the snapshot of the tables that share one
  std::optional<Seen> taken_;   // for the piece of its own, and not accepted yet
  std::vector<Row> copied_;     // read, and not written yet
  bool is_half_copied_ = false;
  std::optional<BatchPlanner> planner_;
  size_t ordered_ = 0;  // the table whose rows keep their order; beyond the last: none
  std::vector<const Relation*> new_targets_;  // of the batch that is written
  std::optional<Batch> sent_;  // a batch or part, of which at most rest_ is not written
  std::optional<Unwritten> rest_;
  bool is_open_ = false;      // a transaction that the next part continues
  bool is_prepared_ = false;  // what comes as prepared is here already
  bool is_empty_ = false;     // it has nothing for us
  std::optional<uint64_t> progress_lsn_;
  uint64_t reported_ = 0;
};

}  // namespace towline::sim

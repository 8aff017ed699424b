// Writes batches to the destination, each in one transaction that the compare-and-set of the
// position opens (I1). Within a batch changes are grouped by table, in order per table: under the
// replica role no trigger or foreign key looks across tables; TRUNCATE is a barrier. Runs of
// inserts go by COPY, the rest by pipelined prepared statements, all values in the format they came
// in. Every statement's row count is checked (C5): one row more or less is a conflict. Whatever was
// refused is written again in slices and single changes, and a conflict is dealt with as the
// policies say (batch_fallback.h); by default it stops the task.
//
// A transaction that is prepared at the source is written in a destination transaction that does
// not move the position and ends with PREPARE TRANSACTION; the position follows in one of its own
// (state/prepared.h has the states and why two writers cannot meet). What it has locked can only be
// in the way of our own later batches where the destination differs from the source: there rows
// that the source's other transactions could lock as well are free. A unique or exclusion
// constraint that the source lacks, a lock that somebody takes by hand, or a TRUNCATE that meets
// more tables here is waited for, and its COMMIT PREPARED stands behind in the same stream; the
// bounded wait for locks ends that with an error.
//
// A batch need not be waited for (Send()): while the destination works on it the next one is
// decoded and planned (batch_planner.h). Its COMMIT is sent when all its answers are there and
// right, and travels with the next batch's first statement, whose compare-and-set expects the
// position that the COMMIT stores: if that fails, nothing behind it has an effect. So a batch takes
// one round trip, and one more for each COPY.
//
// One session, one thread, one decoder (it remembers the relations it has seen). After any error
// the applier must be thrown away: the destination transaction is rolled back by closing the
// session, and the position says what was applied.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "apply/ddl_runner.h"
#include "apply/target.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "model/batch.h"
#include "observe/stream_meter.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

class Applier {
 public:
  struct Options {
    ConnectOptions destination;
    TaskClaim claim;
    Lsn position;                         // where the task stands now
    absl::Duration durable_interval_max;  // I2
    int64_t conflict_rows_max = 0;
    int64_t set_rows_min = 2;  // net changes of one table and kind that are written as one set
    int64_t statement_bytes_max = 64 << 20;  // a change with more in its values goes in steps
    bool misses_prepares = false;  // origin: none, which may leave out one without its end
    bool requires_origin = false;  // an error where what we write cannot be marked
    TargetPolicies policies;
    DdlRunner::Options ddl;
    // The source's table that was copied under each name. A change of another one under that name
    // (tables swapped by rename, dropped and made anew) stops the task.
    std::map<TableName, Oid> source_oids;
    StreamMeter* meter = nullptr;  // borrowed; null: nobody looks
  };
  struct Counts {  // since Open()
    int64_t inserted = 0;
    int64_t updated = 0;
    int64_t deleted = 0;
    int64_t truncated = 0;
    int64_t missed = 0;     // rows that need not be there, and were not
    int64_t conflicts = 0;  // overwritten or skipped
    // Batches that passed at the second try, with deletes and inserts in the place of updates
    // (batch_writer.h). Expected now and then, and no conflict: not among the fallbacks.
    int64_t clashes = 0;
    int64_t fallbacks = 0;         // batches that were refused and then written in slices,
    int64_t fallback_slices = 0;   // of several changes,
    int64_t fallback_singles = 0;  // or one
    int64_t batches = 0;
    int64_t transactions = 0;
  };

  // Makes durable what a predecessor committed: durable_lsn() is the position from the start.
  // kAborted if the position is not `position` any more.
  static absl::StatusOr<std::unique_ptr<Applier>> Open(const Options& options,
                                                       const Shutdown& shutdown);
  ~Applier();

  // Applies one batch, or one part of a transaction in parts. At its commit position() moves.
  absl::Status Apply(const Batch& batch);
  // Sends a batch of whole transactions or a part, of rows only and not of what is prepared, and
  // finishes the one before but for the answer to its COMMIT. Errors may be of either.
  absl::Status Send(Batch batch);
  // Takes what the destination answers to what was sent within `wait_max`, and sends what had to
  // wait for it. True: nothing is missing but the COMMIT, so whatever is sent next begins at once.
  // Errors are those of Send().
  absl::StatusOr<bool> AwaitAnswers(absl::Duration wait_max);
  // Commits what was sent, and waits for it; of a part its rows. After an error there is nothing to
  // settle. Apply() does so first.
  absl::Status Settle();
  bool is_settled() const;
  // Commit time of the oldest transaction that is sent and not known to be committed; 0: none.
  int64_t oldest_unsettled_us() const;

  // If commits are waiting to become durable and the interval is over, makes them so (an empty
  // synchronous commit). Call when idle. Does nothing within a transaction in parts, or while
  // something is not settled.
  absl::Status MakeDurable();

  Lsn position() const;     // committed
  Lsn durable_lsn() const;  // committed and on disk: what the source may forget (I2)
  const Counts& counts() const;
  Connection& session();  // for AddSession

 private:
  class Impl;
  explicit Applier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace towline

// Waits until the destination holds what a read of the source has seen.
//
// A read's snapshot sees a transaction only after its commit record was inserted, so an insert
// position read after the snapshot was taken lies behind all of them. The task's position at the
// destination moves in the transaction that writes the rows: whoever reads there after it has
// passed that place finds every one of those transactions, and perhaps later ones.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "pg/connection.h"

namespace towline {

class Follower {
 public:
  // With no task nothing moves at the destination, and nothing is waited for. Gives up when the
  // position has stood still for `stand_max`.
  Follower(std::string task, absl::Duration stand_max, const Shutdown& shutdown)
      : task_(std::move(task)), stand_max_(stand_max), shutdown_(&shutdown) {}

  // kFailedPrecondition: there is no position to wait for any more; kUnavailable: the task is being
  // healed (has_lost_task()).
  // False: it stands, so that what the destination lacks may be still to come. Once it is found to
  // stand, it is not waited for again. Not within a transaction of `destination`.
  absl::StatusOr<bool> WaitPassed(Lsn lsn, Connection& destination);

  // A task is followed.
  bool has_task() const { return !task_.empty(); }
  // "the destination stands at 0/1F, the source was read at 0/2A"; empty: it does not stand.
  const std::string& stand_note() const { return stand_note_; }
  // The task has gone or is being healed: nothing more can be compared.
  bool has_lost_task() const { return has_lost_task_; }

 private:
  std::string task_;
  absl::Duration stand_max_;
  const Shutdown* shutdown_;
  std::string stand_note_;
  bool has_lost_task_ = false;
};

// Where the source's log ends, for WaitPassed(); read it after the snapshot.
absl::StatusOr<Lsn> ReadInsertLsn(Connection& source);

// Lets the source send all that it has logged. What nobody waits for (rows that a read has tidied
// up, say) a quiet source keeps in memory until something is flushed, up to 15 seconds later: as
// long the place where its log ends cannot be passed. Not within a transaction of `source`.
absl::Status FlushLog(Connection& source);

// A place within a page's header is the page's begin: no record lies between, and no position of a
// transaction or of a flush may ever name the later one.
Lsn BeforePageHeader(Lsn lsn);

}  // namespace towline

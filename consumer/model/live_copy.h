// Rule I4 while a copy is still going on: of the pieces that are copied each under a snapshot of
// its own, which of the stream's transactions the copy holds, will hold, or lacks. The stream asks,
// the copy tells; both go on at the same time.
//
//   piece             a transaction that changes it
//   not begun         is passed over: its snapshot, when it is taken, will hold the transaction.
//                     Remembered, since between the flush of a commit record, which the stream
//                     follows, and the moment when snapshots see the transaction there is a gap
//   announced         waits: the snapshot is just being taken. One that lacks what was passed over
//                     until the announcement is refused (Accept); what is passed over later is not
//                     for this piece, and must not be asked of it
//   taken             held by the snapshot: passed over. Else it waits for the rows
//   finished          held: passed over. Else it is news, and applied
//
// Pieces may share one snapshot: then they are announced and accepted together.
//
// Where schema changes are followed while a table joins (docs/decisions/019), a snapshot may be
// given up again before rows are copied by it: Withdraw(), Retake(). All later ones hold what it
// held, so an answer stays what it was.
//
// So a change is never kept for later: the stream stands still instead, with what it has received
// so far in its bounded queue, until the one piece is done. An answer other than kWait never
// changes, so a transaction may be judged change by change.
//
// After a crash nothing of this is needed. What was passed over had its commit record in the log
// before the position was stored, and whoever goes on waits for a marker (hazards A1) before it
// takes a snapshot: by then each such transaction has ended, and is held.
//
// Pure, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/lsn.h"
#include "base/timed_wait.h"
#include "model/snapshot.h"

namespace towline {

class LiveCopy {
 public:
  enum class Verdict { kHeld, kNew, kWait };

  struct Options {
    size_t piece_count = 0;
    // So many transactions are remembered; then those that change pieces not begun wait as well.
    size_t remembered_max = 1'000'000;
  };
  explicit LiveCopy(const Options& options) : options_(options), pieces_(options.piece_count) {}

  // The copy's side. A piece that was copied before, under this snapshot.
  void AddTaken(size_t piece, CopySnapshot snapshot);
  // One snapshot is about to be taken for all of them. Not begun before.
  void Announce(absl::Span<const size_t> pieces);
  // One that was taken since, for the same pieces. False: it lacks what was passed over. They stay
  // announced, and a later snapshot will do.
  bool Accept(absl::Span<const size_t> pieces, const CopySnapshot& snapshot);
  // Of pieces that are not finished: nothing is copied by the snapshot, and another will be
  // announced, or none.
  void Withdraw(absl::Span<const size_t> pieces);
  // Whether the stream stands at a transaction that the taken snapshot lacks, although it committed
  // before lsn_after: what lies between the two would not come to the destination before the rows
  // do. Then they are announced again, for a snapshot that holds it.
  bool Retake(absl::Span<const size_t> pieces);
  // Its rows are committed at the destination, where changes can find them. Taken before.
  void Finish(size_t piece);
  // What this snapshot sees every later one will: it need not be remembered. Often enough that
  // remembered() stays small.
  void Forget(const Snapshot& seen);

  // The stream's side.
  Verdict Judge(size_t piece, uint64_t xid, Lsn commit_lsn);
  // Until an answer may be another than when change_count() was read, or the timeout.
  void AwaitChange(uint64_t change_count, absl::Duration timeout);
  uint64_t change_count() const;
  // The stream stands at a transaction that commits there, and all that commits before it is at the
  // destination.
  void NoteStanding(Lsn commit_lsn);
  // It starts again, and the destination may have lost what was there.
  void ForgetStanding();
  Lsn standing() const;

  bool IsFinished(size_t piece) const;
  size_t remembered() const;

 private:
  enum class State { kNotBegun, kAnnounced, kTaken, kFinished };
  struct Piece {
    State state = State::kNotBegun;
    CopySnapshot snapshot;  // once it is taken
    // While it is announced, of the first one: what may have been passed over for any of them. A
    // copy of its own, since a snapshot that is taken already may lack what Forget() has seen a
    // moment later.
    std::vector<uint64_t> must_hold;
    Lsn must_hold_until;
    uint64_t lacked = 0;  // while it is taken: see Retake(); 0: nothing
    Lsn lacked_lsn;
  };
  void Set(size_t piece, State from, State to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable absl::Mutex mutex_;
  TimedWait changed_;
  std::vector<Piece> pieces_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<uint64_t> passed_over_ ABSL_GUARDED_BY(mutex_);  // xids, for any piece
  Lsn passed_until_ ABSL_GUARDED_BY(mutex_);                           // the last one's commit
  Lsn standing_ ABSL_GUARDED_BY(mutex_);
  uint64_t change_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace towline

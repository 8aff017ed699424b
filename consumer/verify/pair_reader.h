// Reads both sides: the source under a snapshot, the destination when it has passed that snapshot.
// Both statements run at the same time, each for as long as it takes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "verify/follower.h"

namespace towline {

class PairReader {
 public:
  PairReader(Connection source, Connection destination, Follower follower)
      : source_(std::move(source)),
        destination_(std::move(destination)),
        follower_(std::move(follower)) {}
  // `source` is in a transaction under a snapshot, which is kept, and nobody but the caller writes
  // the destination's tables: both sides stand still, and nothing is waited for. An error at the
  // source makes an end of it.
  static PairReader Held(Connection source, Connection destination, const Shutdown& shutdown) {
    PairReader reader(std::move(source), std::move(destination),
                      Follower("", absl::ZeroDuration(), shutdown));
    reader.is_held_ = true;
    return reader;
  }

  struct Pair {
    Result source;
    Result destination;
    bool has_passed = false;  // else the destination was read as it stood, before that snapshot
    // The lowest transaction number that still runs in the source's snapshot; 0: no task is
    // followed.
    uint64_t oldest_running = 0;
  };
  // An error leaves both sessions outside a transaction, if they live.
  absl::StatusOr<Pair> Read(const std::string& source_sql, const std::string& destination_sql);

  struct Snapshot {
    Lsn insert_lsn;  // behind it
    uint64_t oldest_running = 0;
  };
  // Leaves a transaction of the source open, for EndSource().
  absl::StatusOr<Snapshot> BeginSource();
  absl::Status EndSource();
  bool is_held() const { return is_held_; }

  // Above every number that is given to a transaction of the source by now: a snapshot whose
  // `oldest_running` is higher is settled after this call (repairer.h). 0: no task is followed.
  absl::StatusOr<uint64_t> MarkRunning();
  bool has_task() const { return follower_.has_task(); }

  // As Follower::WaitPassed(); not within Read().
  absl::StatusOr<bool> WaitPassed(Lsn lsn) { return follower_.WaitPassed(lsn, destination_); }

  Connection& source() { return source_; }
  Connection& destination() { return destination_; }
  bool has_lost_task() const { return follower_.has_lost_task(); }
  const std::string& stand_note() const { return follower_.stand_note(); }

 private:
  Connection source_;
  Connection destination_;
  Follower follower_;
  bool is_held_ = false;
};

}  // namespace towline

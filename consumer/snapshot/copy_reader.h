// The rows of a COPY as they come from the source, large ones by one worker at a time.
//
// libpq holds a row twice while it hands it over (its buffer, which stays as large, and the copy
// that we get). Workers that met their largest rows at the same moment would hold all of them
// twice; with turns, all but one hold theirs once (I6).
#pragma once

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/timed_wait.h"
#include "pg/connection.h"

namespace towline {

// Shared by the workers.
class LargeRowTurn {
 public:
  // False: somebody else has it still.
  bool TakeWithin(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    auto is_free = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !is_taken_; };
    if (!given_.Await(mutex_, is_free, timeout)) return false;
    is_taken_ = true;
    return true;
  }
  void Give() {
    absl::MutexLock lock(&mutex_);
    is_taken_ = false;
    given_.Notify();
  }

 private:
  absl::Mutex mutex_;
  TimedWait given_;
  bool is_taken_ ABSL_GUARDED_BY(mutex_) = false;
};

class CopyReader {
 public:
  // Of the COPY TO STDOUT that `source` has begun. Both outlive us.
  CopyReader(Connection* source, LargeRowTurn* turn) : source_(source), turn_(turn) {}
  ~CopyReader() { Release(); }
  CopyReader(const CopyReader&) = delete;
  CopyReader& operator=(const CopyReader&) = delete;

  // The next message: a row, or the end mark of the binary form. Valid until the next call;
  // nothing at the end.
  absl::StatusOr<std::optional<absl::string_view>> Next();

 private:
  absl::Status Take();
  void Release();

  Connection* source_;
  LargeRowTurn* turn_;
  std::optional<Connection::CopyChunk> chunk_;
  bool has_turn_ = false;
};

}  // namespace towline

// Holds work back to so many bytes and rows a second, all threads that share it together.
//
// What has been done is taken from a bucket that fills at the rate; below zero it is a debt, and
// whoever took it there rests until it is paid. So nothing need be known beforehand, a rate may
// change while somebody rests, and over any time no more is done than the rate allows, but for what
// the bucket holds (kBurst) and one step of each thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/shutdown.h"

namespace towline {

// Pure: time is passed in. Not thread-safe.
class TokenBucket {
 public:
  // 0: no limit.
  void SetRate(int64_t per_second, absl::Time now);
  int64_t rate() const { return rate_; }
  void Take(int64_t amount, absl::Time now);
  // How long it takes to pay what is owed; zero: nothing is.
  absl::Duration Debt(absl::Time now) const;

  // What an idle time saves up at most.
  static constexpr absl::Duration kBurst = absl::Milliseconds(100);

 private:
  double LevelAt(absl::Time now) const;

  int64_t rate_ = 0;
  double level_ = 0;  // at at_
  absl::Time at_;
};

class RateLimit {
 public:
  // Any thread, at any time; 0: none.
  void SetBytesPerSecond(int64_t rate);
  void SetRowsPerSecond(int64_t rate);
  int64_t bytes_per_second() const;
  int64_t rows_per_second() const;

  // So much has been done; rests as long as the rates ask for. False: woken by `shutdown`.
  bool Rest(int64_t bytes, int64_t rows, const Shutdown& shutdown);

  // Whether so much is enough for a Rest(): small steps at a low rate, or work would come in gusts.
  // Cheap; never true without a limit.
  bool IsDue(int64_t bytes, int64_t rows) const {
    return bytes >= step_bytes_.load(std::memory_order_relaxed) ||
           rows >= step_rows_.load(std::memory_order_relaxed);
  }

 private:
  mutable absl::Mutex mutex_;
  TokenBucket bytes_ ABSL_GUARDED_BY(mutex_);
  TokenBucket rows_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int64_t> step_bytes_{INT64_MAX};
  std::atomic<int64_t> step_rows_{INT64_MAX};
};

}  // namespace towline

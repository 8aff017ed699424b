// Whether verify should give way: the task is behind, or a server is busy. Looks once a second, on
// sessions of its own, so that the reads themselves need not end for it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/lag_estimator.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "pg/connection.h"

namespace towline {

struct LoadLimits {
  absl::Duration lag_max;  // of the task; zero: none
  int64_t active_max = 0;  // sessions of others that are at work on one server; 0: none

  bool has_any() const { return lag_max > absl::ZeroDuration() || active_max > 0; }
};

// What one look has found.
struct Load {
  absl::Duration lag;
  bool is_standing = false;  // the task does not move at all: its lag is no load
  int64_t source_active = 0;
  int64_t destination_active = 0;
};

// "lag 12.0 s > 10 s"; empty: nothing is above its limit. Pure.
std::string DescribeOverload(const Load& load, const LoadLimits& limits);

class LoadWatch {
 public:
  struct Options {
    ConnectOptions source;
    ConnectOptions destination;
    std::string task;  // empty: none, and no lag
    LoadLimits limits;
    absl::Duration stand_max;  // a position that does not move for so long stands
  };

  // kFailedPrecondition: the role may not see what other sessions do.
  static absl::StatusOr<std::unique_ptr<LoadWatch>> Start(const Options& options,
                                                          const Shutdown& shutdown);
  ~LoadWatch();

  // Returns when nothing is above its limit. Between two reads, outside any transaction.
  absl::Status GiveWay();
  // What GiveWay() waits for just now, of any thread; empty: nothing.
  std::string waiting_for() const;

 private:
  LoadWatch(Options options, const Shutdown& shutdown, Connection source, Connection destination);
  absl::Status Look();
  absl::Status LookAtTask();
  void Loop();

  const Options options_;
  const Shutdown& shutdown_;
  Connection source_;
  Connection destination_;
  LagEstimator lag_;
  Lsn position_;
  absl::Time moved_at_;
  Shutdown end_;  // of the thread
  mutable absl::Mutex mutex_;
  Load load_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // threads
  std::thread thread_;
};

}  // namespace towline

// What the workers that copy ranges of keys share: the ranges in their order, and how far each
// table is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/timed_wait.h"
#include "model/live_copy.h"
#include "snapshot/part_order.h"
#include "snapshot/range_copier.h"

namespace towline {

struct RangeJob {
  size_t table = 0;
  size_t range = 0;
};

// Any thread.
class RangeQueue {
 public:
  // `places`: of each table's ranges in `live`.
  RangeQueue(const std::vector<RangedCopy>& tables, std::vector<std::vector<size_t>> places,
             LiveCopy& live)
      : places_(std::move(places)),
        live_(live),
        jobs_(JobsOf(tables)),
        order_(TablesOf(jobs_)),
        has_key_(tables.size()),
        rows_(tables.size()),
        ranges_left_(tables.size()) {
    for (size_t table = 0; table < tables.size(); ++table) {
      for (size_t range = 0; range < tables[table].ranges.size(); ++range) {
        const RangeRow& row = tables[table].ranges[range];
        if (IsCopied(row)) {
          rows_[table] += row.rows_done;
        } else {
          ++ranges_left_[table];
        }
      }
    }
  }

  size_t job_count() const { return jobs_.size(); }
  LiveCopy& live() { return live_; }
  size_t PlaceOf(const RangeJob& job) const { return places_[job.table][job.range]; }
  const std::vector<size_t>& PlacesOf(size_t table) const { return places_[table]; }
  bool is_done(size_t table) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return ranges_left_[table] == 0;
  }
  int64_t rows(size_t table) {
    absl::MutexLock lock(&mutex_);
    return rows_[table];
  }

  // For a worker that is done with `job`, if it had one. Null: nothing left, or the copy has
  // failed.
  const RangeJob* Next(const RangeJob* job) {
    absl::MutexLock lock(&mutex_);
    if (!failure_.ok()) return nullptr;
    const std::optional<size_t> next = order_.Take(
        job == nullptr ? std::nullopt
                       : std::optional<size_t>(static_cast<size_t>(job - jobs_.data())));
    return next.has_value() ? &jobs_[*next] : nullptr;
  }

  // Whether it was the table's last. Where the key is there already the stream goes on in it.
  bool Finish(const RangeJob& job, int64_t rows) {
    absl::MutexLock lock(&mutex_);
    rows_[job.table] += rows;
    if (has_key_[job.table]) live_.Finish(PlaceOf(job));
    return --ranges_left_[job.table] == 0;
  }

  bool has_key(size_t table) {
    absl::MutexLock lock(&mutex_);
    return has_key_[table];
  }

  // The key is made: these ranges, which are done, join the stream, and each of the others when it
  // is.
  void SetHasKey(size_t table, const std::vector<size_t>& done) {
    absl::MutexLock lock(&mutex_);
    has_key_[table] = true;
    for (size_t range : done) live_.Finish(places_[table][range]);
  }

  // The first error is the cause; those that follow (cancelled) are its consequences.
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (failure_.ok()) failure_ = status;
  }

  void WorkerBegins() {
    absl::MutexLock lock(&mutex_);
    ++running_;
  }
  void WorkerEnds() {
    absl::MutexLock lock(&mutex_);
    --running_;
    ended_.Notify();
  }

  // Waits for the workers' end or the timeout. True: all have ended.
  bool Await(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    auto has_ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return running_ == 0; };
    return ended_.Await(mutex_, has_ended, timeout);
  }

  absl::Status failure() {
    absl::MutexLock lock(&mutex_);
    return failure_;
  }

 private:
  static bool IsCopied(const RangeRow& range) { return range.state == "copied"; }
  static std::vector<RangeJob> JobsOf(const std::vector<RangedCopy>& tables) {
    std::vector<RangeJob> jobs;
    for (size_t table = 0; table < tables.size(); ++table) {
      for (size_t range = 0; range < tables[table].ranges.size(); ++range) {
        if (!IsCopied(tables[table].ranges[range])) jobs.push_back({table, range});
      }
    }
    return jobs;
  }
  static std::vector<size_t> TablesOf(const std::vector<RangeJob>& jobs) {
    std::vector<size_t> tables;
    for (const RangeJob& job : jobs) tables.push_back(job.table);
    return tables;
  }

  const std::vector<std::vector<size_t>> places_;
  LiveCopy& live_;
  const std::vector<RangeJob> jobs_;
  absl::Mutex mutex_;
  TimedWait ended_;
  PartOrder order_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> has_key_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int64_t> rows_ ABSL_GUARDED_BY(mutex_);  // of the table's ranges that are done
  std::vector<int64_t> ranges_left_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace towline

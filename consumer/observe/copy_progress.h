// How far the initial copy is: in all, and table by table. The workers count, the monitor looks.
//
// Bytes are those of heap and TOAST at the source: a table's size when the copy was planned is the
// estimate, and what has been read stands for as much of it, never for more; the rest is made up
// for when a part is done. Rows are counted as they pass and exact when a part is done.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/name.h"
#include "observe/task_status.h"

namespace towline {

// Rates over the last five to ten seconds: of one second they jump too much, of the whole copy they
// say nothing of now. Pure: time is passed in.
class RateWindow {
 public:
  void Add(absl::Time now, int64_t bytes, int64_t rows);
  double bytes_per_second() const;
  double rows_per_second() const;

 private:
  struct Sample {
    absl::Time at;
    int64_t bytes = 0;
    int64_t rows = 0;
  };
  double PerSecond(int64_t Sample::*count) const;

  Sample before_;
  Sample middle_;
  Sample last_;
};

class TableProgress {
 public:
  struct Planned {
    TableName name;
    int64_t bytes = 0;
    int64_t rows = -1;                // estimate, -1: none
    std::string copied_by = "whole";  // as in TableStatus
    std::string reason = {};
  };

  // One table, for its workers. Lives until the next Plan().
  class Counts {
   public:
    explicit Counts(Planned table) : table_(std::move(table)) {}
    // A worker comes and goes: with each part of the table.
    void Begin();
    void End();
    void Add(int64_t bytes, int64_t rows) {
      bytes_.fetch_add(bytes, std::memory_order_relaxed);
      rows_.fetch_add(rows, std::memory_order_relaxed);
    }
    void Finish();

   private:
    friend class TableProgress;
    enum class State { kWaiting, kCopying, kCopied };
    const Planned table_;
    std::atomic<State> state_{State::kWaiting};
    std::atomic<int64_t> bytes_{0};
    std::atomic<int64_t> rows_{0};
    std::atomic<int64_t> begun_ns_{0};  // of SteadyNow(); 0: not yet
    std::atomic<int64_t> finished_ns_{0};
    std::atomic<int64_t> workers_{0};      // of now
    std::atomic<int64_t> workers_max_{0};  // at one time
    RateWindow rates_;                     // the monitor's, under the mutex
  };

  // A copy begins, or begins again. No worker may be at work.
  void Plan(std::vector<Planned> tables);
  // Null: not planned.
  Counts* Find(const TableName& table) const;

  // The monitor's look, several times a second: takes the rates.
  void Sample(absl::Time now);
  // Those being copied, then the others by size, the largest first; at most `tables_max`.
  std::vector<TableStatus> Largest(size_t tables_max) const;
  std::vector<TableStatus> Copying() const;
  // Those that are done, by the time they took, the longest first; at most `tables_max`.
  std::vector<TableStatus> Slowest(size_t tables_max) const;
  size_t size() const;

 private:
  static TableStatus StatusOf(const Counts& counts);

  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Counts>> tables_ ABSL_GUARDED_BY(mutex_);  // the largest first
  std::map<TableName, Counts*> by_name_ ABSL_GUARDED_BY(mutex_);
};

// Written by the workers, read by any thread.
struct CopyProgress {
  std::atomic<int64_t> tables_total{0};
  std::atomic<int64_t> tables_done{0};
  std::atomic<int64_t> bytes_total{0};
  std::atomic<int64_t> bytes_done{0};
  std::atomic<int64_t> rows_done{0};
  std::atomic<int64_t> statements_total{0};  // post-data
  std::atomic<int64_t> statements_done{0};
  TableProgress tables;

  // Why the copy is not the first try's: what an interruption has cost. Any thread.
  void SetNote(std::string note) {
    absl::MutexLock lock(&note_mutex_);
    note_ = std::move(note);
  }
  std::string note() const {
    absl::MutexLock lock(&note_mutex_);
    return note_;
  }

 private:
  mutable absl::Mutex note_mutex_;
  std::string note_ ABSL_GUARDED_BY(note_mutex_);
};

// What is left at this rate; negative: nobody knows.
double SecondsLeft(int64_t bytes_total, int64_t bytes_done, double bytes_per_second);

}  // namespace towline

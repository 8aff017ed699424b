// Lets tables whose rows are all there join the stream, each when its keys are made, while others
// are copied: on a thread of its own. The other indexes follow before it joins, as nobody writes
// the table then, if no other table waits to join and so much is left to be copied that the copy
// need not wait for them; else all that are left are made together behind the copy.
#pragma once

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/timed_wait.h"
#include "model/live_copy.h"
#include "model/table.h"
#include "observe/copy_progress.h"
#include "snapshot/key_builder.h"

namespace towline {

// By which the stream finds the rows of a table: its replica identity; under FULL any unique index
// there is, or none.
KeyBuilder::Columns IdentityColumns(const Table& table);

class TableJoiner {
 public:
  // `progress`: of the whole copy.
  TableJoiner(KeyBuilder& keys, LiveCopy& live, const CopyProgress& progress)
      : keys_(keys), live_(live), progress_(progress), thread_([this] { Work(); }) {}
  // Waits for the key that is being made; the others join when the copy is complete.
  ~TableJoiner();

  // All its rows are there. Borrowed. `key`: by what the stream finds its rows. `places`: its
  // pieces of the LiveCopy.
  void Add(const Table& table, KeyBuilder::Columns key, std::vector<size_t> places);
  // The first failure.
  absl::Status status();
  // Whether nothing is being made; waits for that so long.
  bool AwaitIdle(absl::Duration timeout);

 private:
  struct Joining {
    const Table* table = nullptr;
    KeyBuilder::Columns key;
    std::vector<size_t> places;
  };
  void Work();
  absl::Status Join(const Joining& joining);
  bool HasTimeFor(const Table& table);

  KeyBuilder& keys_;
  LiveCopy& live_;
  const CopyProgress& progress_;
  absl::Mutex mutex_;
  TimedWait joined_;
  std::deque<Joining> waiting_ ABSL_GUARDED_BY(mutex_);
  bool is_joining_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace towline

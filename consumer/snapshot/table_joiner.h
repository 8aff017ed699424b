// Lets tables that are copied whole join the stream, each when its keys are made, while others are
// copied: on a thread of its own.
#pragma once

#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/timed_wait.h"
#include "model/live_copy.h"
#include "model/table.h"
#include "snapshot/key_builder.h"

namespace towline {

// By which the stream finds the rows of a table: its replica identity; under FULL any unique index
// there is, or none.
KeyBuilder::Columns IdentityColumns(const Table& table);

class TableJoiner {
 public:
  TableJoiner(KeyBuilder& keys, LiveCopy& live)
      : keys_(keys), live_(live), thread_([this] { Work(); }) {}
  // Waits for the key that is being made; the others join when the copy is complete.
  ~TableJoiner();

  // All its rows are there. Borrowed. `place`: its piece of the LiveCopy.
  void Add(const Table& table, size_t place);
  // The first failure.
  absl::Status status();
  // Whether nothing is being made; waits for that so long.
  bool AwaitIdle(absl::Duration timeout);

 private:
  void Work();
  absl::Status Join(const Table& table, size_t place);

  KeyBuilder& keys_;
  LiveCopy& live_;
  absl::Mutex mutex_;
  TimedWait joined_;
  std::deque<std::pair<const Table*, size_t>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool is_joining_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace towline

// Waits for a condition under an absl::Mutex, up to a time. Those of absl::Mutex itself end by the
// system's clock (of the version in Debian 12): set back by an hour they last an hour longer.
#pragma once

#include <condition_variable>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace towline {

class TimedWait {
 public:
  // After each change of what a condition looks at.
  void Notify() { changed_.notify_all(); }

  // `mutex` is held, and while condition() is asked. True: it has become true in time.
  template <typename Condition>
  bool Await(absl::Mutex& mutex, const Condition& condition, absl::Duration timeout) {
    Lock lock{mutex};
    return changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), condition);
  }

 private:
  // As the standard library calls it.
  struct Lock {
    absl::Mutex& mutex;
    void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Lock(); }
    void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Unlock(); }
  };

  std::condition_variable_any changed_;
};

}  // namespace towline

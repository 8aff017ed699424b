// What a copy with the stream beside it asks of the source, on a session of its own. Any thread.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "model/live_copy.h"
#include "model/oid.h"
#include "pg/connection.h"
#include "snapshot/value_types.h"

namespace towline {

class LiveSource {
 public:
  // An answer that does not come within 30 s fails as a lost connection does: whoever watches over
  // the copy is among those that wait here.
  LiveSource(Connection session, LiveCopy& live);

  // FlushSourceLog().
  absl::Status Flush();
  // What need not be remembered any more, every few seconds; call it more often.
  absl::Status ForgetIfDue();
  // DescribeLockHolders().
  absl::StatusOr<std::string> LockHolders();
  // ReadValueTypes(), as they are now.
  absl::StatusOr<ValueTypes> TypesOf(Oid table);

 private:
  LiveCopy& live_;
  absl::Mutex mutex_;
  Connection session_ ABSL_GUARDED_BY(mutex_);
  absl::Time forgot_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace towline

// Names the sessions at the source that wait for a lock of the copy: VACUUM FULL, TRUNCATE, ALTER
// TABLE, DROP and whatever else wants a table for itself, behind which everybody else then queues.
// The copy keeps its locks to its end.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "pg/connection.h"

namespace towline {

class LockWaiters {
 public:
  // Logs each session that has waited for five seconds, once for each wait. Quick; call it every
  // second or two.
  absl::Status Look(Connection& source, const std::string& task);

 private:
  struct Wait {
    absl::Time seen_at;
    bool is_told = false;
  };
  std::map<std::string, Wait> waits_;  // by "pid table"
};

}  // namespace towline

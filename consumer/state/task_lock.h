// One consumer per task, politely: an advisory lock whose holder can be named. It only makes the
// message; what keeps two writers apart is the epoch (position.h). And the end of what a
// predecessor left behind: its sessions, which may still hold locks or wait in a half-open
// connection (hazards B9).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "pg/connection.h"

namespace towline {

struct TaskLockOptions {
  std::string task;
  std::string run_id;  // sessions of the same run are ours and may be ended
};

// Takes the lock on this session. A holder that is dead (its process is gone from this machine, or
// it gave no sign of life for 30 s) or ours is ended; a living one is waited for, 10 s, for it may
// be about to exit; then kFailedPrecondition names it.
absl::Status AcquireTaskLock(Connection& connection, const TaskLockOptions& options,
                             const Shutdown& shutdown);

// Ends every other session of the task in this database, the recorded ones and those that bear an
// application name of the task as its destination, and waits until they are gone. Call with the
// lock held.
absl::Status EndOtherSessions(Connection& connection, const std::string& task,
                              const Shutdown& shutdown);

// The same at the source, where nothing is recorded: a copy's snapshot session that nobody uses any
// more would hold back vacuum and every TRUNCATE. Only with the lock held and for a task whose slot
// is ours, which proves that no other task there bears its name.
absl::Status EndSessionsAtSource(Connection& source, const std::string& task,
                                 const Shutdown& shutdown);

}  // namespace towline

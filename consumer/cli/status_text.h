// A task's status for people: a few lines, the important first.
#pragma once

#include <string>

#include "observe/task_status.h"

namespace towline {

struct KnownTask {
  TaskStatus status;
  bool is_running = false;          // its socket answered
  bool is_elsewhere = false;        // it runs, but its socket is not here
  bool is_slot_on_standby = false;  // of the source
  std::string phase;                // of a task that does not run: where the next start goes on
  std::string error;                // of its last stop
  std::string ran_at;               // "host pid 123" of the last run
};

std::string StatusText(const KnownTask& task);
std::string TaskLine(const KnownTask& task);  // one line of a list
std::string KnownTaskToJson(const KnownTask& task);

}  // namespace towline

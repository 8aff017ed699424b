// The line a person watches: state, tables, rates, lag, time left. The text is a pure function of
// two samples; ProgressReporter takes the samples on a thread of its own, each second for the foot
// of a terminal and each ten seconds for the log otherwise.
#pragma once

#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/shutdown.h"
#include "observe/task_status.h"

namespace towline {

// At most about 120 characters, no newline. `before` is the sample taken `elapsed` ago.
std::string ProgressLine(const TaskStatus& before, const TaskStatus& now, absl::Duration elapsed);

class ProgressReporter {
 public:
  // Borrows the board. `is_terminal`: standard error is one, and the log is text.
  ProgressReporter(const StatusBoard& board, bool is_terminal);
  // Takes the line off the terminal and joins the thread.
  ~ProgressReporter();
  ProgressReporter(const ProgressReporter&) = delete;
  ProgressReporter& operator=(const ProgressReporter&) = delete;

 private:
  void Loop();

  const StatusBoard& board_;
  const bool is_terminal_;
  Shutdown stop_;  // of the thread only
  std::thread thread_;
};

}  // namespace towline

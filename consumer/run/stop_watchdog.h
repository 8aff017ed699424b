// Keeps the promise that a stop takes at most five seconds. What can hold us longer is a network
// that swallows packets under a blocking call of libpq. Ending the process there is safe: it is
// what kill -9 does, and the servers roll back what was not committed.
#pragma once

#include <functional>
#include <thread>

#include "base/shutdown.h"

namespace towline {

class StopWatchdog {
 public:
  // `last_words` is called before the process ends.
  StopWatchdog(const Shutdown& shutdown, std::function<void()> last_words);
  ~StopWatchdog();
  StopWatchdog(const StopWatchdog&) = delete;
  StopWatchdog& operator=(const StopWatchdog&) = delete;

 private:
  void Watch();

  const Shutdown& shutdown_;
  const std::function<void()> last_words_;
  Shutdown end_;  // of the thread
  std::thread thread_;
};

}  // namespace towline

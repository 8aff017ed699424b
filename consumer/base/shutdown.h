// The wish to stop, heard by every wait. Threads and connections poll fd() beside their own socket;
// it becomes readable at the first Request() and stays so.
#pragma once

#include <atomic>

#include "absl/time/time.h"

namespace towline {

class Shutdown {
 public:
  Shutdown();
  ~Shutdown();
  Shutdown(const Shutdown&) = delete;
  Shutdown& operator=(const Shutdown&) = delete;

  // Async-signal-safe: signal handlers call it.
  void Request();
  bool is_requested() const { return requested_.load(std::memory_order_acquire); }
  int fd() const { return fd_; }

  // Sleeps; false if woken by a request (or if there was one already).
  bool SleepFor(absl::Duration duration) const;

 private:
  std::atomic<bool> requested_{false};
  int fd_;
};

}  // namespace towline

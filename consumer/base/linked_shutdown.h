// A Shutdown of something that may end earlier than the process: requested when the process is to
// stop, after a grace in which the stream may finish its batch, or at once when it has failed
// somewhere, so that every wait of its threads ends.
#pragma once

#include <atomic>
#include <thread>

#include "absl/time/time.h"
#include "base/shutdown.h"

namespace towline {

class LinkedShutdown {
 public:
  // `outer` outlives this.
  explicit LinkedShutdown(const Shutdown& outer);
  ~LinkedShutdown();
  LinkedShutdown(const LinkedShutdown&) = delete;
  LinkedShutdown& operator=(const LinkedShutdown&) = delete;

  const Shutdown& shutdown() const { return inner_; }
  void Request() { inner_.Request(); }
  void set_grace(absl::Duration grace) { grace_ms_ = absl::ToInt64Milliseconds(grace); }

 private:
  void Forward();

  const Shutdown& outer_;
  Shutdown inner_;
  Shutdown end_;  // of the thread
  std::atomic<int64_t> grace_ms_{0};
  std::thread thread_;
};

}  // namespace towline

#include "base/shutdown.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/steady_clock.h"

namespace towline {

Shutdown::Shutdown() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { TOWLINE_CHECK(fd_ >= 0); }
Shutdown::~Shutdown() { close(fd_); }

void Shutdown::Request() {
  requested_.store(true, std::memory_order_release);
  uint64_t one = 1;
  [[maybe_unused]] ssize_t ignored = write(fd_, &one, sizeof one);
}

bool Shutdown::SleepFor(absl::Duration duration) const {
  absl::Time deadline = SteadyNow() + duration;
  while (!is_requested()) {
    int64_t left_ms =
        absl::ToInt64Milliseconds(absl::Ceil(deadline - SteadyNow(), absl::Milliseconds(1)));
    if (left_ms <= 0) return true;
    pollfd waiting{fd_, POLLIN, 0};
    poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left_ms, 60'000)));
  }
  return false;
}

}  // namespace towline

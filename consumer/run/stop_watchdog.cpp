#include "run/stop_watchdog.h"

#include <poll.h>

#include <cstdlib>
#include <utility>

#include "base/log.h"

namespace towline {
namespace {

constexpr absl::Duration kStopMax = absl::Milliseconds(4500);

}  // namespace

StopWatchdog::StopWatchdog(const Shutdown& shutdown, std::function<void()> last_words)
    : shutdown_(shutdown), last_words_(std::move(last_words)), thread_([this] { Watch(); }) {}

StopWatchdog::~StopWatchdog() {
  end_.Request();
  thread_.join();
}

void StopWatchdog::Watch() {
  while (!shutdown_.is_requested()) {
    pollfd waiting[2] = {{shutdown_.fd(), POLLIN, 0}, {end_.fd(), POLLIN, 0}};
    poll(waiting, 2, -1);
    if (end_.is_requested()) return;
  }
  if (!end_.SleepFor(kStopMax)) return;
  LogWarning("a server does not answer; stopping without it");
  last_words_();
  std::_Exit(0);
}

}  // namespace towline

#include "base/linked_shutdown.h"

#include <poll.h>

namespace towline {

LinkedShutdown::LinkedShutdown(const Shutdown& outer)
    : outer_(outer), thread_([this] { Forward(); }) {}

LinkedShutdown::~LinkedShutdown() {
  end_.Request();
  thread_.join();
}

void LinkedShutdown::Forward() {
  while (!outer_.is_requested()) {
    pollfd waiting[2] = {{outer_.fd(), POLLIN, 0}, {end_.fd(), POLLIN, 0}};
    poll(waiting, 2, -1);
    if (end_.is_requested()) return;
  }
  if (end_.SleepFor(absl::Milliseconds(grace_ms_.load()))) inner_.Request();
}

}  // namespace towline

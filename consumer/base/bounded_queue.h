// A queue between two stages, bounded in bytes: the sender waits when it is full (back-pressure),
// the receiver when it is empty. An item larger than the bound passes when the queue is empty.
// Close() wakes both sides; what is queued can still be taken.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/timed_wait.h"

namespace towline {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t bytes_max) : bytes_max_(bytes_max) {}

  // Waits up to `timeout` for room. False: no room in time, or closed (see is_closed()); `item`
  // is then untouched.
  bool Push(T& item, size_t bytes, absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    auto has_room = [this, bytes]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return closed_ || items_.empty() || bytes_ + bytes <= bytes_max_;
    };
    if (!changed_.Await(mutex_, has_room, timeout) || closed_) return false;
    items_.emplace_back(std::move(item), bytes);
    bytes_ += bytes;
    changed_.Notify();
    return true;
  }

  // Waits up to `timeout` for an item. Nothing: none came in time, or closed and empty.
  std::optional<T> Pop(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    auto has_item = [this]()
                        ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return closed_ || !items_.empty(); };
    changed_.Await(mutex_, has_item, timeout);
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front().first));
    bytes_ -= items_.front().second;
    items_.pop_front();
    changed_.Notify();
    return item;
  }

  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    changed_.Notify();
  }

  bool is_closed() const {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }
  size_t bytes() const {
    absl::MutexLock lock(&mutex_);
    return bytes_;
  }

 private:
  const size_t bytes_max_;
  mutable absl::Mutex mutex_;
  TimedWait changed_;
  std::deque<std::pair<T, size_t>> items_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace towline

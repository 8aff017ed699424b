// TimedWait: a condition under a mutex, awaited up to a time by the steady clock.
#include "base/timed_wait.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/steady_clock.h"

namespace towline {
namespace {

class Gate {
 public:
  void Open() {
    absl::MutexLock lock(&mutex_);
    is_open_ = true;
    changed_.Notify();
  }
  bool Await(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    return changed_.Await(
        mutex_, [this] { return is_open_; }, timeout);
  }

 private:
  absl::Mutex mutex_;
  TimedWait changed_;
  bool is_open_ = false;
};

TEST(TimedWaitTest, WhatIsSoNeedsNoTime) {
  Gate gate;
  gate.Open();
  EXPECT_TRUE(gate.Await(absl::ZeroDuration()));
}

TEST(TimedWaitTest, EndsWithItsTimeAndNotBefore) {
  Gate gate;
  EXPECT_FALSE(gate.Await(absl::ZeroDuration()));
  EXPECT_FALSE(gate.Await(-absl::Seconds(1)));
  const absl::Time began = SteadyNow();
  EXPECT_FALSE(gate.Await(absl::Milliseconds(20)));
  EXPECT_GE(SteadyNow() - began, absl::Milliseconds(20));
}

TEST(TimedWaitTest, IsWokenByTheChange) {
  Gate gate;
  std::thread opener([&gate] { gate.Open(); });
  EXPECT_TRUE(gate.Await(absl::Minutes(1)));
  opener.join();
}

}  // namespace
}  // namespace towline

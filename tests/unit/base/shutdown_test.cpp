// Shutdown: heard by sleepers and by everybody who polls its descriptor.
#include "base/shutdown.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

#include "absl/time/clock.h"

namespace towline {
namespace {

TEST(ShutdownTest, SleepEndsInTimeWithoutARequest) {
  Shutdown shutdown;
  EXPECT_TRUE(shutdown.SleepFor(absl::Milliseconds(1)));
  EXPECT_FALSE(shutdown.is_requested());
}

TEST(ShutdownTest, RequestWakesASleeper) {
  Shutdown shutdown;
  absl::Time start = absl::Now();
  std::thread sleeper([&shutdown] { EXPECT_FALSE(shutdown.SleepFor(absl::Minutes(10))); });
  shutdown.Request();
  sleeper.join();
  EXPECT_LT(absl::Now() - start, absl::Minutes(1));
}

TEST(ShutdownTest, DescriptorStaysReadable) {
  Shutdown shutdown;
  shutdown.Request();
  shutdown.Request();
  for (int i = 0; i < 2; ++i) {
    pollfd waiting{shutdown.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 0), 1);
  }
  EXPECT_FALSE(shutdown.SleepFor(absl::ZeroDuration()));
}

}  // namespace
}  // namespace towline

// An attempt's Shutdown: follows the process's, at once or after its grace, and can be asked alone.
#include "base/linked_shutdown.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace towline {
namespace {

TEST(LinkedShutdownTest, FollowsTheOuterOne) {
  Shutdown outer;
  LinkedShutdown linked(outer);
  EXPECT_FALSE(linked.shutdown().is_requested());
  outer.Request();
  EXPECT_FALSE(linked.shutdown().SleepFor(absl::Minutes(1)));
}

TEST(LinkedShutdownTest, AnOuterRequestBeforeItsBirthCounts) {
  Shutdown outer;
  outer.Request();
  LinkedShutdown linked(outer);
  EXPECT_FALSE(linked.shutdown().SleepFor(absl::Minutes(1)));
}

TEST(LinkedShutdownTest, AskedAloneItLeavesTheOuterOne) {
  Shutdown outer;
  LinkedShutdown linked(outer);
  linked.Request();
  EXPECT_TRUE(linked.shutdown().is_requested());
  EXPECT_FALSE(outer.is_requested());
}

TEST(LinkedShutdownTest, EndsWithinItsGrace) {
  Shutdown outer;
  absl::Time start = absl::Now();
  {
    LinkedShutdown linked(outer);
    linked.set_grace(absl::Minutes(10));
    outer.Request();
    EXPECT_FALSE(linked.shutdown().is_requested());
  }
  EXPECT_LT(absl::Now() - start, absl::Minutes(1));
}

}  // namespace
}  // namespace towline

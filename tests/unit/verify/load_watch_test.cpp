#include "verify/load_watch.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(LoadWatchTest, OnlyWhatIsAboveItsLimitIsGivenWayTo) {
  const LoadLimits limits{absl::Seconds(10), 5};
  EXPECT_EQ(DescribeOverload({absl::Seconds(10), false, 5, 5}, limits), "");
  EXPECT_EQ(DescribeOverload({absl::Milliseconds(12300), false, 5, 5}, limits),
            "lag 12.3 s > 10 s");
  EXPECT_EQ(DescribeOverload({absl::ZeroDuration(), false, 6, 0}, limits),
            "6 active sessions at the source > 5");
  EXPECT_EQ(DescribeOverload({absl::ZeroDuration(), false, 0, 7}, limits),
            "7 active sessions at the destination > 5");
}

TEST(LoadWatchTest, WithoutALimitNothingIs) {
  EXPECT_FALSE(LoadLimits().has_any());
  EXPECT_EQ(DescribeOverload({absl::Hours(1), false, 999, 999}, LoadLimits()), "");
}

// It would be waited for in vain.
TEST(LoadWatchTest, ATaskThatStandsIsNoLoad) {
  EXPECT_EQ(DescribeOverload({absl::Hours(1), true, 0, 0}, {absl::Seconds(10), 0}), "");
}

}  // namespace
}  // namespace towline

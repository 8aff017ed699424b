#include "run/copy_brake.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(CopyBrakeTest, OnlyWhatIsAboveItsLimitSuffers) {
  const SourceLimits limits{.active_max = 20, .lag_max = absl::Seconds(5)};
  EXPECT_EQ(DescribeSuffering({.active = 20, .standby_lag = absl::Seconds(5)}, limits), "");
  EXPECT_EQ(DescribeSuffering({.active = 31, .standby_lag = {}}, limits),
            "31 active sessions at the source > 20");
  EXPECT_EQ(DescribeSuffering({.active = 3, .standby_lag = absl::Milliseconds(7250)}, limits),
            "a standby of the source is 7.2 s behind > 5.0 s");
}

TEST(CopyBrakeTest, WithoutALimitNothingDoes) {
  EXPECT_FALSE(SourceLimits().has_any());
  EXPECT_EQ(DescribeSuffering({.active = 1000, .standby_lag = absl::Hours(1)}, {}), "");
}

}  // namespace
}  // namespace towline

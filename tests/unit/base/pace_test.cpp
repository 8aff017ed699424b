#include "base/pace.h"

#include "base/steady_clock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

class PaceControlTest : public testing::Test {
 protected:
  // A look each second for so long; gives the share at the end.
  double Look(bool suffers, absl::Duration time) {
    for (absl::Time end = now_ + time; now_ < end; now_ += absl::Seconds(1)) {
      control_.Note(suffers, now_);
    }
    return control_.share();
  }

  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
  PaceControl control_;
};

TEST_F(PaceControlTest, WhatIsWellIsLeftAlone) {
  EXPECT_EQ(Look(false, absl::Hours(1)), 1);
  EXPECT_FALSE(control_.is_held_back());
}

TEST_F(PaceControlTest, OneLookHalvesAtOnceAndTheNextWaitForItsEffect) {
  EXPECT_EQ(Look(true, absl::Seconds(1)), 0.5);
  EXPECT_EQ(Look(true, absl::Seconds(2)), 0.5);
  EXPECT_EQ(Look(true, absl::Seconds(1)), 0.25);
}

TEST_F(PaceControlTest, ItNeverStandsStill) {
  EXPECT_EQ(Look(true, absl::Hours(1)), PaceControl::kShareMin);
}

TEST_F(PaceControlTest, ItComesBackByItself) {
  Look(true, absl::Minutes(1));
  EXPECT_EQ(Look(false, absl::Seconds(5)), PaceControl::kShareMin);
  EXPECT_EQ(Look(false, absl::Seconds(6)), 2 * PaceControl::kShareMin);
  EXPECT_EQ(Look(false, absl::Minutes(1)), 1);
}

TEST_F(PaceControlTest, WhatSuffersNowAndThenIsNotSpedUpBetween) {
  Look(true, absl::Seconds(1));
  for (int i = 0; i < 100; ++i) {
    EXPECT_LE(Look(false, absl::Seconds(8)), 0.5);
    Look(true, absl::Seconds(1));
  }
}

TEST(PaceTest, WithoutNeedNobodyRests) {
  Shutdown shutdown;
  Pace pace;
  const absl::Time began = SteadyNow();
  EXPECT_TRUE(pace.Rest(absl::Hours(1), shutdown));
  EXPECT_LT(SteadyNow() - began, absl::Seconds(10));
}

TEST(PaceTest, ARestIsAsLongAsTheShareSays) {
  Shutdown shutdown;
  Pace pace;
  pace.SetShare(0.25);
  const absl::Time began = SteadyNow();
  EXPECT_TRUE(pace.Rest(absl::Milliseconds(20), shutdown));
  EXPECT_GE(SteadyNow() - began, absl::Milliseconds(59));
}

TEST(PaceTest, AStopWakesWhoeverRests) {
  Shutdown shutdown;
  shutdown.Request();
  Pace pace;
  pace.SetShare(PaceControl::kShareMin);
  EXPECT_FALSE(pace.Rest(absl::Hours(1), shutdown));
}

}  // namespace
}  // namespace towline

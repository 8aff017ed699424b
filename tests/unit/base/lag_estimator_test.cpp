// Lag in seconds: exact for what has been received, estimated for what the source holds back, zero
// when nothing is pending.
#include "base/lag_estimator.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);
absl::Time After(int64_t seconds) { return kStart + absl::Seconds(seconds); }

TEST(LagEstimatorTest, NothingPendingIsNoLag) {
  LagEstimator lag;
  EXPECT_EQ(lag.Seconds(kStart, Lsn{1}, 0), 0);
  lag.AddSample(kStart, Lsn{100});
  EXPECT_EQ(lag.Seconds(After(60), Lsn{100}, 0), 0);
}

TEST(LagEstimatorTest, AReceivedTransactionCountsFromItsCommit) {
  LagEstimator lag;
  EXPECT_DOUBLE_EQ(lag.Seconds(After(7), Lsn{1}, absl::ToUnixMicros(After(5))), 2);
}

TEST(LagEstimatorTest, ACommitInTheFutureIsNoNegativeLag) {
  LagEstimator lag;
  EXPECT_EQ(lag.Seconds(kStart, Lsn{1}, absl::ToUnixMicros(After(5))), 0);
}

TEST(LagEstimatorTest, WhatTheSourceHoldsBackCountsFromTheSampleThatSawIt) {
  LagEstimator lag;
  for (int i = 0; i <= 30; ++i) lag.AddSample(After(i), Lsn{static_cast<uint64_t>(100 + i)});
  EXPECT_DOUBLE_EQ(lag.Seconds(After(30), Lsn{109}, 0), 20);
}

TEST(LagEstimatorTest, TheRhythmOfSamplesIsNoLag) {
  LagEstimator lag;
  lag.AddSample(After(0), Lsn{100});
  lag.AddSample(After(1), Lsn{200});
  EXPECT_EQ(lag.Seconds(After(2), Lsn{100}, 0), 0);
}

TEST(LagEstimatorTest, AClockThatIsSetBackIsFollowed) {
  LagEstimator lag;
  for (int i = 0; i <= 30; ++i) lag.AddSample(After(i), Lsn{static_cast<uint64_t>(100 + i)});
  for (int i = -3600; i <= -3580; ++i)
    lag.AddSample(After(i), Lsn{static_cast<uint64_t>(3800 + i)});
  EXPECT_DOUBLE_EQ(lag.Seconds(After(-3580), Lsn{110}, 0), 20);
}

TEST(LagEstimatorTest, ALongLagIsRememberedInBoundedSpace) {
  LagEstimator lag;
  for (int i = 0; i < 100'000; ++i) lag.AddSample(After(i), Lsn{static_cast<uint64_t>(100 + i)});
  EXPECT_NEAR(lag.Seconds(After(100'000), Lsn{100}, 0), 100'000, 1000);
}

}  // namespace
}  // namespace towline

#include "base/rate_limit.h"

#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

// A clock that moves only as told.
class TokenBucketTest : public testing::Test {
 protected:
  // Takes `amount`, rests as asked, `times` times; gives how long it took.
  absl::Duration Work(int64_t amount, int times) {
    absl::Time began = now_;
    for (int i = 0; i < times; ++i) {
      bucket_.Take(amount, now_);
      now_ += bucket_.Debt(now_);
    }
    return now_ - began;
  }

  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
  TokenBucket bucket_;
};

TEST_F(TokenBucketTest, WithoutARateNothingIsEverOwed) {
  EXPECT_EQ(Work(int64_t{1} << 60, 10), absl::ZeroDuration());
}

TEST_F(TokenBucketTest, WorkTakesAsLongAsTheRateSays) {
  bucket_.SetRate(1000, now_);
  EXPECT_NEAR(absl::ToDoubleSeconds(Work(50, 200)), 10, 0.001);
}

TEST_F(TokenBucketTest, AStepLargerThanASecondsWorthIsPaidInFull) {
  bucket_.SetRate(1000, now_);
  EXPECT_NEAR(absl::ToDoubleSeconds(Work(30'000, 2)), 60, 0.001);
}

TEST_F(TokenBucketTest, AnIdleTimeSavesUpNoMoreThanTheBurst) {
  bucket_.SetRate(1000, now_);
  now_ += absl::Hours(10);
  EXPECT_NEAR(absl::ToDoubleSeconds(Work(50, 200)), 10 - absl::ToDoubleSeconds(TokenBucket::kBurst),
              0.001);
}

TEST_F(TokenBucketTest, ADebtIsPaidAtTheNewRate) {
  bucket_.SetRate(10, now_);
  bucket_.Take(1000, now_);
  EXPECT_EQ(bucket_.Debt(now_), absl::Seconds(100));
  now_ += absl::Seconds(50);
  bucket_.SetRate(500, now_);
  EXPECT_EQ(bucket_.Debt(now_), absl::Seconds(1));
  bucket_.SetRate(0, now_);
  EXPECT_EQ(bucket_.Debt(now_), absl::ZeroDuration());
  // And what was done without a rate is not owed afterwards.
  bucket_.Take(1'000'000, now_);
  bucket_.SetRate(10, now_);
  EXPECT_EQ(bucket_.Debt(now_), absl::ZeroDuration());
}

TEST_F(TokenBucketTest, AClockThatGoesBackOwesNothingMore) {
  bucket_.SetRate(1000, now_);
  bucket_.Take(1000, now_);
  EXPECT_EQ(bucket_.Debt(now_ - absl::Seconds(5)), absl::Seconds(1));
}

TEST(RateLimitTest, IsDueInSmallStepsAndNeverWithoutALimit) {
  RateLimit limit;
  EXPECT_FALSE(limit.IsDue(INT64_MAX - 1, INT64_MAX - 1));
  limit.SetBytesPerSecond(1000);
  EXPECT_TRUE(limit.IsDue(100, 0));
  EXPECT_FALSE(limit.IsDue(99, 1'000'000));
  limit.SetRowsPerSecond(3);
  EXPECT_TRUE(limit.IsDue(0, 1));
  limit.SetBytesPerSecond(0);
  limit.SetRowsPerSecond(0);
  EXPECT_FALSE(limit.IsDue(1 << 30, 1 << 30));
}

TEST(RateLimitTest, ARestEndsWhenTheLimitIsLifted) {
  RateLimit limit;
  Shutdown shutdown;
  limit.SetRowsPerSecond(1);
  absl::Time began = absl::Now();
  std::thread lifts([&limit] {
    absl::SleepFor(absl::Milliseconds(50));
    limit.SetRowsPerSecond(0);
  });
  EXPECT_TRUE(limit.Rest(0, 1'000'000, shutdown));
  lifts.join();
  EXPECT_LT(absl::Now() - began, absl::Seconds(10));
}

TEST(RateLimitTest, ARestEndsAtAShutdown) {
  RateLimit limit;
  Shutdown shutdown;
  limit.SetBytesPerSecond(1);
  shutdown.Request();
  EXPECT_FALSE(limit.Rest(1'000'000, 0, shutdown));
}

}  // namespace
}  // namespace towline

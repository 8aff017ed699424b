// When status updates are due (hazards B8), without a server.
#include "stream/status_clock.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(10);
const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(StatusClockTest, FirstUpdateIsDueAtOnce) {
  StatusClock clock(kInterval, kStart);
  EXPECT_TRUE(clock.IsDue(kStart, Lsn{1}));
}

TEST(StatusClockTest, ThenEachIntervalByItsOwnTime) {
  StatusClock clock(kInterval, kStart);
  clock.Sent(kStart, Lsn{1});
  EXPECT_EQ(clock.UntilDue(kStart, Lsn{1}), kInterval);
  EXPECT_FALSE(clock.IsDue(kStart + kInterval - absl::Milliseconds(1), Lsn{1}));
  EXPECT_TRUE(clock.IsDue(kStart + kInterval, Lsn{1}));
}

TEST(StatusClockTest, AMovedDurablePositionIsReportedSoon) {
  StatusClock clock(kInterval, kStart);
  clock.Sent(kStart, Lsn{1});
  EXPECT_FALSE(clock.IsDue(kStart, Lsn{2}));
  EXPECT_TRUE(clock.IsDue(kStart + absl::Seconds(1), Lsn{2}));
  clock.Sent(kStart + absl::Seconds(1), Lsn{2});
  EXPECT_FALSE(clock.IsDue(kStart + absl::Seconds(2), Lsn{2}));
}

TEST(StatusClockTest, AShortIntervalIsNeverLengthened) {
  StatusClock clock(absl::Milliseconds(100), kStart);
  clock.Sent(kStart, Lsn{1});
  EXPECT_LE(clock.UntilDue(kStart, Lsn{2}), absl::Milliseconds(100));
}

TEST(StatusClockTest, NeverNegative) {
  StatusClock clock(kInterval, kStart);
  EXPECT_EQ(clock.UntilDue(kStart + absl::Hours(1), Lsn{1}), absl::ZeroDuration());
}

}  // namespace
}  // namespace towline

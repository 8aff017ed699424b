// Backoff: delays double up to ten seconds and never fall below half of their span.
#include "base/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace towline {
namespace {

TEST(BackoffTest, DelaysGrowFromTheirSpansUpperHalf) {
  Backoff backoff(7);
  absl::Duration span = absl::Milliseconds(100);
  for (int i = 0; i < 20; ++i) {
    absl::Duration delay = backoff.Next();
    EXPECT_GE(delay, span / 2);
    EXPECT_LE(delay, span);
    span = std::min(span * 2, absl::Seconds(10));
  }
}

TEST(BackoffTest, ResetStartsAnew) {
  Backoff backoff(7);
  for (int i = 0; i < 10; ++i) backoff.Next();
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(100));
}

}  // namespace
}  // namespace towline

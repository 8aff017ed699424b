#include "run/sequence_keeper.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

SequenceValue At(int64_t value, int64_t increment = 1, bool is_called = true) {
  SequenceValue sequence;
  sequence.last_value = value;
  sequence.is_called = is_called;
  sequence.increment = increment;
  if (increment < 0) {
    sequence.min_value = INT64_MIN;
    sequence.max_value = -1;
  }
  return sequence;
}

TEST(SequenceKeeperTest, WhatStandsStillIsSetAsItIs) {
  EXPECT_EQ(WithMargin(At(7), At(7)).last_value, 7);
  EXPECT_FALSE(WithMargin(At(1, 1, false), At(1, 1, false)).is_called);
}

TEST(SequenceKeeperTest, TheMarginIsTwiceTheMoveAndAtLeastThirtyTwoSteps) {
  EXPECT_EQ(WithMargin(At(10), At(11)).last_value, 11 + 32);
  EXPECT_EQ(WithMargin(At(10), At(1010)).last_value, 1010 + 2000);
  EXPECT_EQ(WithMargin(At(10, 5), At(20, 5)).last_value, 20 + 5 * 32);
  EXPECT_EQ(WithMargin(At(-10, -1), At(-1010, -1)).last_value, -1010 - 2000);
  // The first value of all: it was not called before.
  SequenceValue first = WithMargin(At(1, 1, false), At(1));
  EXPECT_EQ(first.last_value, 33);
  EXPECT_TRUE(first.is_called);
}

TEST(SequenceKeeperTest, SetBackItHasNoPace) {
  EXPECT_EQ(WithMargin(At(1000), At(10)).last_value, 10 + 32);
  EXPECT_EQ(WithMargin(At(-1000, -1), At(-10, -1)).last_value, -10 - 32);
}

TEST(SequenceKeeperTest, StaysWithinItsBounds) {
  SequenceValue now = At(95);
  now.max_value = 100;
  EXPECT_EQ(WithMargin(At(90), now).last_value, 100);
  EXPECT_EQ(WithMargin(At(0), At(INT64_MAX - 1)).last_value, INT64_MAX);
  now.does_cycle = true;
  EXPECT_EQ(WithMargin(At(90), now).last_value, 95);
}

}  // namespace
}  // namespace towline

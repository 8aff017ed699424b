#include "verify/recent_ranges.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;

TEST(OrderByWrittenTest, StepsWithTheMostRowsWrittenComeFirst) {
  EXPECT_THAT(OrderByWritten({0, 1, 2, 3, 4, 5, 6}, 2, {{6, 1}, {2, 3}, {3, 3}, {4, 5}}),
              ElementsAre(2, 3, 4, 5, 6, 0, 1));
}

TEST(OrderByWrittenTest, NothingWrittenLeavesTheOrder) {
  EXPECT_THAT(OrderByWritten({1, 4, 9}, 1, {}), ElementsAre(1, 4, 9));
  EXPECT_THAT(OrderByWritten({1, 4, 9}, 1, {{2, 7}}), ElementsAre(1, 4, 9));  // of no sample
  EXPECT_THAT(OrderByWritten({}, 5, {{2, 7}}), ElementsAre());
}

TEST(OrderByWrittenTest, OneStepIsOneRead) {
  EXPECT_THAT(OrderByWritten({0, 1, 2}, 5, {{2, 7}}), ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace towline

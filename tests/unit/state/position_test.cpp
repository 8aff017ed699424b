// The compare-and-set: its text, its quoting, and what an outcome means.
#include "state/position.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(PositionTest, ComparesTaskEpochAndOldPosition) {
  EXPECT_EQ(MovePositionSql({"orders", 7}, Lsn{0x10}, Lsn{0x100000020}),
            "UPDATE towline_state.task SET position = '1/20' WHERE task = 'orders' AND epoch = 7 "
            "AND position = '0/10'");
}

TEST(PositionTest, QuotesTheTask) {
  EXPECT_EQ(
      MovePositionSql({"o'r\\d", 1}, Lsn{1}, Lsn{1}),
      "UPDATE towline_state.task SET position = '0/1' WHERE task = E'o''r\\\\d' AND epoch = 1 "
      "AND position = '0/1'");
}

TEST(PositionTest, AnythingButOneRowIsAnotherWriter) {
  EXPECT_TRUE(CheckPositionMoved(1).ok());
  EXPECT_EQ(CheckPositionMoved(0).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(CheckPositionMoved(2).code(), absl::StatusCode::kAborted);
}

TEST(PositionDeathTest, NeverRunsBackwards) {
  EXPECT_DEATH(MovePositionSql({"orders", 1}, Lsn{5}, Lsn{4}), "does not hold");
  EXPECT_DEATH(MovePositionSql({"orders", 1}, Lsn{0}, Lsn{4}), "does not hold");
}

}  // namespace
}  // namespace towline

#include "config/existing_policy.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(ExistingPolicyTest, TheNearestSettingHolds) {
  const TableName root{"public", "p"};
  const TableName middle{"public", "p_2"};
  const TableName leaf{"public", "p_2_a"};
  Config config;
  config.existing = ExistingTables::kTruncate;
  Table table;
  table.name = leaf;
  table.ancestors = {middle, root};  // the nearest first
  EXPECT_EQ(ExistingPolicyOf(config).For(table), ExistingTables::kTruncate);
  config.existing_by_table[root] = ExistingTables::kStop;
  EXPECT_EQ(ExistingPolicyOf(config).For(table), ExistingTables::kStop);
  config.existing_by_table[middle] = ExistingTables::kAppend;
  EXPECT_EQ(ExistingPolicyOf(config).For(table), ExistingTables::kAppend);
  config.existing_by_table[leaf] = ExistingTables::kTruncate;
  EXPECT_EQ(ExistingPolicyOf(config).For(table), ExistingTables::kTruncate);
  // Others of the tree have what is above them.
  EXPECT_EQ(ExistingPolicyOf(config).For({"public", "p_1"}, {root}), ExistingTables::kStop);
  EXPECT_EQ(ExistingPolicyOf(config).For(middle, {root}), ExistingTables::kAppend);
  EXPECT_EQ(ExistingPolicyOf(config).For({"other", "p"}, {}), ExistingTables::kTruncate);
}

}  // namespace
}  // namespace towline

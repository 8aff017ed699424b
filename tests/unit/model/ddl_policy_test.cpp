#include "model/ddl_policy.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

DdlPolicy PolicyOf(DdlAction action) {
  DdlPolicy policy;
  policy.is_on = true;
  policy.actions.fill(action);
  return policy;
}

TEST(DdlPolicyTest, WhatIsOffOrIgnoredIsNeverRun) {
  EXPECT_FALSE(DdlPolicy().Runs(DdlKind::kTable));
  EXPECT_FALSE(DdlPolicy().RunsOnTables());
  EXPECT_FALSE(PolicyOf(DdlAction::kIgnore).RunsOnTables());
}

TEST(DdlPolicyTest, WhatIsHeldIsRunOnceItIsApproved) {
  EXPECT_TRUE(PolicyOf(DdlAction::kHold).Runs(DdlKind::kForeign));
  EXPECT_TRUE(PolicyOf(DdlAction::kHold).RunsOnTables());
}

TEST(DdlPolicyTest, KindsThatAreNotNamedAreRunAsByDefault) {
  DdlPolicy policy;
  policy.is_on = true;
  EXPECT_TRUE(policy.RunsOnTables());
  EXPECT_TRUE(policy.Runs(DdlKind::kSchema));
  EXPECT_FALSE(policy.Runs(DdlKind::kOwner));
}

TEST(DdlPolicyTest, AnIndexOnlyIsOfATableToo) {
  DdlPolicy policy = PolicyOf(DdlAction::kIgnore);
  policy.actions[static_cast<size_t>(DdlKind::kView)] = DdlAction::kApply;
  EXPECT_FALSE(policy.RunsOnTables());
  policy.actions[static_cast<size_t>(DdlKind::kIndex)] = DdlAction::kApply;
  EXPECT_TRUE(policy.RunsOnTables());
}

}  // namespace
}  // namespace towline

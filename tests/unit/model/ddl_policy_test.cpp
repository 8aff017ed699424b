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

TEST(DdlPolicyTest, TheTableWinsThenTheNearestAboveThenTheSchema) {
  DdlPolicy policy = PolicyOf(DdlAction::kApply);
  const auto table = static_cast<size_t>(DdlKind::kTable);
  const auto index = static_cast<size_t>(DdlKind::kIndex);
  policy.schemas["s"].fill(DdlAction::kIgnore);
  policy.tables[{"r", "root"}][table] = DdlAction::kHold;
  policy.tables[{"r", "middle"}][table] = DdlAction::kApply;
  policy.tables[{"s", "own"}][table] = DdlAction::kHold;
  auto action = [&policy](DdlKind kind, const DdlSubject& subject) {
    return std::string(NameOf(policy.WordFor(kind, subject).action));
  };
  EXPECT_EQ(action(DdlKind::kTable, {"s", {{"s", "own"}, {"r", "middle"}}}), "hold");
  EXPECT_EQ(action(DdlKind::kTable, {"s", {{"s", "leaf"}, {"r", "middle"}, {"r", "root"}}}),
            "apply");
  EXPECT_EQ(action(DdlKind::kTable, {"s", {{"s", "leaf"}, {"r", "root"}}}), "hold");
  EXPECT_EQ(action(DdlKind::kIndex, {"s", {{"s", "leaf"}, {"r", "root"}}}), "ignore");
  EXPECT_EQ(action(DdlKind::kIndex, {"r", {{"r", "root"}}}), "apply");
  policy.actions[index] = DdlAction::kIgnore;
  EXPECT_FALSE(policy.Runs(DdlKind::kIndex));
  policy.tables[{"r", "root"}][index] = DdlAction::kHold;
  EXPECT_TRUE(policy.Runs(DdlKind::kIndex));
}

}  // namespace
}  // namespace towline

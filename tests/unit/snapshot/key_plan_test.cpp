#include "snapshot/key_plan.h"

#include <gtest/gtest.h>

#include "snapshot/copy_statements.h"

namespace towline {
namespace {

constexpr int64_t kMegabyte = 1 << 20;

Table TableOf(int64_t bytes, int64_t rows = 1'000'000) {
  Table table;
  table.name = {"s", "t"};
  table.total_bytes = bytes;
  table.estimated_rows = rows;
  return table;
}

ChunkKey KeyOf(KeyType type) {
  return {.column = "k", .type_oid = 0, .type = type, .collation = ""};
}

KeyChoice ChoiceOf(std::optional<double> correlation) {
  KeyChoice choice;
  choice.key = KeyOf(KeyType::kInt8);
  choice.correlation = correlation;
  return choice;
}

KeyChoice NoKey() {
  KeyChoice choice;
  choice.reason = "its key has 2 columns";
  return choice;
}

KeyPlan Plan(const Table& table, const KeyChoice& choice,
             CopyPlanner planner = CopyPlanner::kAuto) {
  return PlanKeys(table, choice, {.planner = planner, .range_bytes = 64 * kMegabyte});
}

TEST(KeyPlanTest, ASmallTableIsCopiedWhole) {
  for (CopyPlanner planner : {CopyPlanner::kAuto, CopyPlanner::kKeys, CopyPlanner::kCtid}) {
    KeyPlan plan = Plan(TableOf(64 * kMegabyte), ChoiceOf(1.0), planner);
    EXPECT_EQ(plan.mode, CopyMode::kWhole);
    EXPECT_EQ(plan.range_count, 1);
    EXPECT_EQ(plan.reason, "it is no larger than 64 MB");
  }
  EXPECT_EQ(PlanKeys(TableOf(kMegabyte), ChoiceOf(1.0), {}).reason, "tables are not divided");
}

TEST(KeyPlanTest, AutoTakesAKeyThatFollowsTheHeapEitherWay) {
  for (double correlation : {1.0, 0.95, -0.95, -1.0}) {
    KeyPlan plan = Plan(TableOf(1000 * kMegabyte), ChoiceOf(correlation));
    EXPECT_EQ(plan.mode, CopyMode::kKeys) << correlation;
    EXPECT_EQ(plan.range_count, 16);
  }
  EXPECT_EQ(Plan(TableOf(1000 * kMegabyte), ChoiceOf(0.987)).reason,
            "its key \"k\" follows the order of its rows (correlation 0.99)");
}

TEST(KeyPlanTest, CtidSaysWhy) {
  const Table table = TableOf(1000 * kMegabyte);
  EXPECT_EQ(Plan(table, ChoiceOf(0.5)).reason,
            "its key \"k\" does not follow the order of its rows (correlation 0.50)");
  EXPECT_EQ(Plan(table, ChoiceOf(std::nullopt)).reason,
            "it has never been analyzed, so nobody knows whether its key \"k\" "
            "follows the order of its rows");
  EXPECT_EQ(Plan(table, ChoiceOf(1.0), CopyPlanner::kCtid).reason, "copy_planner is ctid");
  for (CopyPlanner planner : {CopyPlanner::kAuto, CopyPlanner::kKeys}) {
    EXPECT_EQ(Plan(table, NoKey(), planner).reason, "its key has 2 columns");
  }
  EXPECT_EQ(Plan(table, ChoiceOf(0.5)).mode, CopyMode::kCtid);
  EXPECT_EQ(Plan(table, ChoiceOf(0.5)).range_count, 16);
}

TEST(KeyPlanTest, KeysAreTakenWhereTheyAreWanted) {
  for (std::optional<double> correlation : {std::optional<double>(0.0), {}}) {
    KeyPlan plan = Plan(TableOf(1000 * kMegabyte), ChoiceOf(correlation), CopyPlanner::kKeys);
    EXPECT_EQ(plan.mode, CopyMode::kKeys);
    EXPECT_EQ(plan.reason, "copy_planner is keys");
  }
}

TEST(KeyPlanTest, ThereAreNoMoreRangesThanRowsNorThanTheLimit) {
  EXPECT_EQ(Plan(TableOf(1000 * kMegabyte, 3), ChoiceOf(1.0)).range_count, 3);
  EXPECT_EQ(Plan(TableOf(1000 * kMegabyte, -1), ChoiceOf(1.0)).range_count, 16);
  EXPECT_EQ(Plan(TableOf(int64_t{1} << 50), ChoiceOf(1.0)).range_count, 10'000);
}

TEST(KeyPlanTest, ConditionHasTheEndsOfTheRangeAsLiterals) {
  EXPECT_EQ(KeyCondition(KeyOf(KeyType::kInt8), {"-5", "7"}),
            "\"k\" >= '-5'::pg_catalog.int8 AND \"k\" < '7'::pg_catalog.int8");
  EXPECT_EQ(KeyCondition(KeyOf(KeyType::kText), {std::nullopt, "it's"}),
            "\"k\" < 'it''s'::pg_catalog.text");
  EXPECT_EQ(KeyCondition(KeyOf(KeyType::kBytea), {"\\x00", std::nullopt}),
            "\"k\" >= E'\\\\x00'::pg_catalog.bytea");
  EXPECT_EQ(KeyCondition(KeyOf(KeyType::kText), {}), "");
}

TEST(KeyPlanTest, AConditionOnTheKeyStandsWithThatOfTheRule) {
  Table table = TableOf(kMegabyte);
  CopyTarget target;
  target.columns = {"\"k\""};
  target.where = "k > 0 OR true";
  CopyPart part;
  part.is_whole = false;
  part.key_condition = KeyCondition(KeyOf(KeyType::kInt4), {"1", "2"});
  EXPECT_EQ(CopyOutSql(table, target, part),
            "COPY (SELECT \"k\" FROM ONLY \"s\".\"t\" WHERE \"k\" >= '1'::pg_catalog.int4 AND "
            "\"k\" < '2'::pg_catalog.int4 AND (\nk > 0 OR true\n)) TO STDOUT");
}

}  // namespace
}  // namespace towline

// WhyNotRanged: what keeps a table with a good key under one snapshot.
#include "snapshot/range_plan.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

const ChunkKey kKey{.column = "id", .type_oid = 20, .type = KeyType::kInt8, .collation = ""};

UniqueIndex IndexOn(const std::string& name, std::vector<std::string> columns) {
  UniqueIndex index;
  index.name = name;
  index.columns = std::move(columns);
  return index;
}

class RangePlanTest : public testing::Test {
 protected:
  std::string Why(const TableRule* rule = nullptr, bool has_exclusion = false,
                  const std::string& cannot_wait = "") const {
    return WhyNotRanged(there_, kKey, rule, has_exclusion, cannot_wait);
  }

  Table there_;  // missing
};

TEST_F(RangePlanTest, OnlyIndexesOfTheKeyAloneMayComeBeforeTheStreamHasPassed) {
  Table table;
  table.unique_indexes = {IndexOn("t_pkey", {"id"}), IndexOn("t_email", {"email"}),
                          IndexOn("t_again", {"id"})};
  table.unique_indexes.front().is_primary = true;
  EXPECT_EQ(KeyIndexes(table, kKey, "t_pkey"), (std::set<std::string>{"t_pkey"}));
  EXPECT_EQ(KeyIndexes(table, kKey, "t_again"), (std::set<std::string>{"t_again", "t_pkey"}));
  table.unique_indexes.front().columns = {"other"};
  EXPECT_EQ(KeyIndexes(table, kKey, "t_again"), (std::set<std::string>{"t_again"}));
}

TEST_F(RangePlanTest, NothingButTheKeyIsUniqueThere) {
  EXPECT_EQ(Why(), "");
  there_.unique_indexes = {IndexOn("another_name", {"id"})};
  EXPECT_EQ(Why(), "");
}

TEST_F(RangePlanTest, AnyOtherUniqueIndexThatIsThereStandsAgainstIt) {
  for (UniqueIndex index :
       {IndexOn("x", {"email"}), IndexOn("x", {"id", "email"}), IndexOn("x", {""})}) {
    there_.unique_indexes = {IndexOn("t_pkey", {"id"}), index};
    EXPECT_EQ(Why(),
              "values of the unique index \"x\" that the destination has already may move between "
              "ranges");
  }
}

TEST_F(RangePlanTest, SoDoExclusionConstraintsAndRulesThatLeaveOutOperations) {
  EXPECT_EQ(Why(nullptr, true), "the destination has an exclusion constraint on it already");
  EXPECT_EQ(
      Why(nullptr, false, "u"),
      "values of its unique index \"u\" may move between ranges, and something else needs that "
      "index early");
  TableRule rule;
  rule.where = "id > 5";
  EXPECT_EQ(Why(&rule), "");
  rule.operations.has_delete = false;
  EXPECT_EQ(Why(&rule), "its rule leaves out operations");
}

TEST(FitTogetherTest, AllTablesWithRowsCount) {
  std::vector<Table> tables(3);
  for (Table& table : tables) {
    table.kind = 'r';
    table.persistence = 'p';
    table.total_bytes = 400;
  }
  EXPECT_TRUE(FitTogether(tables, 150));
  EXPECT_FALSE(FitTogether(tables, 149));
  tables[1].kind = 'p';
  EXPECT_TRUE(FitTogether(tables, 100));
  EXPECT_EQ(SharedPartBytes(tables, 100), 400);
  EXPECT_EQ(SharedPartBytes(tables, 99), 99);
}

TEST(TooManyTogetherTest, TheSmallestShareTheFirstSnapshot) {
  std::vector<Table> tables(12);
  for (size_t i = 0; i < tables.size(); ++i) {
    tables[i].kind = 'r';
    tables[i].persistence = 'p';
    tables[i].oid = static_cast<Oid>(i);
    tables[i].total_bytes = 100;
  }
  tables[0].total_bytes = 101;  // large, so not among them
  tables[1].total_bytes = 99;
  tables[2].kind = 'p';  // no rows of its own
  // Of ten together 999 bytes; eight parts are 800.
  EXPECT_EQ(TooManyTogether(tables, 100), (std::set<Oid>{10, 11}));
  tables[11].total_bytes = 0;
  EXPECT_EQ(TooManyTogether(tables, 100), (std::set<Oid>{10}));
  EXPECT_TRUE(TooManyTogether(tables, 0).empty());
  EXPECT_TRUE(TooManyTogether(tables, 1000).empty());
}

TEST(HaveSameColumnsTest, AnotherFileIsTheSameTableAndAnotherTableIsNot) {
  EXPECT_TRUE(HaveSameColumns("16390/20/abc", "16390/21/abc"));
  EXPECT_FALSE(HaveSameColumns("16390/20/abc", "16391/20/abc"));
  EXPECT_FALSE(HaveSameColumns("16390/20/abc", "16390/20/abd"));
  EXPECT_FALSE(HaveSameColumns("16390/20/abc", "16390/abc"));
}

}  // namespace
}  // namespace towline

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
  RangePlanTest() { table_.unique_indexes = {IndexOn("t_pkey", {"id"})}; }

  std::string Why(const TableRule* rule = nullptr, bool has_exclusion = false) const {
    return WhyNotRanged(table_, there_, kKey, rule, has_exclusion);
  }

  Table table_;
  Table there_;  // missing
};

TEST_F(RangePlanTest, NothingButTheKeyIsUnique) {
  EXPECT_EQ(Why(), "");
  there_.unique_indexes = {IndexOn("another_name", {"id"})};
  EXPECT_EQ(Why(), "");
}

TEST_F(RangePlanTest, AnyOtherUniqueIndexOnEitherSideStandsAgainstIt) {
  table_.unique_indexes.push_back(IndexOn("t_email", {"email"}));
  EXPECT_EQ(Why(), "values of its unique index \"t_email\" may move between ranges");
  table_.unique_indexes.pop_back();
  for (UniqueIndex index :
       {IndexOn("x", {"email"}), IndexOn("x", {"id", "email"}), IndexOn("x", {""})}) {
    there_.unique_indexes = {IndexOn("t_pkey", {"id"}), index};
    EXPECT_EQ(Why(), "values of its unique index \"x\" at the destination may move between ranges");
  }
}

TEST_F(RangePlanTest, SoDoExclusionConstraintsAndRulesThatLeaveOutOperations) {
  EXPECT_EQ(Why(nullptr, true), "it has an exclusion constraint");
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

TEST(HaveSameColumnsTest, AnotherFileIsTheSameTableAndAnotherTableIsNot) {
  EXPECT_TRUE(HaveSameColumns("16390/20/abc", "16390/21/abc"));
  EXPECT_FALSE(HaveSameColumns("16390/20/abc", "16391/20/abc"));
  EXPECT_FALSE(HaveSameColumns("16390/20/abc", "16390/20/abd"));
  EXPECT_FALSE(HaveSameColumns("16390/20/abc", "16390/abc"));
}

}  // namespace
}  // namespace towline

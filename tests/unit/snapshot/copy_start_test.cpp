#include "snapshot/copy_start.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

Table TableOf(Oid oid, const std::string& name) {
  Table table;
  table.oid = oid;
  table.name = {"public", name};
  TableColumn column;
  column.name = "a";
  column.attnum = 1;
  column.type_oid = 23;
  table.columns = {column};
  return table;
}

TEST(CopyStartTest, SizesAndStatisticsAreNoShape) {
  Table grown = TableOf(1, "t");
  grown.total_bytes = 8192;
  grown.estimated_rows = 5;
  EXPECT_TRUE(HaveSameShape({TableOf(1, "t")}, {grown}));
  EXPECT_TRUE(HaveSameShape({}, {}));
}

TEST(CopyStartTest, TablesThatComeGoOrAreMadeAnewAreAnotherShape) {
  EXPECT_FALSE(HaveSameShape({TableOf(1, "t")}, {}));
  EXPECT_FALSE(HaveSameShape({TableOf(1, "t")}, {TableOf(1, "t"), TableOf(2, "u")}));
  EXPECT_FALSE(HaveSameShape({TableOf(1, "t")}, {TableOf(2, "t")}));
  EXPECT_FALSE(HaveSameShape({TableOf(1, "t")}, {TableOf(1, "renamed")}));
}

TEST(CopyStartTest, EveryChangeOfAColumnIsAnotherShape) {
  Table before = TableOf(1, "t");
  auto differs = [&before](auto change) {
    Table after = before;
    change(after);
    EXPECT_EQ(ShapeOf({before}) == ShapeOf({after}), HaveSameShape({before}, {after}));
    return !HaveSameShape({before}, {after});
  };
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].name = "b"; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].attnum = 2; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].type_oid = 20; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].typmod = 8; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].is_not_null = true; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].generated = 's'; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns[0].identity = 'a'; }));
  EXPECT_TRUE(differs([](Table& t) { t.columns.clear(); }));
  EXPECT_TRUE(differs([](Table& t) { t.persistence = 'u'; }));
  before.unique_indexes.push_back({.name = "k", .columns = {""}, .definition = "ON t (lower(a))"});
  EXPECT_TRUE(differs([](Table& t) { t.unique_indexes[0].definition = "ON t (upper(a))"; }));
  EXPECT_TRUE(differs([](Table& t) { t.unique_indexes[0].is_deferrable = true; }));
  EXPECT_TRUE(differs([](Table& t) { t.exclusions.push_back({"x", "EXCLUDE (a WITH =)"}); }));
}

TEST(CopyStartTest, SaysWhatOfAShapeHasChanged) {
  Table before = TableOf(1, "t");
  before.columns[0].type_text = "integer";
  auto change = [&before](auto alter) {
    Table after = before;
    alter(after);
    return DescribeShapeChange(TableShape(before), TableShape(after));
  };
  EXPECT_EQ(change([](Table& t) { t.columns[0].is_not_null = true; }),
            "its columns have changed: from \"a\" integer to \"a\" integer NOT NULL");
  EXPECT_EQ(change([](Table& t) { t.columns[0].type_oid = 99; }),
            "its columns have changed: \"a\" integer was made anew");
  EXPECT_EQ(change([](Table& t) { t.columns[0].attnum = 2; }),
            "its columns have changed: \"a\" integer is gone, \"a\" integer is new");
  EXPECT_EQ(change([](Table& t) { t.unique_indexes.push_back({.name = "k", .columns = {"a"}}); }),
            "it has changed: unique index \"k\" is new");
  EXPECT_EQ(change([](Table& t) { t.is_partition = true; }),
            "it has changed: table is another one");
}

}  // namespace
}  // namespace towline

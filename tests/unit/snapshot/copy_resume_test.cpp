// What of an interrupted copy may stay, and why it starts over.
#include "snapshot/copy_resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "snapshot/copy_start.h"

namespace towline {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

Table TableOf(Oid oid, const std::string& name, char kind = 'r') {
  Table table;
  table.oid = oid;
  table.name = {"s", name};
  table.kind = kind;
  TableColumn column;
  column.name = "a";
  column.attnum = 1;
  column.type_oid = 23;
  column.type_text = "integer";
  table.columns = {column};
  return table;
}

PieceRow PieceOf(Oid oid, const std::string& name, const std::string& state) {
  PieceRow piece;
  piece.table = {"s", name};
  piece.source_oid = oid;
  piece.existing = "stop";
  piece.state = state;
  piece.snapshot_number = 1;
  return piece;
}

class CopyResumeTest : public testing::Test {
 protected:
  CopyResumeTest() {
    for (const Table& table : tables_) shapes_[table.name] = TableShape(table);
  }
  std::string Before() const { return WhyStartOver(pieces_, snapshots_, ranges_); }
  std::map<TableName, std::string> With(const std::vector<Table>& tables,
                                        const TableRules& rules = {}) const {
    return ChangedTables(pieces_, shapes_, tables, rules);
  }
  static auto Only(const std::string& name, const std::string& why) {
    return ElementsAre(Pair(TableName{"s", name}, HasSubstr(why)));
  }

  std::vector<Table> tables_ = {TableOf(1, "a"), TableOf(2, "b"), TableOf(3, "parent", 'p')};
  std::vector<PieceRow> pieces_ = {PieceOf(1, "a", "copied"), PieceOf(2, "b", "pending")};
  std::vector<RangeRow> ranges_;
  std::vector<SnapshotRow> snapshots_ = {{1, "5:9:", {100}, ShapeOf(tables_)}};
  std::map<TableName, std::string> shapes_;
};

TEST_F(CopyResumeTest, GoesOnWhereNothingHasChanged) {
  EXPECT_EQ(Before(), "");
  EXPECT_THAT(With(tables_), IsEmpty());
}

TEST_F(CopyResumeTest, NothingToKeepAndUnfinishedAppendStartOver) {
  pieces_[0].state = "pending";
  EXPECT_THAT(Before(), HasSubstr("no table was done"));
  pieces_[0].state = "copied";
  pieces_[1].existing = "append";
  EXPECT_THAT(Before(), HasSubstr("append"));
  pieces_[1].state = "copied";
  EXPECT_EQ(Before(), "");
}

TEST_F(CopyResumeTest, AStateOfAnOlderVersionStartsOver) {
  snapshots_[0].shape.clear();
  EXPECT_THAT(Before(), HasSubstr("older version"));
  snapshots_.clear();
  EXPECT_THAT(Before(), HasSubstr("older version"));
}

TEST_F(CopyResumeTest, OnlyTablesThatComeGoOrAreMadeAnewHaveChanged) {
  EXPECT_THAT(With({tables_[0], tables_[2]}), Only("b", kTableIsGone));
  EXPECT_THAT(With({tables_[0], tables_[1], TableOf(9, "c"), tables_[2]}), Only("c", kTableIsNew));
  EXPECT_THAT(With({TableOf(7, "a"), tables_[1]}), Only("a", "made anew"));
  Table unlogged = tables_[1];
  unlogged.persistence = 'u';
  EXPECT_THAT(With({tables_[0], unlogged, tables_[2]}), Only("b", kTableIsGone));
}

TEST_F(CopyResumeTest, OnlyTheTableWhoseShapeIsAnotherHasChanged) {
  std::vector<Table> altered = tables_;
  altered[1].columns[0].type_oid = 20;
  altered[1].columns[0].type_text = "bigint";
  EXPECT_THAT(With(altered),
              Only("b", "its columns have changed: from \"a\" integer to \"a\" bigint"));
  // Of tables without rows the hash of all tells.
  altered = tables_;
  altered[2].columns[0].type_oid = 20;
  EXPECT_THAT(With(altered), IsEmpty());
}

TEST_F(CopyResumeTest, ATableOfUnknownShapeHasChanged) {
  shapes_.erase(TableName{"s", "a"});
  EXPECT_THAT(With(tables_), Only("a", "older version"));
  shapes_.clear();
  EXPECT_THAT(With(tables_), SizeIs(2));
}

TEST_F(CopyResumeTest, WhatTheStreamHasBroughtIsNewToTheCopy) {
  PieceRow late = PieceOf(9, "late", "streamed");
  late.snapshot_number = 0;
  pieces_.push_back(late);
  shapes_[late.table] = TableShape(TableOf(9, "late"));
  std::vector<Table> tables = tables_;
  tables.push_back(TableOf(9, "late"));
  EXPECT_THAT(With(tables), Only("late", kTableIsNew));
}

TEST_F(CopyResumeTest, WhatIsOutOfTheStreamStaysSo) {
  pieces_[0].state = "parked";
  EXPECT_THAT(With({TableOf(7, "a"), tables_[1]}), IsEmpty());
  EXPECT_TRUE(IsWorthKeeping(pieces_[0]));
}

TEST_F(CopyResumeTest, OnlyTheTableOfAnotherRuleHasChanged) {
  TableRules rules;
  rules[{"s", "a"}].where = "a > 1";
  EXPECT_THAT(With(tables_, rules), Only("a", "its rule has changed"));
  pieces_[0].rule = RuleText(&rules.begin()->second);
  EXPECT_THAT(With(tables_, rules), IsEmpty());
  EXPECT_THAT(With(tables_), Only("a", "its rule has changed"));
}

TEST_F(CopyResumeTest, WholeTablesAndRangesOfKeysAreWorthKeeping) {
  PieceRow piece = PieceOf(1, "a", "copied");
  EXPECT_TRUE(IsWorthKeeping(piece));
  piece.state = "copying";
  EXPECT_FALSE(IsWorthKeeping(piece));
  piece.key = ChunkKey{};
  EXPECT_TRUE(IsWorthKeeping(piece));
  piece.state = "again";
  EXPECT_FALSE(IsWorthKeeping(piece));
}

TEST_F(CopyResumeTest, SaysWhatStaysAndWhatDoesNot) {
  EXPECT_EQ(DescribeGoingOn(2, 3, {}), "2 of 3 tables were done and stay");
  EXPECT_EQ(DescribeGoingOn(1, 3, {{{"s", "a"}, "it is new"}, {{"s", "b"}, "why"}}),
            "1 of 3 tables were done and stay; not so \"s\".\"a\" (it is new), \"s\".\"b\" (why)");
  std::map<TableName, std::string> many;
  for (int i = 0; i < 9; ++i) many[{"s", absl::StrCat(i)}] = "why";
  EXPECT_THAT(DescribeGoingOn(1, 10, many), EndsWith(" and 4 more"));
}

TEST_F(CopyResumeTest, ARangeThatIsDoneOrATableCopiedAgainIsWorthGoingOn) {
  pieces_ = {PieceOf(1, "a", "pending")};
  EXPECT_NE(Before(), "");
  ranges_ = {RangeRow{.table = {"s", "a"}, .state = "copying"}};
  EXPECT_NE(Before(), "");
  ranges_.push_back(RangeRow{.table = {"s", "a"}, .state = "copied"});
  EXPECT_EQ(Before(), "");
  ranges_.clear();
  pieces_[0].state = "again";
  EXPECT_EQ(Before(), "");
}

}  // namespace
}  // namespace towline

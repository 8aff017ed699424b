// When an interrupted copy may go on, and why it starts over.
#include "snapshot/copy_resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/copy_start.h"

namespace towline {
namespace {

using testing::HasSubstr;

Table TableOf(Oid oid, const std::string& name, char kind = 'r') {
  Table table;
  table.oid = oid;
  table.name = {"s", name};
  table.kind = kind;
  TableColumn column;
  column.name = "a";
  column.attnum = 1;
  column.type_oid = 23;
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
  std::string Before() const { return WhyStartOver(pieces_, snapshots_, ranges_); }
  std::string With(const std::vector<Table>& tables, const TableRules& rules = {}) const {
    return WhyStartOver(pieces_, snapshots_, tables, ShapeOf(tables), rules);
  }

  std::vector<Table> tables_ = {TableOf(1, "a"), TableOf(2, "b"), TableOf(3, "parent", 'p')};
  std::vector<PieceRow> pieces_ = {PieceOf(1, "a", "copied"), PieceOf(2, "b", "pending")};
  std::vector<RangeRow> ranges_;
  std::vector<SnapshotRow> snapshots_ = {{1, "5:9:", {100}, ShapeOf(tables_)}};
};

TEST_F(CopyResumeTest, GoesOnWhereNothingHasChanged) {
  EXPECT_EQ(Before(), "");
  EXPECT_EQ(With(tables_), "");
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

TEST_F(CopyResumeTest, AnotherSetOfTablesStartsOver) {
  EXPECT_THAT(With({tables_[0], tables_[2]}), HasSubstr("table \"s\".\"b\" is gone"));
  EXPECT_THAT(With({tables_[0], tables_[1], TableOf(9, "c"), tables_[2]}),
              HasSubstr("table \"s\".\"c\" is new"));
  EXPECT_THAT(With({TableOf(7, "a"), tables_[1], tables_[2]}),
              HasSubstr("table \"s\".\"a\" was made anew"));
  Table unlogged = tables_[1];
  unlogged.persistence = 'u';
  EXPECT_THAT(With({tables_[0], unlogged, tables_[2]}), HasSubstr("table \"s\".\"b\" is gone"));
}

TEST_F(CopyResumeTest, AnotherShapeStartsOverAlsoOfATableWithoutRows) {
  for (size_t i = 0; i < tables_.size(); ++i) {
    std::vector<Table> altered = tables_;
    altered[i].columns[0].type_oid = 20;
    EXPECT_THAT(With(altered), HasSubstr("schema of the selected tables has changed"));
  }
  EXPECT_THAT(With({tables_[0], tables_[1]}), HasSubstr("schema of the selected tables"));
}

TEST_F(CopyResumeTest, AnotherRuleStartsOver) {
  TableRules rules;
  rules[{"s", "a"}].where = "a > 1";
  EXPECT_THAT(With(tables_, rules), HasSubstr("the rule of table \"s\".\"a\" has changed"));
  pieces_[0].rule = RuleText(&rules.begin()->second);
  EXPECT_EQ(With(tables_, rules), "");
  EXPECT_THAT(With(tables_), HasSubstr("the rule of table \"s\".\"a\" has changed"));
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

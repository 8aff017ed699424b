#include "snapshot/post_data_runner.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

std::vector<SchemaStatement> StatementsOf(const std::vector<std::string>& texts) {
  std::vector<SchemaStatement> statements;
  for (const std::string& text : texts) {
    SchemaStatement statement;
    statement.ordinal = static_cast<int64_t>(statements.size()) + 1;
    statement.is_setting = text.rfind("SET ", 0) == 0;
    statement.is_done = text.rfind("done ", 0) == 0;
    statement.statement = statement.is_done ? text.substr(5) : text;
    statements.push_back(std::move(statement));
  }
  return statements;
}

// "0 2 then 1 | 3 then": the steps, each statement by its number.
std::string Plan(const std::vector<std::string>& texts,
                 const std::map<TableName, int64_t>& bytes = {}) {
  std::string plan;
  for (const PostDataStep& step : PlanPostData(StatementsOf(texts), bytes)) {
    if (!plan.empty()) plan += "| ";
    for (size_t index : step.at_once) plan += std::to_string(index) + " ";
    plan += "then ";
    for (size_t index : step.in_order) plan += std::to_string(index) + " ";
  }
  return plan;
}

std::string Index(const std::string& table) {
  return "CREATE INDEX \"i\" ON \"s\".\"" + table + "\" USING btree (a)";
}

std::string Key(const std::string& table) {
  return "ALTER TABLE ONLY \"s\".\"" + table + "\"\n    ADD CONSTRAINT \"k\" PRIMARY KEY (\"a\")";
}

TEST(PostDataPlanTest, LargeTablesComeFirstAndTheirKeysBeforeTheirIndexes) {
  EXPECT_EQ(Plan({Key("small"), Key("large"), Index("small"), Index("large"), Index("other")},
                 {{{"s", "small"}, 1}, {{"s", "large"}, 9}}),
            "1 3 0 2 4 then ");
}

TEST(PostDataPlanTest, DetailsFollowAllIndexesInTheDumpsOrder) {
  EXPECT_EQ(Plan({Index("a"), "COMMENT ON INDEX \"s\".\"i\" IS ''", Index("b"),
                  "ALTER INDEX \"s\".\"i\" ATTACH PARTITION \"s\".\"j\""}),
            "0 2 then 1 3 ");
}

TEST(PostDataPlanTest, NothingMovesPastAnUnknownStatement) {
  EXPECT_EQ(Plan({"SET a = 1", Key("a"), "CREATE MATERIALIZED VIEW \"s\".\"m\" AS SELECT 1",
                  "COMMENT ON MATERIALIZED VIEW \"s\".\"m\" IS ''", Index("m"), Index("b"),
                  "CREATE RULE x"}),
            "then 0 | 1 then 2 3 | 4 5 then 6 ");
}

TEST(PostDataPlanTest, ValidationsWaitForTheirForeignKeys) {
  const std::string foreign_key =
      "ALTER TABLE ONLY \"s\".\"a\" ADD CONSTRAINT \"f\" FOREIGN KEY (\"a\")";
  EXPECT_EQ(
      Plan({foreign_key, foreign_key, "ALTER TABLE ONLY \"s\".\"a\" VALIDATE CONSTRAINT \"f\"",
            "ALTER TABLE ONLY \"s\".\"b\" VALIDATE CONSTRAINT \"f\"",
            "REFRESH MATERIALIZED VIEW \"s\".\"m\""}),
      "then 0 1 | 2 3 then 4 ");
}

TEST(PostDataPlanTest, WhatIsDoneIsLeftOut) {
  EXPECT_EQ(Plan({"done " + Key("a"), "done CREATE RULE x", Index("a")}), "2 then ");
  EXPECT_EQ(Plan({"SET a = 1", "done " + Key("a")}), "then 0 ");
}

// Which of them KeepWanted() leaves to run, of tables but "no".
std::string Wanted(const std::vector<std::string>& texts) {
  std::vector<SchemaStatement> statements = StatementsOf(texts);
  KeepWanted([](const PostData& found) { return found.table.name != "no"; }, &statements);
  std::string left;
  for (size_t i = 0; i < statements.size(); ++i) {
    if (!statements[i].is_done) left += std::to_string(i) + " ";
  }
  return left;
}

TEST(PostDataAheadTest, IndexesAndKeysOfWantedTablesAndAllSettings) {
  EXPECT_EQ(Wanted({"SET a = 1", Key("a"), Key("no"), Index("no"), "SET b = 1", Index("b"),
                    "COMMENT ON INDEX \"s\".\"i\" IS ''", "done " + Index("c")}),
            "0 1 4 5 ");
}

TEST(PostDataAheadTest, NothingWhoseFunctionsMayReadOtherTables) {
  EXPECT_EQ(Wanted({Key("a"), Index("a") + " WHERE (\"f\"(\"x\"))", Index("b")}), "0 2 ");
}

TEST(PostDataAheadTest, NothingBehindAStatementThatMayMakeWhatItNeeds) {
  EXPECT_EQ(Wanted({Key("a"), "CREATE FUNCTION f", Index("b"), "SET a = 1"}), "0 3 ");
  EXPECT_EQ(Wanted({"done CREATE FUNCTION f", Index("b")}), "1 ");
}

}  // namespace
}  // namespace towline

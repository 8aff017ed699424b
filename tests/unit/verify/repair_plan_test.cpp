#include "verify/repair_plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;

using Value = ReadRow::Value;

ReadRow Row(const std::string& ctid, std::vector<Value> values, std::vector<Value> others = {}) {
  return {"(1)", ctid, "77", std::move(values), std::move(others)};
}

ComparedTable Table() {
  ComparedTable table;
  table.name = {"public", "t"};
  table.columns = {"id", "v", "g"};
  table.targets = {{}, {}, {true, false}};
  table.destination.values = {"\"id\"", "\"v\"", "\"g\""};
  table.destination.key = {{"\"id\"", "pg_catalog.int4"}};
  table.other_columns = {"o"};
  return table;
}

std::vector<std::string> Sql(const ComparedTable& table, const std::vector<RowRepair>& rows,
                             RepairStyle style) {
  std::vector<std::string> sql;
  for (const RepairStatement& statement : RepairStatements(table, rows, style)) {
    sql.push_back(statement.sql);
  }
  return sql;
}

TEST(RepairPlanTest, RowsThatAreOnBothSidesAreLeftAloneAsOftenAsTheyAreThere) {
  const ReadRow a = Row("(0,1)", {"1", "a"});
  const ReadRow b = Row("(0,2)", {"1", "b"});
  EXPECT_TRUE(PlanRepair({&a, &b}, {&b, &a}).empty());
  std::vector<RowRepair> plan = PlanRepair({&a, &a, &b}, {&a, &b, &b, &b});
  ASSERT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan[0].source, &a);
  EXPECT_EQ(plan[0].destination, &b);
  EXPECT_THAT(plan[0].columns, ElementsAre(1U));
  EXPECT_EQ(plan[1].source, nullptr);
  EXPECT_EQ(plan[1].destination, &b);
}

TEST(RepairPlanTest, NullAndEmptyAreTwoThings) {
  const ReadRow empty = Row("(0,1)", {"1", ""});
  const ReadRow null = Row("(0,1)", {"1", std::nullopt});
  EXPECT_EQ(PlanRepair({&empty}, {&null}).size(), 1U);
}

TEST(RepairPlanTest, OnlyWhatDiffersAndMayBeWrittenIsSet) {
  const ReadRow wanted = Row("(5,5)", {"1", "it's", "2"});
  const ReadRow present = Row("(0,1)", {"1", "b", "3"}, {"x"});
  const std::vector<RowRepair> plan = PlanRepair({&wanted}, {&present});
  EXPECT_THAT(Sql(Table(), plan, {}),
              ElementsAre("UPDATE ONLY \"public\".\"t\" SET \"v\" = 'it''s' WHERE ctid = "
                          "'(0,1)'::pg_catalog.tid"));
  EXPECT_THAT(Sql(Table(), plan, {.replaces_rows = true}),
              ElementsAre("DELETE FROM ONLY \"public\".\"t\" WHERE ctid = ANY "
                          "(ARRAY['(0,1)']::pg_catalog.tid[])",
                          "INSERT INTO \"public\".\"t\" (\"id\", \"v\", \"o\") OVERRIDING SYSTEM "
                          "VALUE VALUES ('1', 'it''s', 'x')"));
}

TEST(RepairPlanTest, AnIdentityThatIsAlwaysGeneratedIsReplacedWithItsRow) {
  ComparedTable table = Table();
  table.targets[1].is_identity_always = true;
  const ReadRow wanted = Row("(5,5)", {"1", "2", "2"});
  const ReadRow present = Row("(0,1)", {"1", "3", "2"}, {std::nullopt});
  EXPECT_EQ(RepairStatements(table, PlanRepair({&wanted}, {&present}), {}).size(), 2U);
}

TEST(RepairPlanTest, GuardedStatementsStandForThemselves) {
  const ReadRow wanted = Row("(5,5)", {"1", std::nullopt, "2"});
  const ReadRow present = Row("(0,1)", {"2", "b", "3"}, {"x"});
  EXPECT_THAT(
      Sql(Table(), {{&wanted, nullptr, {}}, {nullptr, &present, {}}}, {.is_guarded = true}),
      ElementsAre("DELETE FROM ONLY \"public\".\"t\" WHERE ctid = '(0,1)'::pg_catalog.tid AND "
                  "xmin = '77'::pg_catalog.xid",
                  "INSERT INTO \"public\".\"t\" (\"id\", \"v\") OVERRIDING SYSTEM VALUE SELECT "
                  "'1', NULL WHERE NOT EXISTS (SELECT FROM ONLY \"public\".\"t\" WHERE \"id\" = "
                  "'1'::pg_catalog.int4)"));
  // Of several tasks' rows only those that are compared tell that the row is there.
  ComparedTable shared = Table();
  shared.destination.where = "o = 'x'";
  EXPECT_THAT(Sql(shared, {{&wanted, nullptr, {}}}, {.is_guarded = true}).front(),
              testing::HasSubstr("WHERE \"id\" = '1'::pg_catalog.int4 AND o = 'x')"));
}

TEST(RepairPlanTest, ManyRowsGoByFewStatements) {
  const ReadRow row = Row("(0,1)", {"1", "a", "2"});
  std::vector<RowRepair> plan(250, RowRepair{&row, nullptr, {}});
  std::vector<RepairStatement> statements = RepairStatements(Table(), plan, {});
  ASSERT_EQ(statements.size(), 3U);
  EXPECT_EQ(statements[0].rows, 100);
  EXPECT_EQ(statements[2].rows, 50);
}

}  // namespace
}  // namespace towline

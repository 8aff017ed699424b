// Rules as texts, and which of them holds for a table. What expressions mean is asked of servers:
// tests/e2e/test_table_rules.py.
#include "schema/table_rules.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TableRule RuleOf(const TableName& table) {
  TableRule rule;
  rule.table = table;
  return rule;
}

TEST(TableRulesTest, TheNearestRuleHolds) {
  TableRules rules;
  for (const TableName& name : {TableName{"s", "root"}, TableName{"s", "leaf"}}) {
    rules[name] = RuleOf(name);
  }
  const std::vector<TableName> ancestors = {{"s", "middle"}, {"s", "root"}};
  EXPECT_EQ(FindRule(rules, {"s", "leaf"}, ancestors)->table.name, "leaf");
  EXPECT_EQ(FindRule(rules, {"s", "other"}, ancestors)->table.name, "root");
  rules[{"s", "middle"}] = RuleOf({"s", "middle"});
  EXPECT_EQ(FindRule(rules, {"s", "other"}, ancestors)->table.name, "middle");
  EXPECT_EQ(FindRule(rules, {"s", "alone"}, {}), nullptr);
  EXPECT_EQ(FindRule(rules, {"S", "root"}, {}), nullptr);
}

TEST(TableRulesTest, JsonIsWhatThePluginReads) {
  TableRules rules;
  TableRule& rule = rules[{"shop", "or\"ders"}] = RuleOf({"shop", "or\"ders"});
  rule.where = "a = '\\'\n\t-- \x01 \xc3\xa4";
  rule.has_columns = true;
  rule.columns = {{"id", std::nullopt}, {"email", "left(email,2)"}};
  rule.operations.has_delete = false;
  rules[{"shop", "plain"}] = RuleOf({"shop", "plain"});
  EXPECT_EQ(
      RulesJson(rules),
      "[{\"schema\":\"shop\",\"table\":\"or\\\"ders\",\"where\":\"a = "
      "'\\\\'\\u000a\\u0009-- \\u0001 \xc3\xa4\",\"columns\":[\"id\",{\"name\":\"email\","
      "\"expression\":\"left(email,2)\"}],\"operations\":[\"insert\",\"update\",\"truncate\"]},"
      "{\"schema\":\"shop\",\"table\":\"plain\"}]");
}

TEST(TableRulesTest, TextTellsRulesApartAndNotTheirTables) {
  TableRule rule = RuleOf({"a", "b"});
  EXPECT_EQ(RuleText(nullptr), "");
  EXPECT_EQ(RuleText(&rule), "");  // one that changes nothing is none
  rule.where = "true";
  EXPECT_EQ(RuleText(&rule), "{\"where\":\"true\"}");
  TableRule other = RuleOf({"c", "d"});
  other.where = "true";
  EXPECT_EQ(RuleText(&rule), RuleText(&other));
  other.operations.has_truncate = false;
  EXPECT_NE(RuleText(&rule), RuleText(&other));
}

TEST(TableRulesTest, SharedRowsAreToldByOneColumn) {
  TableRule rule = RuleOf({"s", "t"});
  rule.has_columns = true;
  rule.columns = {{"id", std::nullopt}, {"a,\"shared\":{b", "','"}, {"o\"r", "'it''s'"}};
  const std::string plain = RuleText(&rule);
  EXPECT_EQ(SharedText(plain), "");
  EXPECT_EQ(SharedCondition(rule), "");
  rule.shared = "o\"r";
  rule.shared_value = "it's";
  const std::string shared = RuleText(&rule);
  EXPECT_EQ(SharedText(shared), ",\"shared\":{\"column\":\"o\\\"r\",\"value\":\"it's\"}}");
  EXPECT_EQ(SharedCondition(rule, "d."), "d.\"o\"\"r\" OPERATOR(pg_catalog.=) 'it''s'");
  EXPECT_EQ(RulesJson({{rule.table, rule}}).find("shared\":{\"column"), std::string::npos);

  TableRule other = rule;
  EXPECT_FALSE(AreApart(shared, RuleText(&other)));  // the same rows
  other.columns[1].name = "c";
  EXPECT_FALSE(AreApart(shared, RuleText(&other)));
  other.shared_value = "its";
  EXPECT_TRUE(AreApart(shared, RuleText(&other)));
  EXPECT_FALSE(AreApart(shared, plain));
  EXPECT_FALSE(AreApart(plain, shared));
  other.shared = "c";  // a row may have both values
  EXPECT_FALSE(AreApart(shared, RuleText(&other)));
}

}  // namespace
}  // namespace towline

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

}  // namespace
}  // namespace towline

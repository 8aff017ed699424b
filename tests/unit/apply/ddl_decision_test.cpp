// What becomes of each kind of command under which policy.
#include "apply/ddl_decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

DdlCommand Command(const char* tag, std::vector<std::string> actions = {}) {
  DdlCommand command;
  command.tag = tag;
  command.statement = "...";
  command.actions = std::move(actions);
  command.objects.push_back({1259, 16384, "table", "s", "t", "s.t", {"s", "t"}});
  return command;
}

DdlPolicy On() {
  DdlPolicy policy;
  policy.is_on = true;
  return policy;
}

DdlCircumstances OfSelected() {
  DdlCircumstances circumstances;
  circumstances.selected_tables = 1;
  return circumstances;
}

TEST(DdlDecisionTest, KindsAreToldByTheTag) {
  const std::pair<const char*, DdlKind> kinds[] = {
      {"CREATE TABLE", DdlKind::kTable},
      {"CREATE TABLE AS", DdlKind::kTable},
      {"SELECT INTO", DdlKind::kTable},
      {"DROP TABLE", DdlKind::kDropTable},
      {"CREATE FOREIGN TABLE", DdlKind::kForeign},
      {"CREATE INDEX", DdlKind::kIndex},
      {"REFRESH MATERIALIZED VIEW", DdlKind::kMaterializedView},
      {"DROP VIEW", DdlKind::kView},
      {"ALTER DEFAULT PRIVILEGES", DdlKind::kGrant},
      {"DROP FUNCTION", DdlKind::kRoutine},
      {"CREATE OPERATOR CLASS", DdlKind::kRoutine},
      {"ALTER TYPE", DdlKind::kType},
      {"CREATE DOMAIN", DdlKind::kType},
      {"CREATE TRIGGER", DdlKind::kTrigger},
      {"CREATE RULE", DdlKind::kTrigger},
      {"CREATE STATISTICS", DdlKind::kTable},
      {"DROP OWNED", DdlKind::kDropTable},
      {"CREATE ACCESS METHOD", DdlKind::kRoutine},
      {"SECURITY LABEL", DdlKind::kOther},
      {"CREATE PUBLICATION", DdlKind::kReplication},
      {"CREATE SERVER", DdlKind::kForeign}};
  for (const auto& [tag, kind] : kinds) EXPECT_EQ(KindOf(Command(tag)), kind) << tag;
  EXPECT_EQ(KindOf(Command("ALTER TABLE", {"OWNER"})), DdlKind::kOwner);
  EXPECT_EQ(KindOf(Command("ALTER TABLE", {"OWNER", "ADD COLUMN"})), DdlKind::kTable);
}

TEST(DdlDecisionTest, DefaultsAndPolicies) {
  DdlPolicy policy = On();
  EXPECT_EQ(Decide(Command("ALTER TABLE", {"ADD COLUMN"}), policy, OfSelected()).action,
            DdlAction::kApply);
  EXPECT_EQ(Decide(Command("GRANT"), policy, OfSelected()).action, DdlAction::kIgnore);
  EXPECT_EQ(Decide(Command("SECURITY LABEL"), policy, OfSelected()).action, DdlAction::kHold);
  policy.actions[static_cast<size_t>(DdlKind::kDropTable)] = DdlAction::kHold;
  DdlDecision held = Decide(Command("DROP TABLE"), policy, OfSelected());
  EXPECT_EQ(held.action, DdlAction::kHold);
  EXPECT_EQ(held.reason, "ddl says hold for drop_table");
  EXPECT_TRUE(held.waits);
  // What is held because nobody has said anything may be parked.
  EXPECT_FALSE(Decide(Command("SECURITY LABEL"), policy, OfSelected()).waits);
}

TEST(DdlDecisionTest, PoliciesOfTablesAndSchemas) {
  DdlPolicy policy = On();
  policy.schemas["s"].fill(DdlAction::kIgnore);
  policy.tables[{"s", "t"}].fill(DdlAction::kHold);
  DdlCircumstances circumstances = OfSelected();
  circumstances.subjects = {{"s", {{"s", "t"}}}};
  DdlDecision decided = Decide(Command("ALTER TABLE"), policy, circumstances);
  EXPECT_EQ(decided.action, DdlAction::kHold);
  EXPECT_EQ(decided.reason, "ddl of table s.t says hold for table");
  EXPECT_TRUE(decided.waits);
  circumstances.subjects = {{"s", {{"s", "u"}}}};
  decided = Decide(Command("ALTER TABLE"), policy, circumstances);
  EXPECT_EQ(decided.action, DdlAction::kIgnore);
  EXPECT_EQ(decided.reason, "ddl of schema s says ignore for table");
  // Nothing of one command can be left out.
  circumstances.subjects.push_back({"r", {{"r", "t"}}});
  decided = Decide(Command("ALTER TABLE"), policy, circumstances);
  EXPECT_EQ(decided.action, DdlAction::kHold);
  EXPECT_FALSE(decided.waits);
  circumstances.subjects.push_back({"s", {{"s", "t"}}});
  EXPECT_TRUE(Decide(Command("ALTER TABLE"), policy, circumstances).waits);
  circumstances.subjects.clear();
  EXPECT_EQ(Decide(Command("ALTER TABLE"), policy, circumstances).action, DdlAction::kApply);
}

TEST(DdlDecisionTest, WhatAPolicyIsAskedAbout) {
  auto subjects = [](const DdlCommand& command, const std::vector<DdlObject>& dropped = {}) {
    std::vector<std::string> texts;
    for (const DdlSubject& subject : SubjectsOf(command, dropped)) {
      texts.push_back(subject.schema +
                      (subject.tables.empty() ? "" : ":" + subject.tables[0].name));
    }
    return texts;
  };
  // What is made along with a table is of it.
  DdlCommand command = Command("CREATE TABLE");
  command.objects.push_back({1259, 2, "sequence", "s", "q", "s.q", {}});
  EXPECT_THAT(subjects(command), ElementsAre("s:t"));
  command = Command("CREATE SCHEMA");
  command.objects.push_back({2615, 1, "schema", "", "", "\"S\"", {}});
  EXPECT_THAT(subjects(command), ElementsAre("s:t", "S"));
  DdlCommand drop;
  drop.tag = "DROP TRIGGER";
  EXPECT_THAT(subjects(drop, {{2620, 3, "trigger", "", "x", "\"on\" on s.\"T\"", {}}}),
              ElementsAre("s:T"));
  drop.tag = "DROP FUNCTION";
  EXPECT_THAT(subjects(drop, {{1255, 3, "function", "s", "f", "s.f()", {}}}), ElementsAre("s"));
  EXPECT_THAT(subjects(drop), ElementsAre());
  // A column that CASCADE takes along does not hide what is dropped.
  drop.tag = "DROP TYPE";
  EXPECT_THAT(subjects(drop, {{1247, 4, "type", "aside", "ty", "aside.ty", {}},
                              {1259, 5, "table column", "s", "t", "s.t.c", {"s", "t"}}}),
              ElementsAre("s:t", "aside"));
}

TEST(DdlDecisionTest, DropOwnedIsADropOfWhatItHasDropped) {
  DdlPolicy policy = On();
  DdlCommand command = Command("DROP OWNED");
  command.objects = {{0, 0, "TABLE", "", "", "", {}}};
  DdlCircumstances circumstances;
  EXPECT_EQ(Decide(command, policy, circumstances).action, DdlAction::kIgnore);
  circumstances.dropped = {{1259, 16384, "table", "s", "t", "s.t", {"s", "t"}}};
  circumstances.selected_tables = 1;
  EXPECT_EQ(Decide(command, policy, circumstances).action, DdlAction::kApply);
  circumstances.selects_all = false;
  EXPECT_EQ(Decide(command, policy, circumstances).action, DdlAction::kHold);
}

TEST(DdlDecisionTest, LargeObjectsAreNotFollowed) {
  DdlCommand command = Command("COMMENT");
  command.objects = {{2613, 42, "large object", "", "", "42", {}}};
  EXPECT_EQ(Decide(command, On(), DdlCircumstances()).action, DdlAction::kIgnore);
}

TEST(DdlDecisionTest, WhatIsNotSupportedIsHeldByName) {
  EXPECT_THAT(Decide(Command("ALTER TABLE", {"ENABLE ALWAYS"}), On(), OfSelected()).reason,
              HasSubstr("ENABLE ALWAYS"));
  EXPECT_EQ(Decide(Command("ALTER TABLE", {"SET TABLESPACE"}), On(), OfSelected()).action,
            DdlAction::kIgnore);
  EXPECT_EQ(
      Decide(Command("ALTER TABLE", {"SET TABLESPACE", "ADD COLUMN"}), On(), OfSelected()).action,
      DdlAction::kHold);
  DdlCommand gap = Command("CREATE TABLE");
  gap.statement.clear();
  gap.gap = "no memory";
  EXPECT_THAT(Decide(gap, On(), OfSelected()).reason, HasSubstr("no memory"));
}

TEST(DdlDecisionTest, WhatMovesRowsBetweenTablesGoesWhereAllAreSelectedAlike) {
  DdlCircumstances with_rules = OfSelected();
  with_rules.has_rules = true;
  DdlCircumstances of_rules = with_rules;
  of_rules.has_table_rules = true;
  for (const char* action : {"ATTACH PARTITION", "DETACH PARTITION", "INHERIT", "NO INHERIT"}) {
    const DdlCommand command = Command("ALTER TABLE", {action});
    EXPECT_EQ(Decide(command, On(), with_rules).action, DdlAction::kApply) << action;
    EXPECT_THAT(Decide(command, On(), of_rules).reason, HasSubstr("rules"));
  }
  const DdlCommand schema = Command("ALTER SCHEMA", {"RENAME SCHEMA"});
  EXPECT_EQ(Decide(schema, On(), OfSelected()).action, DdlAction::kApply);
  EXPECT_THAT(Decide(schema, On(), with_rules).reason, HasSubstr("rules"));
}

TEST(DdlDecisionTest, WhatBecomesOfTheSelectionByACommandThatMoves) {
  const std::pair<DdlMove, const char*> moves[] = {
      {DdlMove::kNone, ""},
      {DdlMove::kOutside, ""},
      {DdlMove::kStays, ""},
      {DdlMove::kLeaves, ""},
      {DdlMove::kEnters, "comes into the selection with its rows"},
      {DdlMove::kApart, "a partition of one that is not selected"},
      {DdlMove::kUnknown, "cannot be told"}};
  for (const auto& [move, why] : moves) {
    for (const char* action : {"ATTACH PARTITION", "DETACH PARTITION", "INHERIT", "RENAME TABLE"}) {
      DdlCircumstances circumstances = OfSelected();
      circumstances.selects_all = false;
      circumstances.moved.what = move;
      const DdlDecision decided = Decide(Command("ALTER TABLE", {action}), On(), circumstances);
      EXPECT_THAT(decided.reason, HasSubstr(why));
      EXPECT_EQ(decided.action, *why == '\0' ? DdlAction::kApply : DdlAction::kHold) << action;
    }
  }
  DdlCircumstances by_patterns = OfSelected();
  by_patterns.selects_all = false;
  by_patterns.selected_tables = 0;
  DdlCommand of_schema = Command("ALTER SCHEMA", {"RENAME SCHEMA"});
  of_schema.objects = {{2615, 1, "schema", "", "s", "s", {}}};
  const DdlDecision schema = Decide(of_schema, On(), by_patterns);
  EXPECT_EQ(schema.action, DdlAction::kHold);
  EXPECT_THAT(schema.reason, HasSubstr("RENAME SCHEMA"));
}

TEST(DdlDecisionTest, TablesWithoutACommandAreParkedIfTheirRowsNeedIt) {
  using Names = std::vector<std::string>;
  auto parked = [](const DdlCommand& command, const std::vector<DdlObject>& dropped) {
    Names names;
    for (const FailedTable& table : TablesToPark(command, dropped))
      names.push_back(table.name.name);
    return names;
  };
  EXPECT_EQ(parked(Command("ALTER TABLE", {"ADD COLUMN"}), {}), Names{"t"});
  EXPECT_EQ(parked(Command("COMMENT"), {}), Names{});
  DdlCommand index;
  index.tag = "CREATE INDEX";
  index.objects.push_back({1259, 2, "index", "s", "i", "s.i", {"s", "t"}});
  EXPECT_EQ(parked(index, {}), Names{});
  // DROP TYPE ... CASCADE takes columns along; of a table that goes itself nothing is left to park.
  DdlCommand drop;
  drop.tag = "DROP TYPE";
  const DdlObject gone{1259, 4, "table", "a", "b", "a.b", {"a", "b"}};
  DdlObject column{1259, 4, "table column", "a", "b", "a.b.x", {"a", "b"}};
  EXPECT_EQ(parked(drop, {gone, column}), Names{});
  column.oid = 5;
  column.table.name = "c";
  EXPECT_EQ(parked(drop, {gone, column, column}), Names{"c"});
}

TEST(DdlDecisionTest, SelectionByPatterns) {
  DdlCircumstances circumstances;
  circumstances.selects_all = false;
  circumstances.other_tables = 1;
  EXPECT_EQ(Decide(Command("ALTER TABLE", {"ADD COLUMN"}), On(), circumstances).action,
            DdlAction::kIgnore);
  circumstances.selected_tables = 1;
  EXPECT_EQ(Decide(Command("ALTER TABLE"), On(), circumstances).action, DdlAction::kHold);
  EXPECT_EQ(Decide(Command("DROP TABLE"), On(), circumstances).action, DdlAction::kApply);
  circumstances.other_tables = 0;
  EXPECT_EQ(Decide(Command("DROP TABLE"), On(), circumstances).action, DdlAction::kApply);
}

TEST(DdlDecisionTest, ColumnsThatACascadeTakesAreOfNoTableThatIsNamed) {
  DdlCircumstances circumstances;
  circumstances.selects_all = false;
  circumstances.selected_tables = circumstances.other_tables = 1;
  circumstances.dropped = {{1247, 3, "type", "s", "", "s.ty", {}},
                           {1259, 4, "table column", "s", "c", "s.t.c", {"s", "t"}},
                           {1259, 5, "table column", "s", "c", "s.u.c", {"s", "u"}}};
  DdlCommand drop;
  drop.tag = "DROP TYPE";
  EXPECT_EQ(Decide(drop, On(), circumstances).action, DdlAction::kApply);
  drop.tag = "DROP FUNCTION";
  EXPECT_EQ(Decide(drop, On(), circumstances).action, DdlAction::kHold);
  circumstances.selects_all = true;
  EXPECT_EQ(Decide(drop, On(), circumstances).action, DdlAction::kApply);
  circumstances.selects_all = false;
  circumstances.dropped.push_back({1259, 6, "index", "s", "i", "s.i", {"s", "t"}});
  drop.tag = "DROP INDEX";
  EXPECT_EQ(Decide(drop, On(), circumstances).action, DdlAction::kHold);
}

TEST(DdlDecisionTest, RewritesOfTablesWithRulesAreHeld) {
  DdlCircumstances circumstances = OfSelected();
  circumstances.has_own_rules = true;
  DdlCommand rewrite = Command("ALTER TABLE", {"ALTER COLUMN TYPE"});
  EXPECT_EQ(Decide(rewrite, On(), circumstances).action, DdlAction::kApply);
  rewrite.phase = DdlPhase::kRewrite;
  EXPECT_EQ(Decide(rewrite, On(), circumstances).action, DdlAction::kHold);
}

TEST(DdlDecisionTest, WhatBringsRowsIsHeldWithRules) {
  DdlCommand rewrite = Command("ALTER TABLE", {"ALTER COLUMN TYPE"});
  rewrite.phase = DdlPhase::kRewrite;
  DdlCommand fill = Command("ALTER TABLE", {"ADD COLUMN"});
  fill.fills.push_back({{"s", "t"}, "c", "1"});
  DdlCircumstances by_patterns = OfSelected();
  by_patterns.selects_all = false;
  DdlCircumstances with_rules = OfSelected();
  with_rules.has_rules = true;
  DdlCircumstances of_rules = with_rules;
  of_rules.has_table_rules = true;
  for (const DdlCommand& command : {rewrite, fill}) {
    EXPECT_EQ(Decide(command, On(), OfSelected()).action, DdlAction::kApply);
    EXPECT_EQ(Decide(command, On(), by_patterns).action, DdlAction::kApply);
    EXPECT_EQ(Decide(command, On(), with_rules).action, DdlAction::kApply);
    EXPECT_EQ(Decide(command, On(), of_rules).action, DdlAction::kHold);
  }
}

TEST(DdlDecisionTest, WhatCannotBeToldToBeOfASelectedTableIsHeld) {
  DdlCircumstances by_patterns;
  by_patterns.selects_all = false;
  DdlCommand gap;
  gap.tag = "CREATE TABLE";
  gap.gap = "no memory";
  EXPECT_EQ(Decide(gap, On(), by_patterns).action, DdlAction::kHold);
  by_patterns.other_tables = 1;
  EXPECT_EQ(Decide(gap, On(), by_patterns).action, DdlAction::kIgnore);
  by_patterns.misses_drops = true;
  EXPECT_EQ(Decide(gap, On(), by_patterns).action, DdlAction::kHold);

  by_patterns = {};
  by_patterns.selects_all = false;
  for (const char* tag : {"DROP TRIGGER", "DROP POLICY", "DROP RULE"}) {
    DdlCommand drop;
    drop.tag = tag;
    by_patterns.other_tables = 0;
    EXPECT_EQ(Decide(drop, On(), by_patterns).action, DdlAction::kHold) << tag;
    by_patterns.other_tables = 1;
    EXPECT_EQ(Decide(drop, On(), by_patterns).action, DdlAction::kIgnore) << tag;
  }
  DdlCommand schema;
  schema.tag = "DROP SCHEMA";
  EXPECT_EQ(Decide(schema, On(), by_patterns).action, DdlAction::kHold);
  EXPECT_EQ(Decide(schema, On(), {}).action, DdlAction::kApply);
}

TEST(DdlDecisionTest, OwnSchemasAreLeftAlone) {
  DdlCommand command = Command("CREATE TABLE");
  command.objects[0].schema = command.objects[0].table.schema = "towline_state";
  EXPECT_EQ(Decide(command, On(), OfSelected()).action, DdlAction::kIgnore);
  DdlCommand schema;
  schema.tag = "CREATE SCHEMA";
  schema.objects.push_back({2615, 1, "schema", "", "", "towline_state", {}});
  EXPECT_EQ(Decide(schema, On(), {}).action, DdlAction::kIgnore);
}

TEST(DdlDecisionTest, TablesOfACommand) {
  DdlCommand command = Command("ALTER TABLE");
  command.objects.push_back({1259, 2, "index", "s", "i", "s.i", {"s", "t"}});
  command.objects.push_back({1259, 3, "sequence", "s", "q", "s.q", {"s", "q"}});
  std::vector<DdlObject> dropped = {{1259, 4, "table", "a", "b", "a.b", {"a", "b"}}};
  EXPECT_THAT(TablesOf(command, dropped), ElementsAre(TableName{"a", "b"}, TableName{"s", "t"}));
}

}  // namespace
}  // namespace towline

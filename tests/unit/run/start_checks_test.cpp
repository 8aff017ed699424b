// The comparisons of I2: each difference between the task row and the servers stops the task.
#include "run/start_checks.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace towline {
namespace {

TaskRow NewTask() {
  TaskRow task;
  task.task = "orders";
  task.slot = "towline_orders";
  task.is_slot_created = true;
  task.position = Lsn{0x1000};
  task.source = {.system_identifier = 11, .timeline = 1, .database_oid = 5, .database = "shop"};
  task.destination = {.system_identifier = 22, .timeline = 3, .database_oid = 6, .database = "dw"};
  return task;
}

SlotInfo NewSlot() {
  SlotInfo slot;
  slot.plugin = "towline";
  slot.database = "shop";
  slot.confirmed_flush_lsn = Lsn{0x1000};
  slot.wal_status = "reserved";
  return slot;
}

TEST(StartChecksTest, TheSameServersPass) {
  TaskRow task = NewTask();
  EXPECT_TRUE(CheckIdentities(task, task.source, task.destination).ok());
  EXPECT_TRUE(CheckSlot(task, "shop", NewSlot()).ok());
}

TEST(StartChecksTest, AnotherSystemOrDatabaseAtEitherEndStops) {
  TaskRow task = NewTask();
  for (bool is_source : {true, false}) {
    for (bool is_system : {true, false}) {
      ServerIdentity source = task.source;
      ServerIdentity destination = task.destination;
      ServerIdentity& changed = is_source ? source : destination;
      if (is_system) changed.system_identifier = 99;
      if (!is_system) changed.database_oid = 99;
      absl::Status status = CheckIdentities(task, source, destination);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_NE(status.message().find(is_source ? "the source" : "the destination"),
                absl::string_view::npos);
      EXPECT_NE(GetHint(status), "");
    }
  }
}

TEST(StartChecksTest, AFailedOverSourceStopsAndADestinationIsLeftToItsSlot) {
  TaskRow task = NewTask();
  ServerIdentity source = task.source;
  source.timeline = 2;
  EXPECT_EQ(CheckIdentities(task, source, task.destination).code(), absl::StatusCode::kDataLoss);
  ServerIdentity destination = task.destination;
  destination.timeline = 4;
  EXPECT_TRUE(CheckIdentities(task, task.source, destination).ok());
}

TEST(StartChecksTest, AnUnreadableSystemIdentifierIsNotCompared) {
  TaskRow task = NewTask();
  task.destination.system_identifier = 0;
  ServerIdentity destination = task.destination;
  destination.system_identifier = 22;
  EXPECT_TRUE(CheckIdentities(task, task.source, destination).ok());
  destination.database_oid = 99;
  EXPECT_FALSE(CheckIdentities(task, task.source, destination).ok());
}

TEST(StartChecksTest, ARenamedDatabaseIsTheSame) {
  TaskRow task = NewTask();
  ServerIdentity source = task.source;
  source.database = "shop2";
  EXPECT_TRUE(CheckIdentities(task, source, task.destination).ok());
  SlotInfo slot = NewSlot();
  slot.database = "shop2";
  EXPECT_TRUE(CheckSlot(task, "shop2", slot).ok());
}

TEST(StartChecksTest, AMissingOrLostSlotStops) {
  TaskRow task = NewTask();
  EXPECT_EQ(CheckSlot(task, "shop", std::nullopt).code(), absl::StatusCode::kDataLoss);
  SlotInfo slot = NewSlot();
  slot.wal_status = "lost";
  EXPECT_EQ(CheckSlot(task, "shop", slot).code(), absl::StatusCode::kDataLoss);
}

TEST(StartChecksTest, ASlotAheadOfThePositionStopsAndOneBehindPasses) {
  TaskRow task = NewTask();
  SlotInfo slot = NewSlot();
  slot.confirmed_flush_lsn = Lsn{0x1001};
  EXPECT_EQ(CheckSlot(task, "shop", slot).code(), absl::StatusCode::kDataLoss);
  slot.confirmed_flush_lsn = Lsn{0xFFF};
  EXPECT_TRUE(CheckSlot(task, "shop", slot).ok());
}

TEST(StartChecksTest, ASlotOfAnotherPluginOrDatabaseStops) {
  TaskRow task = NewTask();
  SlotInfo slot = NewSlot();
  slot.plugin = "pgoutput";
  EXPECT_EQ(CheckSlot(task, "shop", slot).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(IsLeftSlot(task, "shop", slot));
  slot = NewSlot();
  slot.database = "other";
  EXPECT_EQ(CheckSlot(task, "shop", slot).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(IsLeftSlot(task, "shop", slot));
  slot = NewSlot();
  task.position = slot.confirmed_flush_lsn;
  EXPECT_TRUE(IsLeftSlot(task, "shop", slot));
  slot.is_active = true;
  EXPECT_FALSE(IsLeftSlot(task, "shop", slot));
  slot = NewSlot();
  slot.confirmed_flush_lsn.value += 8;  // another one, or one that somebody has used
  EXPECT_FALSE(IsLeftSlot(task, "shop", slot));
  task.position = slot.confirmed_flush_lsn = {};
  EXPECT_FALSE(IsLeftSlot(task, "shop", slot));
}

TEST(StartChecksTest, RulesAreComparedWithThoseOfTheCopy) {
  TableRules rules;
  TableRule& rule = rules[{"s", "root"}];
  rule.table = {"s", "root"};
  rule.where = "a = 1";
  std::vector<PieceRow> pieces(3);
  std::vector<Table> tables(3);
  pieces[0].table = {"s", "leaf"};
  pieces[0].rule = RuleText(&rule);
  pieces[1].table = {"s", "plain"};
  pieces[2].table = {"s", "gone"};
  pieces[2].rule = "{\"where\":\"b\"}";
  tables[0].oid = tables[1].oid = 1;
  tables[0].ancestors = {{"s", "root"}};
  EXPECT_TRUE(ChangedRules(pieces, tables, rules).empty());

  rule.where = "a = 2";
  std::vector<PieceRow> changed = ChangedRules(pieces, tables, rules);
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(changed[0].table.name, "leaf");
  EXPECT_EQ(changed[0].rule, "{\"where\":\"a = 2\"}");
  rules.clear();
  EXPECT_EQ(ChangedRules(pieces, tables, rules)[0].rule, "");
  rules[{"s", "plain"}].where = "true";
  EXPECT_EQ(ChangedRules(pieces, tables, rules).size(), 2u);

  absl::Status refused = RefuseRuleChange(NewTask(), changed);
  EXPECT_EQ(ExitCode(refused), 2);
  EXPECT_NE(refused.message().find("\"s\".\"leaf\" differ from those under which it was copied"),
            absl::string_view::npos);
  EXPECT_NE(GetHint(refused).find("--accept-rule-change"), std::string::npos);
  EXPECT_NE(GetHint(refused).find("towline drop --task orders"), std::string::npos);
}

}  // namespace
}  // namespace towline

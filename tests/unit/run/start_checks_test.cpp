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

TEST(StartChecksTest, ASourceWhoseLogEndsBeforeThePositionWasPutBack) {
  EXPECT_TRUE(CheckNotPutBack(NewTask(), Lsn{0x1000}).ok());
  absl::Status status = CheckNotPutBack(NewTask(), Lsn{0xFFF});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(GetHint(status).find("--heal"), std::string::npos);
}

TEST(StartChecksTest, OnlyWhatTheSelectionPassesOverHasLeftTheStream) {
  auto piece = [](const char* name, Oid oid, const char* state) {
    PieceRow row;
    row.table = {"public", name};
    row.source_oid = oid;
    row.state = state;
    return row;
  };
  const std::vector<PieceRow> pieces = {
      piece("taken", 1, "copied"),    piece("excluded", 2, "streamed"),
      piece("unnamed", 3, "copied"),  piece("renamed", 4, "copied"),
      piece("hidden", 5, "copied"),   piece("gone", 6, "copied"),
      piece("parked", 7, "parked"),   piece("anew", 8, "copied"),
      piece("copying", 9, "copying"),
  };
  const std::vector<ListedTable> tables = {
      {1, {"public", "taken"}, true, false},    {2, {"public", "excluded"}, false, true},
      {3, {"public", "unnamed"}, false, false}, {4, {"public", "other"}, true, false},
      {5, {"public", "outside"}, false, true},  {7, {"public", "parked"}, false, true},
      {18, {"public", "anew"}, true, false},    {9, {"public", "copying"}, false, true},
  };
  auto names = [&](bool follows_ddl) {
    std::string text;
    for (const FailedTable& table : UnselectedPieces(pieces, tables, follows_ddl)) {
      text += table.name.name + " ";
    }
    return text;
  };
  EXPECT_EQ(names(false), "excluded unnamed hidden ");
  EXPECT_EQ(names(true), "excluded ");
}

TEST(StartChecksTest, AFailedOverSourceStopsAndADestinationIsLeftToItsSlot) {
  TaskRow task = NewTask();
  ServerIdentity source = task.source;
  source.timeline = 2;
  EXPECT_EQ(CheckFailover(task, source, NewSlot(), Lsn{0x2000}).code(),
            absl::StatusCode::kDataLoss);
  ServerIdentity destination = task.destination;
  destination.timeline = 4;
  EXPECT_TRUE(CheckIdentities(task, task.source, destination).ok());
}

TEST(StartChecksTest, APromotedStandbyThatKeptTheSlotGoesOnBeforeTheFork) {
  TaskRow task = NewTask();
  task.phase = TaskState::kStreaming;
  ServerIdentity source = task.source;
  source.timeline = 3;
  SlotInfo slot = NewSlot();
  slot.is_synced = true;
  EXPECT_TRUE(CheckFailover(task, source, slot, Lsn{0x1000}).ok());
  // The destination is ahead of the fork; the old timeline is none of the new one's; no slot.
  EXPECT_EQ(CheckFailover(task, source, slot, Lsn{0xFFF}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckFailover(task, source, slot, Lsn{}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckFailover(task, source, std::nullopt, Lsn{0x2000}).code(),
            absl::StatusCode::kDataLoss);
  source.timeline = task.source.timeline;
  EXPECT_TRUE(CheckFailover(task, source, std::nullopt, Lsn{}).ok());
}

TEST(StartChecksTest, WhatTheCopySawBehindTheForkIsNotOnTheNewPrimary) {
  TaskRow task = NewTask();
  ServerIdentity source = task.source;
  source.timeline = 3;
  SlotInfo slot = NewSlot();
  slot.is_synced = true;
  task.phase = TaskState::kCatchingUp;
  task.lsn_after = Lsn{0x1400};
  EXPECT_EQ(CheckFailover(task, source, slot, Lsn{0x1200}).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(CheckFailover(task, source, slot, Lsn{0x1400}).ok());
  task.lsn_after = Lsn{};
  EXPECT_TRUE(CheckFailover(task, source, slot, Lsn{0x1200}).ok());
  // Ranges and tables that are done have snapshots of their own.
  for (TaskState phase : {TaskState::kCopying, TaskState::kIndexing}) {
    task.phase = phase;
    EXPECT_EQ(CheckFailover(task, source, slot, Lsn{0x2000}).code(), absl::StatusCode::kDataLoss);
  }
}

TEST(StartChecksTest, TheForkIsReadFromTheTimelinesHistory) {
  const char history[] =
      "1\t0/3000000\tno recovery target specified\n\n2\t1/50001A8\tafter 2 1/0\n";
  EXPECT_EQ(ForkOf(history, 1), Lsn{0x3000000});
  EXPECT_EQ(ForkOf(history, 2), Lsn{0x1050001A8});
  EXPECT_FALSE(ForkOf(history, 3).is_valid());
  EXPECT_FALSE(ForkOf("", 1).is_valid());
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

TEST(StartChecksTest, WhyASlotWasLostIsSaid) {
  TaskRow task = NewTask();
  SlotInfo slot = NewSlot();
  slot.wal_status = "lost";
  for (const char* reason : {"", "wal_removed"}) {
    slot.invalidation_reason = reason;
    EXPECT_NE(CheckSlot(task, "shop", slot).message().find("max_slot_wal_keep_size"),
              absl::string_view::npos);
  }
  slot.invalidation_reason = "rows_removed";
  absl::Status lost = CheckSlot(task, "shop", slot);
  EXPECT_EQ(lost.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(lost.message().find("rows_removed"), absl::string_view::npos);
  EXPECT_EQ(GetDetail(lost), "");
  task.is_slot_on_standby = true;
  EXPECT_NE(GetDetail(CheckSlot(task, "shop", slot)).find("hot_standby_feedback"),
            std::string::npos);
}

TEST(StartChecksTest, TheServerOfTheSlotIsTheTasksForGood) {
  TaskRow task = NewTask();
  EXPECT_TRUE(CheckSlotServer(task, /*has_standby=*/false).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSlotServer(task, /*has_standby=*/true)));
  task.is_slot_on_standby = true;
  EXPECT_TRUE(CheckSlotServer(task, /*has_standby=*/true).ok());
  absl::Status refused = CheckSlotServer(task, /*has_standby=*/false);
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_NE(GetHint(refused), "");
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

  // Not by any word: other tasks' rows.
  rules.clear();
  pieces[1].rule = "{\"columns\":[],\"shared\":{\"column\":\"c\",\"value\":\"v\"}}";
  EXPECT_EQ(ExitCode(CheckSharedKept(NewTask(), pieces, rules)), 2);
  rules[pieces[1].table].shared = "c";
  rules[pieces[1].table].has_columns = true;
  EXPECT_FALSE(CheckSharedKept(NewTask(), pieces, rules).ok());
  rules[pieces[1].table].shared_value = "v";
  EXPECT_TRUE(CheckSharedKept(NewTask(), pieces, rules).ok());
  pieces[1].rule = "";
  EXPECT_FALSE(CheckSharedKept(NewTask(), pieces, rules).ok());
  pieces[1].state = "removed";
  EXPECT_TRUE(CheckSharedKept(NewTask(), pieces, rules).ok());

  absl::Status refused = RefuseRuleChange(NewTask(), changed);
  EXPECT_EQ(ExitCode(refused), 2);
  EXPECT_NE(refused.message().find("\"s\".\"leaf\" differ from those under which it was copied"),
            absl::string_view::npos);
  EXPECT_NE(GetHint(refused).find("--accept-rule-change"), std::string::npos);
  EXPECT_NE(GetHint(refused).find("towline drop --task orders"), std::string::npos);
}

TEST(StartChecksTest, WhatIsLostIsHealedWhereTheDestinationIsTheTasks) {
  TaskRow task = NewTask();
  task.phase = TaskState::kStreaming;
  ServerIdentity promoted = task.source;
  promoted.timeline = 2;
  std::vector<PieceRow> pieces(1);
  pieces[0].table = {"public", "t"};
  pieces[0].existing = "stop";
  EXPECT_TRUE(CheckHealable(task, promoted, std::nullopt, pieces, {}, true).ok());
  EXPECT_TRUE(CheckHealable(task, promoted, NewSlot(), pieces, {}, true).ok());
  task.phase = TaskState::kHealing;
  EXPECT_TRUE(CheckHealable(task, promoted, NewSlot(), pieces, {}, true).ok());
}

TEST(StartChecksTest, WhatCannotBeHealedIsRefusedWithAReason) {
  TaskRow task = NewTask();
  task.phase = TaskState::kStreaming;
  std::vector<PieceRow> pieces(1);
  pieces[0].table = {"public", "t"};
  pieces[0].existing = "append";
  absl::Status status = CheckHealable(task, task.source, std::nullopt, pieces, {}, true);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("\"public\".\"t\""), absl::string_view::npos);
  EXPECT_NE(GetHint(status), "");
  pieces[0].existing = "stop";
  EXPECT_FALSE(CheckHealable(task, task.source, std::nullopt, pieces, {}, false).ok());
  TableRules rules;
  rules[{"public", "t"}].operations.has_delete = false;
  EXPECT_FALSE(CheckHealable(task, task.source, std::nullopt, pieces, rules, true).ok());
  SlotInfo slot = NewSlot();
  slot.plugin = "pgoutput";
  EXPECT_FALSE(CheckHealable(task, task.source, slot, pieces, {}, true).ok());
  task.phase = TaskState::kIndexing;
  EXPECT_FALSE(CheckHealable(task, task.source, std::nullopt, pieces, {}, true).ok());
  task.phase = TaskState::kStreaming;
  task.source.timeline = 2;
  ServerIdentity before = task.source;
  before.timeline = 1;
  EXPECT_EQ(CheckHealable(task, before, std::nullopt, pieces, {}, true).code(),
            absl::StatusCode::kFailedPrecondition);
  ServerIdentity other = task.source;
  other.system_identifier = 99;
  EXPECT_EQ(CheckHealable(task, other, std::nullopt, pieces, {}, true).code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace towline

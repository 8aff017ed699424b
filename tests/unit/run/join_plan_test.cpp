// Which tasks may copy single tables again, and which errors are a table's own.
#include "run/join_plan.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace towline {
namespace {

TEST(JoinPlanTest, APlainTaskMay) {
  Config config;
  EXPECT_TRUE(CheckMayJoin(config, false).ok());
  config.ddl.is_on = true;
  EXPECT_TRUE(CheckMayJoin(config, false).ok());
}

TEST(JoinPlanTest, WhereItCouldNotBeExactTheTaskIsToldWhatMendsIt) {
  Config with_two_phase;
  with_two_phase.two_phase = true;
  Config of_its_own;
  of_its_own.foreign_origins = false;
  for (const absl::Status& refusal :
       {CheckMayJoin(with_two_phase, false), CheckMayJoin(Config(), true),
        CheckMayJoin(of_its_own, false)}) {
    EXPECT_EQ(ExitCode(refusal), 3);
    EXPECT_FALSE(GetHint(refusal).empty()) << refusal;
    EXPECT_TRUE(IsTableFault(refusal));
  }
}

TEST(JoinPlanTest, WhatTheSelectionLeavesOutWouldNotBeSent) {
  const std::vector<ListedTable> tables = {{1, {"public", "taken"}, true, false},
                                           {2, {"public", "unnamed"}, false, false},
                                           {3, {"public", "excluded"}, false, true}};
  auto check = [&tables](Oid oid, const char* name) {
    Table table;
    table.oid = oid;
    table.name = {"public", name};
    return CheckSelected(tables, table);
  };
  EXPECT_TRUE(check(1, "taken").ok());
  EXPECT_TRUE(check(1, "renamed").ok());
  // The last is none that could be selected.
  for (const auto& [oid, name] :
       {std::pair(2, "unnamed"), {3, "excluded"}, {4, "of_an_extension"}}) {
    const absl::Status refusal = check(oid, name);
    EXPECT_EQ(ExitCode(refusal), 3);
    EXPECT_FALSE(GetHint(refusal).empty());
    EXPECT_TRUE(IsTableFault(refusal));
  }
}

TEST(JoinPlanTest, AParkedTableIsNotBroughtBackByRunningTheTaskAgain) {
  auto hint = [](const char* given) {
    const absl::Status why = WithHint(absl::FailedPreconditionError("a lock"), given);
    return GetHint(WithRejoinHint(why, {"public", "a"}));
  };
  const std::string rejoin = "towline table rejoin '\"public\".\"a\"'";
  EXPECT_EQ(hint("Let it end, then run the same command again."),
            "Let it end, then " + rejoin + ".");
  EXPECT_EQ(hint("Drop the constraint, and run again."),
            "Drop the constraint, and " + rejoin + ".");
  EXPECT_EQ(hint("Grant that."), "Grant that. Then " + rejoin + ".");
  EXPECT_EQ(hint("towline table rejoin empties the table."),
            "towline table rejoin empties the table.");
  EXPECT_EQ(GetHint(WithRejoinHint(absl::InternalError("x"), {"public", "a"})),
            "Mend that, then " + rejoin + ".");
}

TEST(JoinPlanTest, WhatPassesOrIsTheTasksIsNotATablesFault) {
  EXPECT_FALSE(IsTableFault(absl::OkStatus()));
  EXPECT_FALSE(IsTableFault(absl::UnavailableError("gone")));
  EXPECT_FALSE(IsTableFault(absl::AbortedError("deadlock")));
  EXPECT_FALSE(IsTableFault(absl::ResourceExhaustedError("disk full")));
  EXPECT_FALSE(IsTableFault(absl::CancelledError("")));
  EXPECT_FALSE(IsTableFault(absl::DataLossError("slot lost")));
  EXPECT_FALSE(IsTableFault(absl::InternalError("bug")));
}

TEST(JoinPlanTest, WhatTheDestinationRefusesIs) {
  EXPECT_TRUE(IsTableFault(WithSqlState(absl::UnknownError("check"), "23514")));
  EXPECT_TRUE(IsTableFault(WithSqlState(absl::UnknownError("encoding"), "22P05")));
  EXPECT_FALSE(IsTableFault(WithSqlState(absl::UnknownError("crash"), "XX000")));
  EXPECT_TRUE(IsTableFault(absl::PermissionDeniedError("no right")));
  EXPECT_TRUE(IsTableFault(absl::DeadlineExceededError("a lock")));
}

}  // namespace
}  // namespace towline

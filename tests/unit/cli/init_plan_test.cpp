#include "cli/init_plan.h"

#include "absl/strings/str_cat.h"
#include "base/shutdown.h"
#include "cli/grants_script.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "precheck/check_context.h"

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Finding Failed(const std::string& id, const std::string& where, const std::string& statement,
               const std::string& needs = "nothing") {
  Finding finding;
  finding.id = id;
  finding.level = FindingLevel::kFail;
  finding.found = "something";
  finding.where = where;
  finding.statement = statement;
  finding.needs = needs;
  finding.mend = MendByStatement(finding);
  return finding;
}

TEST(InitPlanTest, AcceptedWarningAsksForNothing) {
  CheckReport report;
  report.findings = {Failed("source.sequence_privileges", "source", "GRANT A;")};
  report.findings[0].level = FindingLevel::kWarn;
  EXPECT_THAT(MakeInitPlan(report).source.statements, ElementsAre("GRANT A;"));
  report.findings[0].is_accepted = true;
  EXPECT_TRUE(MakeInitPlan(report).is_empty());
}

TEST(InitPlanTest, SafeStatementsAreSeparatedFromDecisions) {
  CheckReport report;
  report.findings = {
      Failed("source.wal_level", "source", "ALTER SYSTEM SET wal_level = 'logical';", "restart"),
      Failed("source.table_privileges", "source", "GRANT A;\nGRANT B;"),
      Failed("task.slot", "source", "SELECT pg_catalog.pg_drop_replication_slot('x');"),
      Failed("destination.tables", "destination", "ALTER TABLE a ADD COLUMN b int;"),
      Failed("destination.replication_role_setting", "destination", "ALTER ROLE r SUPERUSER;"),
      Failed("source.replication_role", "source", "ALTER ROLE r REPLICATION;")};
  InitPlan plan = MakeInitPlan(report);
  EXPECT_THAT(plan.source.statements,
              ElementsAre("ALTER SYSTEM SET wal_level = 'logical';", "GRANT A;", "GRANT B;",
                          "ALTER ROLE r REPLICATION;"));
  EXPECT_THAT(plan.source.by_hand, ElementsAre(HasSubstr("pg_drop_replication_slot")));
  EXPECT_TRUE(plan.source.needs_restart);
  EXPECT_THAT(plan.destination.statements, IsEmpty());
  EXPECT_THAT(plan.destination.by_hand,
              ElementsAre(HasSubstr("ALTER TABLE a"), HasSubstr("SUPERUSER")));
}

TEST(InitPlanTest, AStandbyHasASideOfItsOwn) {
  CheckReport report;
  report.findings = {Failed("source.hot_standby_feedback", "standby",
                            "ALTER SYSTEM SET hot_standby_feedback = 'on';", "reload"),
                     Failed("source.log_standby_snapshot", "source", "GRANT A;")};
  InitPlan plan = MakeInitPlan(report);
  EXPECT_FALSE(plan.is_empty());
  EXPECT_THAT(plan.standby.statements,
              ElementsAre("ALTER SYSTEM SET hot_standby_feedback = 'on';"));
  EXPECT_TRUE(plan.standby.needs_reload);
  EXPECT_THAT(plan.source.statements, ElementsAre("GRANT A;"));
  EXPECT_FALSE(plan.source.needs_reload);
  EXPECT_THAT(plan.destination.statements, IsEmpty());
}

TEST(InitPlanTest, WarningsAboutSettingsAreChoicesAndGrantsAreNot) {
  CheckReport report;
  report.findings = {Failed("source.max_slot_wal_keep_size", "source",
                            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB';", "reload"),
                     Failed("source.sequence_privileges", "source", "GRANT S;")};
  for (Finding& finding : report.findings) finding.level = FindingLevel::kWarn;
  InitPlan plan = MakeInitPlan(report);
  EXPECT_THAT(plan.source.statements, ElementsAre("GRANT S;"));
  EXPECT_FALSE(plan.source.needs_reload);
}

// Anybody may have chosen the name of a table.
TEST(InitPlanTest, NameThatBreaksItsLineIsNoStatement) {
  const std::string name = "\"public\".\"a\nGRANT postgres TO mallory;\n\"";
  Shutdown shutdown;
  CheckOptions options;
  CheckContext context(options, shutdown);
  context.Fail("source.table_privileges", absl::StrCat("role may not read ", name),
               {.statement = absl::StrCat("GRANT SELECT ON ", name, " TO r;")});
  context.Fail("source.sequence_privileges", "role may not read them",
               {.statement = "GRANT A;\nGRANT B;"});
  InitPlan plan = MakeInitPlan(context.report);
  EXPECT_THAT(plan.source.statements, ElementsAre("GRANT A;", "GRANT B;"));
  EXPECT_THAT(plan.source.by_hand, ElementsAre(HasSubstr("a name contains a line break")));
  plan.source.by_hand = {"a\rGRANT C;\nGRANT D;"};
  std::string text = FormatInitSide(plan.source, "host=a", "host \"x\nGRANT E;\"");
  for (const char* hidden : {"GRANT C", "GRANT D", "GRANT E"}) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\n--   ", hidden)));
  }
}

TEST(GrantsScriptTest, NameDoesNotLeaveItsComment) {
  GrantsScript script;
  script.Say("role \"a\nGRANT B\rGRANT C\" is not there");
  EXPECT_EQ(script.text(), "-- role \"a\n-- GRANT B\n-- GRANT C\" is not there\n");
}

TEST(InitPlanTest, TextIsAScriptForPsql) {
  CheckReport report;
  report.findings = {
      Failed("source.wal_level", "source", "ALTER SYSTEM SET wal_level = 'logical';", "restart"),
      Failed("task.slot", "source", "SELECT 1;")};
  EXPECT_EQ(FormatInitSide(MakeInitPlan(report).source, "host=a", "host all"),
            "-- At the source (host=a)\n"
            "ALTER SYSTEM SET wal_level = 'logical';\n"
            "SELECT pg_catalog.pg_reload_conf();\n"
            "-- Then restart this server.\n"
            "-- pg_hba.conf, if no line lets towline in yet (then reload):\n"
            "--   host all\n"
            "-- To be decided or done by hand:\n"
            "-- task.slot: something.\n"
            "--   SELECT 1;\n");
}

TEST(InitPlanTest, PgHbaLineFitsTheConnection) {
  EXPECT_EQ(PgHbaLine("shop", "towline", "10.0.0.7", true),
            "hostssl  \"shop\"  \"towline\"  10.0.0.7/32  scram-sha-256");
  EXPECT_EQ(PgHbaLine("all", "r", "fd00::1", false),
            "host  \"all\"  \"r\"  fd00::1/128  scram-sha-256");
  EXPECT_EQ(PgHbaLine("shop", "r", "", false), "local  \"shop\"  \"r\"  scram-sha-256");
}

}  // namespace
}  // namespace towline

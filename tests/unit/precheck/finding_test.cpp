#include "precheck/finding.h"

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace towline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CheckReport ThreeFindings() {
  Finding pass;
  pass.id = "source.version";
  pass.found = "version 15.20";
  Finding warn;
  warn.id = "source.replica_identity";
  warn.level = FindingLevel::kWarn;
  warn.found = "1 table without key: \"public\".\"t\"";
  warn.why = "Updates would stop it.";
  warn.statement = "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL;";
  warn.where = "source";
  warn.needs = "nothing";
  warn.mend = MendByStatement(warn);
  Finding fail;
  fail.id = "source.wal_level";
  fail.level = FindingLevel::kFail;
  fail.found = "wal_level is replica";
  fail.why = "Only logical has rows.";
  fail.statement = "ALTER SYSTEM SET wal_level = 'logical';";
  fail.where = "source";
  fail.needs = "restart";
  fail.mend = MendByStatement(fail);
  CheckReport report;
  report.findings = {pass, warn, fail};
  return report;
}

TEST(FindingTest, ReportForPeopleHasGroupsMendsAndASum) {
  EXPECT_EQ(FormatReport(ThreeFindings(), false, false),
            "source\n"
            "  pass  source.version\n"
            "  warn  source.replica_identity: 1 table without key: \"public\".\"t\"\n"
            "         Updates would stop it.\n"
            "         -> ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL;\n"
            "  fail  source.wal_level: wal_level is replica\n"
            "         Only logical has rows.\n"
            "         -> ALTER SYSTEM SET wal_level = 'logical';\n"
            "            then: restart the server\n"
            "\n1 passed, 1 warned, 1 failed\n");
}

TEST(FindingTest, ColoursOnlyWhenAsked) {
  EXPECT_THAT(FormatReport(ThreeFindings(), false, false), Not(HasSubstr("\033")));
  EXPECT_THAT(FormatReport(ThreeFindings(), true, false), HasSubstr("\033[31mfail\033[0m"));
}

TEST(FindingTest, VerboseShowsWhatPassed) {
  EXPECT_THAT(FormatReport(ThreeFindings(), false, true),
              HasSubstr("pass  source.version: version 15.20"));
}

TEST(FindingTest, LongListOfStatementsIsCutForPeopleOnly) {
  CheckReport report = ThreeFindings();
  report.findings[1].statement.clear();
  for (int i = 0; i < 30; ++i) report.findings[1].statement += "STATEMENT;\n";
  report.findings[1].mend = MendByStatement(report.findings[1]);
  EXPECT_THAT(FormatReport(report, false, false), HasSubstr("... and 21 more"));
  nlohmann::json json = nlohmann::json::parse(ReportToJson(report));
  EXPECT_EQ(json["findings"][1]["statement"], report.findings[1].statement);
}

TEST(FindingTest, JsonHasEveryField) {
  nlohmann::json json = nlohmann::json::parse(ReportToJson(ThreeFindings()));
  EXPECT_EQ(json["passed"], false);
  EXPECT_EQ(json["counts"]["warn"], 1);
  nlohmann::json fail = json["findings"][2];
  EXPECT_EQ(fail["id"], "source.wal_level");
  EXPECT_EQ(fail["group"], "source");
  EXPECT_EQ(fail["level"], "fail");
  EXPECT_EQ(fail["found"], "wal_level is replica");
  EXPECT_EQ(fail["why"], "Only logical has rows.");
  EXPECT_EQ(fail["mend"], "ALTER SYSTEM SET wal_level = 'logical'; then: restart the server");
  EXPECT_EQ(fail["statement"], "ALTER SYSTEM SET wal_level = 'logical';");
  EXPECT_EQ(fail["where"], "source");
  EXPECT_EQ(fail["needs"], "restart");
}

TEST(FindingTest, StatusCarriesEveryFailureWithItsMend) {
  absl::Status status = ThreeFindings().ToStatus();
  EXPECT_EQ(ExitCode(status), 3);
  EXPECT_EQ(Describe(status),
            "1 check failed\n"
            "DETAIL:  source.wal_level: wal_level is replica.\n"
            "HINT:  at the source: ALTER SYSTEM SET wal_level = 'logical'; then: restart the "
            "server");
}

TEST(FindingTest, AcceptedWarningIsCountedApartAndHasNoMend) {
  CheckReport report = ThreeFindings();
  report.findings[1].is_accepted = true;
  EXPECT_EQ(report.Count(FindingLevel::kWarn), 0);
  std::string text = FormatReport(report, false, false);
  EXPECT_THAT(text, HasSubstr("  warn  source.replica_identity (accepted): 1 table without key"));
  EXPECT_THAT(text, HasSubstr("1 passed, 0 warned, 1 accepted, 1 failed"));
  EXPECT_THAT(text, Not(HasSubstr("REPLICA IDENTITY FULL")));
  nlohmann::json json = nlohmann::json::parse(ReportToJson(report));
  EXPECT_EQ(json["findings"][0]["accepted"], false);
  EXPECT_EQ(json["findings"][1]["accepted"], true);
  EXPECT_EQ(json["counts"]["accepted"], 1);
}

TEST(FindingTest, WarningsDoNotFail) {
  CheckReport report = ThreeFindings();
  report.findings.pop_back();
  EXPECT_TRUE(report.ToStatus().ok());
}

TEST(FindingTest, LostConnectionKeepsItsCodeSoThatItIsTriedAgain) {
  CheckReport report = ThreeFindings();
  report.connection = absl::UnavailableError("no answer");
  EXPECT_EQ(report.ToStatus().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace towline

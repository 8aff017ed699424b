#include "verify/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "verify/follower.h"
#include "verify/key_check.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

TableReport Table(const std::string& name, VerifyVerdict verdict) {
  TableReport table;
  table.table = {"public", name};
  table.verdict = verdict;
  return table;
}

TEST(VerifyReportTest, ADifferenceThatIsKnownOutweighsWhatIsNot) {
  VerifyReport report;
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 0);
  report.tables.push_back(Table("a", VerifyVerdict::kEqual));
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 0);
  report.tables.push_back(Table("b", VerifyVerdict::kUndecided));
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 2);
  report.tables.push_back(Table("c", VerifyVerdict::kDifferent));
  report.tables.push_back(Table("d", VerifyVerdict::kUndecided));
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 1);
}

TEST(VerifyReportTest, ADifferenceOfAnEarlierRoundCounts) {
  VerifyReport report;
  report.rounds = 0;
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 2);  // not every table was looked at
  report.rounds = 2;
  report.tables.push_back(Table("a", VerifyVerdict::kEqual));
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 0);
  report.was_different = true;
  EXPECT_EQ(VerifyExitStatus(report.verdict()), 1);
  EXPECT_THAT(FormatVerifyReport(report), HasSubstr(": 2 rounds, with differences\n"));
}

TEST(VerifyReportTest, TextNamesTenRowsAndJsonAll) {
  VerifyReport report;
  report.tables.push_back(Table("t", VerifyVerdict::kDifferent));
  for (int i = 0; i < 12; ++i) {
    report.tables[0].rows.push_back({"(" + std::to_string(i) + ")", 1, 1, {"a", "b"}});
  }
  report.tables[0].rows[1].destination_rows = 0;
  report.tables[0].rows[2].source_rows = 0;
  std::string text = FormatVerifyReport(report);
  EXPECT_THAT(text, HasSubstr("different (0) in a, b\n"));
  EXPECT_THAT(text, HasSubstr("missing (1)"));
  EXPECT_THAT(text, HasSubstr("extra (2)"));
  EXPECT_THAT(text, HasSubstr("(9) in a, b\n  and more"));
  auto json = nlohmann::json::parse(VerifyReportToJson(report));
  EXPECT_EQ(json["verdict"], "different");
  EXPECT_EQ(json["tables"][0]["rows"].size(), 12U);
}

TEST(VerifyReportTest, TablesThatCameMeanwhileAreNamed) {
  VerifyReport report;
  EXPECT_EQ(FormatVerifyReport(report).find("came meanwhile"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(VerifyReportToJson(report))["later_tables"].size(), 0U);
  report.later_tables.push_back({"public", "a"});
  EXPECT_THAT(FormatVerifyReport(report),
              HasSubstr("\n1 table came meanwhile (not compared): public.a\n"));
  for (int i = 0; i < 10; ++i) report.later_tables.push_back({"public", "b"});
  EXPECT_THAT(FormatVerifyReport(report), HasSubstr("\n11 tables came meanwhile"));
  EXPECT_THAT(FormatVerifyReport(report), HasSubstr("public.b and others\n"));
  const auto json = nlohmann::json::parse(VerifyReportToJson(report));
  EXPECT_EQ(json["later_tables"].size(), 11U);
  EXPECT_EQ(json["later_tables"][0]["table"], "a");
}

TEST(VerifyReportTest, AKeyOfBytesThatAreNoUtf8IsPrintable) {
  VerifyReport report;
  report.tables.push_back(Table("t", VerifyVerdict::kDifferent));
  report.tables[0].rows.push_back({"(\xff)", 1, 0, {}});
  EXPECT_TRUE(nlohmann::json::accept(VerifyReportToJson(report)));
}

TEST(FollowerTest, APlaceInAPageHeaderIsThePagesBegin) {
  EXPECT_EQ(BeforePageHeader(*Lsn::Parse("0/3000028")), *Lsn::Parse("0/3000000"));
  EXPECT_EQ(BeforePageHeader(*Lsn::Parse("0/3002018")), *Lsn::Parse("0/3002000"));
  EXPECT_EQ(BeforePageHeader(*Lsn::Parse("0/3002030")), *Lsn::Parse("0/3002030"));
}

TEST(KeyStateTest, EqualVersionsAndEqualContentsAreTwoThings) {
  KeyState before{1, "5", "7"};
  EXPECT_TRUE(before.HoldsAs({1, "5", "8"}));
  EXPECT_FALSE(before.IsVersion({1, "5", "8"}));
  EXPECT_FALSE(before.HoldsAs({2, "5", "7"}));
  EXPECT_FALSE(before.IsVersion({2, "5", "7"}));
}

}  // namespace
}  // namespace towline

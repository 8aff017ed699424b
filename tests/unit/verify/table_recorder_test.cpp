#include "verify/table_recorder.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

VerifyProgressRow Begun() {
  VerifyProgressRow begun;
  begun.so_far.table = {"public", "t"};
  begun.so_far.verdict = "undecided";
  begun.so_far.source_rows = 5000;
  begun.so_far.different = 2;
  begun.so_far.repaired = 1;
  begun.so_far.seconds = 7;
  begun.so_far.rows = {{"different", "(1)", {"v"}, true, ""},
                       {"different", "(2)", {"v"}, false, ""},
                       {"missing", "(9)", {}, true, ""}};
  begun.form = "same";
  begun.bounds = {"10", "20"};
  begun.ranges_done = 2;
  begun.order = {2, 0, 1};
  return begun;
}

TEST(TakeOverTest, RepairsThatAreYoungerThanTheProgressAreCounted) {
  TableJob job;
  ASSERT_TRUE(TakeOver(Begun(), "same", nullptr, &job).ok());
  EXPECT_EQ(job.report.source_rows, 5000);
  EXPECT_EQ(job.report.different, 2);
  EXPECT_EQ(job.report.missing, 1);
  EXPECT_EQ(job.report.repaired, 2);
  EXPECT_EQ(job.report.rows.size(), 3U);
  ASSERT_TRUE(job.resumed.has_value());
  EXPECT_EQ(job.resumed->ranges_done, 2);
  EXPECT_EQ(job.resumed->bounds.size(), 2U);
  EXPECT_EQ(job.resumed->order, (std::vector<int64_t>{2, 0, 1}));
  EXPECT_EQ(job.seconds_before, 7);
}

// What it is in the end is not known yet.
TEST(TakeOverTest, NothingIsDecidedByWhatIsUnfinished) {
  TableJob job;
  VerifyProgressRow begun = Begun();
  begun.so_far.different = begun.so_far.repaired = 0;
  begun.so_far.rows.clear();
  ASSERT_TRUE(TakeOver(begun, "same", nullptr, &job).ok());
  EXPECT_EQ(job.report.verdict, VerifyVerdict::kEqual);
}

VerifiedTable Done() {
  VerifiedTable done = Begun().so_far;
  done.verdict = "different";
  done.form = FormMark("same");
  return done;
}

TableJob Planned() {
  TableJob job;
  job.report.table = {"public", "t"};
  job.table.emplace();
  return job;
}

TEST(TakeOverTest, ATableThatIsDoneIsTakenAsItWasFound) {
  TableJob job = Planned();
  ASSERT_TRUE(TakeOverDone(Done(), "same", nullptr, &job).ok());
  EXPECT_TRUE(job.is_recorded);
  EXPECT_FALSE(job.table.has_value());
  EXPECT_EQ(job.report.verdict, VerifyVerdict::kDifferent);
  EXPECT_EQ(job.report.different, 2);
}

// Of what was found nothing is left but what is repaired.
TEST(TakeOverTest, ATableThatIsDoneInAnotherFormIsComparedAnew) {
  for (const char* before : {"another", ""}) {
    VerifiedTable done = Done();
    done.form = FormMark(before);
    TableJob job = Planned();
    ASSERT_TRUE(TakeOverDone(done, "same", nullptr, &job).ok());
    EXPECT_FALSE(job.is_recorded);
    EXPECT_TRUE(job.table.has_value());
    EXPECT_EQ(job.report.verdict, VerifyVerdict::kEqual);
    EXPECT_EQ(job.report.table.name, "t");
    EXPECT_EQ(job.report.source_rows, 0);
    EXPECT_EQ(job.report.different, 1);
    EXPECT_EQ(job.report.missing, 1);
    EXPECT_EQ(job.report.repaired, 2);
    EXPECT_EQ(job.report.rows.size(), 2U);
  }
}

// More than can be named.
TEST(BeginAnewTest, RepairsThatAreNotNamedStayCounted) {
  TableJob job = Planned();
  job.report.different = 50;
  job.report.repaired = 40;
  job.report.rows = {{"(1)", 1, 0, {}, true}, {"(2)", 1, 1, {"v"}, false}};
  ASSERT_TRUE(BeginAnew(nullptr, &job).ok());
  EXPECT_EQ(job.report.missing, 1);
  EXPECT_EQ(job.report.different, 39);
  EXPECT_EQ(job.report.repaired, 40);
  EXPECT_EQ(job.report.rows.size(), 1U);
}

}  // namespace
}  // namespace towline

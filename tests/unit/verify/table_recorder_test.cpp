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

}  // namespace
}  // namespace towline

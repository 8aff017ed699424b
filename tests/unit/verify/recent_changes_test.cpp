#include "verify/recent_changes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;

TableName Named(const std::string& name) { return {"public", name}; }

std::vector<TableJob> Jobs(const std::vector<std::string>& names) {
  std::vector<TableJob> jobs;
  for (const std::string& name : names) {
    jobs.emplace_back();
    jobs.back().report.table = Named(name);
  }
  return jobs;
}

std::vector<std::string> Ordered(const RecentChanges& changes, const RecentChanges::Counts& now,
                                 std::vector<TableJob> jobs) {
  changes.Order(now, &jobs);
  std::vector<std::string> names;
  for (const TableJob& job : jobs) names.push_back(job.report.table.name);
  return names;
}

TEST(RecentChangesTest, AtFirstTheOrderStays) {
  EXPECT_THAT(Ordered(RecentChanges(), {{Named("b"), 9}}, Jobs({"c", "a", "b"})),
              ElementsAre("c", "a", "b"));
}

TEST(RecentChangesTest, NewTablesThenThoseChangedMostThenThoseLongestUnseen) {
  RecentChanges changes;
  const RecentChanges::Counts before = {{Named("a"), 5}, {Named("b"), 5}, {Named("c"), 5}};
  for (const char* name : {"c", "a", "b", "d"}) changes.Compared(Named(name), before);
  const RecentChanges::Counts now = {{Named("a"), 7}, {Named("b"), 500}, {Named("c"), 5}};
  EXPECT_THAT(Ordered(changes, now, Jobs({"a", "b", "c", "d", "new"})),
              ElementsAre("new", "b", "a", "c", "d"));
}

TEST(RecentChangesTest, EachTableIsToldSinceWhen) {
  RecentChanges changes;
  changes.Compared(Named("a"), {}, WriteMark{7, 8});
  changes.Compared(Named("b"), {});
  std::vector<TableJob> jobs = Jobs({"a", "b", "c"});
  changes.Order({}, &jobs);
  for (const TableJob& job : jobs) {
    EXPECT_EQ(job.written_since.has_value(), job.report.table.name == "a");
    if (job.written_since.has_value()) {
      EXPECT_EQ(job.written_since->destination, 8U);
    }
  }
  // A comparison that went on, and whose beginning is not known.
  changes.Compared(Named("a"), {});
  jobs = Jobs({"a"});
  changes.Order({}, &jobs);
  ASSERT_TRUE(jobs[0].written_since.has_value());
  EXPECT_EQ(jobs[0].written_since->source, 7U);
}

// A server that has crashed counts from 0 again.
TEST(RecentChangesTest, CountsThatFellAreChanges) {
  RecentChanges changes;
  changes.Compared(Named("a"), {{Named("a"), 1000}});
  changes.Compared(Named("b"), {{Named("b"), 1000}});
  EXPECT_THAT(Ordered(changes, {{Named("a"), 1000}, {Named("b"), 3}}, Jobs({"a", "b"})),
              ElementsAre("b", "a"));
}

TEST(RecentChangesTest, TablesThatAreGoneAreForgotten) {
  RecentChanges changes;
  changes.Compared(Named("a"), {});
  changes.Keep(Jobs({"b"}));
  changes.Compared(Named("b"), {});
  EXPECT_THAT(Ordered(changes, {}, Jobs({"b", "a"})), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace towline

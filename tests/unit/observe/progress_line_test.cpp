#include "observe/progress_line.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(ProgressLineTest, CopyShowsTablesBytesRatesAndTimeLeft) {
  TaskStatus before;
  before.state = "copying";
  before.tables_total = 100;
  before.copy_bytes_total = int64_t{1000} << 20;
  TaskStatus now = before;
  now.tables_done = 12;
  now.copy_bytes_done = int64_t{200} << 20;
  now.copy_rows_done = 240'000;
  EXPECT_EQ(ProgressLine(before, now, absl::Seconds(2)),
            "copying: 12/100 tables, 200 MB of 1000 MB (20%), 120,000 rows/s, 100 MB/s, ETA 8s");
}

TEST(ProgressLineTest, CopyOfMoreThanTheEstimateStaysAtHundredPercentWithoutEta) {
  TaskStatus before;
  before.state = "copying";
  before.tables_total = 1;
  before.copy_bytes_total = 1 << 20;
  TaskStatus now = before;
  now.copy_bytes_done = 3 << 20;
  EXPECT_EQ(ProgressLine(before, now, absl::Seconds(1)),
            "copying: 0/1 tables, 3072 kB of 1024 kB (100%), 3072 kB/s");
}

TEST(ProgressLineTest, NoTimeBetweenTheSamplesGivesNoRate) {
  TaskStatus status;
  status.state = "streaming";
  status.rows_inserted = 5;
  EXPECT_EQ(ProgressLine(TaskStatus(), status, absl::ZeroDuration()),
            "streaming: 0 rows/s, lag 0 bytes 0.0s");
}

TEST(ProgressLineTest, StreamingCountsAllOperations) {
  TaskStatus before;
  before.state = "streaming";
  TaskStatus now = before;
  now.rows_inserted = 1000;
  now.rows_updated = 500;
  now.rows_deleted = 734;
  now.lag_bytes = 20 << 20;
  now.lag_seconds = 1.24;
  EXPECT_EQ(ProgressLine(before, now, absl::Seconds(1)), "streaming: 2,234 rows/s, lag 20 MB 1.2s");
}

TEST(ProgressLineTest, CatchingUpForetellsWhenTheLagIsGone) {
  TaskStatus before;
  before.state = "catching_up";
  before.lag_bytes = 120 << 20;
  TaskStatus now = before;
  now.lag_bytes = 100 << 20;
  now.lag_seconds = 60;
  EXPECT_EQ(ProgressLine(before, now, absl::Seconds(10)),
            "catching_up: 0 rows/s, lag 100 MB 60.0s, ETA 50s");
  // A lag that grows has no end to foretell.
  EXPECT_EQ(ProgressLine(now, before, absl::Seconds(10)).find("ETA"), std::string::npos);
}

TEST(ProgressLineTest, CountersThatRestartGiveNoNegativeRate) {
  TaskStatus before;
  before.state = "streaming";
  before.rows_inserted = 1000;
  TaskStatus now;
  now.state = "streaming";
  EXPECT_EQ(ProgressLine(before, now, absl::Seconds(1)), "streaming: 0 rows/s, lag 0 bytes 0.0s");
}

TEST(ProgressLineTest, RetryingCountsDownAndGivesTheReasonOnOneLine) {
  TaskStatus now;
  now.state = "retrying";
  now.retry_in = absl::Seconds(7);
  now.retry_window_left = absl::Hours(11) + absl::Minutes(40);
  now.waiting_for = "cannot connect to the source:\nconnection refused";
  EXPECT_EQ(ProgressLine(now, now, absl::Seconds(1)),
            "retrying in 7s (for 11h40m more): cannot connect to the source: connection refused");
}

TEST(ProgressLineTest, EndangeredSlotAndConflictsAreShown) {
  TaskStatus now;
  now.state = "streaming";
  now.wal_status = "unreserved";
  now.conflicts = 3;
  EXPECT_EQ(ProgressLine(now, now, absl::Seconds(1)),
            "streaming: 0 rows/s, lag 0 bytes 0.0s, SLOT unreserved, 3 conflicts");
}

TEST(ProgressLineTest, LongTextIsCutBetweenCharacters) {
  TaskStatus now;
  now.state = "waiting";
  for (int i = 0; i < 200; ++i) now.waiting_for.append("\xC3\xA4");
  std::string line = ProgressLine(now, now, absl::Seconds(1));
  EXPECT_LE(line.size(), 120u);
  EXPECT_EQ(line.substr(line.size() - 5), "\xC3\xA4...");
}

TEST(ProgressLineTest, IndexingCountsStatements) {
  TaskStatus now;
  now.state = "indexing";
  now.statements_done = 3;
  now.statements_total = 30;
  EXPECT_EQ(ProgressLine(now, now, absl::Seconds(1)), "indexing: 3/30 indexes and constraints");
  now.state = "constraints";
  EXPECT_EQ(ProgressLine(now, now, absl::Seconds(1)),
            "constraints: 3/30 constraints and materialized views");
}

}  // namespace
}  // namespace towline

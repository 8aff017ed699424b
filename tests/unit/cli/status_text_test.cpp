#include "cli/status_text.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace towline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusTextTest, RunningTaskShowsStateSlotLagAndWork) {
  KnownTask task;
  task.is_running = true;
  task.status.task = "shop";
  task.status.state = "streaming";
  task.status.slot = "towline_shop";
  task.status.wal_status = "reserved";
  task.status.slot_retained_bytes = 12 << 20;
  task.status.position = Lsn{0x1000};
  task.status.lag_bytes = 100;
  task.status.transactions = 5;
  task.status.rows_inserted = 1234;
  task.status.pid = 77;
  std::string text = StatusText(task);
  EXPECT_THAT(text, HasSubstr("task shop: streaming"));
  EXPECT_THAT(text, HasSubstr("towline_shop: keeps 12 MB of log, reserved"));
  EXPECT_THAT(text, HasSubstr("lag          100 bytes, 0.0 s"));
  EXPECT_THAT(text, HasSubstr("5 transactions: 1,234 inserts"));
  EXPECT_THAT(text, HasSubstr("pid 77"));
  EXPECT_THAT(text, Not(HasSubstr("in progress")));
  EXPECT_THAT(text, Not(HasSubstr("latency")));
  task.status.spool_transactions = 2;
  task.status.spool_disk_bytes = 3 << 20;
  EXPECT_THAT(StatusText(task), HasSubstr("in progress  2 transactions, 0 bytes in memory, 3"));
}

TEST(StatusTextTest, StreamShowsLatencyBatchesStagesAndTheTablesMostChanged) {
  KnownTask task;
  task.is_running = true;
  task.status.transactions = 5;
  task.status.batches = 3;
  task.status.batch_rows_p50 = 4;
  task.status.batch_rows_p99 = 1000;
  task.status.latency_p50_seconds = 0.0032;
  task.status.latency_p99_seconds = 75;
  task.status.stage_seconds = {{"wait", 200}, {"fold", 0.5}};
  task.status.conflict_totals = {{"check_violation", "skip", 12000}};
  task.status.conflict_rows_dropped = 2000;
  task.status.table_changes.assign(9, {{"sales", "orders"}, 10, 2000, 0, 1});
  std::string text = StatusText(task);
  EXPECT_THAT(text, HasSubstr("batches      3, median 4 rows, 99% within 1,000\n"));
  EXPECT_THAT(text, HasSubstr("latency      median 3.2 ms, 99% within 1m15s ("));
  EXPECT_THAT(text, HasSubstr("12,000 check_violation, skip\n"));
  EXPECT_THAT(text, HasSubstr("the oldest 2,000 are counted only"));
  EXPECT_THAT(text, HasSubstr("time spent   wait 3m20s, fold 500.0 ms\n"));
  const std::string row = "    \"sales\".\"orders\"       10    2,000        0          1\n";
  EXPECT_THAT(text, HasSubstr(absl::StrCat(
                        "    most changed      inserts  updates  deletes  truncates\n", row)));
  EXPECT_THAT(text, HasSubstr(absl::StrCat(row, row, row, row, row, "  conflicts")));
}

TEST(StatusTextTest, StoppedTaskShowsWhereItGoesOnAndWhyItStopped) {
  KnownTask task;
  task.status.task = "shop";
  task.status.state = "failed";
  task.phase = "copying";
  task.error = "disk full";
  task.ran_at = "last on db1, pid 9";
  std::string text = StatusText(task);
  EXPECT_THAT(text, HasSubstr("task shop: not running (stopped while copying, failed)"));
  EXPECT_THAT(text, HasSubstr("disk full"));
  EXPECT_THAT(text, HasSubstr("last on db1, pid 9"));
  EXPECT_THAT(text, Not(HasSubstr("lag")));
}

TEST(StatusTextTest, IndexesAndConstraintsAreCounted) {
  KnownTask task;
  task.is_running = true;
  task.status.state = "indexing";
  task.status.statements_done = 12;
  task.status.statements_total = 40;
  EXPECT_THAT(StatusText(task), HasSubstr("indexing     12 of 40 statements"));
  task.status.state = "constraints";
  EXPECT_THAT(StatusText(task), HasSubstr("constraints  12 of 40 statements"));
}

TEST(StatusTextTest, CopyShowsTotalsLimitsAndTheTablesBeingCopied) {
  KnownTask task;
  task.is_running = true;
  task.status.task = "shop";
  task.status.state = "copying";
  task.status.tables_total = 3;
  task.status.copy_bytes_total = 400 << 20;
  task.status.copy_bytes_done = 100 << 20;
  task.status.copy_rows_done = 12345;
  task.status.copy_bytes_per_second = 10 << 20;
  task.status.copy_rows_per_second = 2000;
  task.status.copy_eta_seconds = 30;
  task.status.copy_rate_max = 20 << 20;
  task.status.copy_rows_max = 5000;
  task.status.copy_note = "it was interrupted: 1 of 3 tables were done and stay";
  TableStatus orders;
  orders.name = {"sales", "orders"};
  orders.state = "copying";
  orders.bytes_total = 200 << 20;
  orders.bytes_done = 50 << 20;
  orders.rows_done = 6000;
  orders.bytes_per_second = 5 << 20;
  orders.eta_seconds = 30;
  orders.workers = 2;
  orders.copied_by = "ctid";
  orders.reason = "its key has 2 columns";
  TableStatus begun;
  begun.name = {"public", "Odd name"};
  begun.state = "copying";
  TableStatus waiting;
  waiting.name = {"public", "later"};
  waiting.state = "waiting";
  task.status.tables = {orders, begun, waiting};
  std::string text = StatusText(task);
  EXPECT_THAT(text,
              HasSubstr("copy note    it was interrupted: 1 of 3 tables were done and stay\n"));
  EXPECT_THAT(text, HasSubstr("copy         0/3 tables, 100 MB of 400 MB (25%), 12,345 rows, 10 "
                              "MB/s, 2,000 rows/s, ETA 30s\n"));
  EXPECT_THAT(text, HasSubstr("copy limit   20 MB/s, 5,000 rows/s\n"));
  EXPECT_THAT(
      text,
      HasSubstr("    copying                 size  done   rows       rate  ETA  workers  by\n"
                "    \"sales\".\"orders\"      200 MB   25%  6,000  5120 kB/s  30s        2  ctid "
                "because its key has 2 columns\n"
                "    \"public\".\"Odd name\"  0 bytes            0                        0\n"));
  EXPECT_THAT(text, Not(HasSubstr("later")));
}

TEST(StatusTextTest, RetryingCountsDown) {
  KnownTask task;
  task.is_running = true;
  task.status.task = "shop";
  task.status.state = "retrying";
  task.status.retry_in = absl::Seconds(5);
  task.status.retry_window_left = absl::Hours(2);
  EXPECT_THAT(TaskLine(task), HasSubstr("retrying, next try in 5s, gives up in 2h00m"));
}

TEST(StatusTextTest, TheLastComparisonIsShownAndWhatDiffersNow) {
  KnownTask task;
  EXPECT_THAT(StatusText(task), Not(HasSubstr("compared")));
  const int64_t minute_ago = absl::ToUnixSeconds(absl::Now() - absl::Seconds(61));
  task.status.verify = {9, "rows", "equal", minute_ago, 8, 0, 0, 0};
  EXPECT_THAT(StatusText(task), HasSubstr(" ago (rows, run 9): equal\n"));
  task.status.verify.tables_different = 2;
  task.status.verify.rows_different = 1234;
  EXPECT_THAT(StatusText(task), HasSubstr("equal; now 2 of 8 tables differ, 1,234 rows\n"));
}

TEST(StatusTextTest, JsonSaysWhetherItRuns) {
  KnownTask task;
  task.error = "x";
  nlohmann::json json = nlohmann::json::parse(KnownTaskToJson(task));
  EXPECT_EQ(json["running"], false);
  EXPECT_EQ(json["error"], "x");
  task.is_running = true;
  EXPECT_EQ(nlohmann::json::parse(KnownTaskToJson(task))["running"], true);
}

}  // namespace
}  // namespace towline

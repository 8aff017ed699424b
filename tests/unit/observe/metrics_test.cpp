#include "observe/metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, GivesTheAgreedNamesFromTheBoard) {
  StatusBoard board;
  board.Update([](TaskStatus& status) {
    status.task = "shop";
    status.state = "streaming";
    status.source_flush_lsn = Lsn{1000};
    status.received_lsn = Lsn{900};
    status.position = Lsn{700};
    status.durable_lsn = Lsn{650};
    status.lag_bytes = 350;
    status.lag_seconds = 2.5;
    status.rows_updated = 7;
    status.batches_refused = 2;
    status.batches_clashed = 6;
    status.retries = 3;
    status.wal_status = "extended";
    status.spool_transactions = 2;
    status.spool_disk_bytes = 77;
    status.stage_seconds = {{"fold", 1.5}};
    status.conflict_totals = {{"check_violation", "skip", 4}};
    status.verify = {9, "rows", "different", 1700000000, 8, 2, 1, 6};
  });
  StreamMeter meter;
  Batch batch;
  batch.changes.resize(3);
  meter.CountBatch(batch, absl::Milliseconds(15));
  meter.CountTables({{{"sales", "orders"}, 0, 7, 0, 0}});
  Metrics metrics(board, meter);
  std::string text = metrics.Render();
  for (
      const char* line : {
          R"(towline_state{task="shop",state="streaming"} 1)",
          R"(towline_state{task="shop",state="copying"} 0)",
          R"(towline_lag_bytes{task="shop",stage="receive"} 100)",
          R"(towline_lag_bytes{task="shop",stage="apply"} 200)",
          R"(towline_lag_bytes{task="shop",stage="durable"} 50)",
          R"(towline_lag_bytes{task="shop",stage="total"} 350)",
          R"(towline_lag_seconds{task="shop"} 2.5)",
          R"(towline_rows_applied_total{task="shop",op="update"} 7)",
          R"(towline_batches_total{task="shop"} 0)",
          R"(towline_batches_refused_total{task="shop"} 2)",
          R"(towline_batches_clashed_total{task="shop"} 6)",
          R"(towline_slot_safe_wal_bytes{task="shop"} -1)",
          R"(towline_slot_wal_status{task="shop",wal_status="extended"} 1)",
          R"(towline_copy_bytes_done{task="shop"} 0)",
          R"(towline_conflicts_total{task="shop",type="check_violation",resolution="skip"} 4)",
          R"(towline_conflicts_total{task="shop",type="delete_missing",resolution="stop"} 0)",
          R"(towline_retries_total{task="shop"} 3)",
          R"(towline_verify_finished_timestamp_seconds{task="shop"} 1700000000)",
          R"(towline_verify_tables{task="shop",verdict="equal"} 5)",
          R"(towline_verify_tables{task="shop",verdict="different"} 2)",
          R"(towline_verify_rows_different{task="shop"} 6)",
          R"(towline_spool_transactions{task="shop"} 2)",
          R"(towline_spool_bytes{task="shop",place="memory"} 0)",
          R"(towline_spool_bytes{task="shop",place="disk"} 77)",
          R"(towline_apply_seconds_count{task="shop"} 1)",
          R"(towline_apply_seconds_bucket{task="shop",le="0.01"} 0)",
          R"(towline_apply_seconds_bucket{task="shop",le="0.02"} 1)",
          R"(towline_apply_seconds_bucket{task="shop",le="+Inf"} 1)",
          R"(towline_batch_rows_sum{task="shop"} 3)",
          R"(towline_latency_seconds_bucket{task="shop",le="0.0001"} 0)",
          R"(towline_latency_seconds_bucket{task="shop",le="10000"} 0)",
          R"(towline_stage_seconds_total{task="shop",stage="fold"} 1.5)",
          R"(towline_table_rows_applied_total{task="shop",schema="sales",table="orders",op="update"} 7)",
          "# TYPE towline_lag_bytes gauge",
          "# TYPE towline_apply_seconds histogram",
      }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, WhatWasNeverComparedIsNotCalledEqual) {
  StatusBoard board;
  StreamMeter meter;
  EXPECT_THAT(Metrics(board, meter).Render(), Not(HasSubstr("towline_verify")));
}

TEST(MetricsTest, UnknownPositionsGiveNoLag) {
  StatusBoard board;
  board.Update([](TaskStatus& status) { status.source_flush_lsn = Lsn{1000}; });
  StreamMeter meter;
  EXPECT_THAT(Metrics(board, meter).Render(), HasSubstr(R"(stage="receive"} 0)"));
}

}  // namespace
}  // namespace towline

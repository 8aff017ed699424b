#include "observe/stream_meter.h"

#include "absl/strings/str_cat.h"
#include "base/steady_clock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

int64_t Ago(absl::Duration time) { return absl::ToUnixMicros(SteadyNow() - time); }

Batch Whole(const std::vector<int64_t>& commit_times_us) {
  Batch batch;
  for (int64_t time : commit_times_us) batch.transactions.push_back({0, 1, Lsn{1}, time});
  batch.changes.resize(2 * commit_times_us.size());
  batch.newest_commit_time_us = commit_times_us.empty() ? 0 : commit_times_us.back();
  return batch;
}

TEST(StreamMeterTest, EveryTransactionsLatencyCountsByTheSourcesClock) {
  StreamMeter meter;
  meter.CountBatch(Whole({Ago(absl::Seconds(1))}), absl::ZeroDuration());
  EXPECT_EQ(meter.histograms().latency_seconds.count(), 0) << "the clock is not known";
  meter.SetSourceClockAhead(absl::Seconds(100));
  meter.CountBatch(Whole({Ago(absl::Seconds(1)), Ago(-absl::Seconds(98))}), absl::ZeroDuration());
  Histogram latency = meter.histograms().latency_seconds;
  EXPECT_EQ(latency.count(), 2);
  EXPECT_NEAR(latency.sum(), 103, 0.5);
  // Clocks that do not quite agree.
  meter.CountBatch(Whole({Ago(-absl::Seconds(101))}), absl::ZeroDuration());
  EXPECT_NEAR(meter.histograms().latency_seconds.sum(), latency.sum(), 1e-9);
  EXPECT_EQ(meter.histograms().batch_rows.count(), 3);
  EXPECT_EQ(meter.histograms().batch_rows.sum(), 8);
}

TEST(StreamMeterTest, ATransactionInPartsCountsOnceAtItsEnd) {
  StreamMeter meter;
  meter.SetSourceClockAhead(absl::ZeroDuration());
  for (BatchPart part : {BatchPart::kFirst, BatchPart::kFirst, BatchPart::kMiddle}) {
    Batch batch = Whole({Ago(absl::Seconds(1))});
    batch.part = part;
    meter.CountBatch(batch, absl::ZeroDuration());
  }
  EXPECT_EQ(meter.histograms().apply_seconds.count(), 0);
  Batch last;
  last.part = BatchPart::kLast;
  last.newest_commit_time_us = Ago(absl::Seconds(1));
  meter.CountBatch(last, absl::Seconds(3));
  EXPECT_EQ(meter.histograms().latency_seconds.count(), 1);
  EXPECT_EQ(meter.histograms().batch_rows.sum(), 4) << "the first try of its first part is undone";
  EXPECT_EQ(meter.histograms().apply_seconds.sum(), 3);
}

TEST(StreamMeterTest, APreparedTransactionIsSeenAtItsCommitPrepared) {
  StreamMeter meter;
  meter.SetSourceClockAhead(absl::ZeroDuration());
  Batch batch = Whole({Ago(absl::Seconds(1))});
  batch.two_phase = TwoPhase::kPrepare;
  meter.CountBatch(batch, absl::ZeroDuration());
  EXPECT_EQ(meter.histograms().latency_seconds.count(), 0);
  Batch end;
  end.two_phase = TwoPhase::kCommitPrepared;
  end.newest_commit_time_us = Ago(absl::Seconds(1));
  meter.CountBatch(end, absl::ZeroDuration());
  EXPECT_EQ(meter.histograms().latency_seconds.count(), 1);
}

TEST(StreamMeterTest, StatusShowsTheLastMinuteAndTheTablesMostChanged) {
  StreamMeter meter;
  meter.SetSourceClockAhead(absl::ZeroDuration());
  TaskStatus status;
  const absl::Time start = SteadyNow();
  meter.Show(start, status);
  EXPECT_LT(status.latency_p50_seconds, 0);
  EXPECT_LT(status.batch_rows_p50, 0);
  meter.CountBatch(Whole({Ago(absl::Seconds(2))}), absl::ZeroDuration());
  for (int seconds : {1, 31}) {
    meter.Show(start + absl::Seconds(seconds), status);
    EXPECT_NEAR(status.latency_p50_seconds, 2, 0.5) << seconds;
    EXPECT_EQ(status.batch_rows_p99, 2) << seconds;
  }
  meter.Show(start + absl::Seconds(62), status);
  EXPECT_LT(status.latency_p99_seconds, 0);
  meter.CountTables({{{"s", "few"}, 1, 0, 0, 0}, {{"s", "many"}, 1, 2, 3, 0}});
  meter.CountTables({{{"s", "few"}, 0, 0, 1, 0}});
  meter.Show(start + absl::Seconds(63), status);
  ASSERT_EQ(status.table_changes.size(), 2U);
  EXPECT_EQ(status.table_changes[0].name.name, "many");
  EXPECT_EQ(status.table_changes[1].deleted, 1);
}

TEST(StreamMeterTest, TablesBeyondTheLimitAreCountedTogether) {
  StreamMeter meter;
  for (size_t i = 0; i < StreamMeter::kTablesMax + 5; ++i) {
    meter.CountTables({{{"s", absl::StrCat("t", i)}, 1, 0, 0, 0}});
  }
  meter.CountTables({{{"s", "t0"}, 1, 0, 0, 0}});
  const std::vector<TableChanges> tables = meter.tables();
  ASSERT_EQ(tables.size(), StreamMeter::kTablesMax + 1);
  EXPECT_EQ(tables.back().name.name, "");
  EXPECT_EQ(tables.back().inserted, 5);
  TaskStatus status;
  meter.Show(SteadyNow(), status);
  EXPECT_EQ(status.table_changes.size(), kTablesShownMax);
  EXPECT_EQ(status.table_changes[0].name.name, "t0");
  EXPECT_EQ(status.table_changes_left_out,
            static_cast<int64_t>(StreamMeter::kTablesMax - kTablesShownMax));
}

}  // namespace
}  // namespace towline

#include "observe/stream_meter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/steady_clock.h"

namespace towline {
namespace {

constexpr absl::Duration kHalfWindow = absl::Seconds(30);

void AddTo(const TableChanges& from, TableChanges& to) {
  to.inserted += from.inserted;
  to.updated += from.updated;
  to.deleted += from.deleted;
  to.truncated += from.truncated;
}

int64_t Sum(const TableChanges& table) {
  return table.inserted + table.updated + table.deleted + table.truncated;
}

}  // namespace

void StreamMeter::SetSourceClockAhead(absl::Duration ahead) {
  absl::MutexLock lock(&mutex_);
  source_clock_ahead_ = ahead;
}

void StreamMeter::CountBatch(const Batch& batch, absl::Duration time) {
  const absl::Time now = SteadyNow();
  const bool is_last = batch.part == BatchPart::kWhole || batch.part == BatchPart::kLast;
  absl::MutexLock lock(&mutex_);
  // What an attempt that failed has left does not count.
  if (batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst) rows_of_parts_ = 0;
  rows_of_parts_ += static_cast<int64_t>(batch.changes.size());
  if (!is_last) return;
  histograms_.apply_seconds.Add(absl::ToDoubleSeconds(time));
  const int64_t rows = std::exchange(rows_of_parts_, 0);
  if (rows > 0) histograms_.batch_rows.Add(static_cast<double>(rows));
  if (!source_clock_ahead_.has_value()) return;
  auto add = [&](int64_t commit_time_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (commit_time_us == 0) return;
    absl::Duration late = now + *source_clock_ahead_ - absl::FromUnixMicros(commit_time_us);
    histograms_.latency_seconds.Add(std::max(0.0, absl::ToDoubleSeconds(late)));
  };
  // What is only prepared is not seen yet. The other batches that are no gathered transactions hold
  // one alone.
  if (batch.two_phase == TwoPhase::kPrepare) return;
  if (batch.part == BatchPart::kLast || batch.two_phase != TwoPhase::kNone) {
    add(batch.newest_commit_time_us);
    return;
  }
  for (const TransactionMark& mark : batch.transactions) add(mark.commit_time_us);
}

void StreamMeter::CountTables(const std::vector<TableChanges>& tables) {
  absl::MutexLock lock(&mutex_);
  for (const TableChanges& table : tables) {
    auto found = tables_.find(table.name);
    if (found == tables_.end() && tables_.size() < kTablesMax) {
      found = tables_.emplace(table.name, TableChanges{table.name}).first;
    }
    AddTo(table, found == tables_.end() ? other_tables_ : found->second);
  }
}

StreamMeter::Histograms StreamMeter::histograms() const {
  absl::MutexLock lock(&mutex_);
  return histograms_;
}

std::vector<TableChanges> StreamMeter::tables() const {
  absl::MutexLock lock(&mutex_);
  std::vector<TableChanges> tables;
  for (const auto& [name, table] : tables_) tables.push_back(table);
  if (Sum(other_tables_) > 0) tables.push_back(other_tables_);
  return tables;
}

void StreamMeter::RotateWindow(absl::Time now) {
  if (now - middle_at_ < kHalfWindow) return;
  window_begin_ = std::exchange(window_middle_, histograms_);
  middle_at_ = now;
}

void StreamMeter::Show(absl::Time now, TaskStatus& status) {
  StageClock::Seconds seconds = receiver_clock_.Read();
  const StageClock::Seconds applier = applier_clock_.Read();
  status.stage_seconds.clear();
  for (size_t i = 1; i < kStageCount; ++i) {
    status.stage_seconds.emplace_back(NameOf(static_cast<Stage>(i)), seconds[i] + applier[i]);
  }
  absl::MutexLock lock(&mutex_);
  RotateWindow(now);
  const Histogram latency = histograms_.latency_seconds.Since(window_begin_.latency_seconds);
  const Histogram rows = histograms_.batch_rows.Since(window_begin_.batch_rows);
  status.latency_p50_seconds = latency.Quantile(0.5);
  status.latency_p99_seconds = latency.Quantile(0.99);
  status.batch_rows_p50 = static_cast<int64_t>(std::ceil(rows.Quantile(0.5)));
  status.batch_rows_p99 = static_cast<int64_t>(std::ceil(rows.Quantile(0.99)));
  status.table_changes.clear();
  for (const auto& [name, table] : tables_) status.table_changes.push_back(table);
  const size_t shown = std::min(status.table_changes.size(), kTablesShownMax);
  const auto end = status.table_changes.begin() + static_cast<ptrdiff_t>(shown);
  std::partial_sort(status.table_changes.begin(), end, status.table_changes.end(),
                    [](const TableChanges& a, const TableChanges& b) { return Sum(a) > Sum(b); });
  status.table_changes_left_out = static_cast<int64_t>(tables_.size() - shown);
  status.table_changes.resize(shown);
}

}  // namespace towline

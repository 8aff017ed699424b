#include "observe/copy_progress.h"

#include <algorithm>
#include <utility>

#include "base/steady_clock.h"

namespace towline {
namespace {

constexpr absl::Duration kHalfWindow = absl::Seconds(5);

}  // namespace

void RateWindow::Add(absl::Time now, int64_t bytes, int64_t rows) {
  last_ = {now, bytes, rows};
  if (before_.at == absl::Time()) before_ = middle_ = last_;
  if (now - middle_.at < kHalfWindow) return;
  before_ = std::exchange(middle_, last_);
}

double RateWindow::PerSecond(int64_t Sample::*count) const {
  double seconds = absl::ToDoubleSeconds(last_.at - before_.at);
  int64_t done = last_.*count - before_.*count;
  return seconds <= 0 || done < 0 ? 0 : static_cast<double>(done) / seconds;
}

double RateWindow::bytes_per_second() const { return PerSecond(&Sample::bytes); }
double RateWindow::rows_per_second() const { return PerSecond(&Sample::rows); }

double SecondsLeft(int64_t bytes_total, int64_t bytes_done, double bytes_per_second) {
  if (bytes_per_second <= 0) return -1;
  return static_cast<double>(std::max<int64_t>(0, bytes_total - bytes_done)) / bytes_per_second;
}

void TableProgress::Counts::Begin() {
  State waiting = State::kWaiting;
  if (state_.compare_exchange_strong(waiting, State::kCopying)) {
    begun_ns_ = absl::ToUnixNanos(SteadyNow());
  }
  const int64_t workers = ++workers_;
  int64_t before = workers_max_;
  while (before < workers && !workers_max_.compare_exchange_weak(before, workers)) {
  }
}

void TableProgress::Counts::End() { --workers_; }

void TableProgress::Counts::Finish() {
  finished_ns_ = absl::ToUnixNanos(SteadyNow());
  state_ = State::kCopied;
}

void TableProgress::Plan(std::vector<Planned> tables) {
  std::stable_sort(tables.begin(), tables.end(),
                   [](const Planned& a, const Planned& b) { return a.bytes > b.bytes; });
  absl::MutexLock lock(&mutex_);
  tables_.clear();
  by_name_.clear();
  for (Planned& table : tables) {
    tables_.push_back(std::make_unique<Counts>(std::move(table)));
    by_name_[tables_.back()->table_.name] = tables_.back().get();
  }
}

TableProgress::Counts* TableProgress::Find(const TableName& table) const {
  absl::MutexLock lock(&mutex_);
  auto found = by_name_.find(table);
  return found == by_name_.end() ? nullptr : found->second;
}

void TableProgress::Sample(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Counts>& counts : tables_) {
    if (counts->state_ != Counts::State::kCopying) continue;
    counts->rates_.Add(now, counts->bytes_, counts->rows_);
  }
}

TableStatus TableProgress::StatusOf(const Counts& counts) {
  TableStatus status;
  status.name = counts.table_.name;
  status.bytes_total = counts.table_.bytes;
  status.rows_estimate = counts.table_.rows;
  status.copied_by = counts.table_.copied_by;
  status.bytes_done = counts.bytes_;
  status.rows_done = counts.rows_;
  status.reason = counts.table_.reason;
  status.workers = counts.workers_max_;
  // One that an earlier try has copied has no beginning here.
  if (counts.begun_ns_ != 0) {
    const bool is_done = counts.state_ == Counts::State::kCopied;
    const int64_t end_ns = is_done ? counts.finished_ns_.load() : absl::ToUnixNanos(SteadyNow());
    status.seconds = static_cast<double>(end_ns - counts.begun_ns_) / 1e9;
  }
  switch (counts.state_.load()) {
    case Counts::State::kWaiting:
      status.state = "waiting";
      break;
    case Counts::State::kCopied:
      status.state = "copied";
      break;
    case Counts::State::kCopying:
      status.state = "copying";
      status.bytes_per_second = counts.rates_.bytes_per_second();
      status.rows_per_second = counts.rates_.rows_per_second();
      status.eta_seconds =
          SecondsLeft(status.bytes_total, status.bytes_done, status.bytes_per_second);
      break;
  }
  return status;
}

std::vector<TableStatus> TableProgress::Largest(size_t tables_max) const {
  std::vector<TableStatus> statuses;
  absl::MutexLock lock(&mutex_);
  for (bool is_copying : {true, false}) {
    for (const std::unique_ptr<Counts>& counts : tables_) {
      if (statuses.size() == tables_max) return statuses;
      if ((counts->state_ == Counts::State::kCopying) == is_copying) {
        statuses.push_back(StatusOf(*counts));
      }
    }
  }
  return statuses;
}

std::vector<TableStatus> TableProgress::Copying() const {
  std::vector<TableStatus> statuses;
  absl::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Counts>& counts : tables_) {
    if (counts->state_ == Counts::State::kCopying) statuses.push_back(StatusOf(*counts));
  }
  return statuses;
}

std::vector<TableStatus> TableProgress::Slowest(size_t tables_max) const {
  std::vector<TableStatus> statuses;
  {
    absl::MutexLock lock(&mutex_);
    for (const std::unique_ptr<Counts>& counts : tables_) {
      if (counts->state_ == Counts::State::kCopied) statuses.push_back(StatusOf(*counts));
    }
  }
  std::stable_sort(
      statuses.begin(), statuses.end(),
      [](const TableStatus& a, const TableStatus& b) { return a.seconds > b.seconds; });
  if (statuses.size() > tables_max) statuses.resize(tables_max);
  return statuses;
}

size_t TableProgress::size() const {
  absl::MutexLock lock(&mutex_);
  return tables_.size();
}

}  // namespace towline

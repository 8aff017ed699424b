#include "base/rate_limit.h"

#include <algorithm>

#include "base/steady_clock.h"

namespace towline {
namespace {

// How soon a rate that was raised is noticed by somebody who rests.
constexpr absl::Duration kRestMax = absl::Milliseconds(200);

int64_t StepOf(int64_t rate) {
  if (rate == 0) return INT64_MAX;
  return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rate) *
                                                   absl::ToDoubleSeconds(TokenBucket::kBurst)));
}

}  // namespace

double TokenBucket::LevelAt(absl::Time now) const {
  double rate = static_cast<double>(rate_);
  double filled = level_ + rate * std::max(0.0, absl::ToDoubleSeconds(now - at_));
  return std::min(filled, rate * absl::ToDoubleSeconds(kBurst));
}

void TokenBucket::SetRate(int64_t per_second, absl::Time now) {
  // What is owed stays owed, and is paid at the new rate.
  level_ = rate_ == 0 || per_second == 0 ? 0 : std::min(0.0, LevelAt(now));
  rate_ = per_second;
  at_ = now;
}

void TokenBucket::Take(int64_t amount, absl::Time now) {
  if (rate_ == 0) return;
  level_ = LevelAt(now) - static_cast<double>(amount);
  at_ = now;
}

absl::Duration TokenBucket::Debt(absl::Time now) const {
  double level = rate_ == 0 ? 0 : LevelAt(now);
  return level >= 0 ? absl::ZeroDuration() : absl::Seconds(-level / static_cast<double>(rate_));
}

void RateLimit::SetBytesPerSecond(int64_t rate) {
  absl::MutexLock lock(&mutex_);
  bytes_.SetRate(rate, SteadyNow());
  step_bytes_ = StepOf(rate);
}

void RateLimit::SetRowsPerSecond(int64_t rate) {
  absl::MutexLock lock(&mutex_);
  rows_.SetRate(rate, SteadyNow());
  step_rows_ = StepOf(rate);
}

int64_t RateLimit::bytes_per_second() const {
  absl::MutexLock lock(&mutex_);
  return bytes_.rate();
}

int64_t RateLimit::rows_per_second() const {
  absl::MutexLock lock(&mutex_);
  return rows_.rate();
}

bool RateLimit::Rest(int64_t bytes, int64_t rows, const Shutdown& shutdown) {
  {
    absl::MutexLock lock(&mutex_);
    bytes_.Take(bytes, SteadyNow());
    rows_.Take(rows, SteadyNow());
  }
  while (true) {
    absl::Duration debt;
    {
      absl::MutexLock lock(&mutex_);
      debt = std::max(bytes_.Debt(SteadyNow()), rows_.Debt(SteadyNow()));
    }
    if (debt <= absl::ZeroDuration()) return true;
    if (!shutdown.SleepFor(std::min(debt, kRestMax))) return false;
  }
}

}  // namespace towline

#include "run/lag_estimator.h"

#include <algorithm>

namespace towline {

void LagEstimator::AddSample(absl::Time source_time, Lsn flush_lsn) {
  if (!samples_.empty() && flush_lsn <= samples_.back().flush_lsn) return;
  samples_.push_back({source_time, flush_lsn});
  if (samples_.size() <= kSamplesMax) return;
  std::deque<Sample> thinned;
  for (size_t i = 0; i < samples_.size(); i += 2) thinned.push_back(samples_[i]);
  samples_ = std::move(thinned);
}

double LagEstimator::Seconds(absl::Time source_now, Lsn reached, int64_t oldest_us) {
  while (!samples_.empty() && samples_.front().flush_lsn <= reached) samples_.pop_front();
  absl::Duration lag = absl::ZeroDuration();
  if (oldest_us != 0) {
    lag = source_now - absl::FromUnixMicros(oldest_us);
  } else if (!samples_.empty()) {
    lag = source_now - samples_.front().time;
    if (lag < kNoise) lag = absl::ZeroDuration();
  }
  return std::max(0.0, absl::ToDoubleSeconds(lag));
}

}  // namespace towline

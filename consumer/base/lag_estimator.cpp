#include "base/lag_estimator.h"

#include <algorithm>
#include <utility>

namespace towline {

void LagEstimator::AddSample(absl::Time source_time, Lsn flush_lsn) {
  // Set back, the source's clock says nothing of what it said before.
  if (!samples_.empty() && source_time < samples_.back().time) samples_.clear();
  if (samples_.empty()) distance_ = absl::ZeroDuration();
  if (!samples_.empty() &&
      (flush_lsn <= samples_.back().flush_lsn || source_time - samples_.back().time < distance_)) {
    return;
  }
  samples_.push_back({source_time, flush_lsn});
  if (samples_.size() <= kSamplesMax) return;
  distance_ =
      2 * (samples_.back().time - samples_.front().time) / static_cast<int64_t>(kSamplesMax);
  std::deque<Sample> thinned;
  for (const Sample& sample : samples_) {
    if (thinned.empty() || sample.time - thinned.back().time >= distance_) {
      thinned.push_back(sample);
    }
  }
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

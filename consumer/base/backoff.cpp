#include "base/backoff.h"

#include <algorithm>

namespace towline {

absl::Duration Backoff::Next() {
  std::uniform_real_distribution<double> part(0.5, 1.0);
  absl::Duration delay = span_ * part(random_);
  span_ = std::min(span_ * 2, kLongest);
  return delay;
}

}  // namespace towline

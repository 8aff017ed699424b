// How far the destination is behind in time. Exact where the commit time of the oldest pending
// transaction is known: it has been received. For what the source has not sent yet only its log
// position is known, so the estimate remembers when the source had reached which position.
// Pure: time is passed in.
#pragma once

#include <cstdint>
#include <deque>

#include "absl/time/time.h"
#include "base/lsn.h"

namespace towline {

class LagEstimator {
 public:
  // The source's clock and flushed position, about once a second.
  void AddSample(absl::Time source_time, Lsn flush_lsn);

  // `reached`: everything before it is at the destination, or holds nothing for it. `oldest_us`:
  // the commit time of the oldest transaction received and not yet committed there, 0: none.
  double Seconds(absl::Time source_now, Lsn reached, int64_t oldest_us);

 private:
  struct Sample {
    absl::Time time;
    Lsn flush_lsn;
  };
  // Beyond it samples are taken and kept at twice the distance: a lag of hours need not be known to
  // the second.
  static constexpr size_t kSamplesMax = 1000;
  // Below it the gap is only the rhythm of samples, keepalives and progress commits.
  static constexpr absl::Duration kNoise = absl::Seconds(4);

  std::deque<Sample> samples_;  // rising positions
  absl::Duration distance_;     // between samples, at least
};

}  // namespace towline

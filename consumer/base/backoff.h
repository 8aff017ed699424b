// Delays between tries: doubling from 100 ms to 10 s, each drawn from the upper half of its span so
// that several tasks that lost the same server do not come back at once.
#pragma once

#include <random>

#include "absl/time/time.h"

namespace towline {

class Backoff {
 public:
  explicit Backoff(uint64_t seed) : random_(seed) {}
  absl::Duration Next();
  void Reset() { span_ = kFirst; }

 private:
  static constexpr absl::Duration kFirst = absl::Milliseconds(100);
  static constexpr absl::Duration kLongest = absl::Seconds(10);
  absl::Duration span_ = kFirst;
  std::mt19937_64 random_;
};

}  // namespace towline

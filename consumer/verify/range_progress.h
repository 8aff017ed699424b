// How far a table has come that is compared range after range. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace towline {

struct RangeProgress {
  std::vector<std::string> bounds;  // of the ranges
  int64_t ranges_done = 0;          // of those that are compared, in their order
  std::vector<int64_t> order;       // which are compared, in this order; empty: as they lie
};

}  // namespace towline

// How far a table has come that is compared range after range. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace towline {

struct RangeProgress {
  std::vector<std::string> bounds;  // of the ranges
  int64_t ranges_done = 0;          // of those that are compared, in order
};

}  // namespace towline

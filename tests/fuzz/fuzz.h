// For fuzz targets: a check that also holds in optimised builds, and ends the run with the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

inline void Check(bool holds) {
  if (!holds) std::abort();
}

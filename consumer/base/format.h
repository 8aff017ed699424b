// Quantities as people read them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace towline {

std::string FormatBytes(int64_t bytes);           // "12 MB", 1024-based as pg_size_pretty
std::string FormatCount(int64_t count);           // "1,234,567"
std::string FormatDuration(absl::Duration time);  // "850ms", "12s", "3m05s", "2h14m"

}  // namespace towline

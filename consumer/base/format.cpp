#include "base/format.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace towline {

std::string FormatBytes(int64_t bytes) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  // pg_size_pretty changes the unit at 10 of the next one, so that two digits always remain.
  while (std::abs(value) >= 10240.0 && unit < 5) {
    value /= 1024.0;
    ++unit;
  }
  return absl::StrFormat("%.0f %s", value, units[unit]);
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count < 0 ? -count : count);
  for (int i = static_cast<int>(digits.size()) - 3; i > 0; i -= 3)
    digits.insert(digits.begin() + i, ',');
  return count < 0 ? absl::StrCat("-", digits) : digits;
}

std::string FormatDuration(absl::Duration time) {
  if (time < absl::Seconds(1)) {
    return absl::StrFormat("%dms", absl::ToInt64Milliseconds(time));
  }
  int64_t seconds = absl::ToInt64Seconds(time);
  if (seconds < 60) return absl::StrFormat("%ds", seconds);
  if (seconds < 3600) return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
}

}  // namespace towline

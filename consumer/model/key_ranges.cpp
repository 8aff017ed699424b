#include "model/key_ranges.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {

std::vector<KeyRange> RangesBetween(const std::vector<std::string>& bounds) {
  std::vector<KeyRange> ranges(bounds.size() + 1);
  for (size_t i = 0; i < bounds.size(); ++i) {
    ranges[i].until = bounds[i];
    ranges[i + 1].from = bounds[i];
  }
  return ranges;
}

absl::StatusOr<KeyRanges> KeyRanges::Make(KeyType type, std::vector<KeyRange> ranges) {
  if (ranges.empty() || ranges.front().from.has_value() || ranges.back().until.has_value()) {
    return absl::DataLossError("key ranges do not reach from -infinity to +infinity");
  }
  std::vector<KeyValue> bounds;
  for (size_t i = 0; i + 1 < ranges.size(); ++i) {
    const std::optional<std::string>& until = ranges[i].until;
    const std::optional<std::string>& from = ranges[i + 1].from;
    if (!until.has_value() || !from.has_value()) {
      return absl::DataLossError(absl::StrCat("key range ", i + 1, " of ", ranges.size(),
                                              " is open where the next one begins"));
    }
    TOWLINE_ASSIGN_OR_RETURN(KeyValue end, KeyFromText(type, *until));
    TOWLINE_ASSIGN_OR_RETURN(KeyValue begin, KeyFromText(type, *from));
    if (end != begin) {
      return absl::DataLossError(absl::StrCat("key range ", i + 1, " of ", ranges.size(),
                                              " does not end where the next one begins"));
    }
    if (!bounds.empty() && end <= bounds.back()) {
      return absl::DataLossError(
          absl::StrCat("key range ", i + 1, " of ", ranges.size(), " ends before it begins"));
    }
    bounds.push_back(std::move(end));
  }
  return KeyRanges(type, std::move(ranges), std::move(bounds));
}

size_t KeyRanges::Find(const KeyValue& key) const {
  // A bound is the first key of the range behind it.
  return static_cast<size_t>(std::upper_bound(bounds_.begin(), bounds_.end(), key) -
                             bounds_.begin());
}

}  // namespace towline

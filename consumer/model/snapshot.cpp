#include "model/snapshot.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace towline {

absl::StatusOr<Snapshot> Snapshot::Parse(absl::string_view text) {
  Snapshot snapshot;
  std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  bool is_good = parts.size() == 3 && absl::SimpleAtoi(parts[0], &snapshot.xmin_) &&
                 absl::SimpleAtoi(parts[1], &snapshot.xmax_) && snapshot.xmin_ <= snapshot.xmax_;
  if (is_good) {
    for (absl::string_view xid : absl::StrSplit(parts[2], ',', absl::SkipEmpty())) {
      uint64_t value = 0;
      is_good = is_good && absl::SimpleAtoi(xid, &value);
      snapshot.running_.push_back(value);
    }
  }
  if (!is_good) return absl::InvalidArgumentError(absl::StrCat("invalid snapshot \"", text, "\""));
  std::sort(snapshot.running_.begin(), snapshot.running_.end());
  return snapshot;
}

bool Snapshot::IsVisible(uint64_t xid) const {
  if (xid < xmin_) return true;
  if (xid >= xmax_) return false;
  return !std::binary_search(running_.begin(), running_.end(), xid);
}

std::string Snapshot::ToString() const {
  return absl::StrCat(xmin_, ":", xmax_, ":", absl::StrJoin(running_, ","));
}

}  // namespace towline

// Ranges of a table's key: sorted, without a gap from -infinity to +infinity, so that every key
// lies in exactly one. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/key_value.h"

namespace towline {

// The keys from `from` on and before `until`, as texts that the server has written (key_value.h).
struct KeyRange {
  std::optional<std::string> from;   // none: from -infinity
  std::optional<std::string> until;  // none: to +infinity

  friend bool operator==(const KeyRange&, const KeyRange&) = default;
};

// The ranges between these bounds, one more than there are bounds.
std::vector<KeyRange> RangesBetween(const std::vector<std::string>& bounds);

class KeyRanges {
 public:
  // kDataLoss if a text is no value of the type, or the ranges leave a gap or overlap.
  static absl::StatusOr<KeyRanges> Make(KeyType type, std::vector<KeyRange> ranges);

  size_t count() const { return ranges_.size(); }
  const KeyRange& operator[](size_t index) const { return ranges_[index]; }
  KeyType type() const { return type_; }

  // Index of the range that the key, of the same type, lies in.
  size_t Find(const KeyValue& key) const;

 private:
  KeyRanges(KeyType type, std::vector<KeyRange> ranges, std::vector<KeyValue> bounds)
      : type_(type), ranges_(std::move(ranges)), bounds_(std::move(bounds)) {}

  KeyType type_;
  std::vector<KeyRange> ranges_;
  std::vector<KeyValue> bounds_;  // strictly ascending; bounds_[i] ends ranges_[i]
};

}  // namespace towline

// Values too large for a row image, gathered from their parts and spliced into the image.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/row_image.h"

namespace towline {

class ValueParts {
 public:
  // No value of PostgreSQL is larger (MaxAllocSize), and no more than this for one row, old and
  // new: a reader must not be made to take memory without end by bytes that only claim to be a row.
  static constexpr uint64_t kValueBytesMax = 0x3fffffff;
  static constexpr uint64_t kRowBytesMax = uint64_t{8} << 30;

  // kDataLoss when the part does not continue the value or the value breaks its bounds.
  absl::Status Add(uint64_t value_bytes, absl::string_view part, bool is_last);

  // `image` with its marks replaced by the gathered values, which are used up in order. The image
  // must have passed CheckRowImage().
  absl::StatusOr<std::string> Splice(absl::string_view image);

  // Forgets one value: the content of a logical message.
  absl::Status Discard();

  // Nothing gathered: every value has found its row.
  bool is_empty() const { return values_.empty(); }
  bool is_complete() const { return is_complete_; }

 private:
  std::deque<std::string> values_;
  uint64_t bytes_ = 0;            // announced, of all in values_
  uint64_t announced_bytes_ = 0;  // of the last one
  bool is_complete_ = true;       // the last one is
};

}  // namespace towline

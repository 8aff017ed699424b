// Where a batch was refused, halving finds the changes that the destination does not take: slices
// of it are written in source order, and only what is left of a refused one goes change by change.
// One bad change among n costs about log2(n) slices and a few single changes; every other one goes
// in with many. Changes that were in each other's way only because they were written grouped or as
// sets pass when they are single.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace towline {

// A slice that is refused no more than so long is written change by change.
inline constexpr size_t kSingleChangesMax = 8;

class SliceWriter {
 public:
  virtual ~SliceWriter() = default;
  // Writes the changes [begin, end); false: the destination refuses one of them, and none is
  // written. An error ends everything.
  virtual absl::StatusOr<bool> WriteSlice(size_t begin, size_t end) = 0;
  // One change, or what stands for it if the destination refuses it (then false).
  virtual absl::StatusOr<bool> WriteSingle(size_t change) = 0;
};

// `end` - `begin` changes that were refused as a whole.
absl::Status WriteRefused(size_t begin, size_t end, SliceWriter& writer);

}  // namespace towline

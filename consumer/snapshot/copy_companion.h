// What may go on beside the copy of ranges: the stream. The copy tells it what is done and does not
// depend on it.
#pragma once

#include "absl/status/status.h"
#include "model/live_copy.h"

namespace towline {

class CopyCompanion {
 public:
  virtual ~CopyCompanion() = default;

  // All other tables are at the destination with their indexes. `live` tells of the ranges, each
  // by its place in StateStore::ReadRanges(), until End(). What fails is tried again by Look().
  virtual void Begin(LiveCopy& live) = 0;
  // Several times a second. An error only where the copy has to end for it (CopyAgainError()).
  virtual absl::Status Look() = 0;
  // Also without Begin(), and more than once.
  virtual void End() = 0;
};

// Nothing does.
class NoCompanion final : public CopyCompanion {
 public:
  void Begin(LiveCopy&) override {}
  absl::Status Look() override { return absl::OkStatus(); }
  void End() override {}
};

}  // namespace towline

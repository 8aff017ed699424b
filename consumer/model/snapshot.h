// A source snapshot as pg_current_snapshot() prints it ("xmin:xmax:xip,xip"), 64-bit ids, and the
// rule I4 that decides which streamed transactions a copied piece already holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/lsn.h"

namespace towline {

class Snapshot {
 public:
  static absl::StatusOr<Snapshot> Parse(absl::string_view text);

  // Whether the top-level transaction had committed (or aborted) for this snapshot.
  bool IsVisible(uint64_t xid) const;
  uint64_t xmin() const { return xmin_; }
  uint64_t xmax() const { return xmax_; }
  std::string ToString() const;

 private:
  uint64_t xmin_ = 0;
  uint64_t xmax_ = 0;
  std::vector<uint64_t> running_;  // sorted
};

// Where the copy ends and the stream begins. Beyond lsn_after no streamed transaction can be
// visible in the snapshot, so it may be forgotten.
struct CopyBoundary {
  Snapshot snapshot;
  Lsn lsn_after;
};

}  // namespace towline

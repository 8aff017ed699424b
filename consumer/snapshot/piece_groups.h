// Which pieces share a snapshot (piece_copier.h), and when the tables of such a group join the
// stream.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "model/live_copy.h"
#include "pg/connection.h"
#include "snapshot/piece_copier.h"

namespace towline {

// The largest first. A table larger than a part, or than what idle workers index, is alone; others
// share a snapshot as long as they are no more together than one is held for (kPartsTogetherMax).
// No group is empty.
std::vector<std::vector<OwnPiece>> GroupPieces(std::vector<OwnPiece> pieces, int64_t part_bytes);

// Lets those of a group that is copied join that have their keys, by which the stream finds rows:
// its workers have made them, or were refused. The others join when the copy is complete.
absl::Status JoinGroup(const std::vector<OwnPiece>& group, Connection& destination, LiveCopy& live);

}  // namespace towline

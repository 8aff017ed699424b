#include "snapshot/piece_groups.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "schema/catalog_reader.h"
#include "snapshot/key_builder.h"
#include "snapshot/post_data_runner.h"
#include "snapshot/range_plan.h"
#include "snapshot/table_joiner.h"

namespace towline {

std::vector<std::vector<OwnPiece>> GroupPieces(std::vector<OwnPiece> pieces, int64_t part_bytes) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const OwnPiece& a, const OwnPiece& b) {
    return a.copy.table.total_bytes > b.copy.table.total_bytes;
  });
  std::vector<std::vector<OwnPiece>> groups;
  bool is_open = false;  // the last one takes more
  int64_t room = 0;
  for (OwnPiece& piece : pieces) {
    const int64_t bytes = piece.copy.table.total_bytes;
    if (!is_open || bytes > room) {
      groups.emplace_back();
      is_open = bytes <= std::min(part_bytes, kSerialTableBytesMax);
      room = kPartsTogetherMax * part_bytes;
    }
    room -= bytes;
    groups.back().push_back(std::move(piece));
  }
  return groups;
}

absl::Status JoinGroup(const std::vector<OwnPiece>& group, Connection& destination,
                       LiveCopy& live) {
  std::vector<TableName> names;
  for (const OwnPiece& piece : group) names.push_back(piece.copy.table.name);
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<Table> there, ReadTablesByName(destination, names));
  int64_t left = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    if (HasKeyOn(there[i], IdentityColumns(group[i].copy.table))) {
      live.Finish(group[i].place);
    } else {
      ++left;
    }
  }
  LogInfo("tables join the stream",
          {{"tables", absl::StrCat(static_cast<int64_t>(group.size()) - left)},
           {"left_until_the_copy_is_complete", absl::StrCat(left)}});
  return absl::OkStatus();
}

}  // namespace towline

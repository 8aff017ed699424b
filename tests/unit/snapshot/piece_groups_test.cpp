// Which pieces share a snapshot.
#include "snapshot/piece_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using testing::ElementsAre;

// Sizes of the tables of each group, in parts of 100 bytes.
std::vector<std::vector<int64_t>> Grouped(const std::vector<int64_t>& bytes) {
  std::vector<OwnPiece> pieces;
  for (int64_t size : bytes) {
    OwnPiece piece;
    piece.copy.table.total_bytes = size;
    pieces.push_back(std::move(piece));
  }
  std::vector<std::vector<int64_t>> groups;
  for (const std::vector<OwnPiece>& group : GroupPieces(std::move(pieces), 100)) {
    std::vector<int64_t>& sizes = groups.emplace_back();
    for (const OwnPiece& piece : group) sizes.push_back(piece.copy.table.total_bytes);
  }
  return groups;
}

TEST(GroupPiecesTest, LargeTablesAreAloneAndSmallOnesShareEightParts) {
  EXPECT_THAT(Grouped({90, 500, 101, 80}),
              ElementsAre(ElementsAre(500), ElementsAre(101), ElementsAre(90, 80)));
  EXPECT_THAT(Grouped(std::vector<int64_t>(9, 100)),
              ElementsAre(ElementsAre(100, 100, 100, 100, 100, 100, 100, 100), ElementsAre(100)));
}

TEST(GroupPiecesTest, TablesThatHaveBeenEmptiedSinceAreTablesStill) {
  EXPECT_TRUE(Grouped({}).empty());
  EXPECT_THAT(Grouped({0}), ElementsAre(ElementsAre(0)));
  EXPECT_THAT(Grouped({0, 300, 0}), ElementsAre(ElementsAre(300), ElementsAre(0, 0)));
}

}  // namespace
}  // namespace towline

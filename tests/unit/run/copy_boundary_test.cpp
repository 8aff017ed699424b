// BoundaryOf: which snapshot each table follows.
#include "run/copy_boundary.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

SnapshotRow SnapshotOf(int number, const std::string& text, uint64_t lsn_after) {
  return {number, text, {lsn_after}, "shape"};
}

PieceRow PieceOf(uint32_t oid, int snapshot_number, const std::string& state = "copied") {
  PieceRow piece;
  piece.table = {"s", "t"};
  piece.source_oid = oid;
  piece.state = state;
  piece.snapshot_number = snapshot_number;
  return piece;
}

TEST(CopyBoundaryTest, NoneIsLeftWhenTheSnapshotsAreForgotten) {
  auto boundary = BoundaryOf({}, {PieceOf(1, 1)}, {});
  ASSERT_TRUE(boundary.ok());
  EXPECT_FALSE(boundary->has_value());
}

TEST(CopyBoundaryTest, TablesFollowTheirSnapshotAndUnknownOnesTheLast) {
  auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100), SnapshotOf(4, "20:30:", 400)},
                             {PieceOf(1, 1), PieceOf(2, 4), PieceOf(3, 0, "streamed")}, {});
  ASSERT_TRUE(boundary.ok());
  ASSERT_TRUE(boundary->has_value());
  const CopyBoundary& found = **boundary;
  ASSERT_EQ(found.snapshots.size(), 2u);
  EXPECT_EQ(found.snapshots[0].snapshot.ToString(), "5:9:");
  EXPECT_EQ(found.snapshots[1].lsn_after.value, 400u);
  EXPECT_EQ(found.SnapshotOf(1), 0u);
  EXPECT_EQ(found.SnapshotOf(2), 1u);
  EXPECT_EQ(found.SnapshotOf(3), 1u);
  EXPECT_EQ(found.SnapshotOf(99), 1u);
}

TEST(CopyBoundaryTest, ACopiedTableWhoseSnapshotIsMissingIsDataLoss) {
  for (int number : {0, 2}) {
    auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {PieceOf(1, number)}, {});
    EXPECT_EQ(boundary.status().code(), absl::StatusCode::kDataLoss);
  }
}

PieceRow RangedPiece(uint32_t oid) {
  PieceRow piece = PieceOf(oid, 1);
  piece.key = ChunkKey{.column = "k", .type_oid = 23, .type = KeyType::kInt4, .collation = ""};
  return piece;
}

RangeRow RangeOf(int64_t ordinal, KeyRange keys, const std::string& snapshot, uint64_t lsn_after) {
  RangeRow range;
  range.table = {"s", "t"};
  range.ordinal = ordinal;
  range.keys = std::move(keys);
  range.state = "copied";
  range.snapshot = snapshot;
  range.lsn_after = {lsn_after};
  return range;
}

TEST(CopyBoundaryTest, RangesHaveSnapshotsOfTheirOwnAndUnknownTablesFollowTheLastOfAll) {
  auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {RangedPiece(1)},
                             {RangeOf(1, {std::nullopt, "10"}, "30:30:", 400),
                              RangeOf(2, {"10", std::nullopt}, "20:20:", 300)});
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  const CopyBoundary& found = **boundary;
  ASSERT_EQ(found.ranged.size(), 1u);
  const RangedTable& table = found.ranged.at(1);
  auto snapshot_of = [&](const std::string& key) {
    size_t index = table.SnapshotOf(*KeyFromText(KeyType::kInt4, key));
    return found.snapshots[index].snapshot.ToString();
  };
  EXPECT_EQ(snapshot_of("9"), "30:30:");
  EXPECT_EQ(snapshot_of("10"), "20:20:");
  // A table that came between the first snapshot and the ranges' was not copied under any.
  EXPECT_EQ(found.snapshots[found.SnapshotOf(99)].snapshot.ToString(), "5:9:");
}

TEST(CopyBoundaryTest, ARangeThatIsMissingOrNotCopiedIsDataLoss) {
  const RangeRow low = RangeOf(1, {std::nullopt, "10"}, "30:30:", 400);
  RangeRow begun = RangeOf(2, {"10", std::nullopt}, "20:20:", 300);
  begun.state = "copying";
  RangeRow bare = RangeOf(2, {"10", std::nullopt}, "", 300);
  for (const std::vector<RangeRow>& ranges :
       {std::vector<RangeRow>{}, {low}, {low, begun}, {low, bare}}) {
    auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {RangedPiece(1)}, ranges);
    EXPECT_EQ(boundary.status().code(), absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace towline

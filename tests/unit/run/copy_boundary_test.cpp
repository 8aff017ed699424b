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
  auto boundary = BoundaryOf({}, {PieceOf(1, 1)});
  ASSERT_TRUE(boundary.ok());
  EXPECT_FALSE(boundary->has_value());
}

TEST(CopyBoundaryTest, TablesFollowTheirSnapshotAndUnknownOnesTheLast) {
  auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100), SnapshotOf(4, "20:30:", 400)},
                             {PieceOf(1, 1), PieceOf(2, 4), PieceOf(3, 0, "streamed")});
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
    auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {PieceOf(1, number)});
    EXPECT_EQ(boundary.status().code(), absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace towline

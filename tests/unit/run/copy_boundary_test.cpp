// BoundaryOf: which snapshot each table follows.
#include "run/copy_boundary.h"

#include <gtest/gtest.h>

#include "model/live_copy.h"

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
  auto boundary = BoundaryOf({}, {PieceOf(1, 1)}, {}, nullptr);
  ASSERT_TRUE(boundary.ok());
  EXPECT_FALSE(boundary->has_value());
}

TEST(CopyBoundaryTest, TablesFollowTheirSnapshotAndUnknownOnesTheLast) {
  auto boundary =
      BoundaryOf({SnapshotOf(1, "5:9:", 100), SnapshotOf(4, "20:30:", 400)},
                 {PieceOf(1, 1), PieceOf(2, 4), PieceOf(3, 0, "streamed")}, {}, nullptr);
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
    auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {PieceOf(1, number)}, {}, nullptr);
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
                              RangeOf(2, {"10", std::nullopt}, "20:20:", 300)},
                             nullptr);
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
    auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {RangedPiece(1)}, ranges, nullptr);
    EXPECT_EQ(boundary.status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(CopyBoundaryTest, WhileTheCopyGoesOnARangeIsItsPlaceAmongAllThatAreStored) {
  RangeRow other = RangeOf(1, {std::nullopt, std::nullopt}, "", 0);
  other.table = {"r", "t"};
  other.state = "pending";
  RangeRow pending = RangeOf(2, {"10", std::nullopt}, "", 0);
  pending.state = "pending";
  LiveCopy live({.piece_count = 3});
  auto boundary =
      BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {RangedPiece(1), PieceOf(2, 1)},
                 {other, RangeOf(1, {std::nullopt, "10"}, "30:30:", 400), pending}, &live);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  const CopyBoundary& found = **boundary;
  EXPECT_EQ(found.live, &live);
  EXPECT_EQ(found.ranged.at(1).snapshots, (std::vector<size_t>{1, 2}));
  EXPECT_EQ(found.snapshots.size(), 1u);
  EXPECT_EQ(found.SnapshotOf(2), 0u);
}

PieceRow OwnPieceOf(uint32_t oid, const std::string& name) {
  PieceRow piece = PieceOf(oid, 1);
  piece.table.name = name;
  piece.source_form = "1/2/3";
  return piece;
}

TEST(CopyBoundaryTest, ATableWithASnapshotToItselfFollowsThat) {
  RangeRow range = RangeOf(1, {}, "30:30:", 400);
  range.table.name = "own";
  auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {OwnPieceOf(1, "own"), PieceOf(2, 1)},
                             {range}, nullptr);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  const CopyBoundary& found = **boundary;
  EXPECT_TRUE(found.ranged.empty());
  EXPECT_EQ(found.snapshots[found.SnapshotOf(1)].snapshot.ToString(), "30:30:");
  EXPECT_EQ(found.snapshots[found.SnapshotOf(2)].snapshot.ToString(), "5:9:");
  EXPECT_EQ(found.snapshots[found.SnapshotOf(99)].snapshot.ToString(), "5:9:");
  range.state = "copying";
  for (const std::vector<RangeRow>& ranges : {std::vector<RangeRow>{}, {range}}) {
    boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {OwnPieceOf(1, "own")}, ranges, nullptr);
    EXPECT_EQ(boundary.status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(CopyBoundaryTest, TablesOfAGroupFollowOneSnapshot) {
  std::vector<PieceRow> pieces;
  std::vector<RangeRow> ranges;
  for (uint32_t oid = 1; oid <= 3; ++oid) {
    pieces.push_back(OwnPieceOf(oid, std::string(1, static_cast<char>('a' + oid))));
    ranges.push_back(RangeOf(1, {}, oid == 3 ? "40:40:" : "30:30:", 400));
    ranges.back().table = pieces.back().table;
  }
  auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)}, pieces, ranges, nullptr);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  const CopyBoundary& found = **boundary;
  EXPECT_EQ(found.snapshots.size(), 3u);
  EXPECT_EQ(found.SnapshotOf(1), found.SnapshotOf(2));
  EXPECT_EQ(found.snapshots[found.SnapshotOf(2)].snapshot.ToString(), "30:30:");
  EXPECT_EQ(found.snapshots[found.SnapshotOf(3)].snapshot.ToString(), "40:40:");
}

TEST(CopyBoundaryTest, WhileTheCopyGoesOnItIsThePieceOfItsRange) {
  RangeRow other = RangeOf(1, {}, "", 0);
  other.table = {"r", "t"};
  RangeRow range = RangeOf(1, {}, "", 0);
  range.table.name = "own";
  range.state = "pending";
  LiveCopy live({.piece_count = 2});
  auto boundary =
      BoundaryOf({SnapshotOf(1, "5:9:", 100)}, {OwnPieceOf(1, "own")}, {other, range}, &live);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  EXPECT_EQ((*boundary)->live_tables.at(1), 1u);
  EXPECT_EQ((*boundary)->snapshots.size(), 1u);
}

PieceRow JoinedPiece(uint32_t oid, const std::string& name, const std::string& state) {
  PieceRow piece = PieceOf(oid, 0, state);
  piece.table.name = name;
  piece.source_form = "form";
  return piece;
}

RangeRow JoinedRange(const std::string& name, const std::string& state) {
  RangeRow range = RangeOf(1, {}, state == "copied" ? "20:30:" : "", 300);
  range.table.name = name;
  range.state = state;
  return range;
}

TEST(CopyBoundaryTest, ToTablesBesideOneThatWasCopiedByItselfEverythingIsNews) {
  auto boundary = BoundaryOf({}, {JoinedPiece(1, "t", "copied"), PieceOf(2, 1)},
                             {JoinedRange("t", "copied")}, nullptr);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  ASSERT_TRUE(boundary->has_value());
  const CopyBoundary& found = **boundary;
  const CopySnapshot& own = found.snapshots[found.SnapshotOf(1)];
  EXPECT_FALSE(found.is_of_joined);
  EXPECT_TRUE(own.Holds(19, Lsn{299}));
  EXPECT_FALSE(own.Holds(30, Lsn{299}));
  for (uint32_t other : {2u, 99u}) {
    EXPECT_FALSE(found.snapshots[found.SnapshotOf(other)].Holds(1, Lsn{1}));
  }
}

TEST(CopyBoundaryTest, WhatIsToBeCopiedByItselfIsNoPartOfAStreamAlone) {
  auto boundary = BoundaryOf({}, {JoinedPiece(1, "t", "joining"), JoinedPiece(2, "u", "parked")},
                             {JoinedRange("t", "pending")}, nullptr);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  EXPECT_FALSE(boundary->has_value());
}

TEST(CopyBoundaryTest, WhatIsBeingCopiedByItselfIsAskedOfTheCopy) {
  LiveCopy live({.piece_count = 2});
  auto boundary =
      BoundaryOf({}, {JoinedPiece(1, "t", "joining"), JoinedPiece(2, "u", "copied"), PieceOf(3, 1)},
                 {JoinedRange("t", "pending"), JoinedRange("u", "copied")}, &live);
  ASSERT_TRUE(boundary.ok()) << boundary.status();
  const CopyBoundary& found = **boundary;
  EXPECT_EQ(found.live, &live);
  EXPECT_EQ(found.live_tables.at(1), 0u);
  EXPECT_EQ(found.live_tables.at(2), 1u);
  EXPECT_FALSE(found.live_tables.contains(3));
  EXPECT_FALSE(found.snapshots[found.SnapshotOf(3)].Holds(1, Lsn{1}));
}

TEST(CopyBoundaryTest, WhatIsBeingCopiedByItselfIsKnownByItsOidWhateverItsName) {
  LiveCopy live({.piece_count = 2});
  const CopyBoundary found = BoundaryOfJoining({{7, {1, {"s", "t"}}}, {9, {0, {"s", "u"}}}}, &live);
  EXPECT_EQ(found.live, &live);
  EXPECT_EQ(found.live_tables.at(7), 1u);
  EXPECT_EQ(found.live_tables.at(9), 0u);
  EXPECT_EQ(found.names.at(7).name, "t");
  EXPECT_TRUE(found.is_of_joined);
  EXPECT_FALSE(found.snapshots[found.SnapshotOf(3)].Holds(1, Lsn{1}));
}

TEST(CopyBoundaryTest, TablesThatAreOutOfTheStreamNeedNoSnapshot) {
  auto boundary = BoundaryOf({SnapshotOf(1, "5:9:", 100)},
                             {PieceOf(1, 1), JoinedPiece(2, "u", "removed")}, {}, nullptr);
  EXPECT_TRUE(boundary.ok()) << boundary.status();
}

}  // namespace
}  // namespace towline

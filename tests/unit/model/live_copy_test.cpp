// Which transactions a copy that goes on holds, will hold, or lacks. What it comes to, with a
// stream and crashes: tests/unit/assemble/live_copy_model_test.cpp.
#include "model/live_copy.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

using Verdict = LiveCopy::Verdict;

CopySnapshot Taken(const char* text, uint64_t lsn_after) {
  return {Snapshot::Parse(text).value(), {lsn_after}};
}

TEST(LiveCopyTest, APieceGoesThroughItsStates) {
  LiveCopy live({.piece_count = 1});
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  live.Announce({0});
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kWait);
  ASSERT_TRUE(live.Accept({0}, Taken("12:14:12", 200)));
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  EXPECT_EQ(live.Judge(0, 12, {150}), Verdict::kWait);
  EXPECT_EQ(live.Judge(0, 14, {210}), Verdict::kWait);
  live.Finish(0);
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  EXPECT_EQ(live.Judge(0, 12, {150}), Verdict::kNew);
  // Visible by its id, but it committed behind the snapshot.
  EXPECT_EQ(live.Judge(0, 13, {200}), Verdict::kNew);
}

TEST(LiveCopyTest, ASnapshotThatLacksWhatWasPassedOverIsRefusedUntilOneHoldsIt) {
  LiveCopy live({.piece_count = 2});
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  // Whichever piece it was passed over for.
  live.Announce({1});
  EXPECT_FALSE(live.Accept({1}, Taken("10:11:10", 200)));
  EXPECT_FALSE(live.Accept({1}, Taken("9:9:", 200)));
  EXPECT_FALSE(live.Accept({1}, Taken("11:11:", 100)));
  EXPECT_EQ(live.Judge(1, 11, {110}), Verdict::kWait);
  EXPECT_TRUE(live.Accept({1}, Taken("11:11:", 101)));
}

TEST(LiveCopyTest, ASnapshotThatWasTakenBeforeOneThatForgetsIsRefusedAllTheSame) {
  LiveCopy live({.piece_count = 1});
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  live.Announce({0});
  const CopySnapshot taken = Taken("10:11:10", 200);
  live.Forget(Snapshot::Parse("11:11:").value());
  EXPECT_FALSE(live.Accept({0}, taken));
  EXPECT_TRUE(live.Accept({0}, Taken("11:11:", 200)));
}

TEST(LiveCopyTest, PiecesOfOneSnapshotAreTakenTogetherOrNotAtAll) {
  LiveCopy live({.piece_count = 3});
  EXPECT_EQ(live.Judge(2, 10, {100}), Verdict::kHeld);
  live.Announce({0, 2});
  EXPECT_EQ(live.Judge(0, 11, {110}), Verdict::kWait);
  EXPECT_EQ(live.Judge(1, 11, {110}), Verdict::kHeld);
  EXPECT_FALSE(live.Accept({0, 2}, Taken("10:12:10", 200)));
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kWait);
  ASSERT_TRUE(live.Accept({0, 2}, Taken("11:12:11", 200)));
  for (size_t piece : {0, 2}) {
    EXPECT_EQ(live.Judge(piece, 10, {100}), Verdict::kHeld);
    EXPECT_EQ(live.Judge(piece, 11, {110}), Verdict::kWait);
  }
  live.Finish(2);
  EXPECT_EQ(live.Judge(2, 11, {110}), Verdict::kNew);
  EXPECT_EQ(live.Judge(0, 11, {110}), Verdict::kWait);
}

TEST(LiveCopyTest, WhatIsPassedOverForOthersSinceIsNotAskedOfIt) {
  LiveCopy live({.piece_count = 2});
  live.Announce({0});
  EXPECT_EQ(live.Judge(1, 10, {300}), Verdict::kHeld);
  EXPECT_TRUE(live.Accept({0}, Taken("10:11:10", 200)));
}

TEST(LiveCopyTest, WhatEverySnapshotWillSeeIsForgotten) {
  LiveCopy live({.piece_count = 1, .remembered_max = 2});
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  EXPECT_EQ(live.Judge(0, 12, {110}), Verdict::kHeld);
  EXPECT_EQ(live.Judge(0, 12, {110}), Verdict::kHeld);
  EXPECT_EQ(live.Judge(0, 13, {120}), Verdict::kWait);
  const uint64_t before = live.change_count();
  live.Forget(Snapshot::Parse("11:14:11,12").value());
  EXPECT_EQ(live.remembered(), 1u);
  EXPECT_NE(live.change_count(), before);
  EXPECT_EQ(live.Judge(0, 13, {120}), Verdict::kHeld);
}

TEST(LiveCopyTest, APieceOfAnEarlierTryIsTakenAlready) {
  LiveCopy live({.piece_count = 1});
  live.AddTaken(0, Taken("10:10:", 200));
  EXPECT_EQ(live.Judge(0, 9, {100}), Verdict::kHeld);
  EXPECT_EQ(live.Judge(0, 10, {300}), Verdict::kWait);
  live.Finish(0);
  EXPECT_EQ(live.Judge(0, 10, {300}), Verdict::kNew);
}

TEST(LiveCopyTest, ASnapshotThatIsGivenUpLeavesThePieceAsItWas) {
  LiveCopy live({.piece_count = 1});
  EXPECT_EQ(live.Judge(0, 10, {100}), Verdict::kHeld);
  live.Announce({0});
  ASSERT_TRUE(live.Accept({0}, Taken("12:14:12", 200)));
  EXPECT_EQ(live.Judge(0, 12, {210}), Verdict::kWait);
  live.Withdraw({0});
  EXPECT_EQ(live.Judge(0, 12, {210}), Verdict::kHeld);
  live.Announce({0});
  EXPECT_FALSE(live.Accept({0}, Taken("12:15:12", 300)));
  EXPECT_TRUE(live.Accept({0}, Taken("15:15:", 300)));
  // Also before there is one.
  live.Withdraw({0});
  live.Withdraw({0});
  EXPECT_EQ(live.Judge(0, 20, {400}), Verdict::kHeld);
}

TEST(LiveCopyTest, ASnapshotThatLacksWhatCommitsBeforeItIsTakenAgain) {
  LiveCopy live({.piece_count = 1});
  live.Announce({0});
  ASSERT_TRUE(live.Accept({0}, Taken("12:14:12", 200)));
  EXPECT_FALSE(live.Retake({0}));
  // What commits behind it is lacked by right.
  EXPECT_EQ(live.Judge(0, 14, {210}), Verdict::kWait);
  EXPECT_FALSE(live.Retake({0}));
  EXPECT_EQ(live.Judge(0, 12, {150}), Verdict::kWait);
  EXPECT_TRUE(live.Retake({0}));
  EXPECT_EQ(live.Judge(0, 12, {150}), Verdict::kWait);
  EXPECT_FALSE(live.Accept({0}, Taken("12:15:12", 300)));
  EXPECT_TRUE(live.Accept({0}, Taken("13:15:14", 300)));
  EXPECT_EQ(live.Judge(0, 12, {150}), Verdict::kHeld);
  EXPECT_FALSE(live.Retake({0}));
  EXPECT_FALSE(live.IsFinished(0));
  live.Finish(0);
  EXPECT_TRUE(live.IsFinished(0));
}

TEST(LiveCopyTest, WhereTheStreamStandsNeverGoesBack) {
  LiveCopy live({.piece_count = 1});
  EXPECT_FALSE(live.standing().is_valid());
  live.NoteStanding({200});
  live.NoteStanding({100});
  EXPECT_EQ(live.standing().value, 200u);
}

TEST(LiveCopyTest, AWaitEndsWithAChangeOrInTime) {
  LiveCopy live({.piece_count = 1});
  const uint64_t before = live.change_count();
  live.AwaitChange(before, absl::Milliseconds(1));
  live.Announce({0});
  live.AwaitChange(before, absl::InfiniteDuration());
}

}  // namespace
}  // namespace towline

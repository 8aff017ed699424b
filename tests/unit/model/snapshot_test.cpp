// Snapshots: text form and who is visible, with 64-bit ids.
#include "model/snapshot.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(SnapshotTest, VisibleIsWhatHadFinished) {
  Snapshot snapshot = Snapshot::Parse("10:20:12,15").value();
  EXPECT_TRUE(snapshot.IsVisible(9));
  EXPECT_TRUE(snapshot.IsVisible(10));
  EXPECT_FALSE(snapshot.IsVisible(12));
  EXPECT_TRUE(snapshot.IsVisible(14));
  EXPECT_FALSE(snapshot.IsVisible(15));
  EXPECT_TRUE(snapshot.IsVisible(19));
  EXPECT_FALSE(snapshot.IsVisible(20));
}

TEST(SnapshotTest, IdsBeyondTheFirstEpoch) {
  Snapshot snapshot = Snapshot::Parse("4294967300:4294967310:4294967305").value();
  EXPECT_TRUE(snapshot.IsVisible(4294967290));  // below 2^32: an epoch earlier, not later
  EXPECT_FALSE(snapshot.IsVisible(4294967305));
  EXPECT_FALSE(snapshot.IsVisible(4294967310));
}

TEST(SnapshotTest, NobodyRunning) {
  Snapshot snapshot = Snapshot::Parse("20:20:").value();
  EXPECT_TRUE(snapshot.IsVisible(19));
  EXPECT_FALSE(snapshot.IsVisible(20));
  EXPECT_EQ(snapshot.ToString(), "20:20:");
}

TEST(SnapshotTest, TextThatIsNoSnapshotIsRefused) {
  for (const char* text : {"", "10", "10:20", "20:10:", "a:b:", "10:20:x", "10:20:1:2", "-1:20:"}) {
    EXPECT_FALSE(Snapshot::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace towline

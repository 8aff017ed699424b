#include "observe/copy_progress.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;

const absl::Time kStart = absl::UnixEpoch() + absl::Hours(1);

std::vector<std::string> Shown(const std::vector<TableStatus>& tables) {
  std::vector<std::string> shown;
  for (const TableStatus& table : tables) {
    shown.push_back(absl::StrCat(table.name.name, " ", table.state));
  }
  return shown;
}

TEST(RateWindowTest, IsOfTheLastSecondsOnly) {
  RateWindow window;
  EXPECT_EQ(window.bytes_per_second(), 0);
  // A minute at 100 bytes/s, then one at 1000.
  int64_t bytes = 0;
  for (int second = 0; second < 120; ++second) {
    bytes += second < 60 ? 100 : 1000;
    window.Add(kStart + absl::Seconds(second), bytes, bytes / 10);
    if (second == 59) {
      EXPECT_NEAR(window.bytes_per_second(), 100, 0.1);
    }
  }
  EXPECT_NEAR(window.bytes_per_second(), 1000, 0.1);
  EXPECT_NEAR(window.rows_per_second(), 100, 0.1);
}

TEST(RateWindowTest, FallsToNothingWhenNothingMoves) {
  RateWindow window;
  window.Add(kStart, 0, 0);
  window.Add(kStart + absl::Seconds(1), 5000, 50);
  EXPECT_EQ(window.bytes_per_second(), 5000);
  for (int second = 2; second < 20; ++second) {
    window.Add(kStart + absl::Seconds(second), 5000, 50);
  }
  EXPECT_EQ(window.bytes_per_second(), 0);
}

TEST(SecondsLeftTest, OfTheEstimateOnly) {
  EXPECT_EQ(SecondsLeft(100, 50, 5), 10);
  EXPECT_EQ(SecondsLeft(100, 150, 5), 0);
  EXPECT_LT(SecondsLeft(100, 50, 0), 0);
}

TEST(TableProgressTest, TellsTimeWorkersAndReasonOfTheSlowest) {
  TableProgress progress;
  progress.Plan({{{"s", "kept"}, 5, 1, "whole", ""},
                 {{"s", "quick"}, 10, 1, "whole", "it is small"},
                 {{"s", "slow"}, 1000, -1, "ctid", "it has no primary key"},
                 {{"s", "begun"}, 1000, -1, "whole", ""}});
  auto* slow = progress.Find({"s", "slow"});
  auto* quick = progress.Find({"s", "quick"});
  slow->Begin();
  slow->Begin();
  slow->End();
  slow->Begin();
  absl::SleepFor(absl::Milliseconds(20));
  quick->Begin();
  quick->Finish();
  slow->Finish();
  progress.Find({"s", "kept"})->Finish();
  progress.Find({"s", "begun"})->Begin();
  EXPECT_THAT(Shown(progress.Slowest(10)),
              ElementsAre("slow copied", "quick copied", "kept copied"));
  const TableStatus first = progress.Slowest(1).front();
  EXPECT_GE(first.seconds, 0.02);
  EXPECT_EQ(first.workers, 2);
  EXPECT_EQ(first.reason, "it has no primary key");
  EXPECT_LT(progress.Slowest(3).back().seconds, 0);
  EXPECT_GE(progress.Copying().front().seconds, 0);
}

TEST(TableProgressTest, ThoseBeingCopiedComeFirstThenTheLargest) {
  TableProgress progress;
  progress.Plan({{{"s", "small"}, 10, 1},
                 {{"s", "large"}, 1000, -1},
                 {{"s", "middle"}, 100, 5},
                 {{"s", "tiny"}, 1, 1}});
  EXPECT_EQ(progress.Find({"s", "other"}), nullptr);
  progress.Find({"s", "tiny"})->Begin();
  progress.Find({"s", "large"})->Begin();
  progress.Find({"s", "large"})->Finish();
  EXPECT_THAT(Shown(progress.Largest(10)),
              ElementsAre("tiny copying", "large copied", "middle waiting", "small waiting"));
  EXPECT_THAT(Shown(progress.Largest(2)), ElementsAre("tiny copying", "large copied"));
  EXPECT_THAT(Shown(progress.Copying()), ElementsAre("tiny copying"));
  EXPECT_EQ(progress.size(), 4u);
  // A part of a table that begins later does not make it one that is being copied again.
  progress.Find({"s", "large"})->Begin();
  EXPECT_THAT(Shown(progress.Copying()), ElementsAre("tiny copying"));
}

TEST(TableProgressTest, RateAndTimeLeftAreOfEachTable) {
  TableProgress progress;
  progress.Plan({{{"s", "a"}, 10'000, 100}, {{"s", "b"}, 100, 1}});
  TableProgress::Counts* a = progress.Find({"s", "a"});
  a->Begin();
  for (int second = 0; second < 3; ++second) {
    progress.Sample(kStart + absl::Seconds(second));
    a->Add(1000, 10);
  }
  progress.Sample(kStart + absl::Seconds(3));
  TableStatus status = progress.Largest(1)[0];
  EXPECT_EQ(status.bytes_done, 3000);
  EXPECT_EQ(status.rows_done, 30);
  EXPECT_EQ(status.rows_estimate, 100);
  EXPECT_EQ(status.bytes_per_second, 1000);
  EXPECT_EQ(status.rows_per_second, 10);
  EXPECT_EQ(status.eta_seconds, 7);
  a->Finish();
  EXPECT_EQ(progress.Largest(1)[0].bytes_per_second, 0);
  // A copy that begins again counts anew.
  progress.Plan({{{"s", "a"}, 10'000, 100}});
  EXPECT_EQ(progress.Largest(1)[0].rows_done, 0);
}

}  // namespace
}  // namespace towline

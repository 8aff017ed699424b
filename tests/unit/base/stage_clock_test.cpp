#include "base/stage_clock.h"

#include <thread>

#include "gtest/gtest.h"

namespace towline {
namespace {

void Rest() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

double Of(const StageClock& clock, Stage stage) { return clock.Read()[static_cast<size_t>(stage)]; }

TEST(StageClockTest, TimeOfAnInnerStageIsNotTheOuterOnes) {
  StageClock clock;
  const auto began = std::chrono::steady_clock::now();
  {
    ScopedStage outer(&clock, Stage::kApply);
    {
      ScopedStage inner(&clock, Stage::kFold);
      Rest();
    }
    EXPECT_LT(Of(clock, Stage::kApply), Of(clock, Stage::kFold));
    Rest();
  }
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - began;
  EXPECT_GE(Of(clock, Stage::kFold), 0.02);
  EXPECT_GE(Of(clock, Stage::kApply), 0.02);
  EXPECT_LE(Of(clock, Stage::kFold) + Of(clock, Stage::kApply), all.count());
}

TEST(StageClockTest, AStageThatGoesOnIsCountedAndNothingOutsideOfStages) {
  StageClock clock;
  Rest();
  EXPECT_EQ(Of(clock, Stage::kWait), 0);
  ScopedStage wait(&clock, Stage::kWait);
  Rest();
  EXPECT_GE(Of(clock, Stage::kWait), 0.02);
  EXPECT_EQ(Of(clock, Stage::kNone), 0);
}

TEST(StageClockTest, WithoutAClockNothingHappens) { ScopedStage stage(nullptr, Stage::kFold); }

}  // namespace
}  // namespace towline

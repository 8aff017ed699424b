// The wish at the control socket: when it is refused, and what it outlives.
#include "run/task_control.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace towline {
namespace {

TEST(TaskControlTest, ACopyCannotPause) {
  TaskControl control;
  absl::Status refused = control.RequestPause();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(GetHint(refused), "");
  EXPECT_FALSE(control.wants_pause());
}

TEST(TaskControlTest, PauseAndResumeWhileStreaming) {
  TaskControl control;
  control.set_is_copying(false);
  EXPECT_TRUE(control.RequestPause().ok());
  EXPECT_TRUE(control.wants_pause());
  EXPECT_TRUE(control.RequestResume().ok());
  EXPECT_FALSE(control.wants_pause());
}

TEST(TaskControlTest, AStoredPauseHoldsUntilSomebodyAsks) {
  TaskControl control;
  control.AdoptStored(true);
  EXPECT_TRUE(control.wants_pause());
  EXPECT_TRUE(control.RequestResume().ok());
  // The row still says paused when the next attempt reads it: the wish is newer.
  control.AdoptStored(true);
  EXPECT_FALSE(control.wants_pause());
}

}  // namespace
}  // namespace towline

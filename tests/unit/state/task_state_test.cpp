// Names of states are stored and shown: they are fixed, and every one is read back.
#include "state/task_state.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace towline {
namespace {

constexpr int kStates = static_cast<int>(TaskState::kFailed) + 1;

TEST(TaskStateTest, EveryNameIsReadBack) {
  std::set<std::string> names;
  for (int i = 0; i < kStates; ++i) {
    TaskState state = static_cast<TaskState>(i);
    absl::StatusOr<TaskState> parsed = ParseTaskState(TaskStateName(state));
    ASSERT_TRUE(parsed.ok()) << i;
    EXPECT_EQ(*parsed, state);
    names.insert(std::string(TaskStateName(state)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kStates));
}

TEST(TaskStateTest, NamesAreThoseOfTheStateSchema) {
  std::string all;
  for (int i = 0; i < kStates; ++i) {
    all += std::string(TaskStateName(static_cast<TaskState>(i))) + " ";
  }
  EXPECT_EQ(
      all,
      "new checking copying_schema copying indexing catching_up constraints streaming cut_over "
      "paused retrying waiting healing needs_heal failed ");
}

TEST(TaskStateTest, AnUnknownNameOfANewerVersionIsRefused) {
  EXPECT_EQ(ParseTaskState("verifying").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(ParseTaskState("").ok());
}

TEST(TaskStateTest, InterruptionsAreNoPhases) {
  EXPECT_TRUE(IsPhase(TaskState::kNew));
  EXPECT_TRUE(IsPhase(TaskState::kStreaming));
  // Kept beside a stop: only the next heal gives the position its meaning back.
  EXPECT_TRUE(IsPhase(TaskState::kHealing));
  for (TaskState state : {TaskState::kPaused, TaskState::kRetrying, TaskState::kWaiting,
                          TaskState::kNeedsHeal, TaskState::kFailed}) {
    EXPECT_FALSE(IsPhase(state));
  }
}

}  // namespace
}  // namespace towline

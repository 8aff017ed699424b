// The two retry windows: what opens, closes and resets them.
#include "run/retry_windows.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);
const absl::Status kLost = absl::UnavailableError("lost");
const absl::Status kOther = absl::AbortedError("deadlock");
const RetryWindows::Attempt kShort = {.healthy_for = absl::Milliseconds(10),
                                      .has_ever_connected = true};

RetryWindows NewWindows() {
  return RetryWindows({.connection = absl::Minutes(720), .other = absl::Minutes(10), .seed = 1});
}

TEST(RetryWindowsTest, CodesThatNoRetryMendsStopAtOnce) {
  for (const absl::Status& status :
       {absl::FailedPreconditionError(""), absl::InvalidArgumentError(""),
        absl::UnauthenticatedError(""), absl::PermissionDeniedError(""), absl::DataLossError(""),
        absl::UnimplementedError(""), absl::InternalError(""), absl::CancelledError("")}) {
    EXPECT_EQ(RetryKindOf(status), RetryKind::kNever) << status;
    EXPECT_FALSE(NewWindows().OnFailure(status, kStart, kShort).should_retry);
  }
}

TEST(RetryWindowsTest, ATableIsParkedWhenItsErrorWouldStopTheTask) {
  for (const absl::Status& status :
       {absl::UnimplementedError(""), absl::FailedPreconditionError(""),
        absl::PermissionDeniedError("")}) {
    EXPECT_EQ(ParkTimeOf(status), ParkTime::kAtOnce) << status;
    EXPECT_EQ(RetryKindOf(status), RetryKind::kNever) << status;
  }
  for (const absl::Status& status : {absl::UnknownError(""), absl::AbortedError("")}) {
    EXPECT_EQ(ParkTimeOf(status), ParkTime::kAfterRetries) << status;
    EXPECT_EQ(RetryKindOf(status), RetryKind::kOther) << status;
  }
  for (const absl::Status& status :
       {absl::OkStatus(), absl::CancelledError(""), absl::UnavailableError(""),
        absl::ResourceExhaustedError(""), absl::DeadlineExceededError(""), absl::DataLossError(""),
        absl::InternalError(""), absl::InvalidArgumentError("")}) {
    EXPECT_EQ(ParkTimeOf(status), ParkTime::kNever) << status;
  }
}

TEST(RetryWindowsTest, EachKindHasItsWindow) {
  RetryWindows windows = NewWindows();
  RetryWindows::Decision lost = windows.OnFailure(kLost, kStart, kShort);
  EXPECT_TRUE(lost.should_retry);
  EXPECT_EQ(lost.window_left, absl::Minutes(720));
  RetryWindows::Decision other = windows.OnFailure(kOther, kStart, kShort);
  EXPECT_TRUE(other.should_retry);
  EXPECT_EQ(other.window_left, absl::Minutes(10));
}

TEST(RetryWindowsTest, AWindowBeginsAtItsFirstFailureAndEnds) {
  RetryWindows windows = NewWindows();
  windows.OnFailure(kOther, kStart, kShort);
  EXPECT_EQ(windows.OnFailure(kOther, kStart + absl::Minutes(4), kShort).window_left,
            absl::Minutes(6));
  EXPECT_FALSE(windows.OnFailure(kOther, kStart + absl::Minutes(10), kShort).should_retry);
}

TEST(RetryWindowsTest, ProgressClosesBothWindows) {
  RetryWindows windows = NewWindows();
  windows.OnFailure(kOther, kStart, kShort);
  windows.OnFailure(kLost, kStart, kShort);
  RetryWindows::Attempt progressed = kShort;
  progressed.has_progressed = true;
  absl::Time later = kStart + absl::Minutes(9);
  EXPECT_EQ(windows.OnFailure(kOther, later, progressed).window_left, absl::Minutes(10));
  EXPECT_EQ(windows.OnFailure(kLost, later, kShort).window_left, absl::Minutes(720));
}

TEST(RetryWindowsTest, AHealthyMinuteIsEnoughForConnectionsOnly) {
  RetryWindows windows = NewWindows();
  windows.OnFailure(kLost, kStart, kShort);
  windows.OnFailure(kOther, kStart, kShort);
  RetryWindows::Attempt healthy = kShort;
  healthy.healthy_for = absl::Minutes(2);
  absl::Time later = kStart + absl::Minutes(5);
  EXPECT_EQ(windows.OnFailure(kLost, later, healthy).window_left, absl::Minutes(720));
  // A copy that always fails in its third minute comes to an end.
  EXPECT_EQ(windows.OnFailure(kOther, later, healthy).window_left, absl::Minutes(5));
}

TEST(RetryWindowsTest, AServerNeverReachedIsGivenUpSoon) {
  RetryWindows windows = NewWindows();
  RetryWindows::Attempt never;
  EXPECT_TRUE(windows.OnFailure(kLost, kStart, never).should_retry);
  EXPECT_TRUE(windows.OnFailure(kLost, kStart + absl::Seconds(59), never).should_retry);
  EXPECT_FALSE(windows.OnFailure(kLost, kStart + absl::Seconds(60), never).should_retry);
}

TEST(RetryWindowsTest, DelaysGrowAndNeverPassTheWindow) {
  RetryWindows windows = NewWindows();
  EXPECT_LE(windows.OnFailure(kOther, kStart, kShort).delay, absl::Milliseconds(100));
  for (int i = 0; i < 20; ++i) windows.OnFailure(kOther, kStart, kShort);
  EXPECT_GE(windows.OnFailure(kOther, kStart + absl::Minutes(2), kShort).delay, absl::Seconds(5));
  absl::Time near_end = kStart + absl::Minutes(10) - absl::Milliseconds(5);
  EXPECT_LE(windows.OnFailure(kOther, near_end, kShort).delay, absl::Milliseconds(5));
}

TEST(RetryWindowsTest, AFreshOutageIsTriedEachSecond) {
  RetryWindows windows = NewWindows();
  for (int i = 0; i < 20; ++i) windows.OnFailure(kLost, kStart, kShort);
  EXPECT_LE(windows.OnFailure(kLost, kStart + absl::Seconds(59), kShort).delay, absl::Seconds(1));
}

TEST(RetryWindowsTest, AServerThatDropsUsAtOnceIsNotHammered) {
  RetryWindows windows = NewWindows();
  RetryWindows::Attempt brief = kShort;
  brief.has_progressed = true;
  absl::Duration delay;
  for (int i = 0; i < 20; ++i) delay = windows.OnFailure(kLost, kStart, brief).delay;
  EXPECT_GE(delay, absl::Seconds(1));
  RetryWindows::Attempt longer = brief;
  longer.healthy_for = absl::Seconds(30);
  EXPECT_LE(windows.OnFailure(kLost, kStart, longer).delay, absl::Milliseconds(100));
}

}  // namespace
}  // namespace towline

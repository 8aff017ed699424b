// Errors carry hint, detail and SQLSTATE through every layer, and each code has one exit status.
#include "base/error.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(ErrorTest, PayloadsSurviveContextAndNewCode) {
  absl::Status status = WithSqlState(
      WithHint(WithDetail(absl::UnknownError("boom"), "A detail."), "Do something."), "23505");
  status =
      WithCode(WithContext(WithContext(status, "inner"), "outer"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "outer: inner: boom");
  EXPECT_EQ(GetHint(status), "Do something.");
  EXPECT_EQ(GetDetail(status), "A detail.");
  EXPECT_EQ(GetSqlState(status), "23505");
  EXPECT_EQ(Describe(status), "outer: inner: boom\nDETAIL:  A detail.\nHINT:  Do something.");
}

TEST(ErrorTest, OkStaysOk) {
  EXPECT_TRUE(WithHint(absl::OkStatus(), "hint").ok());
  EXPECT_TRUE(WithContext(absl::OkStatus(), "context").ok());
  EXPECT_TRUE(WithCode(absl::OkStatus(), absl::StatusCode::kInternal).ok());
  EXPECT_EQ(GetHint(absl::OkStatus()), "");
}

TEST(ErrorTest, ExitStatusesAreTheDocumentedOnes) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(absl::CancelledError("")), 0);
  EXPECT_EQ(ExitCode(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(ExitCode(absl::FailedPreconditionError("")), 3);
  EXPECT_EQ(ExitCode(absl::PermissionDeniedError("")), 3);
  EXPECT_EQ(ExitCode(absl::UnavailableError("")), 3);
  EXPECT_EQ(ExitCode(absl::UnimplementedError("")), 4);
  EXPECT_EQ(ExitCode(absl::DeadlineExceededError("")), 4);
  EXPECT_EQ(ExitCode(absl::DataLossError("")), 5);
  EXPECT_EQ(ExitCode(absl::InternalError("")), 70);
}

}  // namespace
}  // namespace towline

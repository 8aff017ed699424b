#include "schema/child_process.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/match.h"

namespace towline {
namespace {

ChildProcess Shell(const std::string& script) {
  ChildProcess child;
  child.arguments = {"/bin/sh", "-c", script};
  child.output_bytes_max = 1 << 20;
  return child;
}

TEST(ChildProcessTest, GivesOutputErrorsAndStatus) {
  Shutdown shutdown;
  absl::StatusOr<ChildResult> result =
      RunChildProcess(Shell("echo out; echo err >&2; exit 3"), shutdown);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "out\n");
  EXPECT_EQ(result->errors, "err\n");
  EXPECT_EQ(result->exit_status, 3);
}

TEST(ChildProcessTest, EnvironmentIsAddedAndReplaced) {
  Shutdown shutdown;
  ChildProcess child = Shell("echo $SECRET $HOME");
  child.environment = {{"SECRET", "a b"}, {"HOME", "/nowhere"}};
  absl::StatusOr<ChildResult> result = RunChildProcess(child, shutdown);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "a b /nowhere\n");
}

TEST(ChildProcessTest, LargeOutputOnBothPipesDoesNotBlock) {
  Shutdown shutdown;
  absl::StatusOr<ChildResult> result =
      RunChildProcess(Shell("head -c 500000 /dev/zero >&2; head -c 500000 /dev/zero"), shutdown);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output.size(), 500000u);
  EXPECT_EQ(result->errors.size(), size_t{64} << 10);
}

TEST(ChildProcessTest, OnlyLinesThatAreErrorsAreKept) {
  Shutdown shutdown;
  ChildProcess child = Shell(
      "{ echo bad 1; yes 'a line of progress' | head -n 100000; printf 'bad 2'; sleep 0.05; "
      "echo ' goes on'; echo good; printf 'bad 3'; } >&2");
  child.is_error = [](absl::string_view line) { return absl::StartsWith(line, "bad"); };
  absl::StatusOr<ChildResult> result = RunChildProcess(child, shutdown);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->errors, "bad 1\nbad 2 goes on\nbad 3");
}

TEST(ChildProcessTest, TooMuchOutputIsAnError) {
  Shutdown shutdown;
  EXPECT_EQ(RunChildProcess(Shell("cat /dev/zero"), shutdown).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ChildProcessTest, ProgramThatIsNotThereIsNamed) {
  Shutdown shutdown;
  ChildProcess child;
  child.arguments = {"/no/such/program"};
  EXPECT_EQ(RunChildProcess(child, shutdown).status().code(), absl::StatusCode::kNotFound);
}

TEST(ChildProcessTest, ShutdownEndsTheChild) {
  Shutdown shutdown;
  std::thread stopper([&shutdown] { shutdown.Request(); });
  EXPECT_EQ(RunChildProcess(Shell("exec sleep 600"), shutdown).status().code(),
            absl::StatusCode::kCancelled);
  stopper.join();
}

}  // namespace
}  // namespace towline

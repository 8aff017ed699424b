// Who may be called dead: only a process of this very machine, boot and pid namespace.
#include "state/process_identity.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace towline {
namespace {

TEST(ProcessIdentityTest, WeAreAlive) {
  std::string own = OwnProcessIdentity();
  ASSERT_NE(own, "");
  EXPECT_EQ(FateOfProcess(own), ProcessFate::kAlive);
}

TEST(ProcessIdentityTest, AnEndedChildIsDead) {
  int channel[2];
  ASSERT_EQ(pipe(channel), 0);
  pid_t child = fork();
  if (child == 0) {
    std::string identity = OwnProcessIdentity();
    ssize_t written = write(channel[1], identity.data(), identity.size());
    _exit(written > 0 ? 0 : 1);
  }
  char buffer[512];
  ssize_t length = read(channel[0], buffer, sizeof buffer);
  ASSERT_GT(length, 0);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(FateOfProcess({buffer, static_cast<size_t>(length)}), ProcessFate::kDead);
}

TEST(ProcessIdentityTest, AReusedPidIsAnotherProcess) {
  std::vector<std::string> parts = absl::StrSplit(OwnProcessIdentity(), '/');
  ASSERT_EQ(parts.size(), 4u);
  parts[3] = "1";
  EXPECT_EQ(FateOfProcess(absl::StrJoin(parts, "/")), ProcessFate::kDead);
}

TEST(ProcessIdentityTest, OfOtherMachinesNothingIsKnown) {
  std::vector<std::string> parts = absl::StrSplit(OwnProcessIdentity(), '/');
  ASSERT_EQ(parts.size(), 4u);
  for (size_t part : {0, 1}) {
    std::vector<std::string> other = parts;
    other[part] += "x";
    EXPECT_EQ(FateOfProcess(absl::StrJoin(other, "/")), ProcessFate::kUnknown);
  }
  EXPECT_EQ(FateOfProcess(""), ProcessFate::kUnknown);
  EXPECT_EQ(FateOfProcess("a/b"), ProcessFate::kUnknown);
}

}  // namespace
}  // namespace towline

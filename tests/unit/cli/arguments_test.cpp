#include "cli/arguments.h"

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

std::string ErrorOf(const std::vector<std::string>& words) {
  absl::StatusOr<Arguments> arguments = ParseArguments(words);
  if (arguments.ok()) return "no error";
  EXPECT_EQ(ExitCode(arguments.status()), 2);
  return Describe(arguments.status());
}

TEST(ArgumentsTest, FlagsGoToTheirOptions) {
  auto arguments = ParseArguments({"run", "--source", "host=a", "--target=host=b", "--include",
                                   "a.*", "--include", "b.*", "-c", "t.yaml"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->command, Command::kRun);
  EXPECT_EQ(arguments->sources.file, "t.yaml");
  EXPECT_THAT(
      arguments->sources.flags,
      ElementsAre(Pair("source", ElementsAre("host=a")), Pair("destination", ElementsAre("host=b")),
                  Pair("tables.include", ElementsAre("a.*", "b.*"))));
}

TEST(ArgumentsTest, ARuleChangeIsAcceptedByTheFlagOfRunOnly) {
  EXPECT_FALSE(ParseArguments({"run"})->accepts_rule_change);
  EXPECT_TRUE(ParseArguments({"run", "--accept-rule-change"})->accepts_rule_change);
  EXPECT_THAT(ErrorOf({"check", "--accept-rule-change"}), HasSubstr("has no option"));
}

TEST(ArgumentsTest, TaskMayStandAlone) {
  auto arguments = ParseArguments({"status", "shop", "--json"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->task, "shop");
  EXPECT_TRUE(arguments->is_json);
  EXPECT_FALSE(arguments->is_watch);
}

TEST(ArgumentsTest, SetTakesNameValueAndPerhapsATask) {
  auto arguments = ParseArguments({"set", "copy_rate_max", "20MB", "shop"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->set_name, "copy_rate_max");
  EXPECT_EQ(arguments->set_value, "20MB");
  EXPECT_EQ(arguments->task, "shop");
  EXPECT_EQ(ParseArguments({"set", "copy_rows_max", "0"})->task, "");
}

TEST(ArgumentsTest, TableTakesWhatToDoAndTheTable) {
  auto arguments = ParseArguments({"table", "park", "public.orders", "--task", "shop"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->command, Command::kTable);
  EXPECT_EQ(arguments->table_action, "park");
  EXPECT_EQ(arguments->table_name, "public.orders");
}

TEST(ArgumentsTest, MisspeltCommandAndOptionAreGuessed) {
  EXPECT_EQ(ErrorOf({"stauts"}), "unknown command \"stauts\"\nHINT:  Did you mean towline status?");
  EXPECT_EQ(ErrorOf({"run", "--sorce", "x"}),
            "towline run has no option --sorce\nHINT:  Did you mean --source?");
  EXPECT_EQ(ErrorOf({"run", "--sorce=x"}),
            "towline run has no option --sorce\nHINT:  Did you mean --source?");
  EXPECT_THAT(ErrorOf({"zzzzzz"}), HasSubstr("HINT:  Commands: help, version, init"));
}

TEST(ArgumentsTest, MistakesAreErrors) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("no command given"));
  EXPECT_THAT(ErrorOf({"run", "--source"}), HasSubstr("--source"));
  EXPECT_THAT(ErrorOf({"run", "shop"}), HasSubstr("unexpected word \"shop\""));
  EXPECT_THAT(ErrorOf({"run", "--task", "a", "--task", "b"}), Not(HasSubstr("no error")));
  // Options that a command would not obey are refused, not ignored.
  EXPECT_THAT(ErrorOf({"status", "--existing", "append"}), HasSubstr("has no option --existing"));
  EXPECT_THAT(ErrorOf({"run", "--json"}), HasSubstr("has no option --json"));
}

TEST(ArgumentsTest, HelpAndVersionAnswer) {
  EXPECT_THAT(ParseArguments({"help"})->answer, HasSubstr("towline run --source"));
  EXPECT_THAT(ParseArguments({"help", "run"})->answer, HasSubstr("--retry-connection"));
  EXPECT_THAT(ParseArguments({"drop", "--help"})->answer, HasSubstr("--source-only"));
  EXPECT_THAT(ParseArguments({"--version"})->answer, HasSubstr("towline "));
  EXPECT_THAT(ErrorOf({"help", "rnu"}), HasSubstr("unknown command \"rnu\""));
}

}  // namespace
}  // namespace towline

#include "cli/argv_secrets.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(ArgvSecretsTest, OverwritesPasswordsAndNothingElse) {
  std::vector<std::string> words = {"towline",
                                    "run",
                                    "--source=postgresql://u:secret@h/db?x=1",
                                    "--destination",
                                    "host=h password=two user=u",
                                    "--task",
                                    "password"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  WipeSecrets(static_cast<int>(argv.size()), argv.data());
  EXPECT_EQ(words[2], "--source=postgresql://u:******@h/db?x=1");
  EXPECT_EQ(words[4], "host=h password=*** user=u");
  EXPECT_EQ(words[6], "password");
}

}  // namespace
}  // namespace towline

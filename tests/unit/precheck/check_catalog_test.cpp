#include "precheck/check_catalog.h"

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "gtest/gtest.h"

namespace towline {
namespace {

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(CheckCatalogTest, PageIsInSync) {
  EXPECT_TRUE(ReadFile(std::string(TOWLINE_SOURCE_DIR) + "/docs/checks.md") == ChecksMarkdown())
      << "run: towline reference --checks > docs/checks.md";
}

// Every id that the checks use is in the catalogue, and none stands there without a check.
TEST(CheckCatalogTest, ListsExactlyTheChecksThereAre) {
  std::set<std::string> used;
  std::regex id(R"re("((source|destination|capacity|task)\.[a-z_]+)")re");
  auto folder = std::filesystem::path(TOWLINE_SOURCE_DIR) / "consumer" / "precheck";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string name = entry.path().filename();
    if (entry.path().extension() != ".cpp" || name == "check_catalog.cpp") continue;
    std::string text = ReadFile(entry.path());
    for (std::sregex_iterator match(text.begin(), text.end(), id), end; match != end; ++match) {
      used.insert((*match)[1]);
    }
  }
  std::set<std::string> listed;
  for (const CheckInfo& info : CheckCatalog()) {
    EXPECT_TRUE(listed.insert(info.id).second) << info.id << " is listed twice";
  }
  EXPECT_EQ(used, listed);
}

}  // namespace
}  // namespace towline

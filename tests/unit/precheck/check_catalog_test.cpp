#include "precheck/check_catalog.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace towline {
namespace {

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// "source.some_id" and the like, between quotes. Not by std::regex: under the sanitizers gcc 12
// warns of it.
std::vector<std::string> QuotedIds(const std::string& text) {
  std::vector<std::string> ids;
  for (const std::string& group :
       std::vector<std::string>{"source.", "destination.", "capacity.", "task."}) {
    for (size_t at = text.find('"' + group); at != std::string::npos;
         at = text.find('"' + group, at + 1)) {
      size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at + 1 + group.size());
      bool is_id = end != std::string::npos && text[end] == '"' && end > at + 1 + group.size();
      if (is_id) ids.push_back(text.substr(at + 1, end - at - 1));
    }
  }
  return ids;
}

TEST(CheckCatalogTest, PageIsInSync) {
  EXPECT_TRUE(ReadFile(std::string(TOWLINE_SOURCE_DIR) + "/docs/checks.md") == ChecksMarkdown())
      << "run: towline reference --checks > docs/checks.md";
}

// Every id that the checks use is in the catalogue, and none stands there without a check.
TEST(CheckCatalogTest, ListsExactlyTheChecksThereAre) {
  std::set<std::string> used;
  auto folder = std::filesystem::path(TOWLINE_SOURCE_DIR) / "consumer" / "precheck";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string name = entry.path().filename();
    if (entry.path().extension() != ".cpp" || name == "check_catalog.cpp") continue;
    std::string text = ReadFile(entry.path());
    for (const std::string& id : QuotedIds(text)) used.insert(id);
  }
  std::set<std::string> listed;
  for (const CheckInfo& info : CheckCatalog()) {
    EXPECT_TRUE(listed.insert(info.id).second) << info.id << " is listed twice";
  }
  EXPECT_EQ(used, listed);
}

TEST(CheckCatalogTest, ChecksOfOtherStagesAreLeftOut) {
  EXPECT_TRUE(IsOfStages("source.wal_level", true, true));
  EXPECT_FALSE(IsOfStages("source.wal_level", true, false));
  EXPECT_TRUE(IsOfStages("source.wal_level", false, true));
  EXPECT_TRUE(IsOfStages("destination.rows", true, false));
  EXPECT_FALSE(IsOfStages("destination.rows", false, true));
  // The schema alone.
  EXPECT_FALSE(IsOfStages("destination.rows", false, false));
  EXPECT_FALSE(IsOfStages("destination.referring_rows", false, false));
  EXPECT_FALSE(IsOfStages("destination.row_security", false, false));
  EXPECT_FALSE(IsOfStages("source.wal_level", false, false));
  EXPECT_TRUE(IsOfStages("source.table_privileges", false, false));
  EXPECT_TRUE(IsOfStages("destination.create_tables", false, false));
  EXPECT_TRUE(IsOfStages("source.table_privileges", false, true));
}

}  // namespace
}  // namespace towline

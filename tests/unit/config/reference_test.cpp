// docs/reference is written by the program; this test says when it was forgotten.
#include "config/reference.h"

#include <fstream>
#include <sstream>

#include "config/config_loader.h"
#include "config/option_table.h"
#include "config/yaml_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

std::string ReadDocument(const std::string& name) {
  std::ifstream file(std::string(TOWLINE_SOURCE_DIR) + "/docs/reference/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ReferenceTest, OptionsPageIsInSync) {
  EXPECT_TRUE(ReadDocument("options.md") == OptionsMarkdown())
      << "run: towline reference --markdown > docs/reference/options.md";
}

TEST(ReferenceTest, ExampleFileIsInSync) {
  EXPECT_TRUE(ReadDocument("example.yaml") == ExampleYaml())
      << "run: towline reference --example > docs/reference/example.yaml";
}

TEST(ReferenceTest, ExampleFileIsAValidConfiguration) {
  ConfigSources sources;
  sources.file = std::string(TOWLINE_SOURCE_DIR) + "/docs/reference/example.yaml";
  sources.get_env = [](const char*) { return nullptr; };
  absl::StatusOr<Config> config = LoadConfig(sources);
  EXPECT_TRUE(config.ok()) << config.status();
}

TEST(ReferenceTest, ExampleFileNamesEveryOption) {
  std::string text = ExampleYaml();
  for (const OptionSpec& option : OptionTable()) {
    std::string key = option.path.substr(option.path.find('.') + 1);
    EXPECT_THAT(text, testing::HasSubstr(key + ": ")) << option.path;
  }
}

}  // namespace
}  // namespace towline

// What is asked of the plugin: all that is wanted where it can be had, never what an older plugin
// would refuse.
#include "run/plugin_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

TEST(PluginOptionsTest, AllThatIsWanted) {
  Config config;
  config.compression = "zstd";
  config.include = {"a.*", "b.c"};
  PluginOptions chosen = ChoosePluginOptions(config, 150000, "0.2", {});
  EXPECT_TRUE(chosen.is_streaming);
  EXPECT_EQ(chosen.compression, "zstd");
  EXPECT_THAT(chosen.refusals, IsEmpty());
  EXPECT_THAT(chosen.options, Contains(Pair("max_protocol", "2")));
  EXPECT_THAT(chosen.options, Contains(Pair("streaming", "on")));
  EXPECT_THAT(chosen.options, Contains(Pair("compression", "zstd")));
  EXPECT_THAT(chosen.options, Contains(Pair("include_tables", "a.*,b.c")));
  EXPECT_THAT(chosen.options, Not(Contains(Key("exclude_tables"))));
  EXPECT_THAT(chosen.options, Not(Contains(Key("origin"))));
  config.foreign_origins = false;
  EXPECT_THAT(ChoosePluginOptions(config, 150000, "0.1", {}).options,
              Contains(Pair("origin", "none")));
}

TEST(PluginOptionsTest, OlderDestinationsAndConvertedTextsGetBasicTypesInBinaryOnly) {
  auto binary = [](const ServerPair& pair, const char* plugin) {
    for (const auto& [name, value] : ChoosePluginOptions(Config(), 150000, plugin, pair).options) {
      if (name == "binary") return value;
    }
    return std::string();
  };
  EXPECT_EQ(binary(MakePair(150020, "UTF8", 150001, "UTF8"), "0.2"), "on");
  EXPECT_EQ(binary(MakePair(150020, "SQL_ASCII", 170000, "SQL_ASCII"), "0.2"), "on");
  EXPECT_EQ(binary(MakePair(150020, "UTF8", 140030, "UTF8"), "0.2"), "basic");
  EXPECT_EQ(binary(MakePair(150020, "UTF8", 150020, "LATIN1"), "0.2"), "basic");
  EXPECT_EQ(binary(MakePair(150020, "LATIN1", 150020, "LATIN1"), "0.2"), "basic");
  EXPECT_EQ(binary(MakePair(150020, "UTF8", 140030, "UTF8"), "0.1"), "off");
}

TEST(PluginOptionsTest, RulesAreAskedForWhateverThePluginIs) {
  Config config;
  EXPECT_THAT(ChoosePluginOptions(config, 150000, "0.2", {}).options,
              Not(Contains(Key("table_rules"))));
  TableRule& rule = config.rules[{"s", "t"}];
  rule.table = {"s", "t"};
  rule.where = "a = 1";
  for (const char* version : {"0.1", "0.2", ""}) {
    EXPECT_THAT(ChoosePluginOptions(config, 150000, version, {}).options,
                Contains(Pair("table_rules", R"([{"schema":"s","table":"t","where":"a = 1"}])")));
  }
}

TEST(PluginOptionsTest, DdlIsAskedForWhateverThePluginIs) {
  Config config;
  EXPECT_THAT(ChoosePluginOptions(config, 150000, "0.3", {}).options, Not(Contains(Key("ddl"))));
  config.ddl.is_on = true;
  for (const char* version : {"0.2", "0.3", ""}) {
    PluginOptions chosen = ChoosePluginOptions(config, 150000, version, {});
    EXPECT_TRUE(chosen.takes_ddl);
    EXPECT_THAT(chosen.options, Contains(Pair("ddl", "on")));
  }
  EXPECT_THAT(ChoosePluginOptions(config, 150000, "0.3", {}).options,
              Contains(Pair("max_protocol", "5")));
}

TEST(PluginOptionsTest, NotWantedIsNotAskedFor) {
  Config config;
  config.streaming = false;
  PluginOptions chosen = ChoosePluginOptions(config, 150000, "1.0", {});
  EXPECT_FALSE(chosen.is_streaming);
  EXPECT_EQ(chosen.compression, "");
  EXPECT_THAT(chosen.options, Not(Contains(Key("streaming"))));
  EXPECT_THAT(chosen.options, Not(Contains(Key("compression"))));
  EXPECT_THAT(chosen.refusals, IsEmpty());
}

TEST(PluginOptionsTest, OlderPluginIsTakenAsItIsAndNamed) {
  Config config;
  config.compression = "lz4";
  for (const char* version : {"0.1", "", "odd"}) {
    PluginOptions chosen = ChoosePluginOptions(config, 150000, version, {});
    EXPECT_FALSE(chosen.is_streaming);
    EXPECT_EQ(chosen.compression, "");
    EXPECT_THAT(chosen.options, Contains(Pair("max_protocol", "1")));
    EXPECT_THAT(chosen.options, Not(Contains(Key("streaming"))));
    EXPECT_THAT(chosen.options, Not(Contains(Key("compression"))));
    EXPECT_THAT(chosen.refusals, ElementsAre(HasSubstr("streaming"), HasSubstr("compression")));
  }
}

TEST(PluginOptionsTest, Server13HasNoStreamingAndNobodyNeedsToHear) {
  PluginOptions chosen = ChoosePluginOptions(Config(), 130018, "0.2", {});
  EXPECT_FALSE(chosen.is_streaming);
  EXPECT_THAT(chosen.options, Not(Contains(Key("streaming"))));
  EXPECT_THAT(chosen.refusals, IsEmpty());
}

}  // namespace
}  // namespace towline

#include "schema/table_patterns.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

std::pair<std::string, std::string> Regexes(absl::string_view text) {
  absl::StatusOr<TablePattern> pattern = ParseTablePattern(text);
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  if (!pattern.ok()) return {};
  return {pattern->schema_regex, pattern->name_regex};
}

using Pair = std::pair<std::string, std::string>;

TEST(TablePatternsTest, NameWithoutSchemaMatchesInEverySchema) {
  EXPECT_EQ(Regexes("orders"), Pair("^(.*)$", "^(orders)$"));
}

TEST(TablePatternsTest, CapitalsAreFoldedUnlessQuoted) {
  EXPECT_EQ(Regexes("Shop.Orders"), Pair("^(shop)$", "^(orders)$"));
  EXPECT_EQ(Regexes("\"Shop\".\"Orders\""), Pair("^(Shop)$", "^(Orders)$"));
  EXPECT_EQ(Regexes("FOO\"FOO\"Bar"), Pair("^(.*)$", "^(fooFOObar)$"));
}

TEST(TablePatternsTest, StarAndQuestionMarkAreWildcards) {
  EXPECT_EQ(Regexes("shop.ord*_?"), Pair("^(shop)$", "^(ord.*_.)$"));
  EXPECT_EQ(Regexes("*.*"), Pair("^(.*)$", "^(.*)$"));
}

TEST(TablePatternsTest, QuotedCharactersAreLiteral) {
  EXPECT_EQ(Regexes("\"a.b*c?\""), Pair("^(.*)$", "^(a\\.b\\*c\\?)$"));
  EXPECT_EQ(Regexes("\"say \"\"hi\"\"\""), Pair("^(.*)$", "^(say \"hi\")$"));
  EXPECT_EQ(Regexes("\"a,b\""), Pair("^(.*)$", "^(a,b)$"));
}

TEST(TablePatternsTest, RegularExpressionNotationsPassUnquoted) {
  EXPECT_EQ(Regexes("(a|b)[0-9]+"), Pair("^(.*)$", "^((a|b)[0-9]+)$"));
  EXPECT_EQ(Regexes("cost$"), Pair("^(.*)$", "^(cost\\$)$"));
}

TEST(TablePatternsTest, BlanksAroundNamesDoNotCount) {
  EXPECT_EQ(Regexes("  shop . \" x \" "), Pair("^(shop)$", "^( x )$"));
  EXPECT_EQ(Regexes("two  words"), Pair("^(.*)$", "^(two  words)$"));
}

TEST(TablePatternsTest, WhatCannotBeMeantIsRefused) {
  for (const char* text : {"", "a.", ".a", "a.b.c", "\"a", "a,b", "\"\""}) {
    EXPECT_EQ(ParseTablePattern(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TablePatternsTest, TowlinesOwnSchemasAreKnownByName) {
  auto is_own = [](absl::string_view text) { return IsOfOwnSchema(*ParseTablePattern(text)); };
  EXPECT_TRUE(is_own("towline_state.*"));
  EXPECT_TRUE(is_own("towline.ddl_log"));
  EXPECT_FALSE(is_own("towline_state"));
  EXPECT_FALSE(is_own("towline*.*"));
}

TEST(TablePatternsTest, ExactPatternMatchesItsNameOnly) {
  EXPECT_EQ(Regexes(ExactPattern("A\"b.*")), Pair("^(.*)$", "^(A\"b\\.\\*)$"));
}

}  // namespace
}  // namespace towline

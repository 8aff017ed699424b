// The plugin's table patterns as regular expressions; the server's side of it, which matches them,
// is tested in tests/regress/sql/tables.sql.
#include "table_patterns.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace towline {
namespace {

using namespace plugin;

// "schema-regex name-regex" per pattern, or the error.
std::vector<std::string> Parse(std::string_view list) {
  std::vector<std::string> patterns;
  PatternReader reader{list, 0};
  bool is_last = false;
  while (!is_last) {
    ByteBuffer schema{nullptr, 0, 0}, name{nullptr, 0, 0};
    PatternError error = ReadPattern(&reader, &schema, &name, &is_last);
    std::string text = schema.size == 0 ? "any" : std::string(schema.data, schema.size);
    text += " " + std::string(name.data, name.size);
    std::free(schema.data);
    std::free(name.data);
    if (error != PatternError::kNone) {
      patterns.push_back("error " + std::to_string(static_cast<int>(error)));
      break;
    }
    patterns.push_back(text);
  }
  return patterns;
}

using Patterns = std::vector<std::string>;

TEST(TablePatternsTest, UnquotedNamesAreFoldedAndWildcardsTranslated) {
  EXPECT_EQ(Parse("App.Order?*"), Patterns{"^(app)$ ^(order..*)$"});
  EXPECT_EQ(Parse("orders"), Patterns{"any ^(orders)$"});
}

TEST(TablePatternsTest, QuotesTakeEverythingLiterally) {
  EXPECT_EQ(Parse(R"("A.b"."C*,""d""")"), Patterns{R"(^(A\.b)$ ^(C\*,"d")$)"});
  EXPECT_EQ(Parse(R"(pre"Mid"post)"), Patterns{"any ^(preMidpost)$"});
}

TEST(TablePatternsTest, NotationsOfRegularExpressionsKeepTheirMeaning) {
  EXPECT_EQ(Parse("(app|shop).t[0-9]+"), Patterns{"^((app|shop))$ ^(t[0-9]+)$"});
  EXPECT_EQ(Parse("a$b"), Patterns{R"(any ^(a\$b)$)"});
  EXPECT_EQ(Parse("a[]"), Patterns{R"(any ^(a\[])$)"});
}

TEST(TablePatternsTest, ListsAreSplitAtCommasOutsideOfQuotes) {
  EXPECT_EQ(Parse(" a , b.c ,\"x,y\""), (Patterns{"any ^(a)$", "^(b)$ ^(c)$", "any ^(x,y)$"}));
  EXPECT_EQ(Parse("two words"), Patterns{"any ^(two words)$"});
}

TEST(TablePatternsTest, WhatCannotBeAPatternIsRefused) {
  for (const char* list : {"", " ", ".", "a.", ".b", "\"\""}) {
    EXPECT_EQ(Parse(list), Patterns{"error 1"}) << list;
  }
  EXPECT_EQ(Parse("a,,b"), (Patterns{"any ^(a)$", "error 1"}));
  EXPECT_EQ(Parse("a,"), (Patterns{"any ^(a)$", "error 1"}));
  EXPECT_EQ(Parse("a.b.c"), Patterns{"error 2"});
  EXPECT_EQ(Parse("a.\"b"), Patterns{"error 3"});
}

// The name that a pattern stands for, or "many".
std::string Literal(std::string_view pattern) {
  PatternReader reader{pattern, 0};
  bool is_last = false;
  ByteBuffer schema{nullptr, 0, 0}, regex{nullptr, 0, 0}, name{nullptr, 0, 0};
  EXPECT_EQ(ReadPattern(&reader, &schema, &regex, &is_last), PatternError::kNone) << pattern;
  bool is_literal = ReadLiteral(std::string_view(regex.data, regex.size), &name);
  std::string text = is_literal ? std::string(name.data, name.size) : "many";
  std::free(schema.data);
  std::free(regex.data);
  std::free(name.data);
  return text;
}

TEST(TablePatternsTest, PatternsWithoutWildcardsStandForOneName) {
  EXPECT_EQ(Literal("Orders"), "orders");
  EXPECT_EQ(Literal("two words"), "two words");
  EXPECT_EQ(Literal("a$b"), "a$b");
  EXPECT_EQ(Literal("a[]"), "a[]");
  EXPECT_EQ(Literal(R"("A.b*(c)\d""]")"), R"(A.b*(c)\d"])");
  EXPECT_EQ(Literal("\xc3\xa4"), "\xc3\xa4");
}

TEST(TablePatternsTest, AnythingElseMayMatchOtherNames) {
  for (const char* pattern :
       {"a*", "a?", "a|b", "(a)", "[ab]", "a+", "a{2}", R"(\d)", R"(a\y)", "^a", R"(a"b"*)"}) {
    EXPECT_EQ(Literal(pattern), "many") << pattern;
  }
}

}  // namespace
}  // namespace towline

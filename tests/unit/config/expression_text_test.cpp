#include "config/expression_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(absl::string_view text) {
  return std::string(CheckExpressionText(text).message());
}

TEST(ExpressionTextTest, WholeExpressionsPass) {
  for (const char* text : {
           "region = 'eu'",
           "(a) + (b[1])",
           "note = 'it''s ; ) --' AND \"odd ) name\" IS NOT NULL",
           "a = 1 -- and that is all",
           "a /* ( ; /* nested ' */ */ = 1",
           "note = $$ ; ) ' $$ OR note = $tag$ $$ ) $tag$",
           "note = E'a\\')' OR note = e'\\\\'",
           "note = U&'d\\0061t' OR bits = B'1' OR note = n'x'",
           "price$in$cents > 5 AND a$$b = 2",
           "a > 1e3 AND b < .5",
       }) {
    EXPECT_EQ(ErrorOf(text), "") << text;
  }
}

TEST(ExpressionTextTest, WhatCouldLeaveItsParenthesesIsRefused) {
  EXPECT_THAT(ErrorOf("a) ; DROP TABLE t; SELECT (b"), HasSubstr("\")\" that closes nothing"));
  EXPECT_THAT(ErrorOf("true; DROP TABLE t"), HasSubstr("semicolon"));
  EXPECT_THAT(ErrorOf("true) OR (true"), HasSubstr("closes nothing"));
  EXPECT_THAT(ErrorOf("(a"), HasSubstr("a \"(\" that is not closed"));
  EXPECT_THAT(ErrorOf("a[1"), HasSubstr("a \"[\" that is not closed"));
  EXPECT_THAT(ErrorOf("(a]"), HasSubstr("closes nothing"));
  EXPECT_THAT(ErrorOf("a = 'b"), HasSubstr("a string"));
  EXPECT_THAT(ErrorOf("a = E'b\\'"), HasSubstr("a string"));
  EXPECT_THAT(ErrorOf("a = \"b"), HasSubstr("a double quote"));
  EXPECT_THAT(ErrorOf("a /* b"), HasSubstr("a comment"));
  EXPECT_THAT(ErrorOf("a /* /* */ b"), HasSubstr("a comment"));
  EXPECT_THAT(ErrorOf("a = $x$ b $y$"), HasSubstr("a dollar quote"));
  EXPECT_THAT(ErrorOf("a = E'b' -- c\n '\\') ; x'"), HasSubstr("continues"));
  // A backslash is an escape in E'' only: here the string ends, and the parenthesis counts.
  EXPECT_THAT(ErrorOf("a = 'b\\') ; DROP TABLE t --'"), HasSubstr("closes nothing"));
  // The dollar signs of an identifier quote nothing.
  EXPECT_THAT(ErrorOf("a$$ ) $$"), HasSubstr("closes nothing"));
  EXPECT_THAT(ErrorOf("1e'\\' ) '"), testing::IsEmpty());
}

TEST(ExpressionTextTest, LiteralsAreKnownByTheirText) {
  EXPECT_EQ(LiteralValue("'eu'"), "eu");
  EXPECT_EQ(LiteralValue(" 'it''s' :: pg_catalog.text "), "it's");
  EXPECT_EQ(LiteralValue("''::text"), "");
  EXPECT_EQ(LiteralValue("-7::int4"), "-7");
  EXPECT_EQ(LiteralValue("12"), "12");
  for (const char* text : {"eu", "'eu", "'eu' || 'x'", "upper('eu')", "7 + 1", "-", "", "1.5",
                           "'eu'::varchar(1)", "E'eu'", "'a' 'b'", "7::int4 + 1"}) {
    EXPECT_EQ(LiteralValue(text), std::nullopt) << text;
  }
}

TEST(ExpressionTextTest, NothingAndTooMuchAreRefused) {
  EXPECT_EQ(ErrorOf(" \n"), "is empty");
  EXPECT_THAT(ErrorOf(absl::string_view("a\0b", 3)), HasSubstr("\\0"));
  EXPECT_THAT(ErrorOf(std::string(100'000, 'a')), HasSubstr("at most"));
}

}  // namespace
}  // namespace towline

#include "precheck/standby_names.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(StandbyNamesTest, ReadsEveryFormThatTheServerTakes) {
  EXPECT_THAT(SynchronousNames(""), IsEmpty());
  EXPECT_THAT(SynchronousNames("a"), ElementsAre("a"));
  EXPECT_THAT(SynchronousNames(" a , \"b c\",*"), ElementsAre("a", "b c", "*"));
  EXPECT_THAT(SynchronousNames("2 (a, b)"), ElementsAre("a", "b"));
  EXPECT_THAT(SynchronousNames("FIRST 1(\"x\"\"y\")"), ElementsAre("x\"y"));
  EXPECT_THAT(SynchronousNames("any 2 (first, any, 3)"), ElementsAre("first", "any", "3"));
}

TEST(StandbyNamesTest, ComparesAsTheServerDoes) {
  EXPECT_FALSE(CountsAsSynchronous("", "towline_t src stream"));
  EXPECT_FALSE(CountsAsSynchronous("FIRST 1 (towline_t)", "towline_t src stream"));
  EXPECT_TRUE(CountsAsSynchronous("ANY 1 (a, \"Towline_T src stream\")", "towline_t src stream"));
  EXPECT_TRUE(CountsAsSynchronous("*", "towline_t src stream"));
  EXPECT_TRUE(CountsAsSynchronous("FIRST 1 (a, \"*\")", "towline_t src stream"));
}

TEST(StandbyNamesTest, PutsNamesInThePlaceOfTheStarOnly) {
  EXPECT_EQ(WithNamesInsteadOfStar("*", {"a"}), "\"a\"");
  EXPECT_EQ(WithNamesInsteadOfStar("ANY 2 (x, *)", {"a", "b\"c"}), "ANY 2 (x, \"a\", \"b\"\"c\")");
  EXPECT_EQ(WithNamesInsteadOfStar("FIRST 1 (\"*\")", {"a"}), "FIRST 1 (\"a\")");
  EXPECT_EQ(WithNamesInsteadOfStar("FIRST 1 (x)", {"a"}), "FIRST 1 (x)");
}

}  // namespace
}  // namespace towline

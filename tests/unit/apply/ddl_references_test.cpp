// Whether what a command has come to depend on is the source's.
#include "apply/ddl_references.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DdlReferencesTest, WhatWasAddedMayNotBeAnotherOfTheSourcesName) {
  const std::set<std::string> source = {"pg_type public.ty", "pg_class public.of",
                                        "pg_proc public.f(pg_catalog.json)"};
  EXPECT_EQ(WhyOtherReferences({}, {"pg_class public.of"}, source, ""), "");
  EXPECT_EQ(WhyOtherReferences({"pg_type mine.ty"}, {"pg_type mine.ty"}, source, ""), "");
  EXPECT_EQ(WhyOtherReferences({}, {"pg_type one.ty"}, source, ""),
            "a name in it means one.ty at the destination, and that of schema \"public\" at the "
            "source");
  EXPECT_NE(WhyOtherReferences({}, {"pg_proc one.\"f\"(text)"}, source, ""), "");
  // As another version of the server writes it.
  EXPECT_EQ(WhyOtherReferences({}, {"pg_proc public.f(json)"}, source, ""), "");
  EXPECT_EQ(WhyOtherReferences({}, {"pg_type \"public\".ty"}, source, ""), "");
}

TEST(DdlReferencesTest, WhatOnlyThisServerHasIsLetBe) {
  const std::set<std::string> source = {"pg_class public.of"};
  // A column that is cast on purpose; a type and a table of one name are two things.
  EXPECT_EQ(WhyOtherReferences({}, {"pg_class public.of", "pg_type mine.mood"}, source, ""), "");
  EXPECT_EQ(WhyOtherReferences({}, {"pg_type one.of"}, source, ""), "");
  EXPECT_EQ(WhyOtherReferences({}, {"extension citext"}, source, ""), "");
  // Both are there: a command may mention two tables of one name.
  EXPECT_EQ(WhyOtherReferences({}, {"pg_class public.of", "pg_class one.of"}, source, ""), "");
}

TEST(DdlReferencesTest, WhatANewerServerHasBuiltInIsNoUsersHere) {
  const std::set<std::string> source = {"pg_class public.of"};
  const std::string statement = "CREATE VIEW v AS SELECT Any_Value(n) FROM of";
  EXPECT_EQ(WhyOtherReferences({}, {"pg_proc one.any_value(integer)"}, source, statement),
            "a name in it means one.any_value(integer) at the destination, and at the source what "
            "only that server has built in");
  EXPECT_EQ(WhyOtherReferences({}, {"pg_proc one.other(integer)"}, source, statement), "");
  EXPECT_EQ(WhyOtherReferences({}, {"pg_class one.any_value"}, source, statement), "");
  // As a member of an extension it has no name of its own there.
  EXPECT_EQ(
      WhyOtherReferences({}, {"pg_proc one.any_value(integer)"}, {"extension aggs"}, statement),
      "");
}

TEST(DdlReferencesTest, AnObjectIsAskedByTheTableThatItBelongsTo) {
  const std::vector<DdlObject> objects = {{0, 1, "index", "s", "i", "s.i", {"s", "t"}},
                                          {0, 2, "trigger", "", "t", "x on s.t", {"s", "t"}},
                                          {0, 3, "function", "s", "", "s.\"F\"(integer)", {}},
                                          {0, 4, "aggregate", "s", "", "s.a(integer)", {}},
                                          {0, 5, "type", "s", "", "s.mood", {}},
                                          {0, 6, "operator", "s", "", "s.+(s.mood,s.mood)", {}}};
  EXPECT_THAT(RootsOf(objects),
              ElementsAre(DdlRoot{"operator", "", ""}, DdlRoot{"relation", "s", "t"},
                          DdlRoot{"routine", "s", "F"}, DdlRoot{"routine", "s", "a"},
                          DdlRoot{"type", "s", "mood"}));
  EXPECT_THAT(RootsOf({{0, 1, "function", "", "", "", {}}}), IsEmpty());
}

}  // namespace
}  // namespace towline

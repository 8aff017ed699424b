// Whether what a command has come to depend on is the source's.
#include "apply/ddl_references.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DdlReferencesTest, OnlyWhatWasAddedMustBeTheSources) {
  const std::set<std::string> source = {"pg_type public.ty", "pg_class public.of"};
  EXPECT_EQ(WhyOtherReferences({}, {"pg_class public.of"}, source), "");
  EXPECT_EQ(WhyOtherReferences({"pg_proc mine.f(integer)"},
                               {"pg_proc mine.f(integer)", "pg_type public.ty"}, source),
            "");
  EXPECT_EQ(WhyOtherReferences({}, {"pg_class public.of", "pg_proc one.f(integer, text)"}, source),
            "a name in it means one.f(integer, text) at the destination, and something else at the "
            "source");
  // A type and a table of one name are two things.
  EXPECT_NE(WhyOtherReferences({}, {"pg_type public.of"}, source), "");
  EXPECT_NE(WhyOtherReferences({}, {"extension citext"}, {}), "");
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

#include "schema/sequences.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace towline {
namespace {

SequenceValue Named(const std::string& name, bool is_wanted = true) {
  SequenceValue sequence;
  sequence.name = {"s", name};
  sequence.is_wanted = is_wanted;
  return sequence;
}

TEST(SequencesTest, OnlyThoseThatAreWantedAreNamed) {
  EXPECT_EQ(NameWanted({}), "");
  EXPECT_EQ(NameWanted({Named("of another table", false)}), "");
  EXPECT_EQ(NameWanted({Named("a"), Named("b", false), Named("c")}), R"("s"."a", "s"."c")");
}

TEST(SequencesTest, AfterTenTheOthersAreCounted) {
  std::vector<SequenceValue> many;
  for (int i = 0; i < 10; ++i) many.push_back(Named(absl::StrCat(i)));
  EXPECT_EQ(NameWanted(many).find("more"), std::string::npos);
  many.push_back(Named("x"));
  many.push_back(Named("y"));
  const std::string text = NameWanted(many);
  EXPECT_EQ(text.substr(text.find(R"("s"."9")")), R"("s"."9" and 2 more)");
}

}  // namespace
}  // namespace towline

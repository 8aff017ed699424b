#include "schema/sequences.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace towline {
namespace {

SequenceValue Named(const std::string& name) {
  SequenceValue sequence;
  sequence.name = {"s", name};
  return sequence;
}

TEST(SequencesTest, TheyAreNamedInOneLine) {
  EXPECT_EQ(NameSequences({}), "");
  EXPECT_EQ(NameSequences({Named("a"), Named("c")}), R"("s"."a", "s"."c")");
}

TEST(SequencesTest, AfterTenTheOthersAreCounted) {
  std::vector<SequenceValue> many;
  for (int i = 0; i < 10; ++i) many.push_back(Named(absl::StrCat(i)));
  EXPECT_EQ(NameSequences(many).find("more"), std::string::npos);
  many.push_back(Named("x"));
  many.push_back(Named("y"));
  const std::string text = NameSequences(many);
  EXPECT_EQ(text.substr(text.find(R"("s"."9")")), R"("s"."9" and 2 more)");
}

}  // namespace
}  // namespace towline

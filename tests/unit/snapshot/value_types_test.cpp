// When values that were read mean what they did before.
#include "snapshot/value_types.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

const ValueTypes kBefore = {"enum 16400 sad", "enum 16402 ok", "attribute 16500 1 f 23 -1"};

ValueTypes With(const std::string& more) {
  ValueTypes types = kBefore;
  types.insert(more);
  return types;
}

ValueTypes Instead(const std::string& fact, const std::string& other) {
  ValueTypes types = With(other);
  types.erase(fact);
  return types;
}

TEST(ValueTypesTest, NothingHasChanged) {
  EXPECT_TRUE(MeanTheSame(kBefore, kBefore));
  EXPECT_TRUE(MeanTheSame({}, {}));
}

TEST(ValueTypesTest, ANewLabelLeavesTheOthersWhatTheyWere) {
  EXPECT_TRUE(MeanTheSame(kBefore, With("enum 16404 glad")));
}

TEST(ValueTypesTest, ALabelThatIsRenamedMayBeAnothers) {
  EXPECT_FALSE(MeanTheSame(kBefore, Instead("enum 16400 sad", "enum 16400 glad")));
}

TEST(ValueTypesTest, AnAttributeMoreOrLessOrOtherIsAnotherRow) {
  EXPECT_FALSE(MeanTheSame(kBefore, With("attribute 16500 2 f 25 -1")));
  EXPECT_FALSE(
      MeanTheSame(kBefore, Instead("attribute 16500 1 f 23 -1", "attribute 16500 1 t 0 -1")));
}

}  // namespace
}  // namespace towline

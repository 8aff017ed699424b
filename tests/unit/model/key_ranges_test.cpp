#include "model/key_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"

namespace towline {
namespace {

KeyRanges Ranges(KeyType type, const std::vector<std::string>& bounds) {
  absl::StatusOr<KeyRanges> ranges = KeyRanges::Make(type, RangesBetween(bounds));
  EXPECT_TRUE(ranges.ok()) << ranges.status();
  return *ranges;
}

size_t Find(const KeyRanges& ranges, const std::string& text) {
  return ranges.Find(*KeyFromText(ranges.type(), text));
}

TEST(KeyRangesTest, WithoutABoundThereIsOneRangeOfEverything) {
  KeyRanges ranges = Ranges(KeyType::kInt4, {});
  EXPECT_EQ(ranges.count(), 1u);
  EXPECT_EQ(ranges[0], KeyRange{});
  EXPECT_EQ(Find(ranges, "-2147483648"), 0u);
  EXPECT_EQ(Find(ranges, "2147483647"), 0u);
}

TEST(KeyRangesTest, ABoundIsTheFirstKeyOfTheRangeBehindIt) {
  KeyRanges ranges = Ranges(KeyType::kInt4, {"-5", "10", "100"});
  EXPECT_EQ(ranges.count(), 4u);
  EXPECT_EQ(Find(ranges, "-6"), 0u);
  EXPECT_EQ(Find(ranges, "-5"), 1u);
  EXPECT_EQ(Find(ranges, "9"), 1u);
  EXPECT_EQ(Find(ranges, "10"), 2u);
  EXPECT_EQ(Find(ranges, "99"), 2u);
  EXPECT_EQ(Find(ranges, "100"), 3u);
  EXPECT_EQ(ranges[1], (KeyRange{"-5", "10"}));
}

TEST(KeyRangesTest, TheEmptyTextIsABound) {
  KeyRanges ranges = Ranges(KeyType::kText, {"", "a"});
  EXPECT_EQ(Find(ranges, ""), 1u);
  EXPECT_EQ(Find(ranges, "a"), 2u);
}

TEST(KeyRangesTest, GapsAndOverlapsAreRefused) {
  auto fails = [](std::vector<KeyRange> ranges) {
    return KeyRanges::Make(KeyType::kInt4, std::move(ranges)).status().code() ==
           absl::StatusCode::kDataLoss;
  };
  EXPECT_TRUE(fails({}));
  EXPECT_TRUE(fails({{"1", std::nullopt}}));
  EXPECT_TRUE(fails({{std::nullopt, "1"}}));
  EXPECT_TRUE(fails({{std::nullopt, "1"}, {"2", std::nullopt}}));
  EXPECT_TRUE(fails({{std::nullopt, "2"}, {"1", std::nullopt}}));
  EXPECT_TRUE(fails({{std::nullopt, std::nullopt}, {"1", std::nullopt}}));
  EXPECT_TRUE(fails(RangesBetween({"2", "1"})));
  EXPECT_TRUE(fails(RangesBetween({"1", "1"})));
  EXPECT_TRUE(fails(RangesBetween({"x"})));
  EXPECT_FALSE(fails(RangesBetween({"1", "2"})));
}

TEST(KeyRangesTest, EveryKeyLiesBetweenTheEndsOfItsRange) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    std::vector<int32_t> bounds(random() % 40);
    for (int32_t& bound : bounds) bound = static_cast<int32_t>(random() % 200) - 100;
    std::sort(bounds.begin(), bounds.end());
    bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
    std::vector<std::string> texts;
    for (int32_t bound : bounds) texts.push_back(absl::StrCat(bound));
    KeyRanges ranges = Ranges(KeyType::kInt4, texts);
    for (int32_t key = -110; key <= 110; ++key) {
      size_t found = Find(ranges, absl::StrCat(key));
      size_t passed = 0;
      for (int32_t bound : bounds) passed += bound <= key ? 1 : 0;
      ASSERT_EQ(found, passed) << key;
    }
  }
}

}  // namespace
}  // namespace towline

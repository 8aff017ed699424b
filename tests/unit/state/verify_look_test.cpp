#include "state/verify_look.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace towline {
namespace {

struct Step {
  std::string mode;
  std::string verdict;
  int64_t rows_different = 0;
  bool is_later = true;  // begun when what was known before it was known
};

// "verdict rows (mode)", behind all of them; the runs are numbered from 1.
std::string Known(const std::vector<Step>& steps) {
  VerifyLook known;
  int64_t run = 0;
  for (const Step& step : steps) {
    const VerifyLook now{++run, step.mode, step.verdict, step.rows_different};
    known = run == 1 ? now : MergeLooks(known, now, step.is_later).value_or(known);
  }
  return known.verdict + " " + std::to_string(known.rows_different) + " (" + known.mode + ")";
}

constexpr char kRows[] = "rows";
constexpr char kCounts[] = "counts";
constexpr char kSample[] = "rows, sample 10 %, continuous";
constexpr char kEqual[] = "equal";
constexpr char kDifferent[] = "different";
constexpr char kUndecided[] = "undecided";

TEST(MergeLooksTest, ALaterLookAtAllRowsTellsWhatIsKnown) {
  for (const char* before : {kRows, kCounts, kSample}) {
    EXPECT_EQ(Known({{before, kDifferent, 5}, {kRows, kEqual}}), "equal 0 (rows)");
    EXPECT_EQ(Known({{before, kUndecided}, {kRows, kEqual}}), "equal 0 (rows)");
    EXPECT_EQ(Known({{before, kDifferent, 5}, {kRows, kDifferent, 2}}), "different 2 (rows)");
  }
  EXPECT_EQ(Known({{kRows, kDifferent, 5}, {"rows, repair", kEqual}}), "equal 0 (rows, repair)");
  EXPECT_EQ(Known({{kRows, kDifferent, 5}, {"heal", kEqual}}), "equal 0 (heal)");
  EXPECT_EQ(Known({{kRows, kEqual}, {kSample, kDifferent, 1}}),
            "different 1 (" + std::string(kSample) + ")");
}

TEST(MergeLooksTest, ACountTakesBackOnlyWhatACountHasFound) {
  EXPECT_EQ(Known({{kCounts, kDifferent, 5}, {kCounts, kDifferent, 3}}), "different 3 (counts)");
  EXPECT_EQ(Known({{kCounts, kDifferent, 5}, {kCounts, kEqual}}), "equal 0 (counts)");
  // Not by way of a count that has found something too.
  EXPECT_EQ(Known({{kRows, kDifferent, 5}, {kCounts, kDifferent, 6}, {kCounts, kEqual}}),
            "different 6 (rows)");
  EXPECT_EQ(Known({{kRows, kDifferent, 0}, {kCounts, kDifferent, 6}, {kCounts, kEqual}}),
            "different 6 (rows)");
  EXPECT_EQ(Known({{kRows, kUndecided}, {kCounts, kDifferent, 6}, {kCounts, kEqual}}),
            "different 6 (rows)");
  EXPECT_EQ(Known({{kCounts, kDifferent, 6}, {kRows, kUndecided}, {kCounts, kEqual}}),
            "different 6 (rows)");
  EXPECT_EQ(Known({{kSample, kDifferent, 1}, {kCounts, kDifferent, 6}, {kCounts, kEqual}}),
            "different 6 (" + std::string(kSample) + ")");
  EXPECT_EQ(Known({{kCounts, kDifferent, 6}, {kSample, kDifferent, 1}, {kCounts, kEqual}}),
            "different 6 (" + std::string(kSample) + ")");
  // A look at all rows does, behind all of them.
  EXPECT_EQ(
      Known({{kRows, kUndecided}, {kCounts, kDifferent, 6}, {kSample, kEqual}, {kRows, kEqual}}),
      "equal 0 (rows)");
}

TEST(MergeLooksTest, ASampleTakesNoDifferenceBack) {
  for (const char* before : {kRows, kCounts, kSample}) {
    EXPECT_EQ(Known({{before, kDifferent, 5}, {kSample, kEqual}}),
              "different 5 (" + std::string(before) + ")");
    EXPECT_EQ(Known({{before, kDifferent, 5}, {kSample, kUndecided}, {kSample, kEqual}}),
              "different 5 (" + std::string(before) + ")");
  }
  EXPECT_EQ(Known({{kRows, kUndecided}, {kSample, kUndecided}, {kSample, kEqual}}),
            "undecided 0 (rows)");
  EXPECT_EQ(Known({{kSample, kUndecided}, {kCounts, kEqual}}), "equal 0 (counts)");
}

TEST(MergeLooksTest, WhatCouldNotTellTakesNoDifferenceBack) {
  for (const char* now : {kRows, kCounts, kSample}) {
    EXPECT_EQ(Known({{kRows, kDifferent, 5}, {now, kUndecided, 1}}), "different 5 (rows)");
  }
}

TEST(MergeLooksTest, WhatBeganBeforeItTakesNothingBack) {
  for (const char* before : {kRows, kCounts, kSample}) {
    const std::string mode = " (" + std::string(before) + ")";
    EXPECT_EQ(Known({{before, kDifferent, 5}, {kRows, kEqual, 0, false}}), "different 5" + mode);
    EXPECT_EQ(Known({{before, kUndecided}, {kRows, kEqual, 0, false}}), "undecided 0" + mode);
    EXPECT_EQ(Known({{before, kDifferent, 5}, {kRows, kDifferent, 2, false}}),
              "different 5 (rows)");
  }
  EXPECT_EQ(Known({{kCounts, kDifferent, 5}, {kCounts, kEqual, 0, false}}), "different 5 (counts)");
  // But what it finds is known.
  EXPECT_EQ(Known({{kRows, kEqual}, {kRows, kDifferent, 2, false}}), "different 2 (rows)");
}

}  // namespace
}  // namespace towline

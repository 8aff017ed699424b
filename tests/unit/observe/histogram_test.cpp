#include "observe/histogram.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(HistogramTest, QuantilesAreRightToAStep) {
  Histogram histogram(-4, 4);
  for (int i = 1; i <= 1000; ++i) histogram.Add(i / 1000.0);
  EXPECT_NEAR(histogram.Quantile(0.5), 0.5, 0.1);
  EXPECT_NEAR(histogram.Quantile(0.99), 0.99, 0.1);
  EXPECT_EQ(histogram.count(), 1000);
  EXPECT_NEAR(histogram.sum(), 500.5, 1e-6);
}

TEST(HistogramTest, NothingHasNoQuantileAndWhatIsBeyondHasTheLastBound) {
  Histogram histogram(0, 2);
  EXPECT_LT(histogram.Quantile(0.5), 0);
  histogram.Add(1e9);
  EXPECT_EQ(histogram.Quantile(0.5), 100);
  histogram.Add(0);
  histogram.Add(0);
  EXPECT_LE(histogram.Quantile(0.5), 1);
}

TEST(HistogramTest, StepsAreTheUsualOnesAndCountAllBelow) {
  Histogram histogram(-1, 1);
  for (double value : {0.1, 0.15, 2.0, 7.0, 99.0}) histogram.Add(value);
  const std::vector<Histogram::Step> steps = histogram.Steps();
  const std::vector<double> bounds = {0.1, 0.2, 0.5, 1, 2, 5, 10};
  const std::vector<int64_t> counts = {1, 2, 2, 2, 3, 3, 4};
  ASSERT_EQ(steps.size(), bounds.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].bound, bounds[i]);
    EXPECT_EQ(steps[i].count, counts[i]) << bounds[i];
  }
}

TEST(HistogramTest, ADifferenceHoldsWhatCameSince) {
  Histogram histogram(0, 3);
  histogram.Add(1);
  const Histogram before = histogram;
  histogram.Add(500);
  const Histogram since = histogram.Since(before);
  EXPECT_EQ(since.count(), 1);
  EXPECT_NEAR(since.Quantile(0.5), 450, 51);
}

}  // namespace
}  // namespace towline

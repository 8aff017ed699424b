#include "observe/histogram.h"

#include <algorithm>
#include <cmath>

namespace towline {
namespace {

constexpr double kStepsOfDecade[] = {1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
constexpr size_t kSteps = sizeof(kStepsOfDecade) / sizeof(double);
constexpr bool kIsShown[kSteps] = {true, false, false, true, false, false, false, true};

// Not by pow(): 0.001 has to be the 0.001 that everybody writes.
double Scaled(double value, int decade) {
  double scale = 1;
  for (int i = 0; i < std::abs(decade); ++i) scale *= 10;
  return decade < 0 ? value / scale : value * scale;
}

}  // namespace

Histogram::Histogram(int first_decade, int last_decade) {
  for (int decade = first_decade; decade < last_decade; ++decade) {
    for (double step : kStepsOfDecade) bounds_.push_back(Scaled(step, decade));
  }
  bounds_.push_back(Scaled(1, last_decade));
  counts_.resize(bounds_.size() + 1);
}

void Histogram::Add(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<size_t>(at - bounds_.begin())];
  ++count_;
  sum_ += value;
}

Histogram Histogram::Since(const Histogram& earlier) const {
  Histogram difference = *this;
  for (size_t i = 0; i < counts_.size(); ++i) difference.counts_[i] -= earlier.counts_[i];
  difference.count_ -= earlier.count_;
  difference.sum_ -= earlier.sum_;
  return difference;
}

double Histogram::Quantile(double part) const {
  if (count_ == 0) return -1;
  const double wanted = part * static_cast<double>(count_);
  double below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    const auto here = static_cast<double>(counts_[i]);
    if (here > 0 && below + here >= wanted) {
      const double low = i == 0 ? 0 : bounds_[i - 1];
      return low + (bounds_[i] - low) * std::max(0.0, wanted - below) / here;
    }
    below += here;
  }
  return bounds_.back();
}

std::vector<Histogram::Step> Histogram::Steps() const {
  std::vector<Step> steps;
  int64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    if (kIsShown[i % kSteps]) steps.push_back({bounds_[i], below});
  }
  return steps;
}

}  // namespace towline

// How often which values came: ten steps a decade, so that a quantile is known to a fifth or so.
// Not thread-safe; cheap to copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace towline {

class Histogram {
 public:
  // From 10^first to 10^last; what is beyond counts, but as no more than that.
  Histogram(int first_decade, int last_decade);

  void Add(double value);
  // What has come since this one was `earlier`.
  Histogram Since(const Histogram& earlier) const;

  int64_t count() const { return count_; }
  double sum() const { return sum_; }
  // The value that `part` of all do not exceed; negative: there are none.
  double Quantile(double part) const;

  struct Step {
    double bound = 0;
    int64_t count = 0;  // of values up to the bound
  };
  // At 1, 2 and 5 of each decade: for a reader who adds up those of many processes.
  std::vector<Step> Steps() const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;  // of values up to the bound of the same place; one more at the end
  int64_t count_ = 0;
  double sum_ = 0;
};

}  // namespace towline

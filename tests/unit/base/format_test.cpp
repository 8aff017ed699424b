// Quantities as people read them.
#include "base/format.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(FormatTest, BytesKeepTwoDigitsAtLeast) {
  EXPECT_EQ(FormatBytes(0), "0 bytes");
  EXPECT_EQ(FormatBytes(10239), "10239 bytes");
  EXPECT_EQ(FormatBytes(10240), "10 kB");
  EXPECT_EQ(FormatBytes(int64_t{12} << 20), "12 MB");
  EXPECT_EQ(FormatBytes(int64_t{64} << 30), "64 GB");
}

TEST(FormatTest, CountsHaveThousandsSeparators) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
}

TEST(FormatTest, DurationsShowTwoUnitsAtMost) {
  EXPECT_EQ(towline::FormatDuration(absl::Milliseconds(850)), "850ms");
  EXPECT_EQ(towline::FormatDuration(absl::Seconds(12)), "12s");
  EXPECT_EQ(towline::FormatDuration(absl::Seconds(185)), "3m05s");
  EXPECT_EQ(towline::FormatDuration(absl::Minutes(134)), "2h14m");
}

}  // namespace
}  // namespace towline

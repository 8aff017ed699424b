#include "config/value_text.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(ValueTextTest, BytesReadAndPrint) {
  EXPECT_EQ(*ParseBytes("64MB"), 64 << 20);
  EXPECT_EQ(*ParseBytes("64 mb"), 64 << 20);
  EXPECT_EQ(*ParseBytes("7"), 7);
  EXPECT_EQ(*ParseBytes("1TB"), int64_t{1} << 40);
  for (const char* bad :
       {"", "MB", "-1", "1.5GB", "9999999999TB", "12 parsecs", "99999999999999999999"}) {
    EXPECT_FALSE(ParseBytes(bad).ok()) << bad;
  }
  for (int64_t bytes : {int64_t{0}, int64_t{1000}, int64_t{65536}, int64_t{3} << 30}) {
    EXPECT_EQ(*ParseBytes(BytesText(bytes)), bytes);
  }
  EXPECT_EQ(BytesText(int64_t{256} << 20), "256MB");
}

TEST(ValueTextTest, TimesReadAndPrint) {
  EXPECT_EQ(*ParseTime("500ms"), absl::Milliseconds(500));
  EXPECT_EQ(*ParseTime("10min"), absl::Minutes(10));
  EXPECT_EQ(*ParseTime("1h30m"), absl::Minutes(90));
  for (const char* bad : {"", "10", "-5s", "inf", "10 apples"}) {
    EXPECT_FALSE(ParseTime(bad).ok()) << bad;
  }
  EXPECT_EQ(TimeText(absl::Minutes(10)), "10m");
  EXPECT_EQ(TimeText(absl::Seconds(90)), "1m30s");
  EXPECT_EQ(TimeText(absl::Milliseconds(500)), "500ms");
}

TEST(ValueTextTest, NearestFindsTyposAndNotStrangers) {
  std::vector<std::string> words = {"status", "check", "run", "drop"};
  EXPECT_EQ(NearestOf("chekc", words), "check");
  EXPECT_EQ(NearestOf("stauts", words), "status");
  EXPECT_EQ(NearestOf("rnu", words), "");
  EXPECT_EQ(NearestOf("verify", words), "");
}

}  // namespace
}  // namespace towline

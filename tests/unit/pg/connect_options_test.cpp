#include "pg/connect_options.h"

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ConnectOptionsTest, ReadsUriAndKeywords) {
  auto uri = ConnectOptions::Parse("source", "postgresql://u:pw@h:5433/db?sslmode=require");
  ASSERT_TRUE(uri.ok()) << uri.status();
  EXPECT_EQ(uri->Describe(), "host=h port=5433 user=u dbname=db");
  auto words = ConnectOptions::Parse("destination", "host=h password=pw");
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_EQ(words->Describe(), "host=h");
  EXPECT_EQ(ConnectOptions::Parse("source", "")->Describe(), "libpq's defaults");
}

TEST(ConnectOptionsTest, RefusalNamesTheSideAndShowsNoPassword) {
  for (const char* bad :
       {"postgresql://u:p%ZZpw@h/db", "postgresql://u:pw pw@h/db?x", "host=h password=a pw",
        "host=h password='pw", "postgresql://u:pw@h:port:db/x?y=pw", "postgresql://u:pw@[::1/db"}) {
    auto options = ConnectOptions::Parse("source", bad);
    if (options.ok()) continue;  // libpq finds fault only when it connects
    std::string text = Describe(options.status());
    EXPECT_THAT(text, HasSubstr("invalid source URI")) << bad;
    EXPECT_THAT(text, Not(HasSubstr("pw"))) << bad;
    EXPECT_EQ(ExitCode(options.status()), 2);
  }
}

TEST(ConnectOptionsTest, UnknownParameterIsNamed) {
  auto options = ConnectOptions::Parse("source", "postgresql://u@h/db?sslmod=require");
  EXPECT_THAT(std::string(options.status().message()), HasSubstr("sslmod"));
  options = ConnectOptions::Parse("source", "postgresql://u:pw@h/db?sslmod=require");
  EXPECT_THAT(std::string(options.status().message()), HasSubstr("sslmod"));
}

}  // namespace
}  // namespace towline

// Lsn: the server's text form, both ways.
#include "base/lsn.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(LsnTest, TextFormIsTheServers) {
  EXPECT_EQ((Lsn{0x16B374D848}).ToString(), "16/B374D848");
  EXPECT_EQ(Lsn{}.ToString(), "0/0");
  EXPECT_EQ(Lsn{UINT64_MAX}.ToString(), "FFFFFFFF/FFFFFFFF");
}

TEST(LsnTest, ParsesWhatItPrints) {
  for (uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x100000000}, UINT64_MAX}) {
    absl::StatusOr<Lsn> parsed = Lsn::Parse(Lsn{value}.ToString());
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->value, value);
  }
}

TEST(LsnTest, RefusesAnythingElse) {
  for (const char* text :
       {"", "/", "1", "1/", "/1", "1/2/3", "g/1", "1/123456789", "-1/0", " 1/0"}) {
    EXPECT_FALSE(Lsn::Parse(text).ok()) << text;
  }
}

TEST(LsnTest, HighHalfOrdersBeforeLowHalf) {
  EXPECT_LT(Lsn::Parse("0/FFFFFFFF")->value, Lsn::Parse("1/0")->value);
}

}  // namespace
}  // namespace towline

// Which errors of a server mean what.
#include "pg/sqlstate.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace towline {
namespace {

TEST(SqlStateTest, LimitsOfSizeAreToldFromWantOfMemory) {
  auto error = [](const char* sqlstate, const char* text) {
    return WithSqlState(absl::UnknownError(text), sqlstate);
  };
  EXPECT_TRUE(IsTooLarge(error("54000", "source: out of memory")));
  EXPECT_TRUE(IsTooLarge(error("XX000", "source: invalid memory alloc request size 1258291219")));
  EXPECT_FALSE(IsTooLarge(error("XX000", "source: cache lookup failed")));
  EXPECT_FALSE(IsTooLarge(error("53200", "source: out of memory")));
  EXPECT_FALSE(IsTooLarge(absl::OkStatus()));
}

}  // namespace
}  // namespace towline

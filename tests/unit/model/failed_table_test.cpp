#include "model/failed_table.h"

#include "base/error.h"
#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(FailedTableTest, StaysWithTheErrorThroughContextsAndCodes) {
  absl::Status status =
      WithFailedTable(absl::InternalError("no"), {{"s", "a.\"b"}, 4294967295, true});
  status = WithCode(WithContext(WithHint(status, "do"), "there"), absl::StatusCode::kUnimplemented);
  const std::optional<FailedTable> table = FailedTableOf(status);
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->name.schema, "s");
  EXPECT_EQ(table->name.name, "a.\"b");
  EXPECT_EQ(table->source_oid, 4294967295);
  EXPECT_TRUE(table->is_rewritten);
  EXPECT_FALSE(FailedTableOf(WithFailedTable(status, {{"s", "t"}, 1}))->is_rewritten);
}

TEST(FailedTableTest, OtherErrorsAreAboutNone) {
  EXPECT_FALSE(FailedTableOf(absl::InternalError("no")).has_value());
  EXPECT_TRUE(WithFailedTable(absl::OkStatus(), {}).ok());
}

}  // namespace
}  // namespace towline

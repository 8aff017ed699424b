#include "pg/error_object.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace towline {
namespace {

TEST(ErrorObjectTest, StaysWithTheErrorAndIsNotShown) {
  absl::Status status =
      WithErrorObject(absl::UnknownError("no"), {"s", "a.b", "", "Key (id)=(secret)"});
  status = WithCode(WithContext(WithHint(status, "do"), "there"), absl::StatusCode::kUnimplemented);
  const std::optional<ErrorObject> object = ErrorObjectOf(status);
  ASSERT_TRUE(object.has_value());
  EXPECT_EQ(object->schema, "s");
  EXPECT_EQ(object->table, "a.b");
  EXPECT_EQ(object->constraint, "");
  EXPECT_EQ(object->detail, "Key (id)=(secret)");
  EXPECT_EQ(Describe(status), "there: no\nHINT:  do");
}

TEST(ErrorObjectTest, NothingSaidIsNothing) {
  EXPECT_FALSE(ErrorObjectOf(WithErrorObject(absl::UnknownError("no"), {})).has_value());
  EXPECT_FALSE(ErrorObjectOf(absl::UnknownError("no")).has_value());
  EXPECT_TRUE(WithErrorObject(absl::OkStatus(), {"s", "t", "c", "d"}).ok());
}

}  // namespace
}  // namespace towline

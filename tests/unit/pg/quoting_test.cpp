#include "pg/quoting.h"

#include "gtest/gtest.h"
#include "pg/sqlstate.h"

namespace towline {
namespace {

TEST(QuotingTest, IdentifiersAndLiterals) {
  EXPECT_EQ(QuoteIdentifier("order"), "\"order\"");
  EXPECT_EQ(QuoteIdentifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(QuoteQualified("S", "t.x"), "\"S\".\"t.x\"");
  EXPECT_EQ(QuoteLiteral("it's"), "'it''s'");
  EXPECT_EQ(QuoteLiteral("a\\b"), "E'a\\\\b'");
}

TEST(SqlStateTest, SaysWhatTheSupervisorMayDo) {
  EXPECT_EQ(CodeOfSqlState("40P01"), absl::StatusCode::kAborted);
  EXPECT_EQ(CodeOfSqlState("57P01"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOfSqlState("53300"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOfSqlState("53100"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOfSqlState("42501"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOfSqlState("28P01"), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(CodeOfSqlState("25006"), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace towline

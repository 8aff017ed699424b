#include "schema/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/array_literal.h"
#include "schema/pg_dump_program.h"

namespace towline {
namespace {

using ::testing::ElementsAre;

TEST(DumpTest, ExcludedTablesShareArguments) {
  EXPECT_THAT(
      ExcludeArguments({{"s", "a"}, {"S\"", "x.*"}, {"s", "b|c"}}),
      ElementsAre("--exclude-table=\"S\"\"\".(\"x.*\")", "--exclude-table=\"s\".(\"a\"|\"b|c\")"));
}

TEST(DumpTest, ThousandsOfExcludedTablesFitIntoArguments) {
  std::vector<TableName> names;
  for (int i = 0; i < 20'000; ++i) {
    names.push_back({"public", "a_table_with_quite_a_long_name_" + std::to_string(i)});
  }
  size_t total = 0;
  for (const std::string& argument : ExcludeArguments(names)) {
    EXPECT_LT(argument.size(), size_t{8} << 10);
    total += argument.size();
  }
  EXPECT_LT(total, size_t{1} << 20);  // the kernel's limit is 2 MiB by default
}

TEST(DumpTest, PgDumpTellsItsVersion) {
  EXPECT_EQ(ParsePgDumpVersion("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), 15);
  EXPECT_EQ(ParsePgDumpVersion("pg_dump (PostgreSQL) 19rc1\n"), 19);
  EXPECT_EQ(ParsePgDumpVersion("pg_dump (Something) 7\n"), 0);
}

TEST(ArrayLiteralTest, QuotesWhatTheArrayParserKnows) {
  ArrayLiteral literal;
  EXPECT_EQ(literal.ToString(), "{}");
  literal.Add("");
  literal.Add("NULL");
  literal.Add("a\"b\\c,{}");
  EXPECT_EQ(literal.ToString(), "{\"\",\"NULL\",\"a\\\"b\\\\c,{}\"}");
}

}  // namespace
}  // namespace towline

#include "schema/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/array_literal.h"
#include "schema/pg_dump_program.h"

namespace towline {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Texts(const std::string& script,
                               const std::vector<ForeignKey>& keys = {}) {
  absl::StatusOr<std::vector<DumpStatement>> statements = ParseDump(script, keys);
  EXPECT_TRUE(statements.ok()) << statements.status();
  std::vector<std::string> texts;
  for (const DumpStatement& statement : *statements) {
    texts.push_back(statement.is_setting ? "[setting] " + statement.text : statement.text);
  }
  return texts;
}

TEST(DumpTest, SettingsAreMarked) {
  EXPECT_THAT(Texts("SET a = 1; SELECT pg_catalog.set_config('search_path', '', false);"
                    "SELECT pg_catalog.lo_create('1');"),
              ElementsAre("[setting] SET a = 1",
                          "[setting] SELECT pg_catalog.set_config('search_path', '', false)",
                          "SELECT pg_catalog.lo_create('1')"));
}

TEST(DumpTest, TimeoutsStayBehind) {
  EXPECT_THAT(Texts("SET statement_timeout = 0; SET lock_timeout = 0;"
                    "SET idle_in_transaction_session_timeout = 0; SET transaction_timeout = 0;"
                    "SET row_security = off;"),
              ElementsAre("[setting] SET row_security = off"));
}

TEST(DumpTest, ExtensionTowlineStaysBehind) {
  EXPECT_THAT(Texts("CREATE EXTENSION IF NOT EXISTS \"towline\" WITH SCHEMA \"towline\";"
                    "COMMENT ON EXTENSION \"towline\" IS 'x';"
                    "CREATE EXTENSION IF NOT EXISTS \"towline_other\" WITH SCHEMA \"public\";"),
              ElementsAre("CREATE EXTENSION IF NOT EXISTS \"towline_other\" WITH SCHEMA "
                          "\"public\""));
}

TEST(DumpTest, ForeignKeysToUnselectedTablesStayBehind) {
  std::vector<ForeignKey> keys = {{{"s", "a\"b"}, "fk;1", {"s", "gone"}}};
  EXPECT_THAT(Texts("ALTER TABLE ONLY \"s\".\"a\"\"b\"\n    ADD CONSTRAINT \"fk;1\" FOREIGN KEY "
                    "(\"x\") REFERENCES \"s\".\"gone\"(\"x\");"
                    "ALTER TABLE \"s\".\"a\"\"b\"\n    ADD CONSTRAINT \"fk;1\" FOREIGN KEY "
                    "(\"x\") REFERENCES \"s\".\"gone\"(\"x\");"
                    "COMMENT ON CONSTRAINT \"fk;1\" ON \"s\".\"a\"\"b\" IS 'y';"
                    "ALTER TABLE ONLY \"s\".\"a\"\"b\"\n    ADD CONSTRAINT \"fk\" FOREIGN KEY "
                    "(\"x\") REFERENCES \"s\".\"kept\"(\"x\");",
                    keys),
              ElementsAre("ALTER TABLE ONLY \"s\".\"a\"\"b\"\n    ADD CONSTRAINT \"fk\" FOREIGN "
                          "KEY (\"x\") REFERENCES \"s\".\"kept\"(\"x\")"));
}

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

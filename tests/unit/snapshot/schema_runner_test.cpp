#include "snapshot/schema_runner.h"

#include <gtest/gtest.h>

#include "snapshot/append_staging.h"

namespace towline {
namespace {

TEST(SchemaRunnerTest, FindsTheTableOfAStatement) {
  TableName name{"s", "a\"b.c"};
  EXPECT_EQ(TableOfStatement("CREATE TABLE \"s\".\"a\"\"b.c\" (\n    \"x\" int\n)"), name);
  EXPECT_EQ(TableOfStatement("CREATE UNLOGGED TABLE \"s\".\"a\"\"b.c\" ()"), name);
  EXPECT_EQ(TableOfStatement("ALTER TABLE ONLY \"s\".\"a\"\"b.c\"\n    ADD CONSTRAINT"), name);
  EXPECT_EQ(TableOfStatement("ALTER TABLE \"s\".\"a\"\"b.c\" ALTER COLUMN \"x\" ADD GENERATED"),
            name);
  EXPECT_EQ(TableOfStatement("ALTER TABLE ONLY \"s\".\"p\" ATTACH PARTITION \"s\".\"a\"\"b.c\" FOR "
                             "VALUES IN (1)"),
            name);
  EXPECT_EQ(TableOfStatement("CREATE INDEX \"i\" ON \"s\".\"t\""), TableName());
  EXPECT_EQ(TableOfStatement("CREATE TABLE \"s"), TableName());
}

TEST(SchemaRunnerTest, WhatIsThereAlreadyIsNoError) {
  EXPECT_TRUE(IsAlreadyThere("CREATE TABLE \"s\".\"t\" ()", "42P07", true));
  EXPECT_TRUE(IsAlreadyThere("CREATE SCHEMA \"public\"", "42P06", false));
  EXPECT_TRUE(IsAlreadyThere("CREATE FUNCTION \"f\"()", "42723", false));
  EXPECT_TRUE(IsAlreadyThere("CREATE TEXT SEARCH PARSER \"s\".\"p\" ()", "23505", false));
  EXPECT_FALSE(IsAlreadyThere("CREATE UNIQUE INDEX \"i\" ON \"s\".\"t\"", "23505", false));
  EXPECT_FALSE(IsAlreadyThere("CREATE TABLE \"s\".\"t\" ()", "42P01", true));
}

TEST(SchemaRunnerTest, AmbiguousErrorsCountOnlyForTablesThatWereThere) {
  const char* key =
      "ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT \"t_pkey\" PRIMARY KEY (\"a\")";
  EXPECT_TRUE(IsAlreadyThere(key, "42P16", true));
  EXPECT_FALSE(IsAlreadyThere(key, "42P16", false));
  const char* attach = "ALTER TABLE ONLY \"s\".\"p\" ATTACH PARTITION \"s\".\"t\" DEFAULT";
  EXPECT_TRUE(IsAlreadyThere(attach, "42809", true));
  EXPECT_FALSE(IsAlreadyThere(attach, "42809", false));
}

TEST(SchemaRunnerTest, WhatComesWithTablesIsKnown) {
  for (const char* statement :
       {"CREATE TABLE \"s\".\"t\" ()", "CREATE UNIQUE INDEX \"i\" ON \"s\".\"t\"",
        "CREATE SEQUENCE \"s\".\"q\"", "CREATE SCHEMA \"s\"",
        "ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT \"t_pkey\" PRIMARY KEY (\"a\")"}) {
    EXPECT_TRUE(ComesWithTables(statement)) << statement;
  }
  for (const char* statement :
       {"CREATE FUNCTION \"s\".\"f\"() RETURNS int", "CREATE VIEW \"s\".\"v\" AS SELECT 1",
        "CREATE TYPE \"s\".\"y\" AS ENUM ()", "CREATE TRIGGER \"g\" AFTER INSERT ON \"s\".\"t\"",
        "CREATE RULE \"r\" AS ON INSERT TO \"s\".\"t\"", "CREATE POLICY \"p\" ON \"s\".\"t\"",
        "CREATE MATERIALIZED VIEW \"s\".\"m\" AS SELECT 1"}) {
    EXPECT_FALSE(ComesWithTables(statement)) << statement;
  }
}

TEST(SchemaRunnerTest, ShortStatementIsOneLineWithoutSecrets) {
  EXPECT_EQ(ShortStatement("CREATE TABLE \"t\" (\n    \"a\" int\n)"),
            "CREATE TABLE \"t\" ( \"a\" int )");
  EXPECT_EQ(ShortStatement("CREATE USER MAPPING FOR \"u\" SERVER \"s\" OPTIONS (\n password 'x')"),
            "CREATE USER MAPPING FOR \"u\" SERVER \"s\"");
  std::string umlauts(400, '\0');
  for (size_t i = 0; i < umlauts.size(); i += 2) umlauts.replace(i, 2, "\u00fc");
  std::string shortened = ShortStatement("x" + umlauts);
  EXPECT_LE(shortened.size(), 123u);
  EXPECT_EQ(shortened.substr(shortened.size() - 5), "\u00fc...");
}

TEST(AppendStagingTest, NamesTellTasksApartAndFitIntoIdentifiers) {
  EXPECT_EQ(StagingName("a", 3), StagingName("a", 3));
  EXPECT_NE(StagingName("a", 3), StagingName("b", 3));
  EXPECT_LE(StagingName(std::string(63, 'x'), 99999).size(), sizeof("\"towline_state\".") + 63);
}

}  // namespace
}  // namespace towline

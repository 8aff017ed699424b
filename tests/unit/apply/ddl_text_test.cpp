// What is changed in a command's text, and nothing else.
#include "apply/ddl_text.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

TEST(DdlTextTest, IfNotExistsGoes) {
  EXPECT_EQ(WithoutIfNotExists("CREATE UNLOGGED TABLE if not /* so */ exists t (a int)"),
            "CREATE UNLOGGED TABLE  t (a int)");
  EXPECT_EQ(WithoutIfNotExists("CREATE TABLE IF NOT EXISTS \"IF\".t AS SELECT 1"),
            "CREATE TABLE  \"IF\".t AS SELECT 1");
  EXPECT_EQ(WithoutIfNotExists("CREATE TABLE t (\"TABLE IF NOT EXISTS\" int)"),
            "CREATE TABLE t (\"TABLE IF NOT EXISTS\" int)");
}

TEST(DdlTextTest, ConcurrentlyGoesWhereTheGrammarHasIt) {
  EXPECT_EQ(WithoutConcurrently("CREATE INDEX CONCURRENTLY i ON t (a)"),
            "CREATE INDEX  i ON t (a)");
  EXPECT_EQ(WithoutConcurrently("create unique index /* now */ concurrently on t (a)"),
            "create unique index /* now */  on t (a)");
  EXPECT_EQ(WithoutConcurrently("-- why\nDROP INDEX\nCONCURRENTLY IF EXISTS i, j"),
            "-- why\nDROP INDEX\n IF EXISTS i, j");
  EXPECT_EQ(WithoutConcurrently("/* a /* b */ */ CREATE INDEX CONCURRENTLY i ON t (a)"),
            "/* a /* b */ */ CREATE INDEX  i ON t (a)");
}

TEST(DdlTextTest, OtherWordsOfThatNameStay) {
  for (const char* statement :
       {"CREATE INDEX \"CONCURRENTLY\" ON t (a)", "CREATE INDEX i ON concurrently (a)",
        "CREATE INDEX concurrently_i ON t (a)", "DROP INDEX i", "CREATE INDEX", ""}) {
    EXPECT_EQ(WithoutConcurrently(statement), statement);
  }
}

TEST(DdlTextTest, TablesAreMadeEmpty) {
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT 1"), "CREATE TABLE t AS SELECT 1\nWITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT 1 with data "),
            "CREATE TABLE t AS SELECT 1 WITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT 1 WITH NO DATA"),
            "CREATE TABLE t AS SELECT 1 WITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT a AS data FROM no_data"),
            "CREATE TABLE t AS SELECT a AS data FROM no_data\nWITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT a AS data"),
            "CREATE TABLE t AS SELECT a AS data\nWITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT 1 -- one\nWITH DATA"),
            "CREATE TABLE t AS SELECT 1 -- one\nWITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT 1 -- one with data"),
            "CREATE TABLE t AS SELECT 1 -- one with data\nWITH NO DATA");
  EXPECT_EQ(WithNoData("CREATE TABLE t AS SELECT 'x with data'"),
            "CREATE TABLE t AS SELECT 'x with data'\nWITH NO DATA");
}

TEST(DdlTextTest, APartitionLeavesAtOnce) {
  EXPECT_EQ(WithoutConcurrently("ALTER TABLE p DETACH PARTITION s.\"Q\" CONCURRENTLY"),
            "ALTER TABLE p DETACH PARTITION s.\"Q\" ");
  EXPECT_EQ(WithoutConcurrently("alter table p detach partition q finalize;"),
            "alter table p detach partition q ;");
  for (const char* statement :
       {"ALTER TABLE p DETACH PARTITION finalize", "ALTER TABLE p RENAME TO finalize"}) {
    EXPECT_EQ(WithoutConcurrently(statement), statement);
  }
}

TEST(DdlTextTest, TablespacesAreLeftOut) {
  EXPECT_EQ(WithoutTablespace("CREATE TABLE t (a int PRIMARY KEY USING INDEX TABLESPACE x, "
                              "tablespace int) TABLESPACE \"Y\""),
            "CREATE TABLE t (a int PRIMARY KEY , tablespace int) ");
  EXPECT_EQ(WithoutTablespace("CREATE INDEX ON t (a) TABLESPACE x WHERE tablespace IS NULL"),
            "CREATE INDEX ON t (a)  WHERE tablespace IS NULL");
  EXPECT_EQ(WithoutTablespace("ALTER TABLE t ADD UNIQUE (a) USING INDEX TABLESPACE x"),
            "ALTER TABLE t ADD UNIQUE (a) ");
  for (const char* statement :
       {"CREATE TABLE t AS SELECT tablespace FROM a", "CREATE TABLE tablespace (a int)",
        "CREATE TABLE t (a text DEFAULT 'USING INDEX TABLESPACE x')",
        "CREATE TABLE t (a text DEFAULT $q$ TABLESPACE x $q$) -- TABLESPACE x",
        "ALTER TABLE t SET TABLESPACE x"}) {
    EXPECT_EQ(WithoutTablespace(statement), statement);
  }
}

TEST(DdlTextTest, SelectIntoMakesATable) {
  EXPECT_EQ(AsCreateTable("SELECT a, (SELECT 1) INTO s.\"T\" FROM t"),
            "CREATE TABLE s.\"T\" AS SELECT a, (SELECT 1)  FROM t");
  EXPECT_EQ(AsCreateTable("WITH x AS (SELECT 'into') SELECT * INTO UNLOGGED TABLE u FROM x"),
            "CREATE UNLOGGED TABLE u AS WITH x AS (SELECT 'into') SELECT *  FROM x");
  EXPECT_EQ(AsCreateTable("EXECUTE q"), "EXECUTE q");
}

TEST(DdlTextTest, WhatIsDroppedMayBeMissing) {
  EXPECT_EQ(WithIfExists("DROP INDEX", "drop index CONCURRENTLY i, j"),
            "drop index CONCURRENTLY IF EXISTS i, j");
  EXPECT_EQ(WithIfExists("DROP TEXT SEARCH PARSER", "DROP TEXT SEARCH /* if */ PARSER p"),
            "DROP TEXT SEARCH /* if */ PARSER IF EXISTS p");
  EXPECT_EQ(WithIfExists("DROP CAST", "DROP CAST (a AS b)"), "DROP CAST IF EXISTS (a AS b)");
  for (const char* statement : {"DROP INDEX IF EXISTS i", "DROP PROCEDURAL LANGUAGE l"}) {
    EXPECT_EQ(WithIfExists("DROP INDEX", statement), statement);
  }
}

TEST(DdlTextTest, ASchemaHasItsNameAndNoOwner) {
  EXPECT_EQ(
      AsSchema("CREATE SCHEMA IF NOT EXISTS AUTHORIZATION \"R\" CREATE TABLE a ()", "s", false),
      "CREATE SCHEMA IF NOT EXISTS s CREATE TABLE a ()");
  EXPECT_EQ(AsSchema("CREATE SCHEMA authorization r", "s", true),
            "CREATE SCHEMA s authorization r");
  EXPECT_EQ(AsSchema("CREATE SCHEMA s AUTHORIZATION r CREATE TABLE a ()", "s", false),
            "CREATE SCHEMA s CREATE TABLE a ()");
  for (const char* statement :
       {"CREATE SCHEMA s", "CREATE SCHEMA s CREATE TABLE authorization ()"}) {
    EXPECT_EQ(AsSchema(statement, "s", false), statement);
  }
}

TEST(DdlTextTest, OnlySomeTablesAreDropped) {
  EXPECT_EQ(AsDropOf("DROP TABLE", "DROP TABLE a, b, c cascade", {"s.a", "s.\"C\""}),
            "DROP TABLE s.a, s.\"C\" CASCADE");
  EXPECT_EQ(AsDropOf("DROP TABLE", "DROP TABLE a, b -- CASCADE", {"s.a"}), "DROP TABLE s.a");
}

}  // namespace
}  // namespace towline

// What a DROP names, with schemas.
#include "apply/ddl_drops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;

std::string Drop(const char* tag, const char* statement,
                 const std::vector<std::pair<const char*, const char*>>& dropped) {
  DdlCommand command;
  command.tag = tag;
  command.statement = statement;
  std::vector<DdlObject> objects;
  for (const auto& [type, identity] : dropped) {
    objects.push_back({0, 1, type, "", "", identity, {}});
  }
  return DropByWholeNames(command, objects);
}

TEST(DdlDropsTest, WhatIsNamedIsDroppedByItsWholeName) {
  EXPECT_EQ(Drop("DROP VIEW", "DROP VIEW IF EXISTS b, no_such, a",
                 {{"view", "s.a"}, {"view", "s.b"}, {"table", "s.t"}}),
            "DROP VIEW s.a, s.b");
  EXPECT_EQ(Drop("DROP FUNCTION", "DROP FUNCTION f CASCADE", {{"function", "s.f(integer)"}}),
            "DROP FUNCTION s.f(integer) CASCADE");
  EXPECT_EQ(
      Drop("DROP ROUTINE", "DROP ROUTINE f, a", {{"function", "s.f()"}, {"aggregate", "s.a()"}}),
      "DROP ROUTINE s.f(), s.a()");
  EXPECT_EQ(Drop("DROP AGGREGATE", "DROP AGGREGATE a (*)", {{"aggregate", "s.a()"}}),
            "DROP AGGREGATE s.a(*)");
  EXPECT_EQ(Drop("DROP TRIGGER", "DROP TRIGGER x ON t", {{"trigger", "x on s.t"}}),
            "DROP TRIGGER x on s.t");
  EXPECT_EQ(Drop("DROP DOMAIN", "DROP DOMAIN d", {{"type", "s.d"}}), "DROP DOMAIN s.d");
  EXPECT_EQ(Drop("DROP STATISTICS", "DROP STATISTICS x", {{"statistics object", "s.x"}}),
            "DROP STATISTICS s.x");
  EXPECT_EQ(Drop("DROP INDEX", "DROP INDEX CONCURRENTLY i", {{"index", "s.i"}}), "DROP INDEX s.i");
  EXPECT_EQ(Drop("DROP CAST", "DROP CAST (a AS b)", {{"cast", "(a AS b)"}}), "");
  EXPECT_EQ(Drop("CREATE TABLE", "CREATE TABLE t (a int)", {}), "");
}

TEST(DdlDropsTest, WhatIsCalledCascadeTakesNothingAlong) {
  for (const char* statement : {"DROP VIEW cascade", "DROP VIEW IF EXISTS cascade",
                                "DROP VIEW v, cascade", "DROP VIEW s.cascade", "DROP VIEW v"}) {
    EXPECT_EQ(Drop("DROP VIEW", statement, {{"view", "s.v"}}), "DROP VIEW s.v") << statement;
  }
  for (const char* statement : {"DROP VIEW cascade cascade", "drop view \"v\" -- all\nCascade"}) {
    EXPECT_EQ(Drop("DROP VIEW", statement, {{"view", "s.v"}}), "DROP VIEW s.v CASCADE")
        << statement;
  }
  EXPECT_EQ(Drop("DROP TRIGGER", "DROP TRIGGER x ON cascade", {{"trigger", "x on s.cascade"}}),
            "DROP TRIGGER x on s.cascade");
}

TEST(DdlDropsTest, DropOwnedIsOneStatementForEach) {
  DdlCommand command;
  command.tag = "DROP OWNED";
  command.statement = "DROP OWNED BY r CASCADE";
  EXPECT_THAT(DropStatements(command, {{0, 1, "aggregate", "", "", "s.a()", {}},
                                       {0, 2, "cast", "", "", "(a AS b)", {}}}),
              ElementsAre("DROP AGGREGATE IF EXISTS s.a(*) CASCADE"));
}

}  // namespace
}  // namespace towline

// Which names get the schema that they have at the source.
#include "apply/ddl_names.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

constexpr Oid kOfTables = 1259;

DdlCommand Command(const char* tag, const char* statement, std::vector<DdlObject> objects,
                   std::vector<std::string> actions = {}) {
  DdlCommand command;
  command.tag = tag;
  command.statement = statement;
  command.objects = std::move(objects);
  command.actions = std::move(actions);
  return command;
}

std::vector<DdlObject> Table(const char* name = "t") {
  const std::string identity = std::string("s.") + name;
  return {{kOfTables, 1, "table", "s", name, identity, {"s", name}}};
}

std::vector<DdlObject> Other(const char* type, const char* identity) {
  return {{0, 1, type, "s", "", identity, {}}};
}

TEST(DdlNamesTest, WhatIsAlteredGetsItsSchema) {
  const std::pair<const char*, const char*> tables[] = {
      {"ALTER TABLE t ADD c int", "ALTER TABLE \"s\".t ADD c int"},
      {"alter table /* a */ \"t\" add t int", "alter table /* a */ \"s\".\"t\" add t int"},
      {"ALTER TABLE ONLY T ADD c int", "ALTER TABLE ONLY \"s\".T ADD c int"},
      {"ALTER TABLE IF EXISTS ONLY t ADD c int", "ALTER TABLE  ONLY \"s\".t ADD c int"},
      {"ALTER TABLE IF EXISTS t ADD c int", "ALTER TABLE  \"s\".t ADD c int"},
      {"ALTER TABLE U&\"!0074\" UESCAPE '!' ADD c int",
       "ALTER TABLE \"s\".U&\"!0074\" UESCAPE '!' ADD c int"}};
  for (const auto& [from, to] : tables) {
    EXPECT_EQ(WithWholeName(Command("ALTER TABLE", from, Table())), to);
  }
  EXPECT_EQ(
      WithWholeName(Command("ALTER TABLE", "ALTER TABLE \"a\"\"b\" ADD c int", Table("a\"b"))),
      "ALTER TABLE \"s\".\"a\"\"b\" ADD c int");
  EXPECT_EQ(WithWholeName(
                Command("ALTER TYPE", "ALTER TYPE mood ADD VALUE 'x'", Other("type", "s.mood"))),
            "ALTER TYPE \"s\".mood ADD VALUE 'x'");
  EXPECT_EQ(WithWholeName(Command("ALTER FUNCTION", "ALTER FUNCTION f(int) STABLE",
                                  Other("function", "s.f(integer)"))),
            "ALTER FUNCTION \"s\".f(integer) STABLE");
  EXPECT_EQ(
      WithWholeName(Command("REFRESH MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
                            Other("materialized view", "s.m"))),
      "REFRESH MATERIALIZED VIEW CONCURRENTLY \"s\".m");
}

TEST(DdlNamesTest, AnOperatorGetsItsSchema) {
  const std::vector<DdlObject> object = Other("operator", "s.+(integer,integer)");
  EXPECT_EQ(
      WithWholeName(Command("ALTER OPERATOR", "ALTER OPERATOR + (int, int) OWNER TO o", object)),
      "ALTER OPERATOR \"s\".+ (int, int) OWNER TO o");
  const DdlCommand qualified =
      Command("ALTER OPERATOR", "ALTER OPERATOR s.+ (int, int) OWNER TO o", object);
  EXPECT_EQ(WithWholeName(qualified), qualified.statement);
}

TEST(DdlNamesTest, ACommentNamesItsObjectAsTheServerDoes) {
  const struct {
    const char* type;
    const char* identity;
    const char* from;
    const char* to;
  } comments[] = {
      {"table", "s.is", "COMMENT ON TABLE is IS 'what IS it'",
       "COMMENT ON TABLE s.is IS 'what IS it'"},
      {"view column", "s.v.c", "comment on column v.c is null", "COMMENT ON COLUMN s.v.c is null"},
      {"table constraint", "c on s.t", "COMMENT ON CONSTRAINT c ON t IS ''",
       "COMMENT ON CONSTRAINT c on s.t IS ''"},
      {"domain constraint", "\"on\" on s.d", "COMMENT ON CONSTRAINT \"on\" ON DOMAIN d IS ''",
       "COMMENT ON CONSTRAINT \"on\" on DOMAIN s.d IS ''"},
      {"function", "s.f(integer)", "COMMENT ON FUNCTION f IS $$x$$",
       "COMMENT ON FUNCTION s.f(integer) IS $$x$$"},
      {"aggregate", "s.a()", "COMMENT ON AGGREGATE a(*) IS 'x'",
       "COMMENT ON AGGREGATE s.a(*) IS 'x'"},
      {"statistics object", "s.x", "COMMENT ON STATISTICS x IS 'x'",
       "COMMENT ON STATISTICS s.x IS 'x'"},
      {"schema", "s", "COMMENT ON SCHEMA s IS 'x'", "COMMENT ON SCHEMA s IS 'x'"},
      {"transform", "for s.t on language l", "COMMENT ON TRANSFORM FOR t LANGUAGE l IS 'x'",
       "COMMENT ON TRANSFORM FOR t LANGUAGE l IS 'x'"}};
  for (const auto& comment : comments) {
    EXPECT_EQ(
        WithWholeName(Command("COMMENT", comment.from, Other(comment.type, comment.identity))),
        comment.to);
  }
}

TEST(DdlNamesTest, GrantsNameRoutinesAndTypesAsTheSource) {
  DdlCommand grant = Command("GRANT", "GRANT EXECUTE ON FUNCTION f(int, a), r.g, h() TO o", {});
  EXPECT_EQ(WithWholeName(grant), grant.statement);
  grant.named_schema = "s";
  EXPECT_EQ(WithWholeName(grant), "GRANT EXECUTE ON FUNCTION \"s\".f(int, a), r.g, \"s\".h() TO o");
  grant = Command("REVOKE", "REVOKE GRANT OPTION FOR USAGE ON TYPE \"to\" FROM a, b CASCADE", {});
  grant.named_schema = "s";
  EXPECT_EQ(WithWholeName(grant),
            "REVOKE GRANT OPTION FOR USAGE ON TYPE \"s\".\"to\" FROM a, b CASCADE");
}

TEST(DdlNamesTest, GrantsInSeveralSchemasNameEachItsOwn) {
  DdlCommand grant = Command("GRANT", "GRANT EXECUTE ON FUNCTION f(int, a), r.g, h() TO o", {});
  for (const char* schema : {"s", "", "S"})
    grant.objects.push_back({0, 0, "FUNCTION", schema, "", "", {}});
  EXPECT_EQ(WithWholeName(grant), "GRANT EXECUTE ON FUNCTION \"s\".f(int, a), r.g, \"S\".h() TO o");
  grant.objects[0].identity = "s.f(integer,r.a)";
  grant.objects[1].identity = "r.g()";
  EXPECT_EQ(WithWholeName(grant),
            "GRANT EXECUTE ON FUNCTION s.f(integer,r.a), r.g(), \"S\".h() TO o");
  grant.objects.pop_back();
  EXPECT_EQ(WithWholeName(grant), grant.statement);
}

TEST(DdlNamesTest, ArgumentsOfRoutinesAreOfTheTypesThatTheSourceMeans) {
  const struct {
    const char* tag;
    const char* type;
    const char* identity;
    const char* from;
    const char* to;
  } commands[] = {
      {"ALTER FUNCTION", "function", "s.f(s.ty[],\"S\".\"a,b\",text)",
       "ALTER FUNCTION f(ty[], \"a,b\", text) STABLE",
       "ALTER FUNCTION \"s\".f(s.ty[],\"S\".\"a,b\",text) STABLE"},
      {"ALTER FUNCTION", "function", "s.f(s.ty)", "ALTER FUNCTION s . f STABLE",
       "ALTER FUNCTION s . f(s.ty) STABLE"},
      {"ALTER PROCEDURE", "procedure", "s.new()", "ALTER PROCEDURE old(OUT o int) RENAME TO new",
       "ALTER PROCEDURE \"s\".old() RENAME TO new"},
      {"ALTER AGGREGATE", "aggregate", "s.a()", "ALTER AGGREGATE a(*) OWNER TO o",
       "ALTER AGGREGATE \"s\".a(*) OWNER TO o"},
      // Its schema here is not told.
      {"ALTER FUNCTION", "function", "s.f(e.hstore)", "ALTER FUNCTION f(hstore) STABLE",
       "ALTER FUNCTION \"s\".f(hstore) STABLE"}};
  for (const auto& command : commands) {
    DdlCommand alter = Command(command.tag, command.from, Other(command.type, command.identity));
    alter.references = {"pg_type s.ty", "pg_type \"S\".\"a,b\"", "extension hstore"};
    if (std::string(command.identity) == "s.new()") alter.actions = {"RENAME"};
    EXPECT_EQ(WithWholeName(alter), command.to);
  }
}

TEST(DdlNamesTest, WhatIsMadeForATableNamesTheTable) {
  const std::pair<const char*, const char*> commands[] = {
      {"CREATE INDEX", "CREATE UNIQUE INDEX t ON ONLY t (b)"},
      {"CREATE TRIGGER", "CREATE TRIGGER x BEFORE UPDATE OF a, b ON t EXECUTE FUNCTION f()"},
      {"CREATE RULE", "CREATE RULE x AS ON UPDATE TO t DO NOTHING"},
      {"CREATE POLICY", "CREATE POLICY x ON t USING (true)"},
      {"CREATE STATISTICS", "CREATE STATISTICS x (ndistinct) ON a, (extract(day FROM b)) FROM t"},
      {"ALTER TRIGGER", "ALTER TRIGGER x ON t RENAME TO y"}};
  for (const auto& [tag, statement] : commands) {
    std::vector<DdlObject> object = {{0, 1, "object", "", "", "x on s.t", {"s", "t"}}};
    const std::string named = WithWholeName(Command(tag, statement, object));
    EXPECT_NE(named.find(" \"s\".t"), std::string::npos) << named;
    EXPECT_EQ(named.size(), std::string(statement).size() + 4) << named;
  }
}

TEST(DdlNamesTest, WhatIsRenamedIsInTheSchemaOfItsNewName) {
  EXPECT_EQ(WithWholeName(
                Command("ALTER TABLE", "ALTER TABLE old RENAME TO t", Table(), {"RENAME TABLE"})),
            "ALTER TABLE \"s\".old RENAME TO t");
  EXPECT_EQ(WithWholeName(Command("ALTER TYPE", "ALTER TYPE old RENAME TO new",
                                  Other("type", "s.new"), {"RENAME"})),
            "ALTER TYPE \"s\".old RENAME TO new");
  DdlCommand moved =
      Command("ALTER VIEW", "ALTER VIEW v SET SCHEMA s", Other("view", "s.v"), {"SET SCHEMA"});
  EXPECT_EQ(WithWholeName(moved), moved.statement);
  moved.named_schema = "before";
  EXPECT_EQ(WithWholeName(moved), "ALTER VIEW \"before\".v SET SCHEMA s");
}

// The table that is rewritten may be another of the same name, below the one that is named.
TEST(DdlNamesTest, ARewriteSaysWhatItNames) {
  DdlCommand rewrite = Command("ALTER TABLE", "ALTER TABLE t ALTER c TYPE text", Table());
  rewrite.phase = DdlPhase::kRewrite;
  EXPECT_EQ(WithWholeName(rewrite), rewrite.statement);
  rewrite.named_schema = "above";
  EXPECT_EQ(WithWholeName(rewrite), "ALTER TABLE \"above\".t ALTER c TYPE text");
}

TEST(DdlNamesTest, ANewPartitionNamesTheTableAbove) {
  DdlCommand made =
      Command("CREATE TABLE", "CREATE TABLE partition PARTITION OF t (PRIMARY KEY (a)) DEFAULT",
              Table("partition"));
  EXPECT_EQ(WithWholeName(made), made.statement);
  made.named_schema = "above";
  EXPECT_EQ(WithWholeName(made),
            "CREATE TABLE partition PARTITION OF \"above\".t (PRIMARY KEY (a)) DEFAULT");
}

TEST(DdlNamesTest, WhatHasASchemaOrCannotBeToldStays) {
  for (const char* statement :
       {"ALTER TABLE s.t ADD c int", "ALTER TABLE other ADD t int",
        "ALTER TABLE U&\"s\".U&\"t\" ADD c int", "ALTER TABLE (t) ADD c int", "ALTER TABLE", ""}) {
    EXPECT_EQ(WithWholeName(Command("ALTER TABLE", statement, Table())), statement);
  }
  DdlCommand extension = Command("ALTER EXTENSION", "ALTER EXTENSION t SET SCHEMA s", {});
  extension.named_schema = "before";
  EXPECT_EQ(WithWholeName(extension), extension.statement);
  std::vector<DdlObject> two = Table();
  two.push_back({kOfTables, 2, "table", "r", "t", "r.t", {"r", "t"}});
  EXPECT_EQ(WithWholeName(Command("ALTER TABLE", "ALTER TABLE t ADD c int", two)),
            "ALTER TABLE t ADD c int");
  EXPECT_EQ(
      WithWholeName(Command("CREATE VIEW", "CREATE VIEW v AS SELECT FROM t", Other("view", "s.v"))),
      "CREATE VIEW v AS SELECT FROM t");
}

TEST(DdlNamesTest, TheTableThatIsNamed) {
  const TableName t{"s", "t"};
  const std::vector<std::string> renamed = {"RENAME TABLE"};
  EXPECT_EQ(NamedTable(Command("ALTER TABLE", "ALTER TABLE t RENAME TO u", Table("u"), renamed)),
            t);
  EXPECT_EQ(NamedTable(Command("ALTER TABLE", "ALTER TABLE IF EXISTS ONLY t RENAME TO \"U\"",
                               Table("U"), renamed)),
            t);
  EXPECT_EQ(
      NamedTable(Command("ALTER TABLE", "ALTER TABLE r.\"T\" RENAME TO u", Table("u"), renamed)),
      (TableName{"r", "T"}));
  DdlCommand moved = Command("ALTER TABLE", "ALTER TABLE t SET SCHEMA s", Table(), {"SET SCHEMA"});
  EXPECT_EQ(NamedTable(moved), std::nullopt);  // the objects tell where it is now
  moved.named_schema = "r";
  EXPECT_EQ(NamedTable(moved), (TableName{"r", "t"}));
  DdlCommand made = Command("CREATE TABLE", "CREATE TABLE p PARTITION OF t DEFAULT", Table("p"));
  made.named_schema = "s";
  EXPECT_EQ(NamedTable(made), t);
  made.statement = "CREATE TABLE t (id int)";
  EXPECT_EQ(NamedTable(made), std::nullopt);
  EXPECT_EQ(NamedTable(Command("ALTER TABLE", "ALTER TABLE s.U&\"!0074\" UESCAPE '!' RENAME TO u",
                               Table("u"), renamed)),
            std::nullopt);
  EXPECT_EQ(NamedTable(Command("ALTER INDEX", "ALTER INDEX s.t RENAME TO u", Table("u"), renamed)),
            std::nullopt);
}

TEST(DdlNamesTest, ThePartitionThatIsNamed) {
  auto named = [](const char* statement) {
    return NamedPartition(Command("ALTER TABLE", statement, Table()));
  };
  const TableName p{"s", "p"};
  EXPECT_EQ(named("ALTER TABLE t ATTACH PARTITION s.p FOR VALUES IN (1)"), p);
  EXPECT_EQ(named("alter table attach detach partition \"s\".\"p\" concurrently"), p);
  EXPECT_EQ(named("ALTER TABLE t DETACH PARTITION p"), std::nullopt);
  EXPECT_EQ(named("ALTER TABLE t DETACH PARTITION s.U&\"p\""), std::nullopt);
  EXPECT_EQ(named("ALTER TABLE t ADD attach int"), std::nullopt);
}

}  // namespace
}  // namespace towline

#include "schema/dump_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Texts(const std::string& script, const ExcludedObjects& excluded = {},
                               std::vector<std::string>* left_out = nullptr) {
  absl::StatusOr<DumpScript> parsed = ParseDumpScript(script, excluded);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  std::vector<std::string> texts;
  if (!parsed.ok()) return texts;
  for (const DumpStatement& statement : parsed->statements) {
    texts.push_back(statement.is_setting ? "[setting] " + statement.text : statement.text);
  }
  for (const LeftOutEntry& entry : parsed->left_out) {
    if (left_out != nullptr) left_out->push_back(entry.name);
  }
  return texts;
}

TEST(DumpScriptTest, SettingsAreMarked) {
  EXPECT_THAT(Texts("SET a = 1; SELECT pg_catalog.set_config('search_path', '', false);"
                    "SELECT pg_catalog.lo_create('1');"),
              ElementsAre("[setting] SET a = 1",
                          "[setting] SELECT pg_catalog.set_config('search_path', '', false)",
                          "SELECT pg_catalog.lo_create('1')"));
}

TEST(DumpScriptTest, TimeoutsStayBehind) {
  EXPECT_THAT(Texts("SET statement_timeout = 0; SET lock_timeout = 0;"
                    "SET idle_in_transaction_session_timeout = 0; SET transaction_timeout = 0;"
                    "SET row_security = off;"),
              ElementsAre("[setting] SET row_security = off"));
}

TEST(DumpScriptTest, ExtensionTowlineStaysBehind) {
  EXPECT_THAT(Texts("CREATE EXTENSION IF NOT EXISTS \"towline\" WITH SCHEMA \"towline\";"
                    "COMMENT ON EXTENSION \"towline\" IS 'x';"
                    "CREATE EXTENSION IF NOT EXISTS \"towline_other\" WITH SCHEMA \"public\";"),
              ElementsAre("CREATE EXTENSION IF NOT EXISTS \"towline_other\" WITH SCHEMA "
                          "\"public\""));
}

std::string Heading(int number, int class_oid, int oid, const std::string& name) {
  return "--\n-- TOC entry " + std::to_string(number) + " (class " + std::to_string(class_oid) +
         " OID " + std::to_string(oid) + ")\n-- Name: " + name + "; Owner: -\n--\n\n";
}

TEST(DumpScriptTest, ExcludedObjectsStayBehindWithAllThatBelongsToThem) {
  ExcludedObjects excluded;
  excluded.objects = {{1259, 20}, {2606, 30}};
  std::vector<std::string> left_out;
  EXPECT_THAT(
      Texts("SET a = 1;\n" + Heading(7, 1259, 20, "v; Type: x; Type: VIEW; Schema: s") +
                "CREATE VIEW v AS SELECT '-- TOC entry 9 (class 1259 OID 21)\n';\nSET b = 2;\n"
                "ALTER VIEW v OWNER TO \"r\";\n"
                "--\n-- TOC entry 8 (class 0 OID 0)\n-- Dependencies: 7\n-- Name: VIEW v; Type: "
                "COMMENT; Schema: s; Owner: -\n--\n\nCOMMENT ON VIEW v IS 'x';\n" +
                Heading(9, 1259, 30, "t; Type: TABLE; Schema: s") + "CREATE TABLE t ();\n" +
                "--\n-- TOC entry 10 (class 0 OID 0)\n-- Dependencies: 9\n-- Name: TABLE t; Type: "
                "COMMENT; Schema: s; Owner: -\n--\n\nCOMMENT ON TABLE t IS 'x';\n" +
                Heading(11, 2606, 30, "t k; Type: FK CONSTRAINT; Schema: s") + "ALTER TABLE t;",
            excluded, &left_out),
      ElementsAre("[setting] SET a = 1", "[setting] SET b = 2", "CREATE TABLE t ()",
                  "COMMENT ON TABLE t IS 'x'"));
  EXPECT_THAT(left_out, ElementsAre("VIEW s.v; Type: x", "FK CONSTRAINT s.t k"));
}

TEST(DumpScriptTest, AttachingToAnExcludedRelationStaysBehind) {
  ExcludedObjects excluded;
  excluded.objects = {{1259, 20}};
  excluded.relations = {{"s", "a\"b"}};
  const std::string heading = Heading(7, 0, 0, "c; Type: TABLE ATTACH; Schema: s");
  EXPECT_THAT(Texts(heading + "ALTER TABLE ONLY \"s\".\"a\"\"b\" ATTACH PARTITION \"s\".\"c\" "
                              "FOR VALUES IN (1);",
                    excluded),
              IsEmpty());
  EXPECT_THAT(
      Texts(heading + "ALTER INDEX \"s\".\"c\" ATTACH PARTITION \"s\".\"a\"\"b\";", excluded),
      IsEmpty());
  EXPECT_THAT(Texts(heading + "ALTER INDEX \"s\".\"c\" ATTACH PARTITION \"s\".\"a\";", excluded),
              ElementsAre("ALTER INDEX \"s\".\"c\" ATTACH PARTITION \"s\".\"a\""));
}

TEST(DumpScriptTest, ScriptThatDoesNotSayWhatItIsAboutIsRefusedWhenItMatters) {
  ExcludedObjects excluded;
  EXPECT_THAT(Texts("CREATE TABLE t ();", excluded), ElementsAre("CREATE TABLE t ()"));
  excluded.objects = {{1259, 20}};
  EXPECT_EQ(ParseDumpScript("CREATE TABLE t ();", excluded).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(DumpScriptTest, RightsOfAnotherGrantorAreOneStatement) {
  EXPECT_THAT(
      Texts("GRANT a ON x TO y; SET SESSION AUTHORIZATION \"g\"; GRANT b ON x TO y; GRANT c "
            "ON x TO y; RESET SESSION AUTHORIZATION; GRANT d ON x TO y;"),
      ElementsAre("GRANT a ON x TO y",
                  "SET SESSION AUTHORIZATION \"g\";\nGRANT b ON x TO y;\nRESET SESSION "
                  "AUTHORIZATION",
                  "SET SESSION AUTHORIZATION \"g\";\nGRANT c ON x TO y;\nRESET SESSION "
                  "AUTHORIZATION",
                  "GRANT d ON x TO y"));
}

TEST(DumpScriptTest, StatementsAboutRightsAreKnown) {
  EXPECT_TRUE(IsAboutRights("ALTER TABLE \"s\".\"t\" OWNER TO \"r\""));
  EXPECT_TRUE(IsAboutRights("ALTER FUNCTION \"s\".\"f\"(\"x\" integer) OWNER TO \"a\"\"b\""));
  EXPECT_TRUE(IsAboutRights("REVOKE ALL ON SCHEMA \"public\" FROM PUBLIC"));
  EXPECT_FALSE(IsAboutRights("ALTER TABLE \"s\".\" OWNER TO \"\"r\" ADD COLUMN \"x\" int"));
  EXPECT_FALSE(IsAboutRights("CREATE TABLE \"s\".\"t\" ()"));
}

TEST(DumpScriptTest, RolesAreFound) {
  EXPECT_THAT(RolesOf("ALTER TABLE \"TO\".\"t\" OWNER TO \"a\"\"b\""), ElementsAre("a\"b"));
  EXPECT_THAT(RolesOf("GRANT SELECT(\"c\"),INSERT ON TABLE \"s\".\"t\" TO \"r\" WITH GRANT OPTION"),
              ElementsAre("r"));
  EXPECT_THAT(RolesOf("GRANT ALL ON FUNCTION \"s\".\"f\"(\"to\" \"s\".\"t\") TO \"r\""),
              ElementsAre("r"));
  EXPECT_THAT(
      RolesOf("ALTER DEFAULT PRIVILEGES FOR ROLE \"a\" IN SCHEMA \"s\" REVOKE ALL ON TABLES "
              "FROM \"b\""),
      ElementsAre("a", "b"));
  EXPECT_THAT(
      RolesOf("SET SESSION AUTHORIZATION \"g\";\nGRANT ALL ON \"x\" TO \"r\";\nRESET SESSION "
              "AUTHORIZATION"),
      ElementsAre("g", "r"));
  EXPECT_THAT(
      RolesOf("CREATE USER MAPPING FOR \"r\" SERVER \"s\" OPTIONS (\n \"user\" 'TO \"x\"')"),
      ElementsAre("r"));
  EXPECT_THAT(RolesOf("CREATE USER MAPPING FOR \"public\" SERVER \"s\""), IsEmpty());
  EXPECT_THAT(RolesOf("REVOKE ALL ON SCHEMA \"public\" FROM PUBLIC"), IsEmpty());
}

}  // namespace
}  // namespace towline

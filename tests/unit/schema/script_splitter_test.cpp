#include "schema/script_splitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace towline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Split(absl::string_view script) {
  absl::StatusOr<std::vector<ScriptStatement>> statements = SplitScript(script);
  EXPECT_TRUE(statements.ok()) << statements.status();
  std::vector<std::string> texts;
  if (!statements.ok()) return texts;
  for (const ScriptStatement& statement : *statements) texts.push_back(statement.text);
  return texts;
}

absl::StatusCode Failure(absl::string_view script) { return SplitScript(script).status().code(); }

TEST(ScriptSplitterTest, SplitsAtSemicolonsAndDropsCommentsBetweenStatements) {
  EXPECT_THAT(Split("--\n-- a; b\n--\n\nSET x = 1;\n/* c; */ SELECT 1 ;;\n -- end;"),
              ElementsAre("SET x = 1", "SELECT 1"));
  EXPECT_THAT(Split(""), IsEmpty());
  EXPECT_THAT(Split(" ;\n; -- nothing\n"), IsEmpty());
}

TEST(ScriptSplitterTest, KeepsCommentsWithinStatements) {
  EXPECT_THAT(Split("SELECT 1 -- one; two\n + 2;"), ElementsAre("SELECT 1 -- one; two\n + 2"));
  EXPECT_THAT(Split("SELECT /* ; /* nested ; */ ; */ 1;SELECT 2;"),
              ElementsAre("SELECT /* ; /* nested ; */ ; */ 1", "SELECT 2"));
}

TEST(ScriptSplitterTest, CommentsBeforeAStatementAreItsHeading) {
  absl::StatusOr<std::vector<ScriptStatement>> statements =
      SplitScript("--\n-- a;\n\n-- b\nSELECT 1 -- within\n;SELECT '-- c';\n-- d\nSELECT 3;");
  ASSERT_TRUE(statements.ok()) << statements.status();
  ASSERT_EQ(statements->size(), 3u);
  EXPECT_EQ((*statements)[0].heading, "--\n-- a;\n-- b\n");
  EXPECT_EQ((*statements)[1].heading, "");
  EXPECT_EQ((*statements)[2].heading, "-- d\n");
}

TEST(ScriptSplitterTest, QuotesHideSemicolons) {
  EXPECT_THAT(Split("SELECT ';';SELECT 'it''s;';SELECT \"a;\"\"b;\" FROM t;"),
              ElementsAre("SELECT ';'", "SELECT 'it''s;'", "SELECT \"a;\"\"b;\" FROM t"));
}

TEST(ScriptSplitterTest, BackslashIsALetterInPlainStrings) {
  EXPECT_THAT(Split("SELECT '\\';SELECT 2;"), ElementsAre("SELECT '\\'", "SELECT 2"));
  EXPECT_THAT(Split("SELECT U&'\\0061\\';SELECT 2;"),
              ElementsAre("SELECT U&'\\0061\\'", "SELECT 2"));
}

TEST(ScriptSplitterTest, BackslashEscapesInEStrings) {
  EXPECT_THAT(Split("SELECT E'\\';', e'\\\\';SELECT 2;"),
              ElementsAre("SELECT E'\\';', e'\\\\'", "SELECT 2"));
}

TEST(ScriptSplitterTest, NameThatEndsInEIsNoEString) {
  EXPECT_THAT(Split("SELECT date'\\';SELECT 2;"), ElementsAre("SELECT date'\\'", "SELECT 2"));
}

TEST(ScriptSplitterTest, EStringGoesOnAfterALineBreak) {
  EXPECT_THAT(Split("SELECT E'a'\n  -- comment\n 'b\\';c';SELECT 2;"),
              ElementsAre("SELECT E'a'\n  -- comment\n 'b\\';c'", "SELECT 2"));
  // On the same line it is another, plain string.
  EXPECT_THAT(Split("SELECT E'a' 'b\\';SELECT 2;"), ElementsAre("SELECT E'a' 'b\\'", "SELECT 2"));
}

TEST(ScriptSplitterTest, DollarQuotesHideEverything) {
  EXPECT_THAT(Split("DO $$ BEGIN; ' -- /* $a$ ; $$;SELECT $x1$ $$ ; $x$ ; $x1$;"),
              ElementsAre("DO $$ BEGIN; ' -- /* $a$ ; $$", "SELECT $x1$ $$ ; $x$ ; $x1$"));
}

TEST(ScriptSplitterTest, DollarsThatQuoteNothing) {
  EXPECT_THAT(Split("SELECT a$b$ FROM t;SELECT $1;SELECT b$b$;"),
              ElementsAre("SELECT a$b$ FROM t", "SELECT $1", "SELECT b$b$"));
}

TEST(ScriptSplitterTest, ParenthesesHideSemicolons) {
  EXPECT_THAT(Split("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2;);SELECT 3;"),
              ElementsAre("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2;)", "SELECT 3"));
}

TEST(ScriptSplitterTest, AtomicBodyIsOneStatement) {
  const std::string body =
      "CREATE FUNCTION \"f\"(\"x\" integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC\n"
      " SELECT CASE WHEN (x > 1) THEN (CASE WHEN true THEN 1 END) ELSE 2 END;\n"
      " SELECT 3;\nEND";
  EXPECT_THAT(Split(body + ";SELECT 1;"), ElementsAre(body, "SELECT 1"));
  const std::string procedure =
      "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql begin atomic select 1; select case when true "
      "then 1 end; end";
  EXPECT_THAT(Split(procedure + ";SELECT 1;"), ElementsAre(procedure, "SELECT 1"));
}

TEST(ScriptSplitterTest, BeginElsewhereIsAStatement) {
  EXPECT_THAT(Split("BEGIN;SELECT 1;END;"), ElementsAre("BEGIN", "SELECT 1", "END"));
  EXPECT_THAT(Split("CREATE TABLE t (\"begin\" int);SELECT 1;"),
              ElementsAre("CREATE TABLE t (\"begin\" int)", "SELECT 1"));
  EXPECT_THAT(Split("CREATE FUNCTION \"begin\"() RETURNS int AS 'select 1' LANGUAGE sql;SELECT 1;"),
              ElementsAre("CREATE FUNCTION \"begin\"() RETURNS int AS 'select 1' LANGUAGE sql",
                          "SELECT 1"));
}

TEST(ScriptSplitterTest, RestrictLinesAreDropped) {
  EXPECT_THAT(Split("\\restrict a;'b\nSELECT 1;\n\n\\unrestrict a;'b\n"), ElementsAre("SELECT 1"));
}

TEST(ScriptSplitterTest, OtherCommandsOfPsqlAreRefused) {
  EXPECT_EQ(Failure("\\! rm\nSELECT 1;"), absl::StatusCode::kUnimplemented);
}

TEST(ScriptSplitterTest, ScriptThatIsCutOffIsRefused) {
  EXPECT_EQ(Failure("SELECT 1"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Failure("SELECT 'a;"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Failure("SELECT \"a;"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Failure("SELECT E'a\\"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Failure("DO $x$ ;"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Failure("/* a;"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Failure("SELECT (1;"), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace towline

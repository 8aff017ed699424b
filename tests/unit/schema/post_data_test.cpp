#include "schema/post_data.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

std::string Text(absl::string_view statement) {
  PostData found = ClassifyPostData(statement);
  const char* kinds[] = {"index",      "key",     "detail",        "foreign key",
                         "validation", "refresh", "event trigger", "other"};
  return std::string(kinds[static_cast<int>(found.kind)]) + "|" + found.table.schema + "|" +
         found.table.name + "|" + found.name;
}

TEST(PostDataTest, KindsAreToldApartByTheWordsBetweenTheNames) {
  EXPECT_EQ(Text("CREATE INDEX \"i\" ON \"s\".\"t\" USING btree"), "index|s|t|i");
  EXPECT_EQ(Text("CREATE UNIQUE INDEX \"a\"\"b\" ON ONLY \"s\".\"t\""), "index|s|t|a\"b");
  EXPECT_EQ(Text("ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT \"k\" PRIMARY KEY (\"a\")"),
            "key|s|t|k");
  EXPECT_EQ(Text("ALTER TABLE \"s\".\"t\"\n    ADD CONSTRAINT \"k\" UNIQUE (\"a\")"), "key|s|t|k");
  EXPECT_EQ(Text("ALTER TABLE ONLY \"s\".\"t\" ADD CONSTRAINT \"k\" EXCLUDE USING gist"),
            "key|s|t|k");
  EXPECT_EQ(Text("ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT \"k\" FOREIGN KEY (\"a\")"),
            "foreign key|s|t|k");
  EXPECT_EQ(Text("ALTER TABLE ONLY \"s\".\"t\" VALIDATE CONSTRAINT \"k\""), "validation|s|t|k");
  EXPECT_EQ(Text("ALTER TABLE \"s\".\"t\" CLUSTER ON \"i\""), "detail|||");
  EXPECT_EQ(Text("ALTER TABLE ONLY \"s\".\"t\" REPLICA IDENTITY USING INDEX \"i\""), "detail|||");
  EXPECT_EQ(Text("ALTER INDEX \"s\".\"p\" ATTACH PARTITION \"s\".\"c\""), "detail|||");
  EXPECT_EQ(Text("COMMENT ON INDEX \"s\".\"i\" IS 'x'"), "detail|||");
  EXPECT_EQ(Text("REFRESH MATERIALIZED VIEW \"s\".\"m\""), "refresh|||");
  EXPECT_EQ(Text("ALTER EVENT TRIGGER \"e\" DISABLE"), "event trigger|||");
}

TEST(PostDataTest, AnIndexOfColumnsAloneReadsNothingElse) {
  auto is_plain = [](const std::string& end) {
    return ClassifyPostData("CREATE INDEX \"i\" ON \"s\".\"t\" USING \"btree\" " + end).is_plain;
  };
  EXPECT_TRUE(
      is_plain("(\"a\", \"b (c\" DESC) INCLUDE (\"d WHERE \") WITH (\"fillfactor\"='(70')"));
  EXPECT_FALSE(is_plain("((\"a\" + 1))"));
  EXPECT_FALSE(is_plain("(\"public\".\"f\"(\"a\"))"));
  EXPECT_FALSE(is_plain("(\"a\") WHERE \"b\""));
  EXPECT_FALSE(is_plain("(\"a"));
  const std::string add = "ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT \"k\" ";
  EXPECT_TRUE(ClassifyPostData(add + "PRIMARY KEY (\"a\", \"b\")").is_plain);
  EXPECT_FALSE(ClassifyPostData(add + "EXCLUDE USING \"gist\" (\"a\" WITH &&) WHERE ((\"b\" > 0))")
                   .is_plain);
  EXPECT_FALSE(ClassifyPostData(add + "FOREIGN KEY (\"a\")").is_plain);
}

TEST(PostDataTest, AForeignKeyNamesTheTableThatItReferences) {
  const std::string key = "ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT \"k\" FOREIGN KEY ";
  EXPECT_EQ(
      ClassifyPostData(key + "(\"a)\", PERIOD \"b\") REFERENCES \"q\".\"p\"(\"x\")").referenced,
      (TableName{"q", "p"}));
  EXPECT_EQ(ClassifyPostData(key + "(\"a\") SOMETHING \"q\".\"p\"").referenced, TableName());
}

TEST(PostDataTest, WhatIsNotKnownIsOther) {
  for (const char* statement :
       {"CREATE TRIGGER \"i\" AFTER INSERT ON \"s\".\"t\" FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE MATERIALIZED VIEW \"s\".\"m\" AS SELECT 1", "CREATE STATISTICS \"s\".\"x\" ON a, b",
        "ALTER TABLE \"s\".\"t\" ENABLE REPLICA TRIGGER \"ADD CONSTRAINT \"\"k\"\" FOREIGN KEY \"",
        "ALTER TABLE \"s\".\"t\" ADD CONSTRAINT \"k\" SOMETHING NEW", "ALTER TABLE \"s\".\"t",
        "SET SESSION AUTHORIZATION \"r\";\nGRANT SELECT ON \"s\".\"t\" TO \"x\""}) {
    EXPECT_EQ(ClassifyPostData(statement).kind, PostDataKind::kOther) << statement;
  }
}

std::vector<DumpStatement> Statements(const std::vector<std::string>& texts) {
  std::vector<DumpStatement> statements;
  for (const std::string& text : texts) statements.push_back({text, text.rfind("SET ", 0) == 0});
  return statements;
}

std::vector<std::string> Texts(const std::vector<DumpStatement>& statements) {
  std::vector<std::string> texts;
  for (const DumpStatement& statement : statements) texts.push_back(statement.text);
  return texts;
}

TEST(PostDataTest, ForeignKeysAreValidatedLaterAndNothingIsLost) {
  const std::string key = "ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT ";
  SplitPostData split = SplitByTime(
      Statements({"SET x = 1", "CREATE INDEX \"i\" ON \"s\".\"t\" (a)",
                  "COMMENT ON CONSTRAINT \"a\" ON \"s\".\"other\" IS ''",
                  key + "\"a\" FOREIGN KEY (\"x)\", \"y\") REFERENCES \"s\".\"p\"(\"x\", \"y\")",
                  "COMMENT ON CONSTRAINT \"a\" ON \"s\".\"t\" IS ''",
                  key + "\"b\" FOREIGN KEY (\"x\") REFERENCES \"s\".\"p\"(\"x\") NOT VALID",
                  key + "\"c\" FOREIGN KEY (\"x\") REFERENCES \"s\".\"parts\"(\"x\")",
                  "ALTER TABLE \"s\".\"parts\"\n    ADD CONSTRAINT \"d\" FOREIGN KEY (\"x\") "
                  "REFERENCES \"s\".\"p\"(\"x\")",
                  key + "\"e\" FOREIGN KEY (\"x\") REFERENCES \"s\".\"p\"(\"x\") NOT ENFORCED",
                  "CREATE EVENT TRIGGER \"e\" ON sql_drop", "CREATE POLICY \"p\" ON \"s\".\"t\"",
                  "REFRESH MATERIALIZED VIEW \"s\".\"m\""}),
      {{"s", "parts"}}, {});
  EXPECT_EQ(Texts(split.indexing),
            (std::vector<std::string>{"SET x = 1", "CREATE INDEX \"i\" ON \"s\".\"t\" (a)",
                                      "COMMENT ON CONSTRAINT \"a\" ON \"s\".\"other\" IS ''",
                                      "CREATE POLICY \"p\" ON \"s\".\"t\""}));
  EXPECT_EQ(
      Texts(split.final),
      (std::vector<std::string>{
          "SET x = 1",
          key + "\"a\" FOREIGN KEY (\"x)\", \"y\") REFERENCES \"s\".\"p\"(\"x\", \"y\") NOT VALID",
          "COMMENT ON CONSTRAINT \"a\" ON \"s\".\"t\" IS ''",
          key + "\"b\" FOREIGN KEY (\"x\") REFERENCES \"s\".\"p\"(\"x\") NOT VALID",
          key + "\"c\" FOREIGN KEY (\"x\") REFERENCES \"s\".\"parts\"(\"x\")",
          "ALTER TABLE \"s\".\"parts\"\n    ADD CONSTRAINT \"d\" FOREIGN KEY (\"x\") REFERENCES "
          "\"s\".\"p\"(\"x\")",
          key + "\"e\" FOREIGN KEY (\"x\") REFERENCES \"s\".\"p\"(\"x\") NOT ENFORCED",
          "ALTER TABLE ONLY \"s\".\"t\" VALIDATE CONSTRAINT \"a\"",
          "REFRESH MATERIALIZED VIEW \"s\".\"m\"", "CREATE EVENT TRIGGER \"e\" ON sql_drop"}));
  EXPECT_EQ(ValidationOf(split.final[1].text), split.final[7].text);
}

const std::string kAdd = "ALTER TABLE ONLY \"s\".\"t\"\n    ADD CONSTRAINT ";

TEST(PostDataTest, WhatIsUniqueBesideTheKeyOfRangesWaitsWithWhatIsSaidOfIt) {
  const std::vector<std::string> early = {
      "SET x = 1",
      kAdd + "\"t_pkey\" PRIMARY KEY (\"id\")",
      kAdd + "\"t_again\" UNIQUE (\"id\")",
      "CREATE INDEX \"t_n\" ON \"s\".\"t\" USING btree (\"n\")",
      "CREATE UNIQUE INDEX \"t_mail\" ON \"s\".\"other\" USING btree (\"mail\")",
      "ALTER INDEX \"s\".\"all_pkey\" ATTACH PARTITION \"s\".\"t_pkey\"",
      "CREATE TRIGGER \"g\" AFTER INSERT ON \"s\".\"t\""};
  const std::vector<std::string> late = {
      kAdd + "\"t_period\" EXCLUDE USING gist (\"p\" WITH &&)",
      kAdd + "\"t_two\" UNIQUE (\"id\", \"n\")",
      "CREATE UNIQUE INDEX \"t_mail\" ON \"s\".\"t\" USING btree (\"mail\") WHERE (\"n\" > 0)",
      "ALTER INDEX \"s\".\"all_mail\" ATTACH PARTITION \"s\".\"t_mail\"",
      "COMMENT ON CONSTRAINT \"t_period\" ON \"s\".\"t\" IS ''"};
  const std::string foreign_key =
      "ALTER TABLE ONLY \"s\".\"u\"\n    ADD CONSTRAINT \"f\" FOREIGN KEY (\"m\") REFERENCES "
      "\"s\".\"t\"(\"mail\") NOT VALID";
  // As a dump has them: mixed, the details behind what they are of.
  const std::vector<std::string> dump = {early[0], early[1], late[0],  early[2],    late[1],
                                         early[3], late[2],  early[4], foreign_key, early[5],
                                         late[3],  late[4],  early[6]};
  SplitPostData split = SplitByTime(Statements(dump), {}, {{{"s", "t"}, {"t_pkey", "t_again"}}});
  EXPECT_EQ(Texts(split.indexing), early);
  std::vector<std::string> final = {early[0]};
  final.insert(final.end(), late.begin(), late.end());
  final.push_back(foreign_key);  // behind what it refers to
  EXPECT_EQ(Texts(split.final), final);
}

TEST(PostDataTest, WhatSomethingElseNeedsCannotWait) {
  auto which = [](std::initializer_list<std::string> more) {
    std::vector<std::string> texts = {kAdd + "\"t_pkey\" PRIMARY KEY (\"id\")",
                                      kAdd + "\"t_mail\" UNIQUE (\"mail\")"};
    texts.insert(texts.end(), more);
    return UniqueThatCannotWait(Statements(texts), {"s", "t"}, {"t_pkey"});
  };
  EXPECT_EQ(which({}), "");
  EXPECT_EQ(which({"COMMENT ON CONSTRAINT \"t_mail\" ON \"s\".\"t\" IS ''",
                   "CREATE TRIGGER \"g\" AFTER INSERT ON \"s\".\"t\""}),
            "");
  EXPECT_EQ(
      which({"CREATE RULE \"r\" AS ON INSERT TO \"s\".\"v\" DO INSTEAD INSERT INTO \"s\".\"t\" "
             "VALUES (1) ON CONFLICT ON CONSTRAINT \"t_mail\" DO NOTHING"}),
      "t_mail");
  // A view may group by the primary key, and does not say so.
  EXPECT_EQ(UniqueThatCannotWait(Statements({kAdd + "\"t_pkey\" PRIMARY KEY (\"id\")"}), {"s", "t"},
                                 {"t_other"}),
            "t_pkey");
}

TEST(PostDataTest, WhereNothingIsLeftForLaterNoSettingIsEither) {
  SplitPostData split =
      SplitByTime(Statements({"SET x = 1", "CREATE INDEX \"i\" ON \"s\".\"t\" (a)"}), {}, {});
  EXPECT_EQ(split.indexing.size(), 2u);
  EXPECT_TRUE(split.final.empty());
}

}  // namespace
}  // namespace towline

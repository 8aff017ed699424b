// Targets and their statements: what is written how, and what does not fit.
#include "apply/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apply/copy_in.h"
#include "apply/set_statement.h"
#include "apply/statement.h"
#include "base/error.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

constexpr Oid kCitext = 20000;

Column SourceColumn(const std::string& name, const std::string& type, bool is_in_key) {
  Column column;
  column.name = name;
  column.type_schema = "pg_catalog";
  column.type_name = type;
  column.is_in_key = is_in_key;
  return column;
}

// A relation and a table that fits it: id int4 (key), a text, n numeric, j json.
class TargetTest : public testing::Test {
 protected:
  TargetTest() {
    relation_.name = {"s", "t"};
    relation_.columns = {SourceColumn("id", "int4", true), SourceColumn("a", "text", false),
                         SourceColumn("n", "numeric", false), SourceColumn("j", "json", false)};
    table_.oid = 4711;
    table_.name = relation_.name;
    for (const Column& column : relation_.columns) {
      TableColumn there;
      there.name = column.name;
      there.type_oid = 100 + static_cast<Oid>(table_.columns.size());
      there.type_schema = column.type_schema;
      there.type_name = column.type_name;
      there.has_equality = column.type_name != "json";
      table_.columns.push_back(there);
    }
    table_.columns[0].is_not_null = true;
    table_.unique_indexes.push_back({"t_pkey", {"id"}, true, false, false, false, true});
  }

  absl::StatusOr<Target> Make(bool overwrites = false) {
    relation_.sent.clear();
    relation_.key.clear();
    for (size_t i = 0; i < relation_.columns.size(); ++i) {
      if (relation_.columns[i].is_sent) relation_.sent.push_back(static_cast<int>(i));
      if (relation_.columns[i].is_in_key) relation_.key.push_back(static_cast<int>(i));
    }
    return MakeTarget(relation_, table_, catalog_, overwrites, true, &rule_);
  }
  void MakeFull() {
    relation_.replica_identity = ReplicaIdentity::kFull;
    for (Column& column : relation_.columns) column.is_in_key = true;
  }
  std::string Sql(const Target& target, Action action, OldImage old_image = OldImage::kNone) {
    StatementShape shape;
    shape.action = action;
    shape.old_image = old_image;
    return BuildStatement(target, shape).sql;
  }

  Relation relation_;
  Table table_;
  TargetCatalog catalog_;
  TableRule rule_;
};

// The rule adds column o, which is the same for all rows of the task.
TEST_F(TargetTest, SharedTableIsWrittenWithinItsOwnRows) {
  relation_.columns.push_back(SourceColumn("o", "text", false));
  TableColumn there = table_.columns[1];
  there.name = "o";
  table_.columns.push_back(there);
  rule_.table = table_.name;
  rule_.shared = "o";
  rule_.shared_value = "it's";
  const std::string own = R"("o" OPERATOR(pg_catalog.=) 'it''s')";
  EXPECT_THAT(Make().status().message(), HasSubstr("unique index \"t_pkey\" without column \"o\""));
  table_.unique_indexes[0].columns = {"o"};
  EXPECT_THAT(Make().status().message(), HasSubstr("no unique index on its key"));
  table_.unique_indexes[0].columns = {"o", "id"};
  Target target = Make().value();
  EXPECT_TRUE(target.is_key_unique);
  EXPECT_TRUE(target.can_copy);
  EXPECT_EQ(Sql(target, Action::kDelete), R"(DELETE FROM ONLY "s"."t" WHERE "id" = $1 AND )" + own);
  EXPECT_THAT(Sql(target, Action::kUpdate), HasSubstr(R"( WHERE "id" = $6 AND )" + own));
  EXPECT_THAT(Sql(target, Action::kOverwrite), HasSubstr(R"(ON CONFLICT ("id","o") DO UPDATE)"));
  EXPECT_THAT(Sql(target, Action::kInsertMissing),
              HasSubstr(R"(ON CONFLICT ("id","o") DO NOTHING)"));
  EXPECT_THAT(Sql(target, Action::kReplace), HasSubstr(own + " RETURNING"));
  EXPECT_EQ(Sql(target, Action::kDeleteOccupant),
            R"(DELETE FROM ONLY "s"."t" WHERE "id" = $1 AND )" + own +
                R"( AND NOT ("id" = $2 AND )" + own + ")");
  UniqueKey key;
  key.expressions = key.columns = {"\"a\""};
  key.equals = {"="};
  StatementShape shape;
  shape.action = Action::kDeleteOccupants;
  shape.occupied = &key;
  EXPECT_THAT(BuildStatement(target, shape).sql,
              HasSubstr("EXISTS (SELECT FROM wanted) AND there." + own));
  SetShape set;
  set.kind = ChangeKind::kDelete;
  EXPECT_THAT(BuildSetStatement(target, set).sql, HasSubstr("AND d." + own));
  set.kind = ChangeKind::kUpdate;
  EXPECT_THAT(BuildSetStatement(target, set).sql, HasSubstr("AND d." + own));
  table_.unique_indexes.clear();
  MakeFull();
  target = Make().value();
  EXPECT_EQ(target.matching, Matching::kExact);
  EXPECT_THAT(Sql(target, Action::kDelete, OldImage::kFull), HasSubstr(own + " LIMIT 1)"));
  set.kind = ChangeKind::kDelete;
  EXPECT_THAT(BuildSetStatement(target, set).sql, HasSubstr("AND d." + own + ") AS m"));
  rule_.shared = "gone";
  EXPECT_THAT(Make().status().message(), HasSubstr("gets no value for column \"gone\""));
}

TEST_F(TargetTest, PlainTable) {
  Target target = Make().value();
  EXPECT_EQ(target.matching, Matching::kKey);
  EXPECT_TRUE(target.can_copy);
  EXPECT_TRUE(target.can_fold);
  EXPECT_EQ(BuildCopy(target),
            "COPY \"s\".\"t\" (\"id\",\"a\",\"n\",\"j\") FROM STDIN (FORMAT binary)");
  EXPECT_EQ(Sql(target, Action::kInsert),
            "INSERT INTO \"s\".\"t\" (\"id\",\"a\",\"n\",\"j\") VALUES ($1,$2,$3,$4)");
  EXPECT_EQ(Sql(target, Action::kUpdate),
            "UPDATE ONLY \"s\".\"t\" SET \"id\"=$1,\"a\"=$2,\"n\"=$3,\"j\"=$4 WHERE \"id\" = $5");
  EXPECT_EQ(Sql(target, Action::kDelete, OldImage::kKey),
            "DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" = $1");
}

TEST_F(TargetTest, ParametersSayWhereTheirValuesStand) {
  Target target = Make().value();
  StatementShape shape;
  shape.action = Action::kUpdate;
  shape.old_image = OldImage::kKey;
  shape.is_unchanged = {false, true, false, true};
  Statement statement = BuildStatement(target, shape);
  EXPECT_EQ(statement.sql, "UPDATE ONLY \"s\".\"t\" SET \"id\"=$1,\"n\"=$2 WHERE \"id\" = $3");
  ASSERT_EQ(statement.params.size(), 3u);
  EXPECT_EQ(statement.params[1].field, 2);
  EXPECT_FALSE(statement.params[1].is_old);
  EXPECT_EQ(statement.params[1].type_oid, 102u);
  EXPECT_TRUE(statement.params[2].is_old);
  EXPECT_EQ(statement.params[2].field, 0);
}

TEST_F(TargetTest, FullIdentityTakesTheDestinationsKeyIfThereIsOne) {
  MakeFull();
  EXPECT_EQ(Make().value().matching, Matching::kKey);
  EXPECT_EQ(Sql(*Make(), Action::kDelete, OldImage::kFull),
            "DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" = $1");
  // None of these holds one row per key.
  for (bool UniqueIndex::*flag : {&UniqueIndex::is_partial, &UniqueIndex::is_deferrable}) {
    table_.unique_indexes[0].*flag = true;
    EXPECT_EQ(Make().value().matching, Matching::kExact);
    table_.unique_indexes[0].*flag = false;
  }
  table_.unique_indexes[0].is_null_free = false;
  EXPECT_EQ(Make().value().matching, Matching::kExact);
}

TEST_F(TargetTest, FullIdentityWithoutKeyHitsOneOfEqualRows) {
  MakeFull();
  table_.unique_indexes.clear();
  Target target = Make().value();
  EXPECT_EQ(target.matching, Matching::kExact);
  StatementShape shape;
  shape.action = Action::kDelete;
  shape.old_image = OldImage::kFull;
  shape.is_null = {false, true, false, false};
  EXPECT_EQ(BuildStatement(target, shape).sql,
            "DELETE FROM ONLY \"s\".\"t\" WHERE ctid = (SELECT ctid FROM ONLY \"s\".\"t\" WHERE "
            "\"id\" = $1 AND \"a\" IS NULL AND \"n\" = $2 AND "
            "ROW(\"n\",\"j\")::pg_catalog.record *= ROW($2,$3)::pg_catalog.record LIMIT 1)");
  table_.kind = 'p';
  EXPECT_THAT(Sql(Make().value(), Action::kDelete, OldImage::kFull),
              HasSubstr("DELETE FROM \"s\".\"t\" WHERE (tableoid, ctid) = (SELECT tableoid, ctid"));
}

TEST_F(TargetTest, StagedValuesAreNoParameters) {
  Target target = Make().value();
  StatementShape shape;
  shape.action = Action::kUpdate;
  shape.staged_new = {"", "(x)", "", "(y)"};
  Statement statement = BuildStatement(target, shape);
  EXPECT_EQ(statement.sql,
            "UPDATE ONLY \"s\".\"t\" SET \"id\"=$1,\"a\"=(x),\"n\"=$2,\"j\"=(y) WHERE \"id\" = $3");
  ASSERT_EQ(statement.params.size(), 3u);
  EXPECT_EQ(statement.params[1].field, 2);
  EXPECT_EQ(statement.params[1].column, 2);
}

TEST_F(TargetTest, StoredFormsOfLargeValuesAreComparedOneByOne) {
  MakeFull();
  table_.unique_indexes.clear();
  StatementShape shape;
  shape.action = Action::kDelete;
  shape.old_image = OldImage::kFull;
  shape.staged_old = {"", "", "", "(y)"};
  EXPECT_THAT(BuildStatement(Make().value(), shape).sql,
              HasSubstr("ROW(\"n\")::pg_catalog.record *= ROW($3)::pg_catalog.record AND "
                        "ROW(\"j\")::pg_catalog.record *= ROW((y))::pg_catalog.record"));
}

TEST_F(TargetTest, OperatorsOfExtensionsAreNamed) {
  relation_.columns[0].type_schema = table_.columns[0].type_schema = "public";
  relation_.columns[0].type_name = table_.columns[0].type_name = "citext";
  table_.columns[0].type_oid = kCitext;
  catalog_.equals[kCitext] = "OPERATOR(\"public\".=)";
  EXPECT_EQ(Sql(Make().value(), Action::kDelete, OldImage::kKey),
            "DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" OPERATOR(\"public\".=) $1");
}

TEST_F(TargetTest, WithoutIdentityNothingMatches) {
  relation_.columns[0].is_in_key = false;
  EXPECT_EQ(Make().value().matching, Matching::kNone);
  relation_.columns[0].is_in_key = true;
  relation_.replica_identity = ReplicaIdentity::kNothing;
  EXPECT_EQ(Make().value().matching, Matching::kNone);
}

TEST(MayFoldTest, TheNearestTableThatSaysSomethingDecides) {
  const std::map<TableName, bool> folds = {{{"s", "root"}, false}, {{"s", "middle"}, true}};
  EXPECT_TRUE(MayFold(folds, {"s", "other"}, {}));
  EXPECT_FALSE(MayFold(folds, {"s", "root"}, {}));
  EXPECT_FALSE(MayFold(folds, {"s", "leaf"}, {{"s", "root"}}));
  EXPECT_TRUE(MayFold(folds, {"s", "leaf"}, {{"s", "middle"}, {"s", "root"}}));
}

TEST_F(TargetTest, FoldingLooksForWhatMayBeInTheWay) {
  EXPECT_TRUE(Make().value().can_fold);
  EXPECT_FALSE(Make().value().replaces);
  table_.has_always_triggers = true;
  EXPECT_FALSE(Make().value().can_fold);
  EXPECT_FALSE(Make().value().can_copy);
  EXPECT_TRUE(Make().value().keeps_order);
  table_.has_always_triggers = false;
  EXPECT_TRUE(Make().value().can_copy);
  EXPECT_TRUE(Make().value().may_clash);
  EXPECT_FALSE(Make().value().keeps_rows);
  catalog_.has_foreign_triggers.insert(table_.oid);
  EXPECT_TRUE(Make().value().keeps_rows);
  EXPECT_TRUE(Make().value().can_fold);
  catalog_.has_foreign_triggers.clear();
  TableColumn own;
  own.name = "own";
  table_.columns.push_back(own);
  EXPECT_TRUE(Make().value().can_fold);
  EXPECT_TRUE(Make().value().keeps_rows);
  table_.kind = 'p';  // its partitions may have unique indexes of their own
  EXPECT_TRUE(Make().value().replaces);
  EXPECT_FALSE(Make().value().may_clash);
  // A row that is made anew would lose what only the destination has.
  EXPECT_FALSE(Make().value().can_fold);
  table_.columns.pop_back();
  EXPECT_TRUE(Make().value().can_fold);
}

TEST_F(TargetTest, UpdatesThatDoNotTellWhatTheyChangeAreReplaced) {
  table_.columns[2].identity = 'a';
  table_.unique_indexes.push_back({"t_a", {"a"}, false, false, false, false, false});
  EXPECT_TRUE(Make().value().replaces);
  EXPECT_FALSE(Make().value().may_clash);
}

class SetStatementTest : public TargetTest {
 protected:
  SetStatementTest() {
    for (Oid type : {100, 101, 102, 103}) catalog_.arrays[type] = {type + 1000, ','};
  }
  static std::string Sql(const Target& target, ChangeKind kind,
                         std::vector<bool> is_unchanged = {}) {
    SetShape shape;
    shape.kind = kind;
    shape.is_unchanged = std::move(is_unchanged);
    return BuildSetStatement(target, shape).sql;
  }
};

TEST_F(SetStatementTest, RowsComeAsArrays) {
  const Target target = Make().value();
  EXPECT_EQ(Sql(target, ChangeKind::kDelete),
            "DELETE FROM ONLY \"s\".\"t\" AS d USING unnest($1) AS s(c1) WHERE d.\"id\" = ANY "
            "(ARRAY[s.c1])");
  EXPECT_EQ(Sql(target, ChangeKind::kUpdate),
            "UPDATE ONLY \"s\".\"t\" AS d SET \"a\"=s.c2,\"n\"=s.c3,\"j\"=s.c4 FROM "
            "unnest($1,$2,$3,$4) AS s(c1,c2,c3,c4) WHERE d.\"id\" = ANY (ARRAY[s.c1])");
  EXPECT_EQ(Sql(target, ChangeKind::kUpdate, {false, true, false, true}),
            "UPDATE ONLY \"s\".\"t\" AS d SET \"n\"=s.c2 FROM unnest($1,$2) AS s(c1,c2) WHERE "
            "d.\"id\" = ANY (ARRAY[s.c1])");
  EXPECT_EQ(Sql(target, ChangeKind::kInsert),
            "INSERT INTO \"s\".\"t\" (\"id\",\"a\",\"n\",\"j\") SELECT s.c1,s.c2,s.c3,s.c4 FROM "
            "unnest($1,$2,$3,$4) AS s(c1,c2,c3,c4)");
  SetShape shape;
  shape.kind = ChangeKind::kUpdate;
  EXPECT_EQ(BuildSetStatement(target, shape).types, (std::vector<Oid>{1100, 1101, 1102, 1103}));
}

TEST_F(SetStatementTest, SetsNeedArraysAndAnIndex) {
  EXPECT_TRUE(CanDeleteSet(*Make()));
  EXPECT_TRUE(CanUpdateSet(*Make(), {}));
  EXPECT_FALSE(CanUpdateSet(*Make(), {true, true, true, true}));  // there is nothing to write
  catalog_.arrays.erase(103);
  EXPECT_FALSE(CanInsertSet(*Make()));
  EXPECT_FALSE(CanUpdateSet(*Make(), {}));
  EXPECT_TRUE(CanUpdateSet(*Make(), {false, false, false, true}));
  table_.unique_indexes.clear();
  EXPECT_FALSE(CanDeleteSet(*Make()));
}

TEST_F(SetStatementTest, EqualRowsGoByTheirNumber) {
  MakeFull();
  table_.unique_indexes.clear();
  SetShape shape;
  shape.kind = ChangeKind::kDelete;
  shape.is_null = {false, true, false, false};
  EXPECT_TRUE(CanDeleteEqualRows(*Make(), shape.is_null));
  EXPECT_EQ(
      BuildSetStatement(*Make(), shape).sql,
      "DELETE FROM ONLY \"s\".\"t\" WHERE ctid = ANY (ARRAY(SELECT m.ctid FROM (SELECT d.ctid, "
      "s.c4 AS meant, pg_catalog.row_number() OVER (PARTITION BY s.ord) AS number FROM ONLY "
      "\"s\".\"t\" AS d, unnest($1,$2,$3,$4) WITH ORDINALITY AS s(c1,c2,c3,c4,ord) WHERE "
      "d.\"id\" = s.c1 AND d.\"a\" IS NULL AND d.\"n\" = s.c2 AND ROW(d.\"n\",d.\"j\")"
      "::pg_catalog.record *= ROW(s.c2,s.c3)::pg_catalog.record) AS m WHERE m.number <= "
      "m.meant))");
  // Nothing that a hash or an index could take.
  shape.is_null = {true, true, true, false};
  EXPECT_FALSE(CanDeleteEqualRows(*Make(), shape.is_null));
}

TEST_F(TargetTest, GeneratedColumnsOfTheDestinationAreNotWritten) {
  table_.columns[1].generated = 's';
  Target target = Make().value();
  EXPECT_FALSE(target.can_copy);
  EXPECT_EQ(Sql(target, Action::kInsert),
            "INSERT INTO \"s\".\"t\" (\"id\",\"n\",\"j\") VALUES ($1,$2,$3)");
}

TEST_F(TargetTest, TextColumnsKeepARowFromCopy) {
  relation_.columns[3].format = ValueFormat::kText;
  EXPECT_FALSE(Make().value().can_copy);
}

TEST_F(TargetTest, AlwaysIdentityIsNeverSet) {
  table_.columns[0].identity = 'a';
  Target target = Make().value();
  EXPECT_TRUE(target.can_fold);
  EXPECT_THAT(Sql(target, Action::kUpdate), HasSubstr("SET \"a\"=$1"));
  EXPECT_THAT(Sql(target, Action::kInsert), HasSubstr("OVERRIDING SYSTEM VALUE"));
  table_.columns[0].identity = '\0';
  table_.columns[2].identity = 'a';  // outside the key an UPDATE does not tell whether it changed
  TableColumn extra = table_.columns[1];
  extra.name = "extra";
  table_.columns.push_back(extra);
  target = Make().value();
  EXPECT_FALSE(target.can_fold);
  EXPECT_EQ(Sql(target, Action::kReplace),
            "WITH gone AS (DELETE FROM ONLY \"s\".\"t\" WHERE \"id\" = $1 RETURNING *) INSERT INTO "
            "\"s\".\"t\" (\"id\",\"a\",\"n\",\"j\",\"extra\") OVERRIDING SYSTEM VALUE SELECT "
            "$2,$3,$4,$5,gone.\"extra\" FROM gone");
}

TEST_F(TargetTest, UpdateThatWritesNothingLooksForItsRow) {
  Target target = Make().value();
  StatementShape shape;
  shape.action = Action::kUpdate;
  shape.is_unchanged = {true, true, true, true};
  EXPECT_EQ(BuildStatement(target, shape).sql,
            "SELECT FROM ONLY \"s\".\"t\" WHERE \"id\" = $1 FOR UPDATE");
}

TEST_F(TargetTest, AppendedTablesOverwriteByTheirKey) {
  EXPECT_EQ(
      Sql(Make(true).value(), Action::kOverwrite),
      "INSERT INTO \"s\".\"t\" (\"id\",\"a\",\"n\",\"j\") VALUES ($1,$2,$3,$4) ON CONFLICT "
      "(\"id\") DO UPDATE SET \"id\"=EXCLUDED.\"id\",\"a\"=EXCLUDED.\"a\",\"n\"=EXCLUDED.\"n\","
      "\"j\"=EXCLUDED.\"j\"");
  table_.unique_indexes.clear();
  EXPECT_FALSE(Make(true).value().overwrites);
}

TEST_F(TargetTest, NamesAreQuoted) {
  relation_.name = table_.name = {"S \"x", "select"};
  relation_.columns[0].name = table_.columns[0].name = "Id\"; --";
  table_.unique_indexes.clear();
  EXPECT_EQ(Sql(Make().value(), Action::kDelete, OldImage::kKey),
            "DELETE FROM ONLY \"S \"\"x\".\"select\" WHERE \"Id\"\"; --\" = $1");
}

TEST_F(TargetTest, ValuesOfAnotherTypeAreReadAsTheSourcesAndCast) {
  constexpr Oid kInt4 = 23;
  relation_.columns[0].type_oid = kInt4;
  table_.columns[0].type_name = "int8";
  table_.columns[0].type_text = "bigint";
  // What the source has made of its rows since the copy is not known.
  EXPECT_EQ(Make().status().code(), absl::StatusCode::kFailedPrecondition);
  catalog_.copied[{relation_.name, "id"}] = {"pg_catalog", "int2", -1};
  EXPECT_EQ(Make().status().code(), absl::StatusCode::kFailedPrecondition);
  catalog_.copied[{relation_.name, "id"}] = {"pg_catalog", "int4", -1};
  Target target = Make().value();
  EXPECT_FALSE(target.can_copy);
  EXPECT_TRUE(target.can_fold);
  StatementShape shape;
  shape.action = Action::kUpdate;
  Statement statement = BuildStatement(target, shape);
  EXPECT_EQ(statement.sql,
            "UPDATE ONLY \"s\".\"t\" SET \"id\"=$1::bigint,\"a\"=$2,\"n\"=$3,\"j\"=$4 WHERE "
            "\"id\" = $5::bigint");
  EXPECT_EQ(statement.params[0].type_oid, kInt4);
  shape.staged_new = {"(SELECT v0 FROM staging)", "", "", ""};
  EXPECT_THAT(BuildStatement(target, shape).sql,
              HasSubstr("\"id\"=(SELECT v0 FROM staging)::bigint,"));
  // As they are: the bytes of a text are those of a label.
  table_.columns[0].type_name = "int4";
  table_.columns[1].type_kind = 'e';
  table_.columns[1].type_name = "mood";
  catalog_.copied[{relation_.name, "a"}] = {"pg_catalog", "text", -1};
  EXPECT_TRUE(Make()->can_copy);
  EXPECT_EQ(Make()->columns[1].type_oid, 101u);
}

TEST_F(TargetTest, WhatDoesNotFitNamesTheStatementThatMendsIt) {
  auto expect = [this](const std::string& text, const std::string& hint) {
    absl::Status status = Make().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
    EXPECT_THAT(GetHint(status), HasSubstr(hint));
  };
  constexpr int32_t kNumeric10_2 = ((10 << 16) | 2) + 4;
  relation_.columns[2].typmod = kNumeric10_2;
  EXPECT_TRUE(Make().ok());  // no modifier there keeps every value
  table_.columns[2].typmod = ((10 << 16) | 1) + 4;
  expect("\"n\" has type", "TYPE pg_catalog.\"numeric\"(10,2);");
  table_.columns[2].typmod = -1;
  table_.columns[1].type_name = "bytea";
  expect("\"a\" has type", "the very statement that was run at the source, with its USING");
  expect("\"a\" has type", "TYPE pg_catalog.\"text\"");
  table_.columns[1].type_name = "varchar";
  relation_.columns[1].type_name = "varchar";
  relation_.columns[1].typmod = 14;
  table_.columns[1].typmod = 24;
  EXPECT_TRUE(Make().ok());  // wider
  table_.columns[1].typmod = 13;
  expect("\"a\" has type", "(10)");
  relation_.columns[1].generated = 's';
  relation_.columns[1].is_sent = false;
  expect("generated at the source", "DROP COLUMN \"a\"");
  table_.columns.erase(table_.columns.begin() + 1);
  EXPECT_TRUE(Make().ok());
  table_.columns.pop_back();
  expect("\"j\" is missing", "ADD COLUMN \"j\"");
  expect("\"j\" is missing", "the very statement that was run at the source, with its DEFAULT");
  table_.oid = 0;
  expect("does not exist", "Create it");
}

TEST_F(TargetTest, AnotherShapeOfTheSourceIsNoticed) {
  for (size_t i = 0; i < relation_.columns.size(); ++i) {
    relation_.columns[i].attnum = static_cast<int>(i + 1);
  }
  relation_.oid = 900;
  Relation now = relation_;
  now.columns[1].typmod = 5;
  EXPECT_TRUE(CheckRedescription(relation_, now, table_).ok());  // MakeTarget looks at types
  now.columns.erase(now.columns.begin() + 1);
  absl::Status dropped = CheckRedescription(relation_, now, table_);
  EXPECT_THAT(GetHint(dropped), HasSubstr("DROP COLUMN \"a\""));
  now = relation_;
  std::swap(now.columns[1].name, now.columns[2].name);
  EXPECT_THAT(GetHint(CheckRedescription(relation_, now, table_)),
              HasSubstr("RENAME COLUMN \"a\" TO \"n\""));
  now = relation_;
  now.columns[1].name = "b";
  table_.columns[1].name = "b";
  EXPECT_TRUE(CheckRedescription(relation_, now, table_).ok());  // renamed there as well
  now.oid = 901;
  EXPECT_EQ(CheckRedescription(relation_, now, table_).code(),
            absl::StatusCode::kFailedPrecondition);
  now.kind = 'p';
  EXPECT_TRUE(CheckRedescription(relation_, now, table_).ok());
}

TEST_F(TargetTest, ColumnsThatARuleAddsAreToldApartByTheirNames) {
  relation_.oid = 900;
  for (size_t i = 0; i < relation_.columns.size(); ++i) {
    relation_.columns[i].attnum = i < 2 ? static_cast<int>(i) + 1 : 0;
  }
  Relation now = relation_;
  now.columns[1].is_not_null = true;
  EXPECT_TRUE(CheckRedescription(relation_, now, table_).ok());
}

TEST(CopyContextTest, LineIsFound) {
  EXPECT_EQ(LineOfCopyContext("COPY orders, line 12"), 12u);
  EXPECT_EQ(LineOfCopyContext("COPY orders, line 12, column id"), 12u);
  EXPECT_EQ(LineOfCopyContext("COPY odd, line 3 name, line 7\nPL/pgSQL function f() line 3"), 7u);
  EXPECT_EQ(LineOfCopyContext("SQL statement"), 0u);
  EXPECT_EQ(LineOfCopyContext(""), 0u);
}

}  // namespace
}  // namespace towline

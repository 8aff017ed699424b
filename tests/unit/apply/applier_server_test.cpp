// Applier against a real server: TOWLINE_TEST_DESTINATION=URI of a database that the tests may
// empty, as a role that may do everything. Without it these tests do not exist; with it they fail
// if the server cannot be reached.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "apply/mirror.h"
#include "base/error.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> Destinations() {
  const char* uri = std::getenv("TOWLINE_TEST_DESTINATION");
  return uri != nullptr ? std::vector<std::string>{uri} : std::vector<std::string>{};
}

class ApplierServerTest : public testing::TestWithParam<std::string> {
 protected:
  void ApplyAll() {
    absl::Status status = mirror_.ApplyRecorded();
    ASSERT_TRUE(status.ok()) << Describe(status);
  }
  void ExpectEqual(const std::string& table) {
    EXPECT_EQ(mirror_.Rows("dst", table), mirror_.Rows("src", table)) << table;
  }
  // The next batch must be refused as a conflict of this type, and leave nothing behind but a note.
  void ExpectConflict(const std::string& type, const std::string& key_values) {
    std::string position = mirror_.Value("SELECT position FROM towline_state.task");
    absl::Status status = mirror_.ApplyRecorded();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(type));
    mirror_.Restart();
    EXPECT_EQ(mirror_.Value("SELECT position FROM towline_state.task"), position);
    EXPECT_EQ(mirror_.Value("SELECT type || ' ' || table_name || ' ' || resolution FROM "
                            "towline_state.conflict ORDER BY number DESC LIMIT 1"),
              type + " t stop");
    EXPECT_EQ(mirror_.Value("SELECT key_values FROM towline_state.conflict ORDER BY number DESC "
                            "LIMIT 1"),
              key_values);
  }

  Mirror mirror_{GetParam()};
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ApplierServerTest);
INSTANTIATE_TEST_SUITE_P(Server, ApplierServerTest, testing::ValuesIn(Destinations()));

TEST_P(ApplierServerTest, RowsOfManyTypesByCopyAndByStatements) {
  mirror_.Create("t",
                 "(id int PRIMARY KEY, a text, b numeric, c jsonb, d bytea, e timestamptz, "
                 "f int[], g uuid, h float8, i json, j point)");
  mirror_.Record("t", {"jsonb", "point"});
  mirror_.Create("u", "(id int PRIMARY KEY, a text, b numeric, d bytea)");
  mirror_.Record("u");
  for (const char* range : {"1, 3", "4, 500"}) {  // statements, COPY
    mirror_.Source(absl::StrCat(
        "INSERT INTO t SELECT g, CASE WHEN g % 3 > 0 THEN 'text ' || g ELSE '' END, g * 1.10, "
        "jsonb_build_object('k', g), decode(md5(g::text), 'hex'), now(), ARRAY[g, NULL, 3], "
        "md5(g::text)::uuid, g / 7.0::float8, '{\"a\":  1}', point(g, 1) FROM generate_series(",
        range, ") g; INSERT INTO u SELECT g, NULLIF('x' || g, 'x5'), g, '' FROM generate_series(",
        range, ") g"));
    ApplyAll();
    ExpectEqual("t");
    ExpectEqual("u");
  }
  mirror_.Source(
      "UPDATE t SET a = NULL, c = '{}', j = '(9,9)' WHERE id % 2 = 0; "
      "DELETE FROM u WHERE id < 100; UPDATE u SET id = id + 10000");
  ApplyAll();
  ExpectEqual("t");
  ExpectEqual("u");
  EXPECT_EQ(mirror_.applier().counts().batches, 3);
}

TEST_P(ApplierServerTest, KeysThatSwapAndReturn) {
  mirror_.Create("t", "(id int PRIMARY KEY, a text UNIQUE)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t VALUES (1, 'one'), (2, 'two')");
  mirror_.Source(
      "UPDATE t SET id = -1 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2; "
      "UPDATE t SET id = 2 WHERE id = -1; UPDATE t SET a = 'x' WHERE id = 1; "
      "UPDATE t SET a = 'two' WHERE id = 2; UPDATE t SET a = 'one' WHERE id = 1; "
      "DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2, 'new')");
  ApplyAll();
  ExpectEqual("t");
}

TEST_P(ApplierServerTest, UnchangedToastStays) {
  mirror_.Create("t", "(id int PRIMARY KEY, a text, b text, n int)");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t SELECT g, repeat(md5(g::text), 100), repeat('b', 5000), 0 "
      "FROM generate_series(1, 50) g");
  ApplyAll();
  mirror_.Source(
      "UPDATE t SET n = 1 WHERE id < 20; UPDATE t SET n = 2, a = 'short' WHERE id = 7; "
      "UPDATE t SET id = 107 WHERE id = 7; UPDATE t SET n = n + 1; "
      "UPDATE t SET b = NULL WHERE id = 30; UPDATE t SET n = 7 WHERE id = 30");
  ApplyAll();
  ExpectEqual("t");
}

TEST_P(ApplierServerTest, FullIdentityIsExactAsAMultiset) {
  mirror_.Create("t", "(a int, b numeric, c json, d point, e text)");
  mirror_.Sql("ALTER TABLE src.t REPLICA IDENTITY FULL");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t SELECT g % 3, 1.0, '{}', '(1,2)', NULLIF('e' || g % 2, 'e1') "
      "FROM generate_series(1, 60) g; INSERT INTO t VALUES (1, 1.00, '{ }', NULL, 'e0')");
  ApplyAll();
  ExpectEqual("t");
  // One of several equal rows, by ctid at the source.
  for (const char* statement :
       {"DELETE FROM t WHERE ctid IN (SELECT ctid FROM t WHERE a = 1 LIMIT 3)",
        "UPDATE t SET b = 2.50 WHERE ctid IN (SELECT ctid FROM t WHERE a = 2 LIMIT 4)",
        "UPDATE t SET a = a", "DELETE FROM t WHERE b::text = '1.00'",
        "UPDATE t SET e = 'was null', d = NULL WHERE e IS NULL", "UPDATE t SET d = '(3,4)'"}) {
    mirror_.Source(statement);
    ApplyAll();
    ExpectEqual("t");
  }
}

// Types with equality of their own, with one that takes different bytes for equal, and with none.
TEST_P(ApplierServerTest, FullIdentityOfManyTypes) {
  mirror_.Sql(
      "CREATE EXTENSION IF NOT EXISTS citext SCHEMA public; "
      "CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public; "
      "DROP TYPE IF EXISTS public.mood, public.pair, public.shy CASCADE; "
      "CREATE TYPE public.mood AS ENUM ('sad', 'glad'); "
      "CREATE TYPE public.pair AS (a int, j json); CREATE DOMAIN public.shy AS public.citext");
  const char* kTypes[][3] = {{"citext", "'Ab'", "'aB'"},
                             {"shy", "'Ab'", "'aB'"},
                             {"hstore", "'a=>1'", "'a=>2'"},
                             {"mood", "'sad'", "'glad'"},
                             {"pair", "'(1,\"{}\")'", "'(1,\"{ }\")'"},
                             {"json[]", "ARRAY['{}'::json]", "ARRAY['{ }'::json]"},
                             {"citext[]", "ARRAY['Ab']", "ARRAY['aB']"},
                             {"numeric", "1.0", "1.00"},
                             {"numeric[]", "ARRAY[1.0]", "ARRAY[1.00]"},
                             {"numrange", "'[1.0,2)'", "'[1.00,2)'"},
                             {"int4multirange", "'{[1,2)}'", "'{[1,3)}'"},
                             {"interval", "'1 day'", "'24:00'"},
                             {"float8", "'0'", "'-0'"},
                             {"timetz", "'12:00+00'", "'13:00+01'"},
                             {"bpchar", "'a'", "'a  '"},
                             {"char(3)", "'a'", "'b'"},
                             {"varchar(5)", "'a'", "''"},
                             {"bit(3)", "'101'", "'100'"},
                             {"inet", "'10.0.0.1'", "'10.0.0.1/24'"},
                             {"box", "'(1,1),(0,0)'", "'(2,0.5),(0,0)'"},
                             {"circle", "'<(0,0),1>'", "'<(1,1),1>'"},
                             {"polygon", "'(0,0),(1,1)'", "'(1,1),(0,0)'"},
                             {"tsvector", "'a b'", "'a:1 b'"},
                             {"jsonb", "'{\"a\": 1.0}'", "'{\"a\": 1.00}'"},
                             {"xml", "'<a/>'", "'<a></a>'"},
                             {"money", "'1'", "'2'"},
                             {"\"char\"", "'a'", "'b'"},
                             {"name", "'a'", "'b'"},
                             {"pg_lsn", "'0/1'", "'0/2'"},
                             {"text COLLATE \"POSIX\"", "'a'", "'A'"},
                             {"txid_snapshot", "'1:2:'", "'1:3:'"},
                             {"jsonpath", "'$.a'", "'$.b'"}};
  int number = 0;
  for (const auto& [type, one, other] : kTypes) {
    SCOPED_TRACE(type);
    std::string table = absl::StrCat("t", ++number);
    mirror_.Create(table, absl::StrCat("(v ", type, ", n int)"));
    mirror_.Sql(absl::StrCat("ALTER TABLE src.", table, " REPLICA IDENTITY FULL"));
    mirror_.Record(table, {"jsonpath"});
    mirror_.Source(absl::StrCat("INSERT INTO ", table, " SELECT v, g FROM (VALUES (", one,
                                "::", type, "), (", other,
                                "), (NULL)) x(v), generate_series(1, 14) g; DELETE FROM ", table,
                                " WHERE n > 12 AND v::text = (", other, "::", type, ")::text"));
    ApplyAll();
    ExpectEqual(table);
    mirror_.Source(
        absl::StrCat("UPDATE ", table, " SET n = 0 WHERE v::text = (", one, "::", type,
                     ")::text; UPDATE ", table, " SET v = ", one, " WHERE n = 3; DELETE FROM ",
                     table, " WHERE ctid IN (SELECT ctid FROM ", table, " WHERE n = 0 LIMIT 5)"));
    ApplyAll();
    ExpectEqual(table);
  }
}

TEST_P(ApplierServerTest, FullIdentityUsesAKeyOfTheDestination) {
  mirror_.Create("t", "(a int, b json)");
  mirror_.Sql("ALTER TABLE src.t REPLICA IDENTITY FULL; ALTER TABLE dst.t ADD PRIMARY KEY (a)");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t SELECT g, '[1, 2]' FROM generate_series(1, 40) g; "
      "UPDATE t SET b = '{}' WHERE a > 10; UPDATE t SET a = a + 100 WHERE a > 20; "
      "DELETE FROM t WHERE a < 5");
  ApplyAll();
  ExpectEqual("t");
}

TEST_P(ApplierServerTest, PartitionedDestination) {
  mirror_.Sql(
      "CREATE TABLE src.t (a int, b text); CREATE TABLE dst.t (a int, b text) PARTITION BY "
      "RANGE (a); CREATE TABLE dst.t1 PARTITION OF dst.t FOR VALUES FROM (0) TO (50); "
      "CREATE TABLE dst.t2 PARTITION OF dst.t DEFAULT; "
      "ALTER TABLE src.t REPLICA IDENTITY FULL");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g % 100, 'x' FROM generate_series(1, 400) g");
  ApplyAll();
  mirror_.Source(
      "UPDATE t SET a = a + 30 WHERE a % 7 = 1; DELETE FROM t WHERE a % 5 = 0; "
      "UPDATE t SET b = 'y' WHERE ctid IN (SELECT ctid FROM t WHERE a = 33 LIMIT 1)");
  ApplyAll();
  ExpectEqual("t");
}

TEST_P(ApplierServerTest, IdentityColumnsKeepTheSourcesValues) {
  mirror_.Create("t",
                 "(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, "
                 "twice text GENERATED ALWAYS AS (a || a) STORED)");
  mirror_.Sql("ALTER TABLE dst.t ADD COLUMN only_here text DEFAULT 'here'");
  mirror_.Record("t");
  mirror_.Create("u",
                 "(id int PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY, a text, "
                 "long text)");
  mirror_.Sql("ALTER TABLE dst.u ADD COLUMN only_here text DEFAULT 'here'");
  mirror_.Record("u");
  mirror_.Source(
      "INSERT INTO t (a) SELECT 'a' || g FROM generate_series(1, 3) g; "
      "INSERT INTO t (id, a) OVERRIDING SYSTEM VALUE SELECT g, 'b' FROM "
      "generate_series(100, 180) g; INSERT INTO u (id, a, long) SELECT g, 'u', "
      "repeat('long', 1000) FROM generate_series(1, 5) g");
  ApplyAll();
  mirror_.Sql("UPDATE dst.t SET only_here = 'kept'; UPDATE dst.u SET only_here = 'kept'");
  mirror_.Source(
      "UPDATE t SET a = 'c' WHERE id < 110; UPDATE t SET id = DEFAULT WHERE id = 2; "
      "UPDATE u SET a = 'v'; UPDATE u SET number = DEFAULT WHERE id = 3; "
      "UPDATE u SET id = 33 WHERE id = 3; DELETE FROM t WHERE id = 3");
  ApplyAll();
  EXPECT_EQ(mirror_.Value("SELECT string_agg((id, a, twice)::text, ' ' ORDER BY id) FROM dst.t"),
            mirror_.Value("SELECT string_agg((id, a, twice)::text, ' ' ORDER BY id) FROM src.t"));
  EXPECT_EQ(
      mirror_.Value("SELECT string_agg((id, number, a, long)::text, ' ' ORDER BY id) FROM dst.u"),
      mirror_.Value("SELECT string_agg((id, number, a, long)::text, ' ' ORDER BY id) FROM src.u"));
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.u WHERE only_here <> 'kept'"), "0");
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t WHERE only_here <> 'kept'"), "0");
}

TEST_P(ApplierServerTest, GeneratedKeysFollowFromTheRow) {
  mirror_.Create("t",
                 "(\"a\"\"b\" int, b text, g text GENERATED ALWAYS AS (b || '/' || "
                 "(\"a\"\"b\" * 2)::text) STORED PRIMARY KEY, n int)");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t (\"a\"\"b\", b, n) SELECT g, repeat('b', CASE WHEN g % 2 = 0 THEN 2500 ELSE 2 "
      "END), "
      "0 FROM generate_series(1, 40) g");
  ApplyAll();
  mirror_.Source(
      "UPDATE t SET n = 1; UPDATE t SET \"a\"\"b\" = 100 WHERE \"a\"\"b\" = 7; "
      "UPDATE t SET b = 'c' WHERE \"a\"\"b\" IN (8, 9); DELETE FROM t WHERE \"a\"\"b\" > "
      "30; UPDATE t SET n = 2");
  ApplyAll();
  ExpectEqual("t");
}

TEST_P(ApplierServerTest, UpdateThatWritesNothingNeedsItsRow) {
  mirror_.Create("t", "(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t (a) VALUES (repeat('a', 5000)); UPDATE t SET a = a");
  ApplyAll();
  ExpectEqual("t");
}

TEST_P(ApplierServerTest, HotRowsAreFoldedAndEndRight) {
  mirror_.Create("t", "(id int PRIMARY KEY, n int)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g, 0 FROM generate_series(1, 3) g");
  ApplyAll();
  mirror_.Source(
      "DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE t SET n = n + 1 WHERE id = i % 3 + 1; "
      "END LOOP; END $$");
  ApplyAll();
  ExpectEqual("t");
  EXPECT_EQ(mirror_.applier().counts().updated, 300);
  // One dead version per row, not a hundred.
  EXPECT_EQ(mirror_.Value("SELECT max((ctid::text::point)[1]) <= 10 FROM dst.t"), "t");
}

TEST_P(ApplierServerTest, ForeignKeysAndTriggersDoNotLookAcrossTables) {
  mirror_.Create("parent", "(id int PRIMARY KEY)");
  mirror_.Create("t", "(id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)");
  mirror_.Sql(
      "CREATE FUNCTION dst.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
      "'no'; END $$; CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON dst.t FOR "
      "EACH ROW EXECUTE FUNCTION dst.refuse()");
  mirror_.Record("t");
  mirror_.Record("parent");
  mirror_.Source(
      "INSERT INTO parent SELECT generate_series(1, 100); INSERT INTO t SELECT g, g FROM "
      "generate_series(1, 100) g; DELETE FROM parent WHERE id < 50");
  ApplyAll();
  ExpectEqual("t");
  ExpectEqual("parent");
}

TEST_P(ApplierServerTest, TruncateIsABarrier) {
  mirror_.Create("t", "(id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a text)");
  mirror_.Create("u", "(id int PRIMARY KEY)");
  mirror_.Record("t");
  mirror_.Record("u");
  mirror_.Source(
      "INSERT INTO t (a) SELECT 'x' FROM generate_series(1, 100); INSERT INTO u VALUES "
      "(1)");
  Batch batch = mirror_.TruncateBatch({"t", "u"}, true);
  mirror_.Sql("TRUNCATE src.t, src.u RESTART IDENTITY");
  mirror_.Source("INSERT INTO t (a) VALUES ('after')");
  Batch after = mirror_.TakeBatch();
  for (Change& change : after.changes) batch.changes.push_back(change);
  batch.end_lsn = after.end_lsn;
  mirror_.Sql("SELECT nextval('dst.t_id_seq')");
  ASSERT_TRUE(mirror_.Apply(batch).ok());
  ExpectEqual("t");
  ExpectEqual("u");
  EXPECT_EQ(mirror_.Value("SELECT nextval('dst.t_id_seq')"), "1");
}

TEST_P(ApplierServerTest, TruncateOfAReferencedTableDeletes) {
  mirror_.Create("t", "(id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)");
  mirror_.Sql("CREATE TABLE dst.other (t int REFERENCES dst.t)");
  mirror_.Sql("CREATE TABLE dst.child () INHERITS (dst.t); INSERT INTO dst.child VALUES (77)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT FROM generate_series(1, 5)");
  Batch batch = mirror_.TruncateBatch({"t"}, true);
  absl::Status status = mirror_.Apply(batch);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM ONLY dst.t"), "0");
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.child"), "1");  // another table's rows
  EXPECT_EQ(mirror_.Value("SELECT nextval('dst.t_id_seq')"), "1");
}

TEST_P(ApplierServerTest, MissingAndPresentRowsAreConflicts) {
  mirror_.Create("t", "(id int PRIMARY KEY, a text, u int UNIQUE)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g, 'a', g FROM generate_series(1, 100) g");
  ApplyAll();
  mirror_.Sql("DELETE FROM dst.t WHERE id = 50");
  mirror_.Source("UPDATE t SET a = 'b' WHERE id IN (1, 50)");
  ExpectConflict("update_missing", "(\"id\")=(50)");
  mirror_.Source("DELETE FROM t WHERE id IN (50, 51)");
  ExpectConflict("delete_missing", "(\"id\")=(50)");
  mirror_.Sql("INSERT INTO dst.t VALUES (201, 'there', 201)");
  mirror_.Source("INSERT INTO t VALUES (201, 'new', 300)");
  ExpectConflict("insert_exists", "(\"id\")=(201)");
  mirror_.Sql("DELETE FROM src.t WHERE id = 201; TRUNCATE src.record_t");
  mirror_.Source("INSERT INTO t SELECT g, 'new', g FROM generate_series(150, 250) g");  // COPY
  ExpectConflict("multiple_unique_conflicts", "(\"id\")=(201)");
  mirror_.Source("UPDATE t SET u = 201 - 1000 WHERE id = 1");
  mirror_.Sql("UPDATE dst.t SET u = 201 - 1000 WHERE id = 2");
  ExpectConflict("update_exists", "(\"id\")=(1)");
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM towline_state.conflict"), "5");
  mirror_.Source("DELETE FROM t WHERE id = 50; UPDATE t SET a = 'c' WHERE id = 99");
  mirror_.Sql("DELETE FROM dst.t WHERE id = 99");
  absl::Status status = mirror_.ApplyRecorded();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("key hash"));
  // Bounded: the oldest has gone.
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM towline_state.conflict"), "5");
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM towline_state.conflict WHERE number = 1"), "0");
  EXPECT_EQ(mirror_.Value("SELECT sum(count) FROM towline_state.conflict_total"), "6");
}

TEST_P(ApplierServerTest, GoodRowsAroundABadOneGoInWithMany) {
  mirror_.Create("t", "(id int PRIMARY KEY, a text, u int UNIQUE)");
  mirror_.Record("t");
  mirror_.options.policies.conflicts.task.actions.fill(ConflictAction::kSkip);
  mirror_.Source("INSERT INTO t SELECT g, 'a', g FROM generate_series(1, 4000) g");
  ApplyAll();
  mirror_.Sql("DELETE FROM dst.t WHERE id = 1777");
  mirror_.Source("UPDATE t SET a = 'b', u = u + 10000");
  ApplyAll();
  const Applier::Counts& counts = mirror_.applier().counts();
  EXPECT_EQ(counts.conflicts, 1);
  EXPECT_EQ(counts.fallbacks, 1);
  EXPECT_LE(counts.fallback_slices, 20);
  EXPECT_LE(counts.fallback_singles, 8);
  mirror_.Sql("DELETE FROM src.t WHERE id = 1777; TRUNCATE src.record_t");
  ExpectEqual("t");
  // Afterwards batches are whole again, with statements that had been prepared before.
  mirror_.Source("UPDATE t SET a = 'c'; DELETE FROM t WHERE id < 100");
  ApplyAll();
  ExpectEqual("t");
  EXPECT_EQ(mirror_.applier().counts().fallbacks, 1);
}

TEST_P(ApplierServerTest, ChangesWithoutIdentityStop) {
  mirror_.Create("t", "(a int)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t VALUES (1)");
  ApplyAll();
  for (const char* statement : {"UPDATE t SET a = 2", "DELETE FROM t"}) {
    mirror_.Source(statement);
    absl::Status status = mirror_.ApplyRecorded();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("dst.t"));
    EXPECT_THAT(GetHint(status), HasSubstr("REPLICA IDENTITY FULL"));
    mirror_.Restart();
  }
  EXPECT_EQ(mirror_.Rows("dst", "t"), "(1)");
}

TEST_P(ApplierServerTest, ColumnsThatDoNotFitStopBeforeTheFirstRow) {
  const char* kCases[][2] = {{"ALTER TABLE dst.t DROP COLUMN a", "ADD COLUMN \"a\""},
                             {"ALTER TABLE dst.t ALTER a TYPE varchar(3)", "TYPE pg_catalog"},
                             {"ALTER TABLE dst.t ALTER n TYPE numeric(10,1)", "numeric\"(10,2)"},
                             {"ALTER TABLE dst.t ADD extra int NOT NULL", "DROP NOT NULL"},
                             {"DROP TABLE dst.t", "Create it"}};
  for (const auto& [ddl, hint] : kCases) {
    SCOPED_TRACE(ddl);
    Mirror mirror(GetParam());
    mirror.Create("t", "(id int PRIMARY KEY, a text, n numeric(10,2))");
    mirror.Record("t");
    mirror.Sql(ddl);
    mirror.Source("INSERT INTO t VALUES (1, 'a', 1.25)");
    absl::Status status = mirror.ApplyRecorded();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(GetHint(status), HasSubstr(hint));
  }
}

TEST_P(ApplierServerTest, ColumnOrderIsTheDestinationsOwn) {
  mirror_.Sql(
      "CREATE TABLE src.t (id int PRIMARY KEY, gone int, a text, b int); "
      "ALTER TABLE src.t DROP COLUMN gone; "
      "CREATE TABLE dst.t (b int, extra text, a text, id int PRIMARY KEY)");
  mirror_.Record("t");
  mirror_.Source(
      "INSERT INTO t SELECT g, 'a' || g, g * 2 FROM generate_series(1, 100) g; "
      "INSERT INTO t VALUES (200, 'x', NULL); UPDATE t SET b = 5 WHERE id = 3");
  ApplyAll();
  EXPECT_EQ(mirror_.Value("SELECT string_agg((id, a, b)::text, ' ' ORDER BY id) FROM dst.t"),
            mirror_.Value("SELECT string_agg((id, a, b)::text, ' ' ORDER BY id) FROM src.t"));
}

TEST_P(ApplierServerTest, AppendTablesGiveWay) {
  mirror_.options.policies.append_tables = {{"dst", "t"}};
  mirror_.Create("t", "(id int PRIMARY KEY, a text)");
  mirror_.Sql("INSERT INTO dst.t SELECT g, 'old' FROM generate_series(1, 60) g");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g, 'new' FROM generate_series(10, 70) g");
  ApplyAll();
  mirror_.Sql("DELETE FROM dst.t WHERE id IN (20, 21, 22)");
  mirror_.Source(
      "UPDATE t SET a = 'updated' WHERE id IN (20, 30); DELETE FROM t WHERE id = 21; "
      "UPDATE t SET id = 122 WHERE id = 22");
  ApplyAll();
  mirror_.Sql("DELETE FROM dst.t WHERE id < 10");
  ExpectEqual("t");
  EXPECT_EQ(mirror_.applier().counts().missed, 2);
}

TEST_P(ApplierServerTest, RowsThatNeverArrivedArePassedOver) {
  mirror_.options.policies.rules[{"dst", "t"}].operations.has_insert = false;
  mirror_.Create("t", "(id int PRIMARY KEY, a text)");
  mirror_.Sql("INSERT INTO src.t SELECT g, 'there' FROM generate_series(1, 6) g");
  mirror_.Sql("INSERT INTO dst.t SELECT * FROM src.t WHERE id < 4");
  mirror_.Record("t");
  mirror_.Source(
      "UPDATE t SET a = 'new'; DELETE FROM t WHERE id IN (1, 5); UPDATE t SET id = 7 WHERE id = 6");
  ApplyAll();
  mirror_.Sql("DELETE FROM src.t WHERE id > 3");
  ExpectEqual("t");
  EXPECT_GT(mirror_.applier().counts().missed, 0);
}

TEST_P(ApplierServerTest, TransactionInPartsIsSeenWholeOrNotAtAll) {
  mirror_.Create("t", "(id int PRIMARY KEY)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT generate_series(1, 50)");
  Batch first = mirror_.TakeBatch();
  mirror_.Source("INSERT INTO t SELECT generate_series(51, 53); DELETE FROM t WHERE id = 1");
  Batch last = mirror_.TakeBatch();
  first.part = BatchPart::kFirst;
  last.part = BatchPart::kLast;
  last.end_lsn = first.end_lsn;
  ASSERT_TRUE(mirror_.Apply(first).ok());
  ASSERT_TRUE(mirror_.applier().MakeDurable().ok());
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t"), "0");
  EXPECT_EQ(mirror_.applier().position().value, 1000u);
  ASSERT_TRUE(mirror_.Apply(last).ok());
  ExpectEqual("t");
  EXPECT_EQ(mirror_.applier().position(), last.end_lsn);
  EXPECT_EQ(mirror_.Value("SELECT position FROM towline_state.task"), last.end_lsn.ToString());
}

TEST_P(ApplierServerTest, AnotherWriterIsNoticedBeforeAnyRow) {
  mirror_.Create("t", "(id int PRIMARY KEY)");
  mirror_.Record("t");
  for (const char* theft : {"UPDATE towline_state.task SET position = '0/FFFF'",
                            "UPDATE towline_state.task SET position = '0/3E8', epoch = 4"}) {
    mirror_.applier();
    mirror_.Sql(theft);
    mirror_.Source("INSERT INTO t SELECT nextval('src.recorded_number')");
    EXPECT_EQ(mirror_.ApplyRecorded().code(), absl::StatusCode::kAborted);
    mirror_.Restart();
    mirror_.Sql("UPDATE towline_state.task SET position = '0/3E8', epoch = 3");
  }
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t"), "0");
}

TEST_P(ApplierServerTest, DurableFollowsPositionByTheInterval) {
  mirror_.options.durable_interval_max = absl::Hours(1);
  mirror_.Create("t", "(id int PRIMARY KEY)");
  mirror_.Record("t");
  EXPECT_EQ(mirror_.applier().durable_lsn().value, 1000u);
  mirror_.Source("INSERT INTO t VALUES (1)");
  ApplyAll();
  EXPECT_GT(mirror_.applier().position().value, 1000u);
  EXPECT_EQ(mirror_.applier().durable_lsn().value, 1000u);
  ASSERT_TRUE(mirror_.applier().MakeDurable().ok());
  EXPECT_EQ(mirror_.applier().durable_lsn().value, 1000u);
  mirror_.Restart();
  mirror_.options.durable_interval_max = absl::ZeroDuration();
  mirror_.Source("INSERT INTO t VALUES (2)");
  ApplyAll();
  EXPECT_EQ(mirror_.applier().durable_lsn(), mirror_.applier().position());
}

TEST_P(ApplierServerTest, ValuesOfManyMegabytes) {
  mirror_.Create("t", "(id int PRIMARY KEY, a bytea, b bytea)");
  mirror_.Record("t");
  mirror_.toast_bytes = 100 << 20;
  mirror_.Source(
      "INSERT INTO t SELECT g, decode(repeat('ab', 20000000), 'hex'), '' FROM "
      "generate_series(1, 3) g");
  ApplyAll();
  mirror_.Source("UPDATE t SET b = a WHERE id < 3");
  ApplyAll();
  EXPECT_EQ(mirror_.Value("SELECT string_agg(md5(a) || md5(b), '' ORDER BY id) FROM dst.t"),
            mirror_.Value("SELECT string_agg(md5(a) || md5(b), '' ORDER BY id) FROM src.t"));
}

// Every kind of statement, values that travel as text and in binary, one change's limit passed by
// one value and by several.
TEST_P(ApplierServerTest, ChangesAboveTheLimitGoInSteps) {
  mirror_.options.statement_bytes_max = 16 << 10;
  mirror_.toast_bytes = 1 << 20;
  mirror_.Create("t",
                 "(id int PRIMARY KEY, always int GENERATED ALWAYS AS IDENTITY, "
                 "a text NOT NULL CHECK (length(a) > 2), b bytea, c int[], j json, "
                 "len int GENERATED ALWAYS AS (length(a)) STORED)");
  mirror_.Record("t", {"text", "bytea", "_int4"});
  mirror_.Create("f", "(a text, b bytea, c int[], j json, n int)");
  mirror_.Sql("ALTER TABLE src.f REPLICA IDENTITY FULL");
  mirror_.Record("f", {"bytea"});
  const std::string text =
      "(SELECT string_agg(md5(g || '%'), E'\\\t\n\r') FROM "
      "generate_series(1, 400) g)";
  auto text_of = [&](const std::string& name) {
    return absl::StrCat("replace(", text, ", '%', '", name, "')");
  };
  const std::string bytes = absl::StrCat("convert_to(", text_of("b"), ", 'UTF8')");
  const std::string numbers = "(SELECT array_agg(g) FROM generate_series(1, 5000) g)";
  const std::string json = absl::StrCat("to_json(", text_of("j"), ")");
  const std::string every = absl::StrCat(text_of("a"), ",", bytes, ",", numbers, ",", json);
  for (const std::string& statement :
       {absl::StrCat("INSERT INTO t (id, a, b, c, j) VALUES (1,", every,
                     "), (2, 'short', NULL, '{}', '{}'), (3,", every, ")"),
        absl::StrCat("UPDATE t SET a = ", text_of("x"), ", b = NULL, c = ", numbers,
                     " WHERE id < 3"),
        absl::StrCat("UPDATE t SET always = DEFAULT, j = ", json, " WHERE id > 1"),
        absl::StrCat("UPDATE t SET id = id + 10, b = ", bytes),
        std::string("DELETE FROM t WHERE id = 12"),
        absl::StrCat("INSERT INTO f VALUES (", every, ", 1), (", every, ", 1), (NULL,", bytes,
                     ", NULL, ", json, ", 1)"),
        std::string(
            "UPDATE f SET n = 2 WHERE ctid = (SELECT max(ctid) FROM f WHERE a IS NOT NULL)"),
        absl::StrCat("UPDATE f SET j = ", json, ", a = ", text_of("y"), " WHERE a IS NULL"),
        std::string("DELETE FROM f WHERE n = 2"), std::string("UPDATE f SET n = 3"),
        std::string("DELETE FROM f WHERE ctid = (SELECT min(ctid) FROM f)")}) {
    mirror_.Source(statement);
    ApplyAll();
    ExpectEqual("t");
    ExpectEqual("f");
  }
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM pg_class WHERE relname LIKE 'large%'"), "0");
}

TEST_P(ApplierServerTest, LargeValuesThatFullSaysAreUnchangedAreNotWritten) {
  mirror_.Create("t", "(id int PRIMARY KEY, a text, n int)");
  mirror_.Sql("ALTER TABLE src.t REPLICA IDENTITY FULL");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t VALUES (1, repeat(md5('1'), 10000), 1)");
  ApplyAll();
  mirror_.Sql(
      "CREATE FUNCTION dst.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
      "RAISE 'written'; END $$; CREATE TRIGGER r BEFORE UPDATE OF a ON dst.t FOR EACH ROW "
      "EXECUTE FUNCTION dst.refuse(); ALTER TABLE dst.t ENABLE ALWAYS TRIGGER r");
  mirror_.Source("UPDATE t SET n = 2");
  ApplyAll();
  ExpectEqual("t");
  mirror_.Source("UPDATE t SET a = repeat(md5('2'), 10000)");
  EXPECT_THAT(std::string(mirror_.ApplyRecorded().message()), HasSubstr("written"));
}

TEST_P(ApplierServerTest, UniqueValuesPassFromRowToRow) {
  mirror_.Create("t", "(id int PRIMARY KEY, u int UNIQUE, v int, a text)");
  mirror_.Sql(
      "ALTER TABLE src.t DROP CONSTRAINT t_u_key; "
      "ALTER TABLE src.t ADD UNIQUE (u) DEFERRABLE INITIALLY DEFERRED; "
      "CREATE UNIQUE INDEX ON dst.t ((v + 1)) WHERE v > 0; "
      "CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public; "
      "ALTER TABLE dst.t ADD EXCLUDE USING gist (v WITH =)");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g, g, g, repeat('a', 3000) FROM generate_series(1, 100) g");
  ApplyAll();
  mirror_.Source("UPDATE t SET u = u % 100 + 1, v = 101 - v, a = repeat('b', 3000)");
  ApplyAll();
  ExpectEqual("t");
  mirror_.Source("DELETE FROM t WHERE u % 3 = 0; UPDATE t SET id = -id WHERE id % 2 = 0");
  mirror_.Source(
      "INSERT INTO t SELECT g, g * 3, NULL, 'new' FROM generate_series(1, 33) g "
      "ON CONFLICT (id) DO NOTHING");
  ApplyAll();
  ExpectEqual("t");
  EXPECT_EQ(mirror_.applier().counts().fallbacks, 0);
}

// The plan is made while the table is nearly empty, and no statistics come to correct it.
TEST_P(ApplierServerTest, SetsLookTheirRowsUpInTheIndexWhateverTheStatistics) {
  mirror_.Create("t", "(a int, b text, n int, PRIMARY KEY (a, b))");
  mirror_.Record("t");
  mirror_.Source("INSERT INTO t SELECT g, 'b', 0 FROM generate_series(1, 2) g");
  ApplyAll();
  mirror_.Sql("ALTER TABLE dst.t SET (autovacuum_enabled = off); ANALYZE dst.t");
  mirror_.Source("UPDATE t SET n = 1; DELETE FROM t WHERE a IN (1, 2)");
  mirror_.Source("INSERT INTO t SELECT g, 'b', 0 FROM generate_series(1, 1000) g");
  ApplyAll();
  mirror_.Source("UPDATE t SET n = n + 1 WHERE a % 10 = 0");
  ApplyAll();
  mirror_.Source("DELETE FROM t WHERE a % 10 = 0");
  ApplyAll();
  EXPECT_EQ(mirror_.applier().counts().fallbacks, 0);
  mirror_.Restart();  // the session's end tells what it has read
  EXPECT_EQ(
      mirror_.Value("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'dst.t'::regclass"),
      "0");
  EXPECT_EQ(mirror_.Value("SELECT idx_tup_fetch < 500 FROM pg_stat_user_tables WHERE relid = "
                          "'dst.t'::regclass"),
            "t");
}

// C4: a row that gets another key stays the row that it is.
TEST_P(ApplierServerTest, SetsLeaveWhatOnlyTheDestinationHas) {
  mirror_.Create("t", "(id int PRIMARY KEY, n int)");
  mirror_.Record("t");
  mirror_.Sql("ALTER TABLE dst.t ADD COLUMN own int DEFAULT -1");
  mirror_.Source("INSERT INTO t SELECT g, g FROM generate_series(1, 60) g");
  ApplyAll();
  mirror_.Sql("UPDATE dst.t SET own = n");
  mirror_.Source(
      "UPDATE t SET n = n + 100 WHERE id <= 40; UPDATE t SET id = id + 1000 WHERE id > 55; "
      "DELETE FROM t WHERE id <= 20; INSERT INTO t SELECT g, 0 FROM generate_series(1, 5) g");
  ApplyAll();
  EXPECT_EQ(mirror_.Value("SELECT string_agg(id || '=' || n, ' ' ORDER BY id) FROM dst.t"),
            mirror_.Value("SELECT string_agg(id || '=' || n, ' ' ORDER BY id) FROM src.t"));
  EXPECT_EQ(mirror_.Value("SELECT count(*) FROM dst.t WHERE own = CASE WHEN id <= 5 THEN -1 WHEN "
                          "id > 1000 THEN id - 1000 ELSE id END"),
            "45");
  EXPECT_EQ(mirror_.applier().counts().fallbacks, 0);
}

TEST_P(ApplierServerTest, SetsOfValuesInEveryForm) {
  mirror_.Sql(
      "DROP DOMAIN IF EXISTS public.small CASCADE; DROP TYPE IF EXISTS public.duo CASCADE; "
      "CREATE DOMAIN public.small AS int; CREATE TYPE public.duo AS (a int, b text)");
  mirror_.Create("t",
                 "(id public.small, k text COLLATE \"C\", a text, b box, n numeric(12,4), j jsonb, "
                 "e varchar(40), PRIMARY KEY (k, id))");
  mirror_.Record("t", {"text", "box", "jsonb"});
  mirror_.Create("u", "(id int PRIMARY KEY, f int[], d public.duo, c bpchar(5))");
  mirror_.Record("u");
  mirror_.Source(
      "INSERT INTO t SELECT g, 'k' || g % 7 || '\"{,\\', (ARRAY['', 'NULL', '{}', 'a\"b', "
      "E'c\\\\', "
      "'d,e', NULL, E'\\n x '])[1 + g % 8], box(point(g, 1), point(0, 0)), g / 7.0, "
      "jsonb_build_object('k\"', g), 'e' FROM generate_series(1, 100) g; "
      "INSERT INTO u SELECT g, ARRAY[g, NULL], ROW(g, 'x')::public.duo, 'c' FROM "
      "generate_series(1, 50) g");
  ApplyAll();
  ExpectEqual("t");
  mirror_.Source(
      "UPDATE t SET a = a || '\"\\{}', b = NULL, n = n + 1, e = NULL WHERE id % 2 = 0; "
      "UPDATE t SET j = '[\"x\"]' WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0; "
      "UPDATE u SET f = f || 1, d = NULL WHERE id % 2 = 0; UPDATE u SET c = 'd'; "
      "DELETE FROM u WHERE id % 5 = 0");
  ApplyAll();
  ExpectEqual("t");
  ExpectEqual("u");
  EXPECT_EQ(mirror_.applier().counts().fallbacks, 0);
}

// Random DML on tables of every identity, in batches of random size, statements and COPY mixed.
TEST_P(ApplierServerTest, RandomChangesArriveExactly) {
  const unsigned kSeeds = 12;
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    auto below = [&random](int limit) { return static_cast<int>(random() % limit); };
    Mirror mirror(GetParam());
    mirror.Create("keyed", "(id int PRIMARY KEY, n numeric, a text)");
    mirror.Create("two", "(x int, y text, a text, u int UNIQUE, PRIMARY KEY (y, x))");
    mirror.Create("bare", "(n numeric, a text)");
    mirror.Sql("ALTER TABLE src.bare REPLICA IDENTITY FULL");
    mirror.Create("part", "(id int, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id)");
    for (const char* schema : {"src", "dst"}) {
      mirror.Sql(absl::StrCat("CREATE TABLE ", schema, ".part_low PARTITION OF ", schema,
                              ".part FOR VALUES FROM (MINVALUE) TO (50); CREATE TABLE ", schema,
                              ".part_high PARTITION OF ", schema,
                              ".part FOR VALUES FROM (50) TO (MAXVALUE); CREATE UNIQUE INDEX ON ",
                              schema, ".part_high (n)"));
    }
    for (const char* table : {"keyed", "two", "bare", "part"}) mirror.Record(table);
    std::vector<std::string> statements = {
        "INSERT INTO keyed SELECT g, g / 10.0, repeat('k', 1 + g % 3 * 1000) FROM "
        "generate_series($1, $1 + $2) g ON CONFLICT DO NOTHING",
        "UPDATE keyed SET n = n + 1 WHERE id % 10 = $1 % 10",
        "UPDATE keyed SET a = 'x' || $1 WHERE id BETWEEN $1 AND $1 + 5",
        "UPDATE keyed SET id = id + 1000 WHERE id = $1 AND NOT EXISTS (SELECT FROM keyed WHERE id "
        "= $1 + 1000)",
        "DELETE FROM keyed WHERE id % 7 = $2 % 7",
        "INSERT INTO two SELECT g % 5, 'y' || g, 'a', NULL FROM generate_series($1, $1 + $2) g ON "
        "CONFLICT DO NOTHING",
        "UPDATE two SET y = y || 'z' WHERE x = $2 % 5 AND length(y) < 8",
        "UPDATE two SET u = NULL WHERE u IS NOT NULL",
        "UPDATE two SET u = $1 WHERE ctid = (SELECT min(ctid) FROM two) AND NOT EXISTS (SELECT "
        "FROM "
        "two WHERE u = $1)",
        "UPDATE two SET u = NULL WHERE u = $1; UPDATE two SET u = $1 WHERE ctid = (SELECT "
        "max(ctid) FROM two)",
        "DELETE FROM two WHERE x = $1 % 5",
        "INSERT INTO part SELECT g, 2000 + g FROM generate_series($1, $1 + $2) g ON CONFLICT DO "
        "NOTHING",
        "UPDATE part SET n = n + 2000 WHERE id % 3 = $1 % 3",
        "UPDATE part SET id = id + 200 WHERE id = $1 AND NOT EXISTS (SELECT FROM part WHERE id = "
        "$1 + 200)",
        "DELETE FROM part WHERE id % 7 = $2 % 7",
        "INSERT INTO bare SELECT (g % 3)::numeric, NULLIF('b' || g % 2, 'b1') FROM "
        "generate_series(1, 1 + $2) g",
        "UPDATE bare SET n = n + 0.0 WHERE ctid IN (SELECT ctid FROM bare LIMIT $2 % 4)",
        "UPDATE bare SET a = 'c' WHERE ctid IN (SELECT ctid FROM bare WHERE a IS NULL LIMIT 2)",
        "DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT $2 % 5)"};
    for (int round = 0; round < 12; ++round) {
      int count = 1 + below(12);
      for (int i = 0; i < count; ++i) {
        std::string sql =
            statements[static_cast<size_t>(below(static_cast<int>(statements.size())))];
        std::string first = absl::StrCat(below(100));
        std::string second = absl::StrCat(below(60));
        for (size_t at; (at = sql.find("$1")) != std::string::npos;) sql.replace(at, 2, first);
        for (size_t at; (at = sql.find("$2")) != std::string::npos;) sql.replace(at, 2, second);
        mirror.Source(sql);
      }
      absl::Status status = mirror.ApplyRecorded();
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_EQ(mirror.applier().counts().fallbacks, 0);
    for (const char* table : {"keyed", "two", "bare", "part"}) {
      ASSERT_EQ(mirror.Rows("dst", table), mirror.Rows("src", table)) << table;
    }
  }
}

// What state/prepared.h says of gid, row and position, as "gid row position".
class PreparedServerTest : public ApplierServerTest {
 protected:
  void SetUp() override {
    mirror_.Create("t", "(id int PRIMARY KEY, a text)");
    mirror_.Record("t");
    mirror_.Source("INSERT INTO t SELECT g, 'a' FROM generate_series(1, 10) g");
    ApplyAll();
  }
  void Apply(const Batch& batch) {
    absl::Status status = mirror_.Apply(batch);
    ASSERT_TRUE(status.ok()) << Describe(status);
  }
  std::string Gids() {
    return mirror_.Value(
        "SELECT COALESCE(string_agg(gid, ' ' ORDER BY gid), '') FROM pg_prepared_xacts");
  }
  std::string Rows() {
    return mirror_.Value(
        "SELECT COALESCE(string_agg(xid::text || ' ' || source_gid, ', ' ORDER BY xid), '') "
        "FROM towline_state.prepared");
  }
  Lsn Position() {
    return Lsn::Parse(mirror_.Value("SELECT position FROM towline_state.task")).value();
  }
  std::string GidOf(uint64_t xid) {
    return absl::StrCat(
        "towline_mirror_",
        mirror_.Value("SELECT oid FROM pg_database WHERE datname = current_database()"), "_", xid);
  }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PreparedServerTest);
INSTANTIATE_TEST_SUITE_P(Server, PreparedServerTest, testing::ValuesIn(Destinations()));

TEST_P(PreparedServerTest, IsHeldPreparedUntilItsEnd) {
  std::string before = mirror_.Rows("dst", "t");
  mirror_.Source("INSERT INTO t VALUES (11, 'p'); DELETE FROM t WHERE id = 1");
  Batch prepare = mirror_.PrepareBatch(900);
  Apply(prepare);
  EXPECT_EQ(Gids(), GidOf(900));
  EXPECT_EQ(Rows(), "900 it's 900");
  EXPECT_EQ(Position(), prepare.end_lsn);
  EXPECT_EQ(mirror_.Rows("dst", "t"), before);
  // Others go on meanwhile, by the same session.
  mirror_.Source("UPDATE t SET a = 'b' WHERE id = 5");
  ApplyAll();
  Batch commit = mirror_.EndBatch(900, true);
  Apply(commit);
  EXPECT_EQ(Gids(), "");
  EXPECT_EQ(Rows(), "");
  EXPECT_EQ(Position(), commit.end_lsn);
  ExpectEqual("t");
}

TEST_P(PreparedServerTest, IsRolledBack) {
  std::string before = mirror_.Rows("dst", "t");
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Apply(mirror_.PrepareBatch(900));
  Apply(mirror_.EndBatch(900, false));
  EXPECT_EQ(Gids(), "");
  EXPECT_EQ(Rows(), "");
  EXPECT_EQ(mirror_.Rows("dst", "t"), before);
}

TEST_P(PreparedServerTest, PassesInParts) {
  mirror_.Source("INSERT INTO t SELECT g, 'p' FROM generate_series(100, 299) g");
  Batch whole = mirror_.PrepareBatch(900);
  std::vector<Change> changes = std::move(whole.changes);
  const BatchPart parts[] = {BatchPart::kFirst, BatchPart::kMiddle, BatchPart::kLast};
  for (size_t i = 0; i < 3; ++i) {
    Batch part;
    part.part = parts[i];
    part.two_phase = TwoPhase::kPrepare;
    part.prepared_xid = 900;
    part.prepared_gid = whole.prepared_gid;
    part.end_lsn = whole.end_lsn;
    for (size_t change = i; change < changes.size(); change += 3) {
      part.changes.push_back(changes[change]);
    }
    part.transactions.push_back({0, 900, whole.end_lsn});
    EXPECT_EQ(Gids(), "");
    Apply(part);
  }
  EXPECT_EQ(Gids(), GidOf(900));
  Apply(mirror_.EndBatch(900, true));
  ExpectEqual("t");
}

// Each state that a crash can leave, met by what the stream then brings again.
TEST_P(PreparedServerTest, PrepareThatWasNotNotedIsTakenForDone) {
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Batch prepare = mirror_.PrepareBatch(900);
  Lsn before = Position();
  Apply(prepare);
  // As if the position's transaction had been lost: the gid is there, row and position are not.
  mirror_.Restart();
  mirror_.Sql(
      absl::StrCat("DELETE FROM towline_state.prepared; UPDATE towline_state.task SET "
                   "position = '",
                   before.ToString(), "'"));
  Apply(prepare);
  EXPECT_EQ(Gids(), GidOf(900));
  EXPECT_EQ(Rows(), "900 it's 900");
  EXPECT_EQ(Position(), prepare.end_lsn);
  Apply(mirror_.EndBatch(900, true));
  ExpectEqual("t");
}

TEST_P(PreparedServerTest, EndThatWasNotNotedIsTakenForDone) {
  for (bool is_commit : {true, false}) {
    SCOPED_TRACE(is_commit);
    mirror_.Source(absl::StrCat("INSERT INTO t VALUES (", is_commit ? 11 : 12, ", 'p')"));
    Batch prepare = mirror_.PrepareBatch(900);
    Apply(prepare);
    mirror_.Restart();
    mirror_.Sql(absl::StrCat(is_commit ? "COMMIT" : "ROLLBACK", " PREPARED '", GidOf(900), "'"));
    std::string rows = mirror_.Rows("dst", "t");
    if (is_commit) {
      // One that comes late is sent again with its end; it must not be applied twice.
      Apply(prepare);
      EXPECT_EQ(Gids(), "");
      EXPECT_EQ(Rows(), "900 it's 900");
    }
    Batch end = mirror_.EndBatch(900, is_commit);
    Apply(end);
    EXPECT_EQ(Rows(), "");
    EXPECT_EQ(Position(), end.end_lsn);
    EXPECT_EQ(mirror_.Rows("dst", "t"), rows);
  }
}

TEST_P(PreparedServerTest, EndThatSomebodyElseMadeOtherwiseStops) {
  for (bool is_commit : {true, false}) {
    SCOPED_TRACE(is_commit);
    uint64_t xid = is_commit ? 900 : 901;
    mirror_.Source(absl::StrCat("INSERT INTO t VALUES (", xid, ", 'p')"));
    Batch prepare = mirror_.PrepareBatch(xid);
    Apply(prepare);
    mirror_.Restart();
    mirror_.Sql(absl::StrCat(is_commit ? "ROLLBACK" : "COMMIT", " PREPARED '", GidOf(xid), "'"));
    Lsn position = Position();
    absl::Status status = mirror_.Apply(mirror_.EndBatch(xid, is_commit));
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(GidOf(xid)));
    EXPECT_EQ(Position(), position);
    mirror_.Restart();
    if (is_commit) {
      EXPECT_EQ(mirror_.Apply(prepare).code(), absl::StatusCode::kDataLoss);
      mirror_.Restart();
    }
  }
}

TEST_P(PreparedServerTest, WhatHoldsNothingForUsIsNotedAndEnds) {
  for (bool is_commit : {true, false}) {
    Batch prepare = mirror_.PrepareBatch(900);
    Apply(prepare);
    EXPECT_EQ(Gids(), "");
    EXPECT_EQ(Rows(), "900 it's 900");
    EXPECT_EQ(Position(), prepare.end_lsn);
    mirror_.Restart();
    Apply(prepare);
    Batch end = mirror_.EndBatch(900, is_commit);
    Apply(end);
    EXPECT_EQ(Rows(), "");
    EXPECT_EQ(Position(), end.end_lsn);
  }
  ExpectEqual("t");
}

TEST_P(PreparedServerTest, CommitWithoutItsPrepareStops) {
  Batch rollback = mirror_.EndBatch(777, false);
  Apply(rollback);
  EXPECT_EQ(Position(), rollback.end_lsn);
  EXPECT_EQ(mirror_.Apply(mirror_.EndBatch(777, true)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Position(), rollback.end_lsn);
  mirror_.Restart();
  mirror_.options.misses_prepares = true;
  Batch commit = mirror_.EndBatch(777, true);
  Apply(commit);
  EXPECT_EQ(Position(), commit.end_lsn);
}

TEST_P(PreparedServerTest, AnotherEpochPreparesAndCommitsNothing) {
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Batch first = mirror_.PrepareBatch(900);
  Apply(first);
  mirror_.Source("INSERT INTO t VALUES (12, 'p')");
  Batch second = mirror_.PrepareBatch(901);
  mirror_.Sql("UPDATE towline_state.task SET epoch = epoch + 1");
  EXPECT_EQ(mirror_.Apply(second).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Gids(), GidOf(900));
  mirror_.Restart();
  mirror_.Sql("UPDATE towline_state.task SET epoch = epoch - 1");
  mirror_.applier();
  mirror_.Sql("UPDATE towline_state.task SET epoch = epoch + 1");
  EXPECT_EQ(mirror_.Apply(mirror_.EndBatch(900, true)).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Gids(), GidOf(900));
}

// A successor has to wait for a writer that has looked at the epoch and not prepared yet.
TEST_P(PreparedServerTest, TakeoverWaitsForAPrepareUnderWay) {
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  Batch first = mirror_.PrepareBatch(900);
  first.part = BatchPart::kFirst;
  Apply(first);
  const char* try_lock =
      "SELECT pg_try_advisory_lock(hashtextextended('towline prepare mirror', 0))";
  EXPECT_EQ(mirror_.Value(try_lock), "f");
  Batch last = mirror_.EndBatch(900, true);
  last.two_phase = TwoPhase::kPrepare;
  last.part = BatchPart::kLast;
  Apply(last);
  EXPECT_EQ(Gids(), GidOf(900));
  EXPECT_EQ(mirror_.Value(try_lock), "t");
  mirror_.Sql("SELECT pg_advisory_unlock_all()");
}

// The row that another transaction means by its values may be any of the equal ones, but the
// prepared one has locked the first.
TEST_P(PreparedServerTest, EqualRowsWithoutKeyDoNotMeet) {
  mirror_.Create("k", "(a int)");
  mirror_.Sql("ALTER TABLE src.k REPLICA IDENTITY FULL");
  mirror_.Record("k");
  mirror_.Source("INSERT INTO k SELECT 1 FROM generate_series(1, 4)");
  ApplyAll();
  const char* one_row = "WHERE ctid = (SELECT min(ctid) FROM k WHERE a = 1)";
  mirror_.Source(absl::StrCat("DELETE FROM k ", one_row));
  Apply(mirror_.PrepareBatch(900));
  for (int i = 0; i < 2; ++i) {
    if (i == 1) mirror_.Restart();
    mirror_.Source(absl::StrCat(i == 0 ? "DELETE FROM k " : "UPDATE k SET a = 2 ", one_row));
    ApplyAll();
  }
  Apply(mirror_.EndBatch(900, true));
  ExpectEqual("k");
}

TEST_P(PreparedServerTest, ConflictStopsAsAnywhere) {
  mirror_.Sql("INSERT INTO dst.t VALUES (11, 'in the way')");
  mirror_.Source("INSERT INTO t VALUES (11, 'p')");
  absl::Status status = mirror_.Apply(mirror_.PrepareBatch(900));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("insert_exists"));
  mirror_.Restart();
  EXPECT_EQ(Gids(), "");
  EXPECT_EQ(mirror_.Value("SELECT type FROM towline_state.conflict"), "insert_exists");
}

}  // namespace
}  // namespace towline

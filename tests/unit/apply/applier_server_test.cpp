#include "apply/applier_server_test.h"

#include "absl/strings/str_cat.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace towline

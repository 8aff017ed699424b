// Sets and large values; random changes.
#include <random>

#include "absl/strings/str_cat.h"
#include "apply/applier_server_test.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

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
  mirror_.Restart();  // the table was altered behind it
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
  EXPECT_EQ(mirror_.applier().counts().clashes, 1);
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
        "UPDATE two SET y = y || 'z' WHERE x = $2 % 5 AND length(y) < 8 AND NOT EXISTS (SELECT "
        "FROM "
        "two AS other WHERE other.x = two.x AND other.y = two.y || 'z')",
        "UPDATE two SET u = NULL WHERE u IS NOT NULL",
        "UPDATE two SET u = $1 WHERE ctid = (SELECT min(ctid) FROM two) AND NOT EXISTS (SELECT "
        "FROM "
        "two WHERE u = $1)",
        "UPDATE two SET u = NULL WHERE u = $1; UPDATE two SET u = $1 WHERE ctid = (SELECT "
        "max(ctid) FROM two)",
        "UPDATE two SET u = $2 WHERE ctid IN (SELECT ctid FROM two WHERE u IS NULL LIMIT 1) AND "
        "NOT "
        "EXISTS (SELECT FROM two WHERE u = $2)",
        "UPDATE two SET u = -1 - u WHERE u BETWEEN $1 AND $1 + 30; "
        "UPDATE two SET u = 2 * $1 + 31 + u WHERE u < 0",
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
      absl::Status status =
          below(3) == 0 ? mirror.ApplyRecorded() : mirror.applier().Send(mirror.TakeBatch());
      ASSERT_TRUE(status.ok()) << status;
    }
    ASSERT_TRUE(mirror.applier().Settle().ok());
    EXPECT_EQ(mirror.applier().counts().fallbacks, 0);
    for (const char* table : {"keyed", "two", "bare", "part"}) {
      ASSERT_EQ(mirror.Rows("dst", table), mirror.Rows("src", table)) << table;
    }
  }
}

}  // namespace
}  // namespace towline

"""`towline verify`: finds every planted difference, under load too, and none where there is none.

What was planted is known to the tests alone; the service's own words are compared with it.
"""
import hashlib
import json
import math
import resource
import struct
import subprocess
import threading
import time

import psycopg2
import pytest

from support import probes
from support.waiting import wait_until
from support.workload import Workload

EQUAL, DIFFERENT, UNDECIDED = 0, 1, 2

SCHEMA = """
CREATE TABLE wide (id int PRIMARY KEY, n int, v text, c char(6), f float8, at timestamptz, b bytea, j jsonb, l int[],
                   d numeric, w varchar(20));
CREATE TABLE texts (a text, b int, v text, PRIMARY KEY (a, b));
CREATE TABLE bare (id int, v text);
ALTER TABLE bare REPLICA IDENTITY FULL;
CREATE TABLE quiet (id bigint PRIMARY KEY, v text);
CREATE TABLE parts (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (1000);
INSERT INTO wide SELECT i, i % 7, 'v' || i, 'c' || i % 9, i / 3.0, '2024-02-29Z'::timestamptz + i * interval '1.5 s',
       decode(md5(i::text), 'hex'), jsonb_build_object('i', i), ARRAY[i, NULL], i / 7.0, ''
  FROM generate_series(1, 9000) i;
INSERT INTO texts SELECT md5((i / 3)::text), i, 'v' || i FROM generate_series(1, 6000) i;
INSERT INTO bare SELECT i / 2, 'v' FROM generate_series(1, 6000) i;
INSERT INTO quiet SELECT i * 1000000007::bigint, 'q' FROM generate_series(1, 300) i;
INSERT INTO parts SELECT i, 'p' FROM generate_series(0, 400) i;
ANALYZE;
"""
STABLE = 3000  # ids up to here are left alone by the load


def verify(service, *more, seconds=300):
    """(exit status, {table: report}) of one comparison."""
    done = service.call("verify", *service.arguments, "--json", *more, seconds=seconds)
    assert done.stdout, f"{done.returncode}: {done.stderr}"
    report = json.loads(done.stdout)
    assert {0: "equal", 1: "different", 2: "undecided"}[done.returncode] == report["verdict"], done.stdout
    return done.returncode, {table["table"]: table for table in report["tables"]}


def found(tables):
    return sorted((name, row["kind"], row["key"], ",".join(row["columns"]))
                  for name, table in tables.items() for row in table["rows"])


class Load:
    """Writes the rows above STABLE in all tables, about `rate` rows a second, until it is left."""

    def __init__(self, database, rate=1000):
        self.database, self.rate, self.rows, self.error = database, rate, 0, None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            connection = self.database.connect()
            with connection.cursor() as cursor:
                began = time.monotonic()
                while not self.is_over.is_set():
                    at = STABLE + 1 + (self.rows * 7) % 3000
                    cursor.execute(f"""
                        UPDATE wide SET n = n + 1, v = v || '.' WHERE id BETWEEN {at} AND {at + 19};
                        UPDATE texts SET v = v || '.' WHERE b BETWEEN {at} AND {at + 9};
                        DELETE FROM bare WHERE id = {at}; INSERT INTO bare VALUES ({at}, 'w'), ({at}, 'w');
                        DELETE FROM wide WHERE id = {at + 3000};
                        INSERT INTO wide (id, v) VALUES ({at + 3000}, 'again')""")
                    self.rows += 35
                    time.sleep(max(0.0, began + self.rows / self.rate - time.monotonic()))
            connection.close()
        except psycopg2.Error as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join(20)
        assert self.error is None, self.error
        assert self.rows > 500, "the load did not get going"


@pytest.fixture
def streaming(source, destination, towline):
    source.execute(SCHEMA)
    towline.start()
    towline.wait_until_caught_up()
    return towline


def md5(number):
    return hashlib.md5(str(number).encode()).hexdigest()


def next_float(value):
    return struct.unpack("d", struct.pack("q", struct.unpack("q", struct.pack("d", value))[0] + 1))[0]


def plant(destination):
    """Differences of every kind, and how verify should name them."""
    destination.script(
        "UPDATE wide SET n = n + 1 WHERE id = 1", "UPDATE wide SET w = NULL WHERE id = 2",
        "UPDATE wide SET v = v || ' ' WHERE id = 3",
        f"UPDATE wide SET f = {next_float(4 / 3)!r} WHERE id = 4",
        "UPDATE wide SET at = at + interval '1 us' WHERE id = 5",
        "UPDATE wide SET b = b || '\\x00' WHERE id = 6", "UPDATE wide SET j = '{\"i\": 7.0}' WHERE id = 7",
        "UPDATE wide SET l = '[0:1]={8,NULL}' WHERE id = 8", "UPDATE wide SET d = 1.0 WHERE id = 7",
        "UPDATE wide SET l = '{9,0}' WHERE id = 9", "UPDATE wide SET c = NULL, n = NULL WHERE id = 10",
        "UPDATE wide SET v = CASE id WHEN 11 THEN 'v12' ELSE 'v11' END WHERE id IN (11, 12)",
        "DELETE FROM wide WHERE id = 13", "INSERT INTO wide (id, v) VALUES (-1, 'extra')",
        "UPDATE wide SET id = -14 WHERE id = 14",
        "DELETE FROM texts WHERE b = 100", "UPDATE texts SET v = NULL WHERE b = 101",
        "INSERT INTO texts VALUES ('x,\"y', 1, '')",
        "DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare WHERE id = 20)",
        "INSERT INTO bare VALUES (21, 'v')", "UPDATE bare SET v = '' WHERE id = 22",
        "UPDATE quiet SET v = 'Q' WHERE id = 299 * 1000000007::bigint",
        "UPDATE parts SET v = 'P' WHERE id IN (99, 100)")
    text = destination.value("SELECT a FROM texts WHERE b = 101")
    assert math.isclose(destination.value("SELECT f FROM wide WHERE id = 4"), 4 / 3, rel_tol=1e-15)
    wide = [("different", "(1)", "n"), ("different", "(2)", "w"), ("different", "(3)", "v"), ("different", "(4)", "f"),
            ("different", "(5)", "at"), ("different", "(6)", "b"), ("different", "(7)", "j,d"),
            ("different", "(8)", "l"), ("different", "(9)", "l"), ("different", "(10)", "n,c"),
            ("different", "(11)", "v"), ("different", "(12)", "v"), ("missing", "(13)", ""), ("extra", "(-1)", ""),
            ("missing", "(14)", ""), ("extra", "(-14)", "")]
    return ([("wide", *row) for row in wide]
            + [("texts", "missing", f"({md5(100 // 3)},100)", ""),
               ("texts", "different", f"({text},101)", "v"), ("texts", "extra", '("x,""y",1)', ""),
               ("quiet", "different", f"({299 * 1000000007})", "v"),
               ("parts_1", "different", "(99)", "v"), ("parts_2", "different", "(100)", "v")])


@pytest.mark.limit(600)
def test_every_planted_difference_is_found_under_load_and_no_other(source, destination, streaming):
    with Load(source):
        status, tables = verify(streaming)
        assert (status, found(tables)) == (EQUAL, []), tables
        planted = plant(destination)
        for _ in range(2):
            status, tables = verify(streaming, "--workers", "2")
            assert status == DIFFERENT
            rows = [row for row in found(tables) if row[0] != "bare"]
            assert rows == sorted(planted)
            bare = tables["bare"]
            # One is missing; one is extra; two have become two others.
            assert (bare["missing"], bare["extra"], bare["undecided"]) == (3, 3, 0), bare
            assert sum(table["undecided"] for table in tables.values()) == 0, tables
    assert streaming.is_running


def test_a_task_that_stands(source, destination, streaming):
    streaming.stop()
    assert verify(streaming)[0] == EQUAL
    source.execute("UPDATE quiet SET v = 'later' WHERE id = 1000000007")
    began = time.monotonic()
    status, tables = verify(streaming)
    assert status == UNDECIDED and time.monotonic() - began < 30
    assert tables["quiet"]["undecided"] == 1 and "may be still to come" in tables["quiet"]["note"]
    assert tables["wide"]["verdict"] == "equal"
    text = streaming.call("verify")
    assert text.returncode == UNDECIDED and "may be still to come" in text.stdout
    streaming.start()
    streaming.wait_until_caught_up()
    assert verify(streaming)[0] == EQUAL
    # The numbers of rows alone.
    destination.execute("UPDATE quiet SET v = ''")
    assert verify(streaming, "--counts")[0] == EQUAL
    destination.execute("DELETE FROM quiet WHERE id = 1000000007")
    status, tables = verify(streaming, "--counts")
    assert status == DIFFERENT and tables["quiet"]["missing"] == 1


def test_a_row_that_never_rests_is_undecided_and_not_different(source, destination, streaming):
    stop = threading.Event()

    def write():
        connection = source.connect()
        with connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("UPDATE quiet SET v = left(v, 9) || random() WHERE id = 1000000007")
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        destination.execute("CREATE FUNCTION differ() RETURNS trigger LANGUAGE plpgsql AS "
                            "'BEGIN NEW.v := NEW.v || ''!''; RETURN NEW; END'")
        destination.script("CREATE TRIGGER differ BEFORE UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION differ()",
                           "ALTER TABLE quiet ENABLE ALWAYS TRIGGER differ")
        status, tables = verify(streaming)
    finally:
        stop.set()
        writer.join()
    assert status == UNDECIDED, tables
    assert (tables["quiet"]["undecided"], tables["quiet"]["different"]) == (1, 0)
    assert "written between" in tables["quiet"]["note"]
    streaming.wait_until_caught_up()
    assert verify(streaming)[0] == DIFFERENT  # it rests now, and the trigger's doing is seen


@pytest.mark.long
@pytest.mark.limit(150)
def test_tables_of_every_shape_show_no_difference_under_load(source, destination, towline, seed, size):
    load = Workload(source.uri(), seed=seed, clients=2, rate=60)
    load.create()
    towline.start()
    towline.wait_until_caught_up()
    load.start(seconds=5 * size)
    status, tables = verify(towline, "--workers", "4")
    assert found(tables) == [] and status != DIFFERENT, tables
    load.join()
    towline.wait_until_caught_up()
    status, tables = verify(towline)
    assert (status, found(tables)) == (EQUAL, []), tables


def test_without_a_task_the_two_are_compared_as_they_are(source, destination, towline):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    source.execute("CREATE TABLE lone (id int)")
    destination.execute("CREATE TABLE t (v text, id int); INSERT INTO t VALUES ('a', 1), ('b', 2), ('b', 2)")
    status, tables = verify(towline)
    assert status == DIFFERENT
    assert found(tables) == [("t", "different", "(2)", "")] and tables["t"]["extra"] == 1
    assert "missing at the destination" in tables["lone"]["note"]
    destination.execute("DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t)")
    status, tables = verify(towline, "--include", "public.t")
    assert (status, list(tables)) == (EQUAL, ["t"])
    # What nothing enforces under the replica role is looked for.
    destination.execute("ALTER TABLE t ADD CONSTRAINT later UNIQUE (v) DEFERRABLE, ADD CONSTRAINT apart EXCLUDE (v WITH =) "
                        "WHERE (id > 0) DEFERRABLE, ADD CONSTRAINT kept UNIQUE (id) DEFERRABLE")
    assert verify(towline, "--include", "public.t")[0] == EQUAL
    source.execute("INSERT INTO t VALUES (3, 'a'), (4, NULL), (5, NULL)")
    destination.execute("SET session_replication_role = replica; INSERT INTO t VALUES ('a', 3), (NULL, 4), (NULL, 5)")
    status, tables = verify(towline, "--include", "public.t")
    assert status == DIFFERENT and tables["t"]["note"].endswith(': "apart", "later"'), tables["t"]["note"]
    source.execute("DELETE FROM t WHERE id = 3")
    destination.execute("DELETE FROM t WHERE id = 3")
    assert verify(towline, "--include", "public.t")[0] == EQUAL
    destination.execute("ALTER TABLE t DROP v CASCADE")
    status, tables = verify(towline, "--include", "public.t")
    assert status == DIFFERENT and "\"v\" (text) is missing" in tables["t"]["note"]


def test_rules_and_casts_say_what_should_be_there(source, destination, towline):
    source.execute("""
        CREATE TABLE t (id int PRIMARY KEY, v text, secret text, n real, j json, c char(5), at timestamp(0));
        ALTER TABLE t REPLICA IDENTITY FULL;
        INSERT INTO t SELECT i, 'v' || i, 's', i / 10.0, ('{"b": 1,  "a": ' || i || '}')::json, 'c', '2024-01-01'
          FROM generate_series(1, 5000) i""")
    destination.execute("CREATE TABLE t (id text PRIMARY KEY, v text, extra int, n float8, j jsonb, c text, at timestamp(3))")
    file = towline.directory / "task.yaml"
    file.write_text(json.dumps({"existing": "append", "table": {"public.t": {
        "where": "id % 2 = 0", "columns": ["id", {"v": "upper(v)"}, "n", "j", "c", "at", {"extra": "id * 2"}]}}}))
    towline.environment["TOWLINE_CONFIG"] = str(file)
    towline.start()
    towline.wait_until_caught_up()
    source.execute("UPDATE t SET v = 'x', n = 0.1, j = '{\"z\":1, \"z\": 2}' WHERE id < 100")
    towline.wait_until_caught_up()
    status, tables = verify(towline)
    assert (status, tables["t"]["source_rows"]) == (EQUAL, 2500), tables
    destination.script("UPDATE t SET v = 'x' WHERE id = '50'", "INSERT INTO t (id) VALUES ('51')",
                       "UPDATE t SET n = 0.1 WHERE id = '4'", "DELETE FROM t WHERE id = '6'",
                       "UPDATE t SET c = c || ' ' WHERE id = '8'")
    status, tables = verify(towline)
    assert status == DIFFERENT
    assert found(tables) == sorted([("t", "different", "(50)", "v"), ("t", "extra", "(51)", ""),
                                    ("t", "different", "(4)", "n"), ("t", "missing", "(6)", ""),
                                    ("t", "different", "(8)", "c")])


def test_between_encodings_rows_are_compared_by_md5_of_their_utf8(source, destination_cluster, towline_factory):
    """What servers of different versions do too (test_matrix.py)."""
    destination = destination_cluster.create_database("latin", "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        source.execute("CREATE TABLE t (id int PRIMARY KEY, v text, f float8); CREATE TABLE bare (v text, n int);"
                       "ALTER TABLE bare REPLICA IDENTITY FULL;"
                       "INSERT INTO t SELECT i, 'é' || i, i / 3.0 FROM generate_series(1, 9000) i;"
                       "INSERT INTO bare SELECT 'ü' || i / 2, NULLIF(i % 3, 0) FROM generate_series(1, 6000) i")
        towline = towline_factory(source, destination).start()
        towline.wait_until_caught_up()
        assert verify(towline)[0] == EQUAL
        destination.script("UPDATE t SET v = v || ' ' WHERE id = 1", "UPDATE t SET v = '\u00e8' || 2 WHERE id = 2",
                           f"UPDATE t SET f = {next_float(1.0)!r} WHERE id = 3", "DELETE FROM t WHERE id = 4",
                           "UPDATE t SET v = NULL WHERE id = 5", "UPDATE bare SET n = 9 WHERE v = '\u00fc7'")
        status, tables = verify(towline)
        assert status == DIFFERENT
        assert [row for row in found(tables) if row[0] == "t"] == sorted(
            [("t", "different", "(1)", "v"), ("t", "different", "(2)", "v"), ("t", "different", "(3)", "f"),
             ("t", "missing", "(4)", ""), ("t", "different", "(5)", "v")])
        assert (tables["bare"]["missing"], tables["bare"]["extra"]) == (2, 2)
        towline.close()
    finally:
        destination.drop()


def test_many_differences_are_counted_in_bounded_memory(source, destination, towline):
    # The destination's keys lie where the source has none, so that ranges of the source's do not part them.
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                   "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 60000) i")
    destination.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                        "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(5001, 5100) i;"
                        "INSERT INTO t SELECT -i, 'y' FROM generate_series(1, 60000) i")
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    status, tables = verify(towline)
    assert status == DIFFERENT
    assert (tables["t"]["missing"], tables["t"]["extra"], len(tables["t"]["rows"])) == (59900, 60000, 1000)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(began, 128 << 10)


def test_what_cannot_be_told_has_status_2(source, destination, towline):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    destination.execute("CREATE TABLE t (id int PRIMARY KEY)")

    def fails(*arguments, ends=True):
        done = towline.call("verify", *arguments, ends=ends)
        assert done.returncode == UNDECIDED and not done.stdout, done
        return done.stderr

    assert "no task \"nothing\"" in fails("--task", "nothing")
    assert "no destination given" in fails("--source", source.uri(), ends=False)
    assert "matches" in fails("--include", "public.typo")
    assert "no such database" in fails("--source", source.uri() + "x", "--destination", destination.uri(), ends=False) \
        .replace("does not exist", "no such database")
    assert "has no option" in fails("--tabel", "x")


def test_a_comparison_that_was_killed_goes_on(source, destination, streaming):
    assert "no interrupted comparison" in streaming.call("verify", "--resume").stderr
    destination.script("UPDATE wide SET v = 'x' WHERE id = 1", "DELETE FROM quiet WHERE id = 1000000007")
    lock = destination.connect(autocommit=False)
    with lock.cursor() as cursor:
        cursor.execute("LOCK quiet IN ACCESS EXCLUSIVE MODE")
        killed = subprocess.Popen(streaming.command("verify"), env=streaming.environment, stdout=subprocess.DEVNULL)
        wait_until(lambda: destination.value("SELECT count(*) FROM towline_state.verify_result WHERE table_name IN "
                                             "('wide', 'texts', 'bare')") == 3, 60, "three tables to be done")
        killed.kill()
        killed.wait(10)
    lock.rollback()
    lock.close()
    # What was done is not looked at again, and stands in the report; but what has other columns by now, or is missing.
    destination.script("DELETE FROM texts", "DROP TABLE bare")
    for database in (destination, source):
        database.execute("ALTER TABLE wide ADD COLUMN more int")
    destination.execute("UPDATE wide SET more = 7 WHERE id = 2")
    assert "the last one was another" in streaming.call("verify", "--resume", "--counts").stderr
    done = streaming.call("verify", "--resume", "--json")
    tables = {table["table"]: table for table in json.loads(done.stdout)["tables"]}
    assert done.returncode == DIFFERENT and tables["texts"]["verdict"] == "equal", tables
    assert tables["bare"]["verdict"] == "different", tables
    assert destination.value("SELECT verdict FROM towline_state.verify_result WHERE table_name = 'bare'") == "different"
    assert found(tables) == [("quiet", "missing", "(1000000007)", ""), ("wide", "different", "(1)", "v"),
                             ("wide", "different", "(2)", "more")]
    anew = [line for line in done.stderr.splitlines() if "compares a table anew" in line]
    assert len(anew) == 1 and '"wide"' in anew[0], done.stderr
    assert destination.query("SELECT key_values FROM towline_state.verify_row WHERE table_name = 'wide' ORDER BY 1") == [("(1)",), ("(2)",)]
    assert "come to its end" in streaming.call("verify", "--resume").stderr
    # The last twenty stay.
    for _ in range(20):
        streaming.call("verify", "--include", "public.quiet", "--counts")
    assert destination.query("SELECT count(*), min(run) FROM towline_state.verify_run") == [(20, 2)]
    assert destination.value("SELECT min(run) FROM towline_state.verify_row") is None


def test_a_role_that_may_only_read_compares(source, destination, streaming):
    destination.script("CREATE ROLE reader LOGIN", "GRANT USAGE ON SCHEMA towline_state TO reader",
                       "GRANT pg_read_all_data TO reader")
    try:
        streaming.command_uris = (source.uri(), destination.uri(user="reader"))
        done = streaming.call("verify")
        assert done.returncode == EQUAL and "cannot write what was found" in done.stderr
        done = streaming.call("verify", "--repair")
        assert done.returncode == UNDECIDED and "permission denied" in done.stderr
        # One that was given its rights on the tables of an older version.
        destination.execute("GRANT INSERT, UPDATE, DELETE ON towline_state.verify_run, towline_state.verify_result, "
                            "towline_state.verify_row, towline_state.verify_progress TO reader")
        done = streaming.call("verify")
        assert done.returncode == EQUAL and "verify_look" in done.stderr, done
        assert destination.value("SELECT count(*) FROM towline_state.verify_result") > 0
    finally:
        destination.script("DROP OWNED BY reader", "DROP ROLE reader")


def test_differences_all_over_a_large_table_are_all_found(source, destination, towline):
    for database in (source, destination):
        database.execute("CREATE TABLE large (id int PRIMARY KEY, v text);"
                         "INSERT INTO large SELECT i, 'v' FROM generate_series(1, 60000) i; ANALYZE large")
    destination.execute("UPDATE large SET v = 'w' WHERE id % 100 = 0")
    status, tables = verify(towline)
    assert status == DIFFERENT and tables["large"]["different"] == 600 and tables["large"]["ranges"] > 20, tables
    assert sorted(int(row["key"][1:-1]) for row in tables["large"]["rows"]) == list(range(100, 60001, 100))


def test_a_sample_is_of_ranges_and_a_seed_chooses_the_same(source, destination, streaming):
    source.execute("CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT i, 'v' FROM generate_series(1, 60000) i;"
                   "CREATE TABLE hashed (id text PRIMARY KEY, v text); INSERT INTO hashed SELECT i, 'v' FROM generate_series(1, 60000) i")
    destination.execute("CREATE TABLE large (id int PRIMARY KEY, v text); CREATE TABLE hashed (id text PRIMARY KEY, v text)")
    streaming.wait_until_caught_up()
    source.execute("ANALYZE large; ANALYZE hashed")  # the ranges follow the size by the statistics
    destination.execute("UPDATE large SET v = 'w' WHERE id % 100 = 0; UPDATE hashed SET v = 'w' WHERE id LIKE '%00'")

    def sample(*more):
        done = streaming.call("verify", "--json", "--include", "public.(large|hashed)", *more)
        assert done.returncode == DIFFERENT, done.stdout + done.stderr
        report = json.loads(done.stdout)
        return report["mode"], {table["table"]: table for table in report["tables"]}

    mode, tables = sample("--sample", "20", "--seed", "7")
    assert mode == "rows, sample 20 %, seed 7"
    for table in tables.values():
        assert 5000 < table["source_rows"] < 24000 and 40 < table["different"] < 250, table
    assert found(sample("--sample", "20", "--seed", "7")[1]) == found(tables)
    assert found(sample("--sample", "20", "--seed", "8")[1]) != found(tables)
    # Repaired ranges are not all of them.
    done = streaming.call("verify", "--include", "public.(large|hashed)", "--sample", "20", "--seed", "7", "--repair")
    assert done.returncode == EQUAL and "sample 20 %, repair, seed 7" in done.stdout, done.stdout
    assert verify(streaming, "--include", "public.(large|hashed)")[0] == DIFFERENT
    done = streaming.call("verify", "--sample", "5", "--counts")
    assert done.returncode == UNDECIDED and "Give one of them" in done.stderr


def test_a_key_that_is_null_at_the_destination_alone_is_found(source, destination, streaming):
    source.execute("CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT i, 'v' FROM generate_series(1, 20000) i")
    destination.execute("CREATE TABLE large (id int UNIQUE, v text)")
    streaming.wait_until_caught_up()
    destination.execute("INSERT INTO large VALUES (NULL, 'v')")
    status, tables = verify(streaming, "--include", "public.large")
    assert status == DIFFERENT and tables["large"]["extra"] == 1, tables


def test_a_rate_is_kept(source, destination, streaming):
    source.execute("CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT i, 'v' FROM generate_series(1, 60000) i")
    destination.execute("CREATE TABLE large (id int PRIMARY KEY, v text)")
    streaming.wait_until_caught_up()
    destination.execute("UPDATE large SET v = 'w' WHERE id IN (1, 30000, 60000)")
    for limit in (("--rows-max", "20000"), ("--rate-max", "700kB")):
        began = time.monotonic()
        status, tables = verify(streaming, "--include", "public.large", *limit)
        assert time.monotonic() - began > 2, limit
        assert status == DIFFERENT and len(found(tables)) == 3 and tables["large"]["source_rows"] == 60000
    done = streaming.call("verify", "--rate-max", "fast")
    assert done.returncode == UNDECIDED and "--rate-max" in done.stderr


def test_schemas_and_sequences(source, destination, towline):
    source.execute("""
        CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id serial PRIMARY KEY, m mood DEFAULT 'a', n int CHECK (n > 0));
        CREATE INDEX t_n ON t (n); CREATE VIEW v AS SELECT id, n FROM t WHERE n > 1; CREATE TABLE other (id int);
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO t (n) SELECT 1 FROM generate_series(1, 50)""")
    towline.start()
    towline.wait_until_caught_up()

    def schema(*more):
        done = towline.call("verify", "--schema-only", "--json", *more)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)["schema"]

    status, found_there = schema()
    assert status == EQUAL and found_there["statements"] > 8, found_there
    destination.script("ALTER TABLE t ALTER n SET DEFAULT 5", "DROP INDEX t_n", "CREATE TABLE extra (id int)",
                       "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'")
    status, found_there = schema()
    assert status == DIFFERENT
    assert sorted(text.split("\n")[0][:40] for text in found_there["missing"]) == sorted(
        ['CREATE TABLE "public"."t" (', 'CREATE INDEX "t_n" ON "public"."t" USING', 'CREATE FUNCTION "public"."f"() RETURNS i']), found_there
    assert len(found_there["extra"]) == 3 and any("extra" in text for text in found_there["extra"])
    text = towline.call("verify", "--schema-only")
    assert text.returncode == DIFFERENT and "only at the destination:" in text.stdout and "CREATE INDEX" in text.stdout
    selected = schema("--include", "public.other")[1]  # functions are not a table's
    assert [text[:15] for text in selected["missing"] + selected["extra"]] == ["CREATE FUNCTION"] * 2, selected
    towline.stop()
    destination.script("ALTER TABLE t ALTER n DROP DEFAULT", "CREATE INDEX t_n ON t (n)", "DROP TABLE extra",
                       "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT setval('t_id_seq', 9)")
    status, found_there = schema()
    assert status == DIFFERENT and (found_there["missing"], found_there["extra"]) == ([], []), found_there
    assert found_there["sequences_behind"] == ['"public"."t_id_seq" is at 9, the source\'s at 50']


# --- schema changes on their way

@pytest.mark.parametrize("arrives", [True, False])
def test_a_schema_change_that_is_on_its_way_is_no_difference(arrives, source, destination, towline_factory):
    source.script("SELECT towline.enable_ddl()", "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'one')")
    service = towline_factory(source, destination, arguments=["--ddl", "apply"])
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    probes.stand_still(service)
    source.script("ALTER TABLE t ADD COLUMN n int DEFAULT 5", "CREATE TABLE made (id int PRIMARY KEY)", "INSERT INTO made VALUES (1)")
    if not arrives:
        status, tables = verify(service, "--wait", "1")
        assert status == UNDECIDED
        assert all("still to come" in tables[name]["note"] for name in ("t", "made"))
        probes.go_on(service)
        return
    verifying = probes.InBackground(verify, service, "--wait", "60")
    destination.wait_for("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'towline verify' "
                         "AND query LIKE '%FROM towline_state.task WHERE task%' AND state = 'idle' AND datname = current_database()")
    probes.go_on(service)
    status, tables = verifying.result(90)
    assert status == EQUAL and tables["made"]["source_rows"] == 1
    assert service.stop() == 0


def verify_while_locked(service, destination, table, change, *more):
    """Compares; when the destination's part waits for the table, calls `change` with the session that has locked it, and
    lets it go. Gives what `verify --json` says."""
    with probes.Session(destination) as session:
        session.execute(f"BEGIN; LOCK {table} IN ACCESS EXCLUSIVE MODE")
        verifying = probes.InBackground(service.call, "verify", "--json", *more)
        destination.wait_for("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'towline verify' "
                             "AND wait_event_type = 'Lock' AND datname = current_database()", 60)
        change(session)
        session.execute("COMMIT")
    done = verifying.result(90)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    return done, report, {table["table"]: table for table in report["tables"]}


def test_columns_that_come_and_go_during_a_comparison_are_compared(source, destination, towline):
    for database in (source, destination):
        database.execute("CREATE TABLE first (id int PRIMARY KEY, v text); INSERT INTO first SELECT i, 'v' FROM generate_series(1, 9000) i;"
                         "CREATE TABLE later (id int PRIMARY KEY, v text); INSERT INTO later VALUES (1, 'v'), (2, 'v');"
                         "CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE narrow (id int PRIMARY KEY, v text);"
                         "INSERT INTO narrow VALUES (1, 'v')")
    destination.execute("UPDATE narrow SET v = 'w'")

    def change(session):
        """`first`, the largest, is being compared, and the others are not begun."""
        for name in ("first", "later"):
            source.execute(f"ALTER TABLE {name} ADD COLUMN n int DEFAULT 5")
            session.execute(f"ALTER TABLE {name} ADD COLUMN n int DEFAULT 5")
        session.execute("UPDATE first SET n = 6 WHERE id = 77")
        session.execute("UPDATE later SET n = 6 WHERE id = 2")
        for database in (source, session):
            database.execute("DROP TABLE gone")
            database.execute("ALTER TABLE narrow DROP COLUMN v")
        source.execute("CREATE TABLE late (id int)")
        source.execute("CREATE UNLOGGED TABLE scratch (id int)")

    done, report, tables = verify_while_locked(towline, destination, "first", change)
    assert found(tables) == [("first", "different", "(77)", "n"), ("later", "different", "(2)", "n")], tables
    assert (done.returncode, tables["narrow"]["verdict"], tables["first"]["source_rows"]) == (DIFFERENT, "equal", 9000), tables
    assert tables["gone"]["verdict"] == "undecided" and "gone from the source" in tables["gone"]["note"]
    assert 'compares a table again: its columns were changed meanwhile table="public"."first"' in done.stderr
    assert report["later_tables"] == [{"schema": "public", "table": "late"}] and "tables came meanwhile" in done.stderr
    # Of a type that the destination does not follow.
    source.execute("ALTER TABLE first ADD COLUMN m text; DROP TABLE late")
    destination.execute("ALTER TABLE first ADD COLUMN m text")
    _, _, tables = verify_while_locked(towline, destination, "first",
                                       lambda session: session.execute("ALTER TABLE first ALTER m TYPE int USING 1, DROP COLUMN n"))
    assert tables["first"]["verdict"] == "different" and '"n" (integer) is missing' in tables["first"]["note"], tables["first"]


def test_a_table_whose_columns_never_rest_is_undecided(source, destination, towline):
    for database in (source, destination):
        database.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20000) i; ANALYZE t")
    destination.execute("ALTER TABLE t ADD COLUMN c0 int")
    stop = threading.Event()

    def alter():
        connection = destination.connect()
        with connection.cursor() as cursor:
            number = 0
            while not stop.is_set():
                cursor.execute(f"ALTER TABLE t RENAME COLUMN c{number} TO c{number + 1}")
                number += 1
                time.sleep(0.005)
        connection.close()

    altering = threading.Thread(target=alter)
    altering.start()
    try:
        status, tables = verify(towline, "--rows-max", "100000")  # in steps, of 0.2 s together
    finally:
        stop.set()
        altering.join()
    assert status == UNDECIDED and "during each of 4 comparisons" in tables["t"]["note"], tables
    assert verify(towline)[0] == EQUAL


def test_a_quiet_source_is_compared_at_once(source, streaming):
    """What reads have logged (rows that they tidied up) nobody flushes there; it must not be waited for. The background
    writer, whose record every 15 seconds would end that, stands still."""
    writer = next(pid for pid, line in probes.children(source.cluster.process.pid).items() if "background writer" in line)
    with probes.frozen(writer):
        source.execute("UPDATE wide SET n = n + 1; UPDATE texts SET v = v || '.'; DELETE FROM bare WHERE id % 3 = 0")
        streaming.wait_until_caught_up()
        source.execute("UPDATE wide SET n = n + 1; UPDATE texts SET v = v || '.'")
        streaming.wait_until_caught_up()
        began = time.monotonic()
        assert verify(streaming, "--wait", "40")[0] == EQUAL
        assert time.monotonic() - began < 30

"""`towline verify`: finds every planted difference, under load too, and none where there is none.

What was planted is known to the tests alone; the service's own words are compared with it.
"""
import hashlib
import json
import math
import resource
import struct
import threading
import time

import psycopg2
import pytest

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


def verify(service, *more, seconds=120):
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


@pytest.mark.limit(120)
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
    destination.execute("ALTER TABLE t DROP v")
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

"""`towline verify --repair`: mends what differs and nothing else, while the task streams and both sides are written.

The judge is the tests' own comparison (support/compare.py).
"""
import json
import threading

import psycopg2
import pytest

from support.compare import assert_equal
from support.waiting import wait_until
from test_verify import DIFFERENT, EQUAL, SCHEMA, STABLE, UNDECIDED, Load, found, next_float, streaming, verify  # noqa: F401

CHANGES = (  # each of one row of `wide`, at the destination
    "UPDATE wide SET n = n + 1 WHERE id = {0}", "UPDATE wide SET w = NULL WHERE id = {0}",
    "UPDATE wide SET v = v || ' ' WHERE id = {0}", "UPDATE wide SET f = {1!r} WHERE id = {0}",
    "UPDATE wide SET b = b || '\\x00' WHERE id = {0}", "UPDATE wide SET l = '[0:1]={{8,NULL}}' WHERE id = {0}",
    "UPDATE wide SET j = NULL, d = 1.50 WHERE id = {0}", "DELETE FROM wide WHERE id = {0}",
    "INSERT INTO wide (id, v, n) VALUES (-{0}, 'extra', {0})")


def plant_100(destination):
    """100 rows that differ; all are among those that the load leaves alone."""
    statements = [CHANGES[i % 9].format(i, next_float(i / 3)) for i in range(1, 73)]
    for i in range(101, 107, 2):  # swapped: six rows
        statements.append(f"UPDATE wide SET v = CASE id WHEN {i} THEN 'v{i + 1}' ELSE 'v{i}' END WHERE id IN ({i}, {i + 1})")
    statements += [f"UPDATE wide SET id = -id WHERE id = {i}" for i in range(201, 204)]           # six
    statements += [f"UPDATE texts SET v = '' WHERE b = {i}" for i in range(1, 6)]                  # five
    statements += ["DELETE FROM texts WHERE b = 10", "INSERT INTO texts VALUES ('x,\"y', 1, '')"]  # two
    statements += ["UPDATE quiet SET v = NULL WHERE id <= 3000000021", "UPDATE parts SET v = 'P' WHERE id IN (99, 100)"]  # five
    statements += ["DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare WHERE id = 20)",
                   "INSERT INTO bare VALUES (21, 'v')", "UPDATE bare SET v = NULL WHERE id = 22"]  # four texts
    destination.script(*statements)


@pytest.mark.limit(600)
def test_100_rows_planted_under_load_are_found_and_repaired_and_no_other(source, destination, streaming):
    source.execute("ALTER TABLE wide ADD UNIQUE (id, v)")
    with Load(source):
        plant_100(destination)
        status, tables = verify(streaming)
        assert status == DIFFERENT and len(found(tables)) == 100, {name: len(table["rows"]) for name, table in tables.items()}
        before = found(tables)
        status, tables = verify(streaming, "--repair", "--workers", "2")
        assert (status, found(tables)) == (EQUAL, before), tables
        assert all(row["is_repaired"] for table in tables.values() for row in table["rows"])
        # Of `bare` two rows of one text became two of another.
        assert sum(table["repaired"] for table in tables.values()) == 102
        status, tables = verify(streaming)
        assert (status, found(tables)) == (EQUAL, []), tables
    assert streaming.is_running
    streaming.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    repaired = destination.query("SELECT table_name, kind, key_values, replaced_values FROM towline_state.verify_row "
                                 "WHERE repaired_at IS NOT NULL")
    assert len(repaired) == 100
    assert ("quiet", "different", "(1000000007)", "'1000000007', NULL") in repaired
    assert ("wide", "missing", "(8)", None) not in repaired and ("wide", "missing", "(7)", None) in repaired
    result = destination.query("SELECT r.verdict, different, missing, extra, repaired FROM towline_state.verify_result r "
                               "JOIN towline_state.verify_run USING (task, run) WHERE mode = 'rows, repair' AND table_name = 'texts'")
    assert result == [("equal", 5, 1, 1, 7)]


@pytest.mark.limit(600)
def test_rows_that_are_written_all_the_time_are_not_set_back(source, destination, streaming):
    """Somebody spoils the very rows that the load writes, and repairs run against the stream."""
    stop, spoiled = threading.Event(), [0]

    def spoil():
        connection = destination.connect()
        with connection.cursor() as cursor:
            while not stop.wait(0.01):
                at = STABLE + 1 + spoiled[0] * 13 % 3000
                cursor.execute(f"UPDATE wide SET d = -1, w = 'spoiled' WHERE id BETWEEN {at} AND {at + 5}")
                cursor.execute(f"UPDATE texts SET v = 'spoiled' WHERE b BETWEEN {at} AND {at + 5}")
                spoiled[0] += 1
        connection.close()

    spoiler = threading.Thread(target=spoil)
    repaired = 0
    with Load(source, rate=3000):
        spoiler.start()
        try:
            for _ in range(4):
                tables = verify(streaming, "--repair", "--wait", "20")[1]
                repaired += sum(table["repaired"] for table in tables.values())
        finally:
            stop.set()
            spoiler.join()
        status, tables = verify(streaming, "--repair")
        assert status != DIFFERENT, tables
        repaired += sum(table["repaired"] for table in tables.values())
    assert repaired > 20 and spoiled[0] > 50
    assert streaming.is_running, streaming.tail()
    streaming.wait_until_caught_up()
    assert verify(streaming, "--repair")[0] == EQUAL
    assert_equal(source.uri(), destination.uri())


def test_constraints_triggers_and_columns_of_every_kind(source, destination, towline):
    source.execute("""
        CREATE TABLE parent (id int PRIMARY KEY, email text UNIQUE, EXCLUDE USING btree (id WITH =));
        CREATE TABLE child (id int GENERATED ALWAYS AS IDENTITY, parent int REFERENCES parent ON DELETE CASCADE, n int,
                            twice int GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY (id));
        CREATE TABLE odd (v text COLLATE "C" PRIMARY KEY, always int GENERATED ALWAYS AS IDENTITY);
        CREATE TABLE nothing ();
        INSERT INTO parent SELECT i, 'm' || i FROM generate_series(1, 1500) i;
        INSERT INTO child (parent, n) SELECT 1 + i % 1500, i FROM generate_series(1, 1500) i;
        INSERT INTO odd SELECT 'o' || i FROM generate_series(1, 10) i;
        ALTER TABLE nothing REPLICA IDENTITY FULL""")
    towline.start()
    towline.wait_until_caught_up()
    destination.script(
        "ALTER TABLE parent ADD COLUMN only_here int DEFAULT 7", "UPDATE parent SET only_here = id",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END'",
        # Values change places across what one transaction holds, in circles.
        "UPDATE parent SET email = 'x' || id WHERE id IN (1, 1400, 700)",
        "UPDATE parent SET email = CASE id WHEN 1 THEN 'm1400' WHEN 700 THEN 'm1' ELSE 'm700' END WHERE id IN (1, 1400, 700)",
        "DELETE FROM parent WHERE id = 5", "INSERT INTO parent VALUES (-5, 'm5')", "UPDATE parent SET email = NULL WHERE id = 6",
        "UPDATE parent SET email = 'many' || id WHERE id BETWEEN 100 AND 1350 AND id <> 700",
        "UPDATE child SET n = 0 WHERE id = 9", "UPDATE odd SET always = DEFAULT WHERE v = 'o3'",
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON parent FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION refuse()")
    status, tables = verify(towline, "--repair")
    assert status == EQUAL, {name: table for name, table in tables.items() if table["verdict"] != "equal"}
    # Two of the parent's children went with it.
    assert (tables["parent"]["repaired"], tables["odd"]["repaired"]) == (3 + 3 + 1250, 1)
    assert tables["child"]["different"] == 1 and tables["child"]["missing"] == tables["child"]["repaired"] - 1
    assert verify(towline)[0] == EQUAL
    assert destination.query("SELECT count(*), count(*) FILTER (WHERE only_here = id) FROM parent") == [(1500, 1499)]
    assert destination.value("SELECT only_here FROM parent WHERE id = 5") == 7
    source.script("UPDATE parent SET email = 'new' WHERE id = 1", "DELETE FROM parent WHERE id = 5")
    towline.wait_until_caught_up()
    destination.script("ALTER TABLE parent DROP COLUMN only_here")
    assert_equal(source.uri(), destination.uri())


def test_the_file_mends_what_has_not_been_written_since(source, destination, streaming):
    file = streaming.directory / "repair.sql"
    destination.script("UPDATE wide SET v = 'it''s \\\\' WHERE id = 1", "DELETE FROM wide WHERE id = 2",
                       "INSERT INTO wide (id) VALUES (-1), (-2)", "UPDATE texts SET v = NULL WHERE b = 3",
                       "INSERT INTO bare VALUES (1, 'w')", "DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare WHERE id = 20)")
    status, tables = verify(streaming, "--repair-sql", str(file))
    assert status == EQUAL and sum(table["repaired"] for table in tables.values()) == 7, tables
    # As if it had been killed: what it counts as repaired is nowhere, and is not taken for equal.
    destination.execute("UPDATE towline_state.verify_run SET finished_at = NULL, verdict = NULL")
    done = streaming.call("verify", "--resume")
    assert done.returncode == UNDECIDED and "the last one was another: rows, repair into a file" in done.stderr, done
    written = file.read_text()
    done = streaming.call("verify", "--resume", "--repair-sql", str(file))
    assert done.returncode == UNDECIDED and "Begin without --resume" in done.stderr, done
    assert file.read_text() == written
    assert verify(streaming)[0] == DIFFERENT  # nothing was written
    destination.execute("UPDATE wide SET v = 'mine' WHERE id = -2")
    destination.script(*(statement for statement in file.read_text().split(";\n") if statement.strip()))
    status, tables = verify(streaming)
    assert status == DIFFERENT and found(tables) == [("wide", "extra", "(-2)", "")]
    destination.execute("DELETE FROM wide WHERE id = -2")
    assert_equal(source.uri(), destination.uri())


def test_what_cannot_be_repaired_says_why(source, destination, streaming):
    destination.script("DELETE FROM quiet WHERE id = 1000000007", "UPDATE quiet SET v = 'x' WHERE id = 2000000014",
                       "ALTER TABLE quiet ADD CHECK (id <> 1000000007)")
    # One row is refused, the other is repaired.
    status, tables = verify(streaming, "--repair")
    assert status == DIFFERENT and tables["quiet"]["repaired"] == 1, tables["quiet"]
    assert "violates check constraint" in tables["quiet"]["repair_note"]
    destination.execute("ALTER TABLE quiet DROP CONSTRAINT quiet_id_check")
    text = streaming.call("verify", "--repair")
    assert text.returncode == EQUAL and "repaired" in text.stdout
    # A transaction that has run at the source since before might have been applied already.
    destination.execute("DELETE FROM quiet WHERE id = 1000000007")
    connection = source.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO quiet VALUES (0, '')")
        source.execute("UPDATE quiet SET v = 'p' WHERE id = 3000000021")  # has the log written
        status, tables = verify(streaming, "--repair", "--wait", "15")
    assert status == DIFFERENT and tables["quiet"]["repaired"] == 0, str(tables["quiet"])
    assert "transaction of the source" in tables["quiet"]["repair_note"]
    connection.rollback()
    connection.close()
    assert verify(streaming, "--repair")[0] == EQUAL
    # A task that stands.
    streaming.stop()
    destination.execute("DELETE FROM quiet WHERE id = 1000000007")
    source.execute("UPDATE quiet SET v = 'later' WHERE id = 1000000007")
    status, tables = verify(streaming, "--repair")
    assert (status, tables["quiet"]["repaired"]) == (UNDECIDED, 0)
    done = streaming.call("verify", "--repair", "--counts")
    assert done.returncode == UNDECIDED and "Leave --counts out" in done.stderr
    done = streaming.call("verify", "--repair", "--origin", "none")
    assert done.returncode == UNDECIDED and "origin: none" in done.stderr
    done = streaming.call("verify", "--repair", "--repair-sql", "x")
    assert done.returncode == UNDECIDED and "Give one." in done.stderr
    done = streaming.call("verify", "--repair-sql", "/nowhere/x")
    assert done.returncode == UNDECIDED and "cannot write /nowhere/x" in done.stderr


def test_rows_of_others_are_not_taken(source, destination, towline):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');"
                   "CREATE TABLE shared (id int PRIMARY KEY); INSERT INTO shared VALUES (1)")
    destination.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (7, 'mine')")
    towline.start("--existing", "append").wait_for_state("streaming")
    status, tables = verify(towline, "--repair")
    assert status == DIFFERENT and "existing: append" in tables["t"]["repair_note"], tables["t"]
    assert destination.query("SELECT id FROM t ORDER BY id") == [(1,), (2,), (7,)]
    assert towline.stop() == 0


def test_two_databases_without_a_task_are_made_equal(source, destination, towline):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    destination.execute("CREATE TABLE t (v text, id int); INSERT INTO t VALUES ('a', 1), ('b', 2), ('b', 2), ('c', 3)")
    status, tables = verify(towline, "--repair")
    assert (status, tables["t"]["repaired"]) == (EQUAL, 2), tables
    assert destination.query("SELECT id, v FROM t ORDER BY id") == [(1, "a"), (2, "b")]


@pytest.mark.limit(600)
def test_what_a_standby_has_not_answered_is_neither_different_nor_set_back(new_cluster, destination, towline_factory):
    """Such a transaction is applied at the destination, and not yet seen by others at the source."""
    cluster = new_cluster("source")
    source = cluster.create_database("source")
    source.script("CREATE EXTENSION towline", "CREATE TABLE t (id int PRIMARY KEY, v text)",
                  "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i")
    towline = towline_factory(source, destination).start()
    towline.wait_until_caught_up()
    source.script("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    wait_until(lambda: source.value("SHOW synchronous_standby_names") == "nobody", 10, "the setting")
    change = ("UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (101, 'new')")
    writer = threading.Thread(target=lambda: source.execute(change))
    writer.start()
    try:
        wait_until(lambda: destination.value("SELECT v FROM t WHERE id = 101") == "new", 20, "the change to arrive")
        assert source.value("SELECT v FROM t WHERE id = 1") == "v"
        for more in ((), ("--repair", "--wait", "15")):
            status, tables = verify(towline, *more)
            assert (status, tables["t"]["undecided"], tables["t"]["repaired"]) == (UNDECIDED, 3, 0), tables
    finally:
        source.script("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        writer.join()
    towline.wait_until_caught_up()
    assert verify(towline)[0] == EQUAL
    assert destination.query("SELECT id, v FROM t WHERE id IN (1, 2, 101) ORDER BY id") == [(1, "new"), (101, "new")]

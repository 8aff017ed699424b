"""towline table rejoin, recopy and add while schema changes are followed (docs/decisions/019)."""
import random
import signal
import threading

import pytest

from support.compare import assert_equal
from support.probes import InBackground, Session, assert_confirmed_is_applied, go_on, wait_until_stopped
from support.schema_changes import ddl, history
from support.waiting import wait_until
from test_tables import TABLES, Load, ask, piece, rows, three, wait_for_piece, waits_for_table  # noqa: F401 (a fixture)

APPLY = ("--ddl", "apply")


@pytest.fixture
def captured(three):
    source, destination = three
    source.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()")
    return source, destination


def start(service, *more):
    service.start(*APPLY, *more).wait_for_state("streaming")
    service.wait_until_caught_up()


def all_equal(service, source, destination, tables=None):
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), **({} if tables is None else {"tables": [f"public.{table}" for table in tables]}))


def columns(database, table):
    return database.query("SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
                          "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1", [table])


def is_copied(service, destination, table):
    """And nothing is left of it that was noted for the copy."""
    wait_for_piece(service, destination, table, "copied")
    wait_until(lambda: destination.value("SELECT count(*) FROM towline_state.range") == 0, 60, "the snapshots to be passed",
               explain=service.tail)


class SchemaChanges(threading.Thread):
    """A command every now and then, of the three tables and of others, alone and among rows."""

    def __init__(self, source, seed, pause=0.3):
        super().__init__(daemon=True)
        self.source, self.random, self.pause = source, random.Random(f"{seed}/ddl"), pause
        self.stopping, self.failure, self.done, self.added = threading.Event(), None, 0, {table: [] for table in TABLES}

    def statements(self):
        table = self.random.choice(TABLES)
        number = self.done
        kind = self.random.randrange(9)
        if kind == 0 and self.added[table]:
            return [f"ALTER TABLE {table} DROP COLUMN {self.added[table].pop()}"]
        if kind == 1:
            return [f"CREATE TABLE made{number} (id int PRIMARY KEY, v text)",
                    f"INSERT INTO made{number} SELECT i, i FROM generate_series(1, 50) i"]
        if kind == 2:
            return [f"CREATE INDEX made{number} ON {table} (v)"]
        if kind == 3:
            return [f"ALTER TABLE {table} ALTER COLUMN v TYPE {self.random.choice(('int', 'bigint'))}"]
        if kind == 4:
            return ["REFRESH MATERIALIZED VIEW counts"]
        if kind == 5:
            return [f"BEGIN; LOCK TABLE {table}; UPDATE {table} SET v = v + 1 WHERE id % 7 = 3; ALTER TABLE {table} ALTER COLUMN note SET DEFAULT 'n{number}';"
                    f"INSERT INTO other VALUES ({number}, 'beside'); COMMIT"]
        if kind == 6:
            return [f"CREATE TABLE gone{number} AS SELECT id, v FROM {table} WHERE id < 50", f"DROP TABLE gone{number}"]
        self.added[table].append(f"w{number}")
        default = self.random.choice(("", " DEFAULT 7", " DEFAULT random()"))
        return [f"BEGIN; ALTER TABLE {table} ADD COLUMN w{number} float8{default}; UPDATE {table} SET w{number} = id WHERE id % 5 = 1;"
                f"DELETE FROM {table} WHERE id % 211 = 5; COMMIT"]

    def run(self):
        connection = self.source.connect(autocommit=True)
        try:
            while not self.stopping.wait(self.pause):
                for statement in self.statements():
                    with connection.cursor() as cursor:
                        cursor.execute(statement)
                self.done += 1
        except Exception as error:  # shown by whoever stops it
            self.failure = error
        finally:
            connection.close()

    def wait_for(self, more):
        enough = self.done + more
        wait_until(lambda: self.done >= enough or self.failure, 120, "schema changes")
        assert self.failure is None, self.failure

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        self.join(60)
        if kind is None:
            assert self.failure is None, self.failure


def make_others(source):
    source.script("CREATE TABLE other (id int PRIMARY KEY, v text)", "INSERT INTO other VALUES (-1, 'x')",
                  "CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM a")


def test_a_table_comes_back_that_a_change_has_parked(towline, captured, seed):
    source, destination = captured
    start(towline, "--on-ddl-error", "park")
    destination.execute("ALTER TABLE a ADD COLUMN w date")
    with Load(source, seed) as load:
        load.wait_for(10)
        source.execute("ALTER TABLE a ADD COLUMN w int DEFAULT 3")
        wait_for_piece(towline, destination, "a", "parked")
        load.wait_for(10)
        # Not mended: it is parked again.
        ask(towline, "rejoin", "public.a")
        wait_until(lambda: piece(destination, "a")[0] == "parked" and 'column "w"' in (piece(destination, "a")[1] or ""), 60,
                   "a to be parked again", explain=towline.tail)
        destination.execute("ALTER TABLE a DROP COLUMN w; ALTER TABLE a ADD COLUMN w int DEFAULT 3")
        # Locked first, or it and the load would wait for each other.
        source.execute("LOCK TABLE a; UPDATE a SET w = 4 WHERE id < 500; ALTER TABLE a ALTER COLUMN note SET NOT NULL")
        ask(towline, "rejoin", "public.a")
        is_copied(towline, destination, "a")
        source.execute("ALTER TABLE a ADD COLUMN u int DEFAULT 5")
        load.wait_for(20)
    all_equal(towline, source, destination)
    assert columns(source, "a") == columns(destination, "a")
    assert [fate for _, fate in history(destination)] == ["parked", "applied", "applied"]
    assert towline.stop() == 0


@pytest.mark.limit(600)
def test_tables_come_back_while_everybody_changes_the_schema(source, destination, captured, towline_factory, seed):
    make_others(source)
    service = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB", "--copy-workers", "2"])
    start(service)
    with Load(source, seed) as load, SchemaChanges(source, seed) as changes:
        changes.wait_for(5)
        ask(service, "recopy", "public.a")
        changes.wait_for(3)
        wait_for_piece(service, destination, "a", "copied")
        # Several that are asked for together follow one another.
        for table in TABLES:
            ask(service, "recopy", f"public.{table}")
        for table in TABLES:
            wait_for_piece(service, destination, table, "copied")
        assert service.call("set", "copy_rows_max", "3000").returncode == 0
        ask(service, "recopy", "public.b")
        changes.wait_for(3)
        wait_for_piece(service, destination, "b", "copied")
        assert service.call("set", "copy_rows_max", "0").returncode == 0
        ask(service, "park", "public.c")
        changes.wait_for(3)
        wait_for_piece(service, destination, "c", "parked")
        ask(service, "rejoin", "public.c")
        wait_for_piece(service, destination, "c", "copied")
        load.wait_for(50)
        changes.wait_for(5)
    source.execute("REFRESH MATERIALIZED VIEW counts")
    all_equal(service, source, destination)
    for table in TABLES:
        assert columns(source, table) == columns(destination, table), table
    assert source.value("SELECT n FROM counts") == destination.value("SELECT n FROM counts")
    assert {fate for _, fate in history(destination)} == {"applied"}
    assert service.call("verify").returncode == 0
    assert service.stop() == 0


def test_add(towline, captured, seed):
    """What becomes of it while it is no table of the task is not carried, what comes from then on is."""
    source, destination = captured
    start(towline)
    ask(towline, "remove", "public.c")
    wait_for_piece(towline, destination, "c", "removed")
    source.execute("ALTER TABLE c ADD COLUMN w int DEFAULT 3; CREATE TABLE d (id int PRIMARY KEY)")
    towline.wait_until_caught_up()
    destination.execute("TRUNCATE c; ALTER TABLE c ADD COLUMN w int")
    with Session(source) as session, Load(source, seed) as load:
        session.execute("BEGIN; UPDATE d SET id = 1; SELECT pg_current_xact_id()")
        ask(towline, "add", "public.c")
        wait_for_piece(towline, destination, "c", "joining")
        source.execute("ALTER TABLE c ADD COLUMN u int DEFAULT 4; UPDATE c SET u = id WHERE id < 50; INSERT INTO d VALUES (7)")
        wait_until(lambda: destination.value("SELECT count(*) FROM d WHERE id = 7"), 60, "the stream to go on", explain=towline.tail)
        assert ("u", "integer", False) in columns(destination, "c")
        session.execute("COMMIT")
        is_copied(towline, destination, "c")
        load.wait_for(10)
    all_equal(towline, source, destination)
    assert towline.stop() == 0


def stands_at(service, point, *words):
    """Started with something to do, it stands still there."""
    if words:
        ask(service, *words)
    service.fault = f"{point}:stop:1"
    service.start(*APPLY)
    wait_until_stopped(service)
    assert f"fault point {point}" in service.output()


BEFORE_THE_SNAPSHOT = (
    "ALTER TABLE a ADD COLUMN w int DEFAULT 7; UPDATE a SET w = id WHERE id < 100",
    "UPDATE a SET v = 5 WHERE id < 50; ALTER TABLE a ALTER COLUMN v TYPE numeric USING v + 0.5; UPDATE a SET v = 6 WHERE id = 1",
    "ALTER TABLE a RENAME COLUMN note TO remark; ALTER TABLE a DROP COLUMN v; INSERT INTO a VALUES (90000, 'x')",
    "TRUNCATE a; ALTER TABLE a ADD COLUMN w float8 DEFAULT random(); INSERT INTO a SELECT i, 1, 'anew' FROM generate_series(1, 50) i",
    "CREATE TYPE mood AS ENUM ('sad', 'ok'); ALTER TABLE a ADD COLUMN m mood DEFAULT 'ok'",
    "CREATE TABLE p (id int, v int, note text) PARTITION BY RANGE (id); ALTER TABLE p ATTACH PARTITION a FOR VALUES FROM (0) TO (100000);"
    "ALTER TABLE p ADD COLUMN w int DEFAULT 2; UPDATE p SET w = 3 WHERE id < 20",
)


@pytest.mark.parametrize("change", [
    pytest.param(change, id=change.split(";")[0][:40],
                 marks=[pytest.mark.long] if "TRUNCATE" in change or "RENAME" in change or "CREATE TABLE" in change else [])
    for change in BEFORE_THE_SNAPSHOT])
def test_a_change_that_the_snapshot_sees_and_the_stream_has_yet_to_bring(towline, captured, change):
    source, destination = captured
    start(towline)
    assert towline.stop() == 0
    stands_at(towline, "join:caught-up", "recopy", "public.a")
    source.execute(change)
    source.execute("INSERT INTO b VALUES (-5, 1, 'beside')")
    go_on(towline)
    is_copied(towline, destination, "a")
    source.execute("DELETE FROM a WHERE id % 10 = 3")
    all_equal(towline, source, destination)
    assert columns(source, "a") == columns(destination, "a")
    assert {fate for _, fate in history(destination)} == {"applied"}
    assert towline.stop() == 0


def test_changes_right_behind_the_snapshot_wait_for_the_rows(towline, captured):
    """Those that need its lock at the source, those that do not in the stream."""
    source, destination = captured
    source.script("CREATE TABLE other (id int PRIMARY KEY, v text)", "CREATE TYPE mood AS ENUM ('sad', 'ok')",
                  "ALTER TABLE a ADD COLUMN m mood DEFAULT 'ok'", "CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM a")
    start(towline)
    assert towline.call("set", "copy_rows_max", "200").returncode == 0
    ask(towline, "recopy", "public.a")
    wait_until(lambda: destination.value("SELECT count(*) FROM towline_state.range WHERE state = 'copying'"), 60, "the copy to begin")
    altered = InBackground(source.execute, "ALTER TABLE a ADD COLUMN w int DEFAULT 7; UPDATE a SET w = id WHERE id < 100")
    wait_until(lambda: waits_for_table(source, "a"), 30, "the change to wait for the copy")
    # Nobody gets past that one at the source, but what needs no lock of the table does.
    source.script("INSERT INTO other VALUES (1, 'before')", "ALTER TYPE mood ADD VALUE 'glad'", "CREATE INDEX ON other (v)",
                  "INSERT INTO other VALUES (2, 'behind')")
    wait_until(lambda: destination.value("SELECT count(*) FROM other") == 1, 30, "the stream to go on until the first change")
    towline.wait_for_log("the stream waits for the copy of a table", 30)
    assert destination.value("SELECT count(*) FROM other") == 1
    assert "glad" not in destination.value("SELECT enum_range(NULL::mood)::text")
    assert piece(destination, "a")[0] == "joining"
    assert towline.call("set", "copy_rows_max", "0").returncode == 0
    altered.result(60)
    source.execute("REFRESH MATERIALIZED VIEW counts")
    is_copied(towline, destination, "a")
    source.execute("UPDATE a SET m = 'glad' WHERE id < 10")
    all_equal(towline, source, destination)
    assert columns(source, "a") == columns(destination, "a")
    assert source.value("SELECT n FROM counts") == destination.value("SELECT n FROM counts") == 3000
    assert {fate for _, fate in history(destination)} == {"applied"}
    assert towline.stop() == 0


def test_a_type_that_is_altered_while_rows_are_read(towline, captured):
    """Which locks no table: labels are read as they are by then, and would be taken for others."""
    source, destination = captured
    source.script("CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')", "ALTER TABLE a ADD COLUMN m mood",
                  "UPDATE a SET m = (enum_range(NULL::mood))[1 + id % 3]")
    start(towline)
    assert towline.call("set", "copy_rows_max", "500").returncode == 0
    ask(towline, "recopy", "public.a")
    wait_until(lambda: destination.value("SELECT count(*) FROM towline_state.range WHERE state = 'copying'"), 60, "the copy to begin")
    source.script("ALTER TYPE mood RENAME VALUE 'sad' TO 'x'", "ALTER TYPE mood RENAME VALUE 'glad' TO 'sad'",
                  "ALTER TYPE mood RENAME VALUE 'x' TO 'glad'")
    towline.wait_for_log("was altered while its rows were copied", 60)
    assert towline.call("set", "copy_rows_max", "0").returncode == 0
    is_copied(towline, destination, "a")
    all_equal(towline, source, destination)
    assert towline.stop() == 0


def held_by_a_marker(towline, source, destination, *words):
    """A session that keeps the table from its snapshot, with the stream beside it."""
    session = Session(source)
    session.execute("BEGIN; UPDATE c SET v = 1 WHERE id = 1")
    ask(towline, *words)
    wait_for_piece(towline, destination, words[1].split(".")[1], "joining")
    return session


def test_it_is_renamed_while_it_joins(towline, captured):
    source, destination = captured
    start(towline)
    with held_by_a_marker(towline, source, destination, "recopy", "public.a") as session:
        source.execute("UPDATE a SET v = 2; ALTER TABLE a RENAME TO a2; INSERT INTO a2 VALUES (-1, 1, 'x')")
        # Its name is another's at once.
        source.execute("CREATE TABLE a (id int PRIMARY KEY, x text); INSERT INTO a VALUES (1, 'new'), (2, 'new')")
        wait_for_piece(towline, destination, "a2", "joining")
        wait_until(lambda: piece(destination, "a")[0] == "streamed", 60, "the new table", explain=towline.tail)
        session.execute("COMMIT")
    is_copied(towline, destination, "a2")
    source.script("UPDATE a2 SET v = 3 WHERE id < 100", "UPDATE a SET x = 'y'")
    all_equal(towline, source, destination)
    assert towline.stop() == 0
    # Among the looks at what is to be copied.
    stands_at(towline, "join:begun", "recopy", "public.c")
    source.execute("ALTER TABLE c RENAME TO c2; INSERT INTO c2 VALUES (-1, 1, 'x')")
    go_on(towline)
    is_copied(towline, destination, "c2")
    all_equal(towline, source, destination)
    assert towline.stop() == 0
    # Between the last look at its name and the lock.
    stands_at(towline, "join:caught-up", "recopy", "public.b")
    source.execute("ALTER TABLE b RENAME TO b2; CREATE SCHEMA s; ALTER TABLE b2 SET SCHEMA s; INSERT INTO s.b2 VALUES (-1, 1, 'x')")
    source.execute("CREATE TABLE b (id int PRIMARY KEY, x text); INSERT INTO b VALUES (1, 'new')")
    go_on(towline)
    is_copied(towline, destination, "b2")
    all_equal(towline, source, destination)
    assert towline.stop() == 0


def test_it_is_dropped_while_it_joins(towline, captured):
    source, destination = captured
    start(towline)
    with held_by_a_marker(towline, source, destination, "recopy", "public.a") as session:
        ask(towline, "recopy", "public.b")
        source.execute("UPDATE a SET v = 2; DROP TABLE a")
        wait_until(lambda: piece(destination, "a")[0] is None, 60, "the table to be dropped", explain=towline.tail)
        session.execute("COMMIT")
    source.execute("CREATE TABLE a (id int PRIMARY KEY, x text); INSERT INTO a VALUES (1, 'new')")
    # What was asked while another joined is taken up behind it.
    towline.wait_for_log('a table joins the stream.*"b"')
    all_equal(towline, source, destination)
    is_copied(towline, destination, "b")
    assert towline.stop() == 0
    stands_at(towline, "join:caught-up", "recopy", "public.b")
    source.execute("DROP TABLE b; INSERT INTO c VALUES (-1, 1, 'x')")
    go_on(towline)
    wait_until(lambda: piece(destination, "b")[0] is None, 60, "the table to be dropped", explain=towline.tail)
    all_equal(towline, source, destination)
    assert towline.status()["parked_total"] == 0
    assert towline.stop() == 0


def test_a_change_that_the_old_rows_refuse_parks_it(towline, captured):
    source, destination = captured
    start(towline)
    with held_by_a_marker(towline, source, destination, "recopy", "public.a") as session:
        destination.execute("UPDATE a SET note = NULL WHERE id = 5")
        source.execute("ALTER TABLE a ALTER COLUMN note SET NOT NULL; INSERT INTO b VALUES (-5, 1, 'beside')")
        wait_for_piece(towline, destination, "a", "parked")
        session.execute("COMMIT")
    assert "towline ddl list" in piece(destination, "a")[1]
    all_equal(towline, source, destination, ["b", "c"])
    destination.execute("UPDATE a SET note = '' WHERE note IS NULL; ALTER TABLE a ALTER COLUMN note SET NOT NULL")
    ask(towline, "rejoin", "public.a")
    is_copied(towline, destination, "a")
    all_equal(towline, source, destination)
    assert towline.stop() == 0


@pytest.mark.long
def test_what_is_held_is_for_the_stream_alone(towline, captured):
    """Before the snapshot, so the table waits as it is, and nothing is held at the source."""
    source, destination = captured
    policy = ("--ddl", "drop_table=hold")
    start(towline, *policy)
    source.execute("CREATE TABLE doomed (id int PRIMARY KEY)")
    towline.wait_until_caught_up()
    assert towline.stop() == 0
    ask(towline, "recopy", "public.a")
    source.execute("DROP TABLE doomed; ALTER TABLE a ADD COLUMN w int DEFAULT 7; UPDATE a SET w = id")
    towline.start(*APPLY, *policy)
    assert towline.wait_exit(60) == 4, towline.tail()
    assert piece(destination, "a")[0] == "joining"
    towline.start(*APPLY, *policy, "--ddl-hold-max", "10min")
    wait_until(lambda: towline.is_running and towline.status()["state"] == "waiting", 60, "the state", explain=towline.tail)
    assert not waits_for_table(source, "a")
    done = ddl(towline, "approve")
    assert done.returncode == 0, done
    is_copied(towline, destination, "a")
    all_equal(towline, source, destination)
    assert history(destination)[-2:] == [("DROP TABLE", "applied"), ("ALTER TABLE", "applied")]
    assert towline.stop() == 0


@pytest.mark.long
def test_what_does_not_fit_is_parked(towline, captured):
    """By the policy the stream does not bring it."""
    source, destination = captured
    options = ("--ddl", "table=ignore")
    start(towline, *options)
    source.execute("ALTER TABLE a ADD COLUMN w int; ALTER TABLE b RENAME TO b2")
    towline.wait_until_caught_up()
    ask(towline, "recopy", "public.a")
    wait_for_piece(towline, destination, "a", "parked")
    assert 'column "w"' in piece(destination, "a")[1]
    ask(towline, "recopy", "public.b")
    wait_for_piece(towline, destination, "b", "parked")
    assert '"public"."b2"' in piece(destination, "b")[1]
    destination.execute("ALTER TABLE a ADD COLUMN w int")
    ask(towline, "rejoin", "public.a")
    is_copied(towline, destination, "a")
    all_equal(towline, source, destination, ["a", "c"])
    assert towline.stop() == 0


KILLED_AT = ("tables:joining", "join:begun", "join:caught-up", "copy:snapshot-taken", "join:planned", "join:emptied", "copy:piece-begun", "copy:in-table",
             "copy:table-done", "join:copied")


@pytest.mark.limit(600)
def test_killed_between_any_two_steps(source, destination, captured, towline_factory, seed):
    make_others(source)
    service = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB", *APPLY])
    start(service)
    assert service.stop() == 0
    with Load(source, seed) as load, SchemaChanges(source, seed) as changes:
        for number, point in enumerate(KILLED_AT):
            table = TABLES[number % 3]
            if piece(destination, table)[0] in ("copied", "streamed"):
                ask(service, "recopy", f"public.{table}")
            changes.wait_for(1)
            service.fault = f"{point}:kill:1"
            service.start()
            assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
            assert f"fault point {point}" in service.output()
            assert_confirmed_is_applied(service, source)
            changes.wait_for(1)
            load.wait_for(5)
        service.fault = None
        service.start()
        for table in TABLES:
            wait_until(lambda table=table: piece(destination, table)[0] in ("copied", "streamed"), 120, f"{table} to be copied",
                       explain=service.tail)
        changes.wait_for(3)
    # At the destination it may have been refreshed over rows of a table that was just joining.
    source.execute("REFRESH MATERIALIZED VIEW counts")
    all_equal(service, source, destination)
    for table in TABLES:
        assert columns(source, table) == columns(destination, table), table
    assert service.stop() == 0


def test_killed_by_a_crash_of_the_destination(source, destination, captured, towline_factory, destination_cluster):
    """What it has lost of the stream's commits it has lost of the rows behind them."""
    service = towline_factory(source, destination)
    start(service)
    assert service.stop() == 0
    stands_at(service, "join:caught-up", "recopy", "public.a")
    source.execute("ALTER TABLE a ADD COLUMN w int DEFAULT 7; UPDATE a SET w = id WHERE id < 100")
    service.fault = None
    go_on(service)
    wait_for_piece(service, destination, "a", "copied")
    destination_cluster.restart(mode="immediate")
    source.execute("UPDATE a SET w = 8 WHERE id % 3 = 1; ALTER TABLE a ADD COLUMN u int DEFAULT 9")
    all_equal(service, source, destination)
    assert service.stop() == 0


@pytest.mark.parametrize("which", ["taken", pytest.param("waits", marks=pytest.mark.long)])
def test_a_lock_at_the_source_that_is_not_had(towline, captured, which):
    source, destination = captured
    start(towline)
    with Session(source) as session:
        session.execute("BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        ask(towline, "recopy", "public.a")
        wait_for_piece(towline, destination, "a", "joining")
        source.execute("CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1)")
        wait_until(lambda: destination.query("SELECT to_regclass('d')") != [(None,)], 60, "the stream to go on", explain=towline.tail)
        if which == "taken":
            session.execute("ALTER TABLE a ADD COLUMN w int DEFAULT 4; UPDATE a SET w = 5 WHERE id < 10")
        session.execute("COMMIT")
    is_copied(towline, destination, "a")
    all_equal(towline, source, destination)
    assert columns(source, "a") == columns(destination, "a")
    assert towline.stop() == 0

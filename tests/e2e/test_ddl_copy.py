"""Schema changes while the first copy is made: each is in it or comes after it, never both, never neither (docs/ddl.md)."""
import signal
import threading
from contextlib import closing

import psycopg2
import pytest

from support.schema_changes import APPLY, captured, equal, history  # noqa: F401 (a fixture)
from support.waiting import wait_until
from test_schema import assert_same_schema


@pytest.mark.limit(300)
def test_changes_while_tables_are_copied(towline, captured, destination):
    """A change is in the copy or comes after it, never both, never neither."""
    captured.script("CREATE TABLE bulk AS SELECT i AS id, repeat(md5(i::text), 10) AS filler FROM generate_series(1, 60000) i",
                    "ALTER TABLE bulk ADD PRIMARY KEY (id)", "CREATE TABLE small (id int PRIMARY KEY)")
    stopping, failures = threading.Event(), []

    def change():
        try:
            number = 0
            while not stopping.wait(1):
                number += 1
                captured.script(f"ALTER TABLE small ADD COLUMN c{number} int DEFAULT {number}",
                                f"INSERT INTO small VALUES ({number})", f"CREATE TABLE new_{number} (id int PRIMARY KEY)",
                                f"INSERT INTO new_{number} VALUES ({number})", f"CREATE INDEX small_{number} ON small (c{number})")
        except psycopg2.Error as error:
            failures.append(error)

    changes = threading.Thread(target=change, daemon=True)
    changes.start()
    try:
        towline.start(*APPLY, "--copy-workers", "1").wait_for_state("streaming")
    finally:
        stopping.set()
        changes.join(60)
    assert not failures, failures
    equal(towline, captured, destination)
    assert towline.stop() == 0


def test_a_change_between_two_tries_of_the_copy(towline_factory, captured, destination):
    """No table's columns are others, and the command comes by the stream: some tables' snapshot would hold it."""
    captured.script(*(f"CREATE TABLE part_{number} AS SELECT i AS id FROM generate_series(1, 100) i" for number in range(4)),
                    *(f"ALTER TABLE part_{number} ADD PRIMARY KEY (id)" for number in range(4)))
    service = towline_factory(captured, destination, arguments=[*APPLY, "--copy-workers", "1"], fault="copy:table-done:kill:3")
    service.start()
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    service.fault = "copy:table-done:kill:1"
    service.start()
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    assert "goes on under a new snapshot" in service.output(), service.tail()
    captured.script("CREATE VIEW of_part AS SELECT id FROM part_1", "INSERT INTO part_1 VALUES (1000)")
    service.fault = None
    service.start()
    service.wait_for_log("starts again.*with ddl a change cannot lie between two snapshots")
    service.wait_for_state("streaming")
    captured.execute("ALTER TABLE part_2 ADD COLUMN more int DEFAULT 5")
    equal(service, captured, destination)
    assert service.stop() == 0


def test_schema_changes_faster_than_it_is_dumped(towline_factory, captured, destination, tmp_path):
    """Each dump is overtaken by a change: the locks come first then."""
    slow = tmp_path / "pg_dump"
    slow.write_text(f'#!/bin/sh\n"{captured.cluster.programs}/pg_dump" "$@" || exit\n'
                    '[ "$1" = --version ] || sleep 1.5\n')
    slow.chmod(0o755)
    captured.script("CREATE TABLE small (id int PRIMARY KEY)")
    stopping, failures = threading.Event(), []

    def change():
        try:
            number = 0
            while not stopping.wait(0.7):
                number += 1
                captured.script(f"ALTER TABLE small ADD COLUMN c{number} int DEFAULT {number}",
                                f"INSERT INTO small VALUES ({number})")
        except psycopg2.Error as error:
            failures.append(error)

    changes = threading.Thread(target=change, daemon=True)
    changes.start()
    service = towline_factory(captured, destination)
    try:
        service.start(*APPLY, "--pg-dump", str(slow)).wait_for_state("streaming")
    finally:
        stopping.set()
        changes.join(60)
    assert not failures, failures
    equal(service, captured, destination)
    assert service.stop() == 0


class HeldDump:
    """A pg_dump that has read the schema and does not end before it is let go. Counts its schemas, which take two of it each."""

    def __init__(self, directory, cluster):
        self.dumps, self.let_go_at = directory / "dumps", directory / "let_go"
        self.program = directory / "pg_dump"
        self.program.write_text(f'''#!/bin/sh
"{cluster.programs}/pg_dump" "$@" || exit
case "$*" in *--section=*) ;; *) exit 0 ;; esac
echo >> "{self.dumps}"
while [ ! -e "{self.let_go_at}" ] && kill -0 $PPID; do sleep 0.05; done
''')
        self.program.chmod(0o755)

    def count(self):
        return len(self.dumps.read_text().splitlines()) / 2 if self.dumps.exists() else 0

    def wait(self):
        wait_until(lambda: self.count() == 1, 60, "the schema to be dumped")

    def let_go(self):
        self.let_go_at.touch()


WHILE_DUMPED = (
    "CREATE INDEX t_n ON t (n)",
    "CREATE POLICY few ON t USING (id < 100)",
    "ALTER TABLE t ADD CONSTRAINT positive CHECK (id > -1)",
    "CREATE STATISTICS t_v_n ON v, n FROM t",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER stamped BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION stamp()",
)
WHILE_LOCKS_ARE_REFUSED = (
    "CREATE VIEW seen AS SELECT id, v FROM t",
    "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'",
    "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'glad'",
    "COMMENT ON COLUMN t.v IS 'said meanwhile'",
    "DROP VIEW doomed",
)


def test_changes_between_the_schema_and_the_rows(towline_factory, captured, destination, tmp_path):
    """The rows' snapshot holds the commands, so the stream passes over them: the schema must hold what they did, too."""
    captured.script("CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE VIEW doomed AS SELECT 1 AS one",
                    "CREATE TABLE busy (id int PRIMARY KEY)")
    dump = HeldDump(tmp_path, captured.cluster)
    service = towline_factory(captured, destination)
    service.start(*APPLY, "--pg-dump", dump.program)
    dump.wait()
    captured.script(*WHILE_DUMPED)
    # The dump is done, and is kept while its tables cannot be locked.
    with closing(captured.connect(autocommit=False)) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        dump.let_go()
        service.wait_for_log("the copy waits for a lock on a table")
        captured.script(*WHILE_LOCKS_ARE_REFUSED)
        assert dump.count() == 1
    service.wait_for_state("streaming")
    equal(service, captured, destination, definitions=True)
    assert_same_schema(captured, destination)
    assert dump.count() == 2 and history(destination) == []
    assert service.stop() == 0


# Nothing of this is in a schema that is dumped, or changes one, though much of it writes the catalogs.
PASSING = (
    "CREATE TEMP TABLE passing (LIKE t INCLUDING ALL)",
    "CREATE TEMP TABLE numbered (id serial PRIMARY KEY, t_id int CHECK (t_id > 0), v text DEFAULT 'x')",
    "CREATE TEMP VIEW passing_seen AS SELECT * FROM passing",
    "CREATE TYPE pg_temp.kind AS ENUM ('a', 'b')",
    "CREATE FUNCTION pg_temp.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "COMMENT ON TABLE passing IS 'of this session'",
    "TRUNCATE emptied RESTART IDENTITY",
    "INSERT INTO emptied (v) VALUES ('again')",
    "REFRESH MATERIALIZED VIEW counted",
    "VACUUM FULL t",
    "REINDEX TABLE t",
    "ANALYZE",
)


def test_what_passes_while_the_schema_is_read_is_no_change_of_it(towline_factory, captured, destination, tmp_path):
    """A source whose sessions make temporary tables all the time is dumped once."""
    captured.script("ALTER TABLE t ADD CONSTRAINT positive CHECK (id > -1)", "COMMENT ON COLUMN t.v IS 'what it says'",
                    "COMMENT ON CONSTRAINT positive ON t IS 'no others'", "CREATE TABLE emptied (id serial PRIMARY KEY, v text)",
                    "INSERT INTO emptied (v) VALUES ('once')", "CREATE MATERIALIZED VIEW counted AS SELECT id, v FROM t")
    dump = HeldDump(tmp_path, captured.cluster)
    service = towline_factory(captured, destination)
    service.start(*APPLY, "--pg-dump", dump.program)
    dump.wait()
    with closing(captured.connect()) as session, session.cursor() as cursor:
        for statement in PASSING:
            cursor.execute(statement)
        dump.let_go()
        service.wait_for_state("streaming")
    assert dump.count() == 1
    equal(service, captured, destination, definitions=True)
    assert service.stop() == 0


@pytest.mark.limit(300)
def test_large_tables_are_copied_under_one_snapshot(towline_factory, captured, destination):
    """More than eight parts: without ddl they would go by ranges of their keys, between which no change has a place."""
    captured.script("CREATE TABLE bulk AS SELECT i AS id, repeat(md5(i::text), 10) AS filler FROM generate_series(1, 20000) i",
                    "ALTER TABLE bulk ADD PRIMARY KEY (id)", "CREATE TABLE small (id int PRIMARY KEY)", "ANALYZE")
    service = towline_factory(captured, destination, arguments=[*APPLY, "--copy-part-bytes", "256kB", "--copy-rows-max", "500"])
    service.start()
    service.wait_for_log("copying rows")
    wait_until(lambda: "one between the snapshots of ranges has no place" in str(service.status()), 60, "the plan to be shown")
    captured.script("CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (1)", "INSERT INTO small VALUES (1)",
                    "CREATE VIEW seen AS SELECT id FROM bulk")
    assert service.state() == "copying"
    assert service.call("set", "copy_rows_max", "0").returncode == 0
    # It needs the table for itself, and so waits for the last row of all.
    captured.script("ALTER TABLE small ADD COLUMN more int DEFAULT 7", "INSERT INTO small VALUES (2)")
    service.wait_for_state("streaming", seconds=120)
    service.wait_until_caught_up()
    assert "in ranges of keys" not in service.output()
    equal(service, captured, destination)
    assert service.stop() == 0


@pytest.mark.limit(300)
def test_schemas_that_are_swapped_while_their_tables_are_copied(towline_factory, captured, destination):
    """No lock keeps that out, and a name is found as it is at that moment: by the same name the rest of another table would be read."""
    captured.script(*(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.a AS SELECT i AS id, '{schema}' || repeat('x', 200) AS v "
                      f"FROM generate_series(1, {rows}) i; ALTER TABLE {schema}.a ADD PRIMARY KEY (id)"
                      for schema, rows in (("live", 20000), ("staging", 10000))))
    # One worker, which begins with the larger one.
    service = towline_factory(captured, destination, arguments=[*APPLY, "--copy-part-bytes", "256kB", "--copy-rows-max", "3000",
                                                               "--copy-workers", "1"])
    service.start()
    service.wait_for_log("copying rows")
    wait_until(lambda: any(table["table"] == "a" and table["rows_done"] > 1000 for table in service.status()["tables"]), 60,
               "rows", explain=service.tail)
    captured.execute("BEGIN; ALTER SCHEMA live RENAME TO old; ALTER SCHEMA staging RENAME TO live; COMMIT")
    service.wait_for_log("was renamed, or its schema was, while its rows were copied")
    service.call("set", "copy_rows_max", "0")
    service.wait_for_state("streaming", seconds=120)
    # What the first try had made by a name that is gone stays.
    destination.execute("DROP SCHEMA staging CASCADE")
    equal(service, captured, destination)
    assert destination.value("SELECT count(*) FROM live.a WHERE v LIKE 'staging%'") == 10000
    assert service.stop() == 0

"""Large tables that no key divides are one piece each: read in ranges of pages by all workers, under a snapshot of
their own, one table after the other, with the stream beside them. What is done follows, what is not begun is
passed over, and at the table that is being copied the stream waits.

A limit of rows per second makes the copy slow enough to do something meanwhile.
"""
import random
import signal

import pytest

from support.compare import assert_equal
from support.probes import InBackground, Session, assert_confirmed_is_applied, slot
from support.proxy import Proxy
from support.waiting import wait_until
from test_beside import arrives, at_full_speed, nearly_stand_still
from test_ranges import STILL, Kept, Load, dies_at, finish, killed_at_random, make_tables, ranges

WHOLE = ("--copy-planner", "ctid", "--copy-part-bytes", "64kB")
# The largest is first.
FIRST, SECOND = "main", "bag"


def make(source):
    make_tables(source)
    # A further unique index, and a table without any.
    source.script("CREATE UNIQUE INDEX ON g.main (v, id)",
                  "CREATE TABLE g.bag (n int, note text)", "ALTER TABLE g.bag REPLICA IDENTITY FULL",
                  "INSERT INTO g.bag SELECT i, 'b' || i % 50 FROM generate_series(1, 6000) i",
                  "CREATE INDEX ON g.bag (n)")


def slowly(rows=400):
    return ("--copy-rows-max", str(rows))


def begin(towline_factory, source, destination, arguments=(), fault=None):
    make(source)
    service = towline_factory(source, destination, arguments=[*WHOLE, *slowly(), *arguments], fault=fault)
    service.start()
    service.wait_for_log("streaming beside the copy")
    return service


def state(destination, table):
    return destination.value(f"SELECT state FROM towline_state.range WHERE schema_name = 'g' AND table_name = '{table}'")


def wait_for_state(destination, table, wanted):
    wait_until(lambda: state(destination, table) == wanted, 90, f"{table} to be {wanted}")


def traces(destination):
    """Of each table that is done who wrote the rows that no load touches, and how many they are."""
    if destination.value("SELECT to_regclass('towline_state.piece')") is None:
        return {}
    found = {}
    for table, in destination.query("SELECT table_name FROM towline_state.piece WHERE state = 'copied'"):
        untouched = {FIRST: f"id % 100 = {STILL}", "side": "id <= 200", "child": "false"}.get(table, "n % 7 <> 0")
        found[table] = destination.query(f"SELECT count(*), sum(xmin::text::bigint) FROM g.{table} WHERE {untouched}")
    return found


def test_what_is_done_follows_and_what_is_not_is_passed_over(source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    # One range without bounds each.
    assert [rest[1:] for rest in ranges(destination, FIRST).values()] == [[None, None]]
    wait_for_state(destination, FIRST, "copying")
    source.script("UPDATE g.side SET v = 7 WHERE id = 5", "DELETE FROM g.bag WHERE n = 5",
                  "UPDATE g.bag SET note = 'changed' WHERE n = 5990", "INSERT INTO g.bag VALUES (6001, 'new')",
                  "UPDATE g.side SET v = 8 WHERE id = 6")
    arrives(destination, "SELECT 1 FROM g.side WHERE id = 6 AND v = 8")
    assert state(destination, SECOND) == "pending"
    # News to the table that is being copied: it waits, and what is behind it.
    source.script("UPDATE g.main SET v = 9 WHERE id = 30", "UPDATE g.side SET v = 9 WHERE id = 7")
    wait_for_state(destination, SECOND, "copying")
    nearly_stand_still(service)
    service.wait_for_log("a table joins the stream.*main")
    arrives(destination, "SELECT 1 FROM g.side WHERE id = 7 AND v = 9")
    assert destination.value("SELECT v FROM g.main WHERE id = 30") == 9
    # Both its unique indexes are there.
    assert destination.value("SELECT count(*) FROM pg_index WHERE indrelid = 'g.main'::regclass AND indisunique") == 2
    before = slot(source).confirmed
    source.execute("UPDATE g.main SET id = 31, note = 'moved' WHERE id = 30")
    arrives(destination, "SELECT 1 FROM g.main WHERE id = 31")
    wait_until(lambda: slot(source).confirmed != before, 60, "the slot to move")
    assert_confirmed_is_applied(service, source)
    assert service.state() == "copying" and state(destination, SECOND) == "copying"
    at_full_speed(service)
    finish(service, source, destination)
    assert destination.query("SELECT n, note FROM g.bag WHERE n IN (5, 5990, 6001) ORDER BY n") == [
        (5990, "changed"), (6001, "new")]


@pytest.mark.parametrize("statement", [
    "TRUNCATE g.main CASCADE", *(pytest.param(statement, marks=pytest.mark.long)
                                 for statement in ("VACUUM FULL g.main", "DROP TABLE g.main CASCADE"))])
def test_a_lock_is_let_go_with_its_table(statement, source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    wait_for_state(destination, FIRST, "copying")
    with Session(source) as session:
        locking = InBackground(session.execute, statement)
        wait_for_state(destination, SECOND, "copying")
        nearly_stand_still(service)
        locking.result()
    assert state(destination, SECOND) == "copying"
    if statement.startswith("DROP"):
        # It is not carried, so the table stays as it was copied.
        source.execute("UPDATE g.side SET v = 7 WHERE id = 5")
        arrives(destination, "SELECT 1 FROM g.side WHERE id = 5 AND v = 7")
        assert destination.value("SELECT count(*) FROM g.main") == 4000
    else:
        source.execute("INSERT INTO g.main VALUES (5, 1, 'behind it')")
        arrives(destination, "SELECT 1 FROM g.main WHERE id = 5")
        assert destination.value("SELECT count(*) FROM g.main") == (1 if statement.startswith("TRUNCATE") else 4001)
    assert service.state() == "copying"
    at_full_speed(service)
    if statement.startswith("DROP"):
        service.wait_for_state("streaming")
        destination.execute("DROP TABLE g.main CASCADE")
    finish(service, source, destination)
    assert "copied again" not in service.output() and "starts again" not in service.output()


def test_a_table_that_is_emptied_before_its_snapshot(source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    wait_for_state(destination, FIRST, "copying")
    source.script("TRUNCATE g.bag", "INSERT INTO g.bag VALUES (1, 'behind it')")
    at_full_speed(service)
    finish(service, source, destination)
    assert "copied again" not in service.output() and "starts again" not in service.output()


@pytest.mark.parametrize("statement", ["CLUSTER g.bag USING bag_n_idx", "DROP TABLE g.bag"])
def test_a_table_that_is_rewritten_or_dropped_before_its_snapshot(statement, source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    wait_for_state(destination, FIRST, "copying")
    nearly_stand_still(service)
    source.script("UPDATE g.bag SET note = 'before it' WHERE n % 7 = 0", statement, "UPDATE g.side SET v = 7 WHERE id = 5")
    at_full_speed(service)
    service.wait_for_state("streaming")
    if statement.startswith("DROP"):
        # What is selected is not what it was when the copy began.
        assert "does not belong to the copy any more" in service.output()
        destination.execute("DROP TABLE IF EXISTS g.bag")
    else:
        assert "copied again" not in service.output() and "starts again" not in service.output()
    finish(service, source, destination)


def test_a_table_that_is_altered_before_its_snapshot(source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    wait_for_state(destination, FIRST, "copying")
    source.script("ALTER TABLE g.bag ADD more int", "INSERT INTO g.bag VALUES (1, 'behind it', 7)")
    destination.execute("ALTER TABLE g.bag ADD more int")
    at_full_speed(service)
    service.wait_for_log('"bag" was altered before its rows were copied')
    service.wait_for_log('copied again.*"bag".*more.* is new')
    finish(service, source, destination)


def test_a_transaction_that_is_streamed_before_anybody_sees_it(source, source_cluster, destination, towline_factory):
    """Its commit waits for a standby that is not there: it is in the log, and no snapshot holds it."""
    source_cluster.configure(synchronous_standby_names="nobody", synchronous_commit="local")
    try:
        service = begin(towline_factory, source, destination)
        wait_for_state(destination, FIRST, "copying")
        with Session(source) as session:
            session.execute("SET synchronous_commit = on")
            waiting = InBackground(session.execute, "UPDATE g.bag SET note = 'unseen' WHERE n = 77")
            service.wait_for_log('"bag" waits for transactions that are committed and not ended yet')
            assert not waiting.is_done
            source_cluster.configure(synchronous_standby_names="")
            waiting.result()
        at_full_speed(service)
        finish(service, source, destination)
        assert destination.value("SELECT note FROM g.bag WHERE n = 77") == "unseen"
    finally:
        source_cluster.configure(synchronous_standby_names="", synchronous_commit="on")


# --- killed

FAULTS = ("copy:piece-begun:kill:1", "copy:piece-begun:kill:2", "copy:in-table:kill:9", "copy:piece-indexed:kill:1",
          "copy:table-done:kill:4", "stream:await-copy:kill:2")


@pytest.mark.parametrize("fault", [
    pytest.param(fault, id=fault.replace(":kill", ""), marks=[pytest.mark.long] if number in (0, 2) else []) for number, fault in enumerate(FAULTS)])
def test_killed_beside_the_copy(fault, source, destination, towline_factory, seed):
    make(source)
    service = towline_factory(source, destination, arguments=[*WHOLE, *slowly(4000)])
    with Load(source, seed) as load:
        load.wait_for(20)
        dies_at(service, fault)
        assert service.state() == "copying"
        assert_confirmed_is_applied(service, source)
        done = traces(destination)
        load.killed()
        load.wait_for(40)
        source.execute("UPDATE g.bag SET note = note || '.' WHERE n % 7 = 0")
        service.start()
        load.goes_on(service)
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(20)
        load.stop()
    assert done.items() <= traces(destination).items(), "what was done was copied again"
    finish(service, source, destination)


@pytest.mark.limit(900)
def test_killed_at_random_moments_beside_the_copy(source, destination, towline_factory, seed, size):
    dice = random.Random(seed)
    make(source)
    for number in range(1, 3 * size):
        source.execute(f"CREATE TABLE g.bag{number} AS SELECT * FROM g.bag; ALTER TABLE g.bag{number} REPLICA IDENTITY FULL")
    service = towline_factory(source, destination, arguments=[*WHOLE, *slowly(12000)])
    with Load(source, seed) as load:
        kept = Kept(service, destination, traces)
        killed_at_random(service, source, load, kept, dice, 6 * size - 3, "streaming beside the copy", 1)
        service.start()
        load.goes_on(service)
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(20)
        load.stop()
        assert load.preparer.across
    finish(service, source, destination)


# --- what must not cost the copy, and what is not ours

def test_a_missing_walsender_costs_the_stream_only(source, destination, towline_factory):
    """The source has ended it, and the network has swallowed the news."""
    make(source)
    with Proxy(source.cluster.port) as proxy:
        service = towline_factory(source, destination, arguments=[*WHOLE, *slowly(400)])
        service.command_uris = (proxy.uri(source.uri()), destination.uri())
        service.start()
        service.wait_for_log("streaming beside the copy")
        wait_for_state(destination, FIRST, "copying")
        epoch = destination.value("SELECT epoch FROM towline_state.task")
        proxy.pause_present(only=lambda connection: connection.is_replication)
        source.execute(f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = "
                       f"'{slot(source).name}'")
        service.wait_for_log("cannot run beside the copy, which goes on.*did not tell us", 60)
        at_full_speed(service)
        finish(service, source, destination)
        assert destination.value("SELECT epoch FROM towline_state.task") == epoch
        assert "was interrupted" not in service.output()


def test_a_table_that_somebody_made_meanwhile_is_not_emptied(source, destination, towline_factory):
    """On both sides, while the copy went on: the stream brings its rows. The schema is read again, and it is not of the
    copy."""
    service = begin(towline_factory, source, destination)
    for database in (source, destination):
        database.execute("CREATE TABLE g.late (id int PRIMARY KEY)")
    destination.execute("INSERT INTO g.late VALUES (-1)")
    source.execute("INSERT INTO g.late VALUES (1)")
    arrives(destination, "SELECT 1 FROM g.late WHERE id = 1")
    service.kill()
    source.execute("ALTER TABLE g.side ADD more int")
    destination.execute("ALTER TABLE g.side ADD more int")
    service.start()
    assert service.wait_exit(60) == 3, service.tail()
    assert 'table "g"."late" of the destination holds rows already' in service.output()
    assert destination.query("SELECT id FROM g.late ORDER BY id") == [(-1,), (1,)]
    destination.execute("DROP TABLE g.late")
    service.start()
    at_full_speed(service)
    finish(service, source, destination)
    assert_equal(source.uri(), destination.uri())
    assert service.exit_status != -signal.SIGKILL


def test_ddl_that_follows_keeps_such_tables_under_the_shared_snapshot(source, destination, towline_factory):
    """Among several snapshots a command of the time of the copy has no place, and would end it."""
    make(source)
    source.query("SELECT towline.enable_ddl()")
    service = towline_factory(source, destination, arguments=[*WHOLE, *slowly(3000), "--ddl", "apply"])
    service.start()
    service.wait_for_log("copying rows")
    source.script("CREATE TABLE g.later (id int PRIMARY KEY)", "INSERT INTO g.later VALUES (1)",
                  "INSERT INTO g.bag VALUES (6001, 'new')")
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert "streaming beside the copy" not in service.output()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0

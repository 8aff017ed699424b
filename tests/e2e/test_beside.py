"""The stream runs beside the copy of ranges: tables that are done are kept up to date, the position moves and
the source may recycle its log; what a range that is not begun lacks its snapshot will hold, and where a range is
just being copied the stream waits.

A limit of rows per second makes the copy slow enough to do something meanwhile; SIGSTOP would stop both.
"""
import random
import signal

import pytest

from support.compare import assert_equal
from support.probes import InBackground, Session, assert_confirmed_is_applied, slot
from support.waiting import wait_until
from test_ranges import ONE, READ_AGAIN, Kept, Load, dies_at, finish, killed_at_random, make_tables, ranges

# Ranges of a page or two, more than 32: the key is made first, and each joins by itself.
MANY = ("--copy-planner", "keys", "--copy-part-bytes", "8kB")
# About eight: the table joins when all are done.
FEW = ("--copy-planner", "keys", "--copy-part-bytes", "64kB")


def slowly(rows=200):
    return ("--copy-rows-max", str(rows))


def begin(towline_factory, source, destination, arguments, fault=None):
    make_tables(source)
    service = towline_factory(source, destination, arguments=arguments, fault=fault)
    service.start()
    service.wait_for_log("streaming beside the copy")
    return service


def copied(destination, table="main"):
    return [state for state, *_ in ranges(destination, table).values()].count("copied")


def at_full_speed(service):
    set_limit(service, 0)


def nearly_stand_still(service):
    """What is looked at next is of this moment of the copy, however long the looks take."""
    set_limit(service, 5)


def set_limit(service, rows):
    # The task listens for it when its copy has begun, not when the process has.
    wait_until(lambda: service.call("set", "copy_rows_max", str(rows)).returncode == 0, 60, "the limit to be taken",
               explain=service.tail)


def arrives(destination, sql):
    wait_until(lambda: destination.value(f"SELECT EXISTS ({sql})"), 60, sql)


# --- what arrives meanwhile

def test_tables_that_are_done_follow_and_the_log_is_let_go(source, destination, towline_factory):
    service = begin(towline_factory, source, destination, [*FEW, *slowly()])
    before = slot(source).confirmed
    source.script("UPDATE g.side SET v = 7 WHERE id = 5", "INSERT INTO g.side VALUES (9999, 1, 'new')",
                  "DELETE FROM g.child WHERE id = 3")
    arrives(destination, "SELECT 1 FROM g.side WHERE id = 5 AND v = 7")
    arrives(destination, "SELECT 1 FROM g.side WHERE id = 9999")
    wait_until(lambda: slot(source).confirmed != before, 60, "the slot to move")
    assert_confirmed_is_applied(service, source)
    assert service.state() == "copying" and copied(destination) < len(ranges(destination))
    # Its key and indexes are there: changes find their rows.
    assert destination.value("SELECT count(*) FROM pg_index WHERE indrelid = 'g.side'::regclass AND indisprimary") == 1
    status = service.status()
    assert status["state"] == "copying" and status["rows_inserted"] >= 1
    at_full_speed(service)
    finish(service, source, destination)


def test_each_of_many_ranges_joins_by_itself(source, destination, towline_factory):
    service = begin(towline_factory, source, destination, [*MANY, *ONE, *slowly()])
    assert len(ranges(destination)) > 32
    wait_until(lambda: copied(destination) > 3, 60, "some ranges")
    source.script("UPDATE g.main SET v = 7 WHERE id = 20", "INSERT INTO g.main VALUES (21, 1, 'new')",
                  # Of ranges that are not begun: their snapshots hold it.
                  "UPDATE g.main SET v = 8 WHERE id = 39900", "INSERT INTO g.main VALUES (39901, 1, 'new')",
                  # From the one to the other and back.
                  "UPDATE g.main SET id = 39905, note = 'up' WHERE id = 30",
                  "UPDATE g.main SET id = 31, note = 'down' WHERE id = 39910")
    arrives(destination, "SELECT 1 FROM g.main WHERE id = 20 AND v = 7")
    arrives(destination, "SELECT 1 FROM g.main WHERE id = 21")
    arrives(destination, "SELECT 1 FROM g.main WHERE id = 31")
    assert not destination.query("SELECT 1 FROM g.main WHERE id IN (30, 39900, 39901, 39905)")
    assert service.state() == "copying"
    at_full_speed(service)
    finish(service, source, destination)


def test_a_table_of_few_ranges_joins_whole(source, destination, towline_factory):
    service = begin(towline_factory, source, destination, [*FEW, *ONE, *slowly(350)])
    wait_until(lambda: copied(destination) > 1, 60, "some ranges")
    source.script("UPDATE g.side SET v = 7 WHERE id = 5", "UPDATE g.main SET v = 7 WHERE id = 20",
                  "UPDATE g.side SET v = 8 WHERE id = 6")
    arrives(destination, "SELECT 1 FROM g.side WHERE id = 5 AND v = 7")
    # It waits for the table, and what comes behind it as well.
    wait_until(lambda: copied(destination) > 3, 60, "more ranges")
    nearly_stand_still(service)
    assert not destination.query("SELECT 1 FROM g.main WHERE id = 20 AND v = 7")
    assert not destination.query("SELECT 1 FROM g.side WHERE v = 8")
    assert not destination.query("SELECT 1 FROM pg_index WHERE indrelid = 'g.main'::regclass AND indisprimary")
    service.wait_for_log("the stream waits for the copy of a table.*main")
    at_full_speed(service)
    service.wait_for_log('a table joins the stream.*main')
    finish(service, source, destination)


def test_other_indexes_of_a_table_are_made_while_others_are_copied(source, destination, towline_factory):
    make_tables(source)
    source.script("CREATE TABLE g.early (id bigint PRIMARY KEY, n int, note text)", "CREATE INDEX early_n ON g.early (n)",
                  "INSERT INTO g.early SELECT i, i, repeat('e', 100) FROM generate_series(1, 1500) i", "CREATE INDEX main_v ON g.main (v)")
    service = towline_factory(source, destination, arguments=[*FEW, *ONE, *slowly(700)])
    service.start()
    service.wait_for_log("a table joins the stream.*early")
    nearly_stand_still(service)
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = '{}'::regclass AND indisvalid"
    assert destination.value(indexes.format("g.early")) == 2 and destination.value(indexes.format("g.main")) == 0
    assert service.state() == "copying"
    source.execute("UPDATE g.early SET n = -n WHERE id < 50")
    arrives(destination, "SELECT 1 FROM g.early WHERE n = -49")
    at_full_speed(service)
    finish(service, source, destination)
    assert destination.value(indexes.format("g.main")) == 2


def test_a_large_transaction_waits_in_its_middle(source, destination, towline_factory):
    """Its first parts are at the destination, uncommitted, while it waits for ranges that come there."""
    service = begin(towline_factory, source, destination, [*FEW, *ONE, *slowly(350), "--batch-rows-max", "20"])
    wait_until(lambda: copied(destination) > 1, 60, "some ranges")
    source.execute("BEGIN; UPDATE g.side SET v = v + 1; UPDATE g.main SET v = v + 1 WHERE id % 7 = 0;"
                   "DELETE FROM g.side WHERE id % 2 = 0; COMMIT")
    wait_until(lambda: copied(destination) > 3, 60, "more ranges")
    nearly_stand_still(service)
    assert not destination.query("SELECT 1 FROM g.side WHERE v = 1")
    at_full_speed(service)
    finish(service, source, destination)


@pytest.mark.parametrize("parts", [MANY, FEW], ids=["many", "few"])
def test_under_load(parts, source, destination, towline_factory, seed):
    make_tables(source)
    service = towline_factory(source, destination, arguments=[*parts, *slowly(700)])
    with Load(source, seed) as load:
        service.start()
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(50)
        load.stop()
    assert "streaming beside the copy" in service.output()
    finish(service, source, destination)
    assert "cannot run beside" not in service.output()


# --- killed

FAULTS = ("copy:indexed-ahead:kill:1", "copy:key-built:kill:1", "stream:await-copy:kill:2", "apply:after-commit:kill:6",
          "copy:range-done:kill:20")


@pytest.mark.parametrize("fault", [
    pytest.param(fault, id=fault.replace(":kill", ""), marks=[pytest.mark.long] if number in (2, 3) else []) for number, fault in enumerate(FAULTS)])
def test_killed_beside_the_copy(fault, source, destination, towline_factory, seed):
    make_tables(source)
    parts = FEW if "await" in fault else MANY
    service = towline_factory(source, destination, arguments=[*parts, *slowly(500)])
    with Load(source, seed) as load:
        load.wait_for(20)
        dies_at(service, fault)
        assert service.state() == "copying"
        assert_confirmed_is_applied(service, source)
        load.killed()
        load.wait_for(40)
        service.arguments = [*parts, *slowly(2000)]
        service.start()
        load.goes_on(service)
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(20)
        load.stop()
    finish(service, source, destination)


@pytest.mark.limit(900)
def test_killed_at_random_moments_beside_the_copy(source, destination, towline_factory, seed, size):
    dice = random.Random(seed)
    make_tables(source, 4000 * size)
    service = towline_factory(source, destination, arguments=[
        *dice.choice((MANY, FEW)), *slowly(1500), "--two-phase", dice.choice(("off", "on"))])
    with Load(source, seed, rows=4000 * size) as load:
        killed_at_random(service, source, load, Kept(service, destination), dice, 6 * size - 3, "streaming beside the copy", 1)
        service.start()
        load.goes_on(service)
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(20)
        load.stop()
        assert load.preparer.across
    finish(service, source, destination)


def test_a_table_that_the_stream_has_emptied(source, destination, towline_factory):
    """After a kill nobody can tell whether the stream has emptied it or a person: it is copied again."""
    service = begin(towline_factory, source, destination, [*FEW, *slowly()])
    source.script("DELETE FROM g.child", "INSERT INTO g.side VALUES (9999, 1, 'behind it')")
    arrives(destination, "SELECT 1 FROM g.side WHERE id = 9999")
    service.kill()
    source.execute("INSERT INTO g.child VALUES (1, 10)")
    service.start()
    service.wait_for_log("a table is copied again.*child.*it is empty at the destination")
    at_full_speed(service)
    finish(service, source, destination)
    assert "starts again" not in service.output()


# --- what is not seen yet, and what cannot be told

def test_a_transaction_that_is_streamed_before_anybody_sees_it(source, source_cluster, destination, towline_factory):
    """Its commit waits for a standby that is not there: it is in the log, and no snapshot holds it. A range whose
    changes of it were passed over must not be copied under such a one."""
    source_cluster.configure(synchronous_standby_names="nobody", synchronous_commit="local")
    try:
        service = begin(towline_factory, source, destination, [*MANY, *ONE, *slowly(500)])
        with Session(source) as session:
            session.execute("SET synchronous_commit = on")
            waiting = InBackground(session.execute, "UPDATE g.main SET v = 77 WHERE id IN (20, 39900)")
            service.wait_for_log("waits for transactions that are committed and not ended yet")
            assert source.value("SELECT count(*) FROM g.main WHERE v = 77") == 0
            assert not waiting.is_done
            assert copied(destination) < len(ranges(destination))
            source_cluster.configure(synchronous_standby_names="")
            waiting.result()
        at_full_speed(service)
        finish(service, source, destination)
        assert destination.value("SELECT count(*) FROM g.main WHERE v = 77") == 2
    finally:
        source_cluster.configure(synchronous_standby_names="", synchronous_commit="on")


@pytest.mark.parametrize("parts", [MANY, FEW], ids=["many", "few"])
def test_a_table_that_is_truncated(parts, source, destination, towline_factory):
    service = begin(towline_factory, source, destination, [*parts, *slowly()])
    wait_until(lambda: copied(destination) > 1, 60, "some ranges")
    source.script("TRUNCATE g.main CASCADE", "INSERT INTO g.main VALUES (5, 1, 'n'), (39995, 1, 'n')")
    at_full_speed(service)
    service.wait_for_log("main.* is copied again|was emptied, rewritten or altered")
    finish(service, source, destination)


def test_a_row_that_moves_without_its_large_value(source, destination, towline_factory):
    service = begin(towline_factory, source, destination, [*MANY, *ONE, *slowly()])
    wait_until(lambda: copied(destination) > 10, 60, "some ranges")
    nearly_stand_still(service)
    source.execute("UPDATE g.main SET id = 21 WHERE id = 39600")
    arrives(destination, "SELECT 1 FROM g.main WHERE id = 21 AND length(note) = 3200")
    assert service.state() == "copying" and READ_AGAIN in service.output()
    # A savepoint has an id of its own.
    source.execute("BEGIN; SAVEPOINT s; UPDATE g.main SET id = 22 WHERE id = 39200; COMMIT")
    arrives(destination, "SELECT 1 FROM g.main WHERE id = 22 AND length(note) = 3200")
    at_full_speed(service)
    finish(service, source, destination)
    assert "is copied again" not in service.output()


def test_a_row_that_has_moved_and_is_not_seen_yet(source, source_cluster, destination, towline_factory):
    """Its commit waits for a standby that is not there, and the range that it came from is not begun: the stream
    waits until the source shows it."""
    source_cluster.configure(synchronous_standby_names="nobody", synchronous_commit="local")
    try:
        service = begin(towline_factory, source, destination, [*MANY, *ONE, *slowly()])
        wait_until(lambda: copied(destination) > 10, 60, "some ranges")
        nearly_stand_still(service)
        with Session(source) as session:
            session.execute("SET synchronous_commit = on")
            waiting = InBackground(session.execute, "UPDATE g.main SET id = 21 WHERE id = 39600")
            service.wait_for_log("the stream waits for transaction .* to read a row again that it has moved")
            assert not waiting.is_done
            source_cluster.configure(synchronous_standby_names="")
            waiting.result()
        arrives(destination, "SELECT 1 FROM g.main WHERE id = 21 AND length(note) = 3200")
        at_full_speed(service)
        finish(service, source, destination)
        assert "is copied again" not in service.output()
    finally:
        source_cluster.configure(synchronous_standby_names="", synchronous_commit="on")


def test_what_stops_the_stream_does_not_stop_the_copy(source, destination, towline_factory):
    source.execute("CREATE TABLE tiny (id int PRIMARY KEY)")
    service = begin(towline_factory, source, destination, [*MANY, *slowly()])
    destination.execute("INSERT INTO tiny VALUES (9999)")
    source.execute("INSERT INTO tiny VALUES (9999)")
    service.wait_for_log("the stream cannot run beside the copy, which goes on.*tiny")
    done = copied(destination)
    wait_until(lambda: copied(destination) > done, 60, "the copy to go on")
    at_full_speed(service)
    # The stream that follows meets the same.
    assert service.wait_exit(60) == 4, service.tail()
    destination.execute("DELETE FROM tiny WHERE id = 9999")
    service.start()
    finish(service, source, destination)


def test_stopped_beside_the_copy(source, destination, towline_factory):
    service = begin(towline_factory, source, destination, [*MANY, *slowly()])
    source.execute("UPDATE g.side SET v = v + 1")
    assert service.stop() == 0
    assert service.state() == "copying"
    service.start()
    service.wait_for_log("streaming beside the copy")
    at_full_speed(service)
    finish(service, source, destination)
    assert_equal(source.uri(), destination.uri())
    assert service.exit_status != -signal.SIGKILL

"""Small tables that are too much together for one snapshot: the smallest share the first, the others follow in groups,
each under a snapshot of its own, with the stream beside them.

A limit of rows per second makes the copy slow enough to do something meanwhile.
"""
import random

import pytest

from support.compare import assert_equal
from support.background_load import BackgroundLoad
from support.probes import InBackground, Session, assert_confirmed_is_applied
from support.waiting import wait_until
from test_beside import arrives, at_full_speed, nearly_stand_still
from test_ranges import dies_at, finish

# Eight parts, so 512 kB, under one snapshot.
SMALL = ("--copy-part-bytes", "64kB", "--copy-workers", "2")
TABLES = 30


def make(source):
    """Each of some 50 kB."""
    source.script("CREATE SCHEMA g", *(
        f"CREATE TABLE g.t{number} (id int PRIMARY KEY, v int NOT NULL, note text); "
        f"INSERT INTO g.t{number} SELECT i, 0, repeat('x', 60) FROM generate_series(1, 500) i" for number in range(TABLES)))
    source.execute("VACUUM ANALYZE")


def begin(towline_factory, source, destination, rows=1500):
    make(source)
    service = towline_factory(source, destination, arguments=[*SMALL, "--copy-rows-max", str(rows)])
    service.start()
    service.wait_for_log("streaming beside the copy")
    return service


def groups(destination):
    """Of each snapshot that is not the first: the states of its tables, by their names."""
    found = {}
    for table, state, snapshot in destination.query("SELECT table_name, state, snapshot FROM towline_state.range"):
        found.setdefault(snapshot, {})[table] = state
    return found


def begun(destination):
    return [group for snapshot, group in groups(destination).items() if snapshot is not None]


def traces(destination):
    """Of each table that is done who wrote the rows that no load touches, and how many they are."""
    return {table: destination.query(f"SELECT count(*), sum(xmin::text::bigint) FROM g.{table} WHERE id % 5 = 0")
            for table, in destination.query("SELECT table_name FROM towline_state.piece WHERE state = 'copied'")}


class Changes:
    """Each transaction changes five tables, of any group; every fifth row stays as it is."""

    def __init__(self, source, seed):
        self.random = random.Random(seed)
        self.connection = source.connect(autocommit=False)
        self.done = 0

    def transaction(self):
        with self.connection.cursor() as cursor:
            for table in self.random.sample(range(TABLES), 5):
                key = self.random.randrange(100) * 5 + self.random.randrange(1, 5)
                cursor.execute(self.random.choice((
                    f"UPDATE g.t{table} SET v = v + 1 WHERE id = {key}", f"DELETE FROM g.t{table} WHERE id = {key}",
                    f"INSERT INTO g.t{table} VALUES ({key}, 1, 'new') ON CONFLICT (id) DO UPDATE SET note = 'again'")))
        self.connection.commit()
        self.done += 1


def test_groups_follow_one_another(source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    wait_until(lambda: begun(destination), 60, "the first group")
    nearly_stand_still(service)
    assert len(begun(destination)) == 1
    wait_until(lambda: "more than one snapshot is held for" in str(service.status()), 60, "the plan to be shown")
    pending = sorted(groups(destination)[None])
    shared = TABLES - sum(len(group) for group in groups(destination).values())
    assert 8 <= shared <= 16 and 4 <= len(pending) <= 16, (shared, pending)
    # What is done follows, and what is not begun is passed over.
    copied = destination.value("SELECT min(table_name) FROM towline_state.piece p WHERE state = 'copied' AND NOT EXISTS "
                               "(SELECT FROM towline_state.range r WHERE r.table_name = p.table_name)")
    source.script(f"UPDATE g.{pending[0]} SET v = 7 WHERE id = 5", f"DELETE FROM g.{pending[-1]} WHERE id = 5",
                  f"UPDATE g.{copied} SET v = 8 WHERE id = 6")
    arrives(destination, f"SELECT 1 FROM g.{copied} WHERE id = 6 AND v = 8")
    assert_confirmed_is_applied(service, source)
    assert destination.value(f"SELECT count(*) FROM g.{pending[0]}") == 0
    # News to the group that is being copied: it waits for its rows.
    table = sorted(begun(destination)[0])[-1]
    source.execute(f"UPDATE g.{table} SET v = 9 WHERE id = 7")
    at_full_speed(service)
    arrives(destination, f"SELECT 1 FROM g.{table} WHERE id = 7 AND v = 9")
    finish(service, source, destination)
    assert "was interrupted" not in service.output()


@pytest.mark.long
def test_what_is_done_is_let_go(source, destination, towline_factory):
    """A command that locks a table of the group waits for no other group."""
    service = begin(towline_factory, source, destination, rows=700)
    wait_until(lambda: begun(destination), 60, "the first group")
    table = sorted(begun(destination)[0])[0]
    with Session(source) as session:
        locking = InBackground(session.execute, f"TRUNCATE g.{table}")
        wait_until(lambda: len(begun(destination)) > 1, 90, "the second group")
        locking.result()
    at_full_speed(service)
    finish(service, source, destination)
    assert destination.value(f"SELECT count(*) FROM g.{table}") == 0


@pytest.mark.parametrize("fault", [
    pytest.param("copy:piece-begun:kill:1", marks=pytest.mark.long), "copy:piece-begun:kill:2", "copy:table-done:kill:15"])
def test_killed_among_groups(fault, source, destination, towline_factory, seed):
    make(source)
    service = towline_factory(source, destination, arguments=[*SMALL, "--copy-rows-max", "8000"])
    with BackgroundLoad([Changes(source, seed)]) as load:
        load.wait_for(20)
        dies_at(service, fault)
        done = traces(destination)
        assert done
        load.wait_for(20)
        service.start()
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(20)
        load.stop()
    assert done.items() <= traces(destination).items(), "what was done was copied again"
    finish(service, source, destination)
    assert_equal(source.uri(), destination.uri())


def test_a_table_of_a_group_is_altered_before_its_snapshot(source, destination, towline_factory):
    service = begin(towline_factory, source, destination)
    wait_until(lambda: begun(destination), 60, "the first group")
    table = sorted(groups(destination)[None])[0]
    for database in (source, destination):
        database.execute(f"ALTER TABLE g.{table} ADD more int DEFAULT 5")
    at_full_speed(service)
    service.wait_for_log(f'"{table}" was altered before its rows were copied')
    finish(service, source, destination)


def test_tables_of_the_last_group_are_emptied_before_it_begins(source, destination, towline_factory):
    """And the service is killed: whoever goes on finds groups of nothing. A table that is done and one that is being
    copied are emptied as well, in one transaction."""
    service = begin(towline_factory, source, destination)
    wait_until(lambda: begun(destination), 60, "the first group")
    nearly_stand_still(service)
    pending, copied = sorted(groups(destination)[None]), sorted(traces(destination))
    with Session(source) as session:
        truncating = InBackground(session.execute, "TRUNCATE " + ", ".join(
            f"g.{table}" for table in [*pending, copied[0], sorted(begun(destination)[0])[-1]]))
        service.kill()
        truncating.result()
    service.start()
    at_full_speed(service)
    finish(service, source, destination)
    assert destination.value(f"SELECT count(*) FROM g.{pending[0]}") == 0

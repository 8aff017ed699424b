"""kill -9 at every fault point, under load, and at random times: the same command goes on, every row is
there exactly once (I1–I4).

POINTS lists the service's fault points; a point in the code that is not listed here, or the other way
round, fails test_every_fault_point_is_tested. What each of them has in common: the service dies there,
the slot has not been confirmed beyond what the destination holds, the same command resumes, and at the
end both databases are equal row for row.
"""
import dataclasses
import random
import re
import signal
import subprocess

import pytest

from support.cluster import ROOT
from support.compare import assert_equal
from support.probes import assert_confirmed_is_applied
from support.waiting import wait_until
from support.workload import Workload

IN_PARTS = ("--batch-bytes-max", "64kB", "--queue-bytes-max", "256kB")
COPY_IN_PARTS = ("--copy-part-bytes", "64kB", "--copy-workers", "2")


@dataclasses.dataclass
class Point:
    """passage: at which passage it dies. phase: states of the task that it may be found in afterwards
    (None: no task row may exist yet). before: where it has to die first to come there."""
    phases: tuple
    passage: int = 1
    arguments: tuple = ()
    existing: str = ""
    before: str = ""


BEFORE_COPY = (None, "new", "checking")
COPY = ("checking", "copying_schema", "copying")
STREAM = ("catching_up", "streaming")

POINTS = {
    "run:before-slot": Point(BEFORE_COPY),
    "run:after-slot": Point(BEFORE_COPY),
    "run:slot-stored": Point(BEFORE_COPY),
    "copy:schema-stored": Point(COPY),
    "copy:after-pre-data": Point(COPY),
    "copy:in-table": Point(COPY, passage=3, arguments=COPY_IN_PARTS),
    "copy:table-done": Point(COPY, passage=4, arguments=COPY_IN_PARTS),
    "copy:resume-emptied": Point(COPY, arguments=COPY_IN_PARTS, before="copy:table-done:kill:4"),
    "copy:resume-stored": Point(COPY, arguments=COPY_IN_PARTS, before="copy:table-done:kill:4"),
    "copy:append-before-commit": Point(COPY, existing="append"),
    "copy:before-post-data": Point(("copying", "indexing")),
    "copy:in-post-data": Point(("indexing",), passage=5),
    "copy:before-constraints": Point(("constraints",)),
    "copy:in-constraints": Point(("constraints",), passage=2),
    "copy:after-constraints": Point(("constraints",)),
    "run:before-stream": Point(("indexing", *STREAM)),
    "run:before-ack": Point(STREAM, passage=3),
    "apply:in-batch": Point(STREAM, passage=4),
    "apply:sent": Point(STREAM, passage=5),
    "apply:before-commit": Point(STREAM, passage=5),
    "apply:after-commit": Point(STREAM, passage=5),
    "apply:in-part": Point(STREAM, passage=3, arguments=IN_PARTS),
    "decode:run-taken": Point(STREAM, passage=4, arguments=IN_PARTS),
    "decode:in-replay": Point(STREAM, passage=3, arguments=IN_PARTS),
}
# Only a transaction larger than a batch, or than what the source decodes in memory, passes here.
OF_LARGE_ONES = ("apply:in-part", "decode:run-taken", "decode:in-replay")
# Of prepared transactions: test_two_phase.py.
TWO_PHASE_POINTS = ("apply:before-prepare", "apply:after-prepare", "apply:prepare-stored", "apply:before-end-prepared",
                    "apply:after-end-prepared")
# Where tables are adjusted to their rules: test_table_rules.py.
RULE_POINTS = ("copy:before-adjusting",)
# Of a table that is copied in ranges of its key: test_ranges.py.
RANGE_POINTS = ("copy:ranges-stored", "copy:range-begun", "copy:range-marked", "copy:range-done", "stream:copy-again")
# With the stream beside them: test_beside.py.
BESIDE_POINTS = ("copy:indexed-ahead", "copy:key-built", "stream:await-copy")
# Of large tables that are one piece each: test_pieces.py.
PIECE_POINTS = ("copy:piece-begun", "copy:piece-indexed")
# Of a change in steps: test_large.py.
STEP_POINTS = ("apply:values-staged",)
# Where a batch was refused: test_conflicts.py.
FALLBACK_POINTS = ("apply:in-fallback",)
# Of captured DDL: test_ddl.py.
DDL_POINTS = ("apply:after-ddl",)
# Of large objects: test_large_objects.py.
LARGE_OBJECT_POINTS = ("copy:large-objects-made",)
# test_parked.py kills there.
PARK_POINTS = ("stream:parked",)
# test_tables.py kills there.
TABLE_POINTS = ("tables:left", "tables:joining", "join:emptied", "join:copied")
# With schema changes: test_tables_ddl.py.
JOIN_DDL_POINTS = ("join:begun", "join:caught-up", "join:planned", "copy:snapshot-taken")
# Of a task that is healed: test_heal.py.
HEAL_POINTS = ("heal:begun", "heal:slot-dropped", "heal:snapshot-taken", "heal:in-table", "heal:rows-done", "heal:ended")


def fault_points_in_the_code():
    found = set()
    for file in (ROOT / "consumer").rglob("*.cpp"):
        if file.name.startswith("fault_point"):
            continue
        found.update(re.findall(r'(?:\bFaultPoint\(\s*|\bfault_point = )"([^"]+)"', file.read_text(encoding="utf-8")))
    return found


def test_every_fault_point_is_tested():
    assert fault_points_in_the_code() == {*POINTS, *TWO_PHASE_POINTS, *RULE_POINTS, *RANGE_POINTS, *BESIDE_POINTS,
                                          *PIECE_POINTS, *STEP_POINTS, *FALLBACK_POINTS, *LARGE_OBJECT_POINTS, *DDL_POINTS,
                                          *PARK_POINTS, *TABLE_POINTS, *JOIN_DDL_POINTS, *HEAL_POINTS}


def make_load(source, seed, clients=2):
    """The load's tables with some rows, and a larger one without key whose copy takes a while."""
    load = Workload(source.uri(), seed, clients=clients, rate=80).create()
    source.script("CREATE TABLE load.bulk (n int, filler text)",
                  "INSERT INTO load.bulk SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 15000) i",
                  "CREATE INDEX ON load.bulk (n)",
                  "CREATE TABLE load.keyed (id int PRIMARY KEY, filler text)",
                  "INSERT INTO load.keyed SELECT i, md5(i::text) FROM generate_series(1, 1000) i",
                  # What is filled when the stream has passed the copy, from rows that do not change.
                  "CREATE TABLE load.fixed AS SELECT i FROM generate_series(1, 100) i",
                  "CREATE MATERIALIZED VIEW load.counted AS SELECT count(*) FROM load.fixed",
                  # Large transactions come while they are in progress.
                  f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'")
    load.run(transactions=40)
    return load


def make_existing(destination):
    """Tables that somebody else has made, one with some of the rows that the copy brings as well."""
    destination.script("CREATE SCHEMA load", "CREATE TABLE load.bulk (n int, filler text)",
                       "CREATE TABLE load.keyed (id int PRIMARY KEY, filler text)",
                       "INSERT INTO load.keyed SELECT i, md5(i::text) FROM generate_series(1, 10) i")


def large_transaction(source):
    """One that passes through the service in parts when batches are small."""
    source.execute("INSERT INTO load.bulk SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 3000) i; "
                   "UPDATE load.keyed SET filler = md5(filler) || repeat('x', 300); "
                   "INSERT INTO load.bulk SELECT -i, repeat(md5(i::text), 5) FROM generate_series(1, 1500) i")


def finish(service, load, source, destination, more=50):
    """Under load again for so many transactions, then the end: equality and an orderly stop."""
    service.wait_for_state("streaming")
    enough = load.transactions + more
    wait_until(lambda: load.transactions >= enough, 60, "the load to go on")
    load.stop()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert foreign_keys(destination) == foreign_keys(source)
    assert service.stop() == 0


def foreign_keys(database):
    found = database.query("SELECT conrelid::regclass::text, conname::text, convalidated FROM pg_constraint WHERE contype = 'f' "
                           "ORDER BY 1, 2")
    assert found
    return found


@pytest.mark.parametrize("name", POINTS)
def test_killed_at(name, source, destination, towline_factory, seed):
    point = POINTS[name]
    load = make_load(source, seed)
    if point.existing:
        make_existing(destination)
    arguments = [*point.arguments, *(("--existing", point.existing) if point.existing else ())]
    service = towline_factory(source, destination, fault=f"{name}:kill:{point.passage}", arguments=arguments)
    with load:
        if point.before:
            service.fault, fault = point.before, service.fault
            service.start()
            assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
            service.fault = fault
        service.start()
        if name in OF_LARGE_ONES:
            def passes():
                large_transaction(source)
                return not service.is_running
            wait_until(passes, 90, "the service to die in a large transaction", interval=0.2, explain=service.tail)
        assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
        assert f"fault point {name}" in service.output()
        assert service.state() in point.phases
        assert_confirmed_is_applied(service, source)
        service.fault = None
        service.start()
        finish(service, load, source, destination)


def test_killed_at_random_times(source, destination, towline_factory, seed, size):
    """Half of the kills at a random moment after the start, half after some batches were applied."""
    dice = random.Random(seed)
    load = make_load(source, seed)
    service = towline_factory(source, destination, arguments=[*COPY_IN_PARTS, *IN_PARTS])
    with load:
        for number in range(8 * size):
            service.start()
            if number % 2:
                service.wait_for_state("streaming")
                if dice.random() < 0.3:
                    large_transaction(source)
            try:
                status = service.process.wait(dice.uniform(0, 1.5))
                raise AssertionError(f"the service ended by itself with {status}; {service.tail()}")
            except subprocess.TimeoutExpired:
                service.kill()
            assert_confirmed_is_applied(service, source)
        service.start()
        finish(service, load, source, destination)

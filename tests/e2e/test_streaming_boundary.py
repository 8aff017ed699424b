"""Transactions that the source sends in runs and that lie across the copy's snapshot: whether the copy holds
them is decided at their commit (I4), however much of them was sent before. Each change arrives exactly once.

The service stops itself at fault points (SIGSTOP); the test does what has to happen then. Every transaction
is large enough that its first run is sent long before its commit.
"""
import pytest

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until

ROWS = 3000  # some 600 kB, where the source decodes with 64 kB


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB"})


def make_tables(source):
    source.script("CREATE TABLE a_keyed (id int PRIMARY KEY, n int NOT NULL, v text)",
                  "CREATE TABLE z_log (writer int, line int)",  # without a key: what comes twice stays
                  "INSERT INTO a_keyed SELECT i, 0, 'copied' FROM generate_series(1, 100) i",
                  "INSERT INTO z_log SELECT 0, i FROM generate_series(1, 100) i")


def write(session, writer, part):
    """What shows whether it was applied once: sums, rows without a key, rows whose key can be there once."""
    first = (10 * writer + part) * 10000
    session.execute(f"INSERT INTO a_keyed SELECT i, 1, repeat('r', 150) FROM generate_series({first}, {first + ROWS - 1}) i;"
                    f"INSERT INTO z_log SELECT {writer}, i FROM generate_series({first}, {first + ROWS - 1}) i;"
                    f"UPDATE a_keyed SET n = n + 1, v = v || '{writer}' WHERE id = {writer};"
                    f"DELETE FROM a_keyed WHERE id BETWEEN {first} AND {first + 9}")


def undo(session, writer):
    session.execute("SAVEPOINT a")
    write(session, writer, 8)
    session.execute("ROLLBACK TO a")
    session.execute("RELEASE a")


def written(database, writer):
    return database.query("SELECT (SELECT count(*) FROM z_log WHERE writer = %s), "
                          "(SELECT n FROM a_keyed WHERE id = %s), "
                          "(SELECT count(*) FROM a_keyed WHERE id / 100000 = %s)", [writer] * 3)[0]


def parts(count):
    return (count * ROWS, count, count * (ROWS - 10)) if count else (0, 0, 0)


def streamed(source):
    """Transactions that were sent in runs, by the slot's own counters."""
    return int(source.value("SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots"))


def finish(service, source, destination, expected):
    service.wait_for_state("streaming")
    service.wait_until_caught_up(120)
    for writer, count in expected.items():
        assert written(destination, writer) == parts(count), f"writer {writer}"
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_each_side_of_the_snapshot(source, destination, towline_factory):
    """An older transaction holds the marker up, so that others of before the snapshot have xids above the marker's:
    only the snapshot's own list tells who was running. 1 older, 2 ended between slot and marker, 3 ended behind
    the marker, 4 spans the snapshot and ends during the copy, 5 ends when the stream has begun, 6 is rolled back,
    7 begins behind the snapshot."""
    make_tables(source)
    service = towline_factory(source, destination, fault="run:slot-stored:stop,copy:in-table:stop")
    service.start()
    probes.wait_until_stopped(service)
    older, visible, early, spanning, lasting, rolled_back, late = (probes.Session(source) for _ in range(7))
    older.begin()
    write(older, 1, 0)
    early.begin()
    write(early, 2, 0)
    undo(early, 2)
    early.execute("COMMIT")
    probes.go_on(service)
    service.wait_for_log(rf"\b{older.pid}\b")
    for session, writer in ((visible, 3), (spanning, 4), (lasting, 5), (rolled_back, 6)):
        session.begin()
        write(session, writer, 0)
        undo(session, writer)
    visible.execute("COMMIT")
    older.execute("COMMIT")
    probes.wait_until_stopped(service)  # in the copy: the snapshot is taken
    late.begin()
    for session, writer in ((late, 7), (spanning, 4), (lasting, 5), (rolled_back, 6)):
        write(session, writer, 1)
        undo(session, writer)
    for session in (late, spanning):
        session.execute("COMMIT")
    probes.go_on(service)
    wait_until(lambda: written(destination, 4) == parts(2) and written(destination, 7) == parts(1), 120,
               "what has ended to arrive", explain=service.tail)
    assert written(destination, 5) == written(destination, 6) == (0, 0, 0)
    for session, writer in ((lasting, 5), (rolled_back, 6)):
        write(session, writer, 2)
    rolled_back.execute("ROLLBACK")
    lasting.execute("COMMIT")
    finish(service, source, destination, {1: 1, 2: 1, 3: 1, 4: 2, 5: 3, 6: 0, 7: 1})
    # All of them came in runs, also those that the copy holds already.
    assert streamed(source) == 7
    for session in (older, visible, early, spanning, lasting, rolled_back, late):
        session.close()


def test_between_the_snapshots_of_two_tables(source, destination, towline_factory):
    """The copy is killed with one table done, and goes on with the other under a new snapshot. A transaction that
    ended between the two is news to the first table only, and comes in runs that hold changes of both."""
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"], fault="copy:table-done:stop:1")
    service.start()
    probes.wait_until_stopped(service)
    done = {table for table, in destination.query("SELECT table_name FROM towline_state.piece WHERE state = 'copied'")}
    assert len(done) == 1
    with probes.Session(source) as between:
        between.begin()
        write(between, 1, 0)
        undo(between, 1)
        write(between, 1, 1)
        between.execute("COMMIT")
    service.kill()
    service.fault = "copy:in-table:stop"
    with probes.Session(source) as spanning:
        service.start()
        probes.wait_until_stopped(service)  # under the second snapshot
        spanning.begin()
        write(spanning, 2, 0)
        probes.go_on(service)
        service.wait_for_state("catching_up", "streaming")
        write(spanning, 2, 1)
        spanning.execute("COMMIT")
        finish(service, source, destination, {1: 2, 2: 2})
    assert "goes on under a new snapshot" in service.output(all_runs=True)
    assert streamed(source) == 2

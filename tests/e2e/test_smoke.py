"""The whole way once: copy, stream, kill -9, stop, resume, drop; equal each time it is looked at."""
from support.compare import assert_equal, compare
from support.waiting import wait_until
from support.workload import Workload
from support.workload_tables import SHAPES


def slots(database):
    return database.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [database.name])


def test_rows_are_copied_then_streamed(towline, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n numeric); CREATE INDEX ON t (v);"
                   "INSERT INTO t SELECT i, 'row ' || i, i / 7.0 FROM generate_series(1, 10000) i")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert assert_equal(source.uri(), destination.uri(), definitions=True).rows == {"public.t": 10000}
    source.script("INSERT INTO t VALUES (0, 'new', NULL)", "UPDATE t SET v = 'changed' WHERE id % 100 = 7",
                  "DELETE FROM t WHERE id BETWEEN 50 AND 60", "UPDATE t SET id = -id WHERE id = 1000")
    towline.wait_until_caught_up()
    assert assert_equal(source.uri(), destination.uri(), binary=True).rows == {"public.t": 9990}
    assert towline.stop() == 0


def test_a_load_is_equal_after_copy_stream_and_kill(towline, source, destination, seed, size):
    # TRUNCATE while tables are copied is test_copy_locks.py's.
    shapes = [shape.name for shape in SHAPES if shape.name != "truncated"]
    load = Workload(source.uri(), seed, clients=2, shapes=shapes, rate=150 * size).create()
    load.run(transactions=100)
    with load:
        towline.start().wait_for_state("streaming")
        towline.wait_until_caught_up()
        position = towline.position()
        wait_until(lambda: towline.position() > position, 30, "the position to move")
        towline.kill()
        towline.start().wait_for_state("streaming")
        done = load.transactions
        wait_until(lambda: load.transactions > done + 50, 30, "more load")
    towline.wait_until_caught_up()
    result = assert_equal(source.uri(), destination.uri())
    assert len(result.rows) >= len(load.shapes)
    assert towline.stop() == 0


def test_stopped_service_resumes_and_drop_leaves_nothing(towline, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    towline.start().wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (1)")
    towline.wait_until_caught_up()
    assert towline.stop() == 0
    epoch = towline.row()[0]
    source.execute("INSERT INTO t VALUES (2)")
    assert not compare(source.uri(), destination.uri())
    towline.start().wait_until_caught_up()
    assert towline.row()[0] > epoch
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    assert len(slots(source)) == 1
    towline.call("drop", check=True)
    assert slots(source) == []
    assert towline.row() is None
    assert destination.value("SELECT count(*) FROM t") == 2

"""Nothing to do, and the end: an idle database follows its busy neighbours, a stop is quick, whole and
says what it leaves (B11, I3, I7).
"""
import re
import signal
import threading
import time

import pytest

from support import probes
from support.clock import Clock
from support.compare import assert_equal
from support.towline import STOP_SECONDS
from support.waiting import wait_until
from support.workload import Workload


def start_and_catch_up(service):
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()


def one(status):
    return status[0] if isinstance(status, list) else status


@pytest.mark.limit(300)
def test_an_idle_database_follows_a_busy_cluster(source, destination, source_cluster, towline_factory):
    """The slot's confirmed and restart LSN within a minute, without anybody's help (no CHECKPOINT, no
    write here); a lag in seconds never shows, for nothing is pending."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)")
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    busy = source_cluster.create_database("busy")
    busy.execute("CREATE TABLE noise (n int, v text)")
    stopping = threading.Event()

    def write():
        session = probes.Session(busy)
        while not stopping.wait(0.02):
            session.execute("INSERT INTO noise SELECT i, repeat('x', 200) FROM generate_series(1, 20) i")
        session.close()
    writing = probes.InBackground(write)
    try:
        target = probes.insert_lsn(busy)
        wait_until(lambda: probes.insert_lsn(busy) > target + 100000, 30, "the neighbour to write")
        target = probes.insert_lsn(busy)
        lags = [0]

        def followed():
            # One look may meet what is just passing.
            lags.append(one(service.status())["lag_seconds"])
            assert 0 in lags[-2:], lags
            slot = probes.slot(source)
            return slot.confirmed >= target and slot.restart >= target
        wait_until(followed, 60, "the slot to follow", interval=0.3,
                   explain=lambda: f"{probes.slot(source)}, wanted {target}; {service.tail()}")
    finally:
        stopping.set()
        writing.result()
    # With the neighbour quiet nothing is left: also in bytes.
    wait_until(lambda: one(service.status())["lag_bytes"] == 0, 60, "a lag of 0 bytes", interval=0.3,
               explain=lambda: str(service.status()))
    source.execute("INSERT INTO t VALUES (11)")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0
    busy.drop()


@pytest.fixture
def no_autovacuum(source_cluster, destination_cluster):
    for cluster in (source_cluster, destination_cluster):
        cluster.configure(autovacuum="off")
        cluster.database().wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')", 120)
    yield
    for cluster in (source_cluster, destination_cluster):
        cluster.configure(autovacuum=None)


@pytest.mark.usefixtures("no_autovacuum")
def test_an_idle_source_writes_no_log_for_our_sake(source, destination, towline_factory):
    """Following costs nothing when there is nothing to follow: no markers, no writes at the source."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    wait_until(lambda: probes.slot(source).confirmed >= service.position(), 30, "the slot to be confirmed")
    began = time.monotonic()
    count = source.value("SELECT pg_current_xact_id()::text::bigint")
    connects = destination.value("SELECT pg_current_xact_id()::text::bigint")
    moment = source.value("SELECT clock_timestamp()")
    source.wait_for(f"SELECT clock_timestamp() > timestamptz '{moment}' + interval '5 s'")
    assert source.value("SELECT pg_current_xact_id()::text::bigint") - count <= 2
    # The destination: at most one progress commit a second and the sign of life.
    written = destination.value("SELECT pg_current_xact_id()::text::bigint") - connects
    assert written <= 2 * (time.monotonic() - began) + 3
    assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_is_quick_whole_and_says_what_it_leaves(number, source, destination, towline_factory, seed):
    """I3: what the destination holds is a state the source was in: transfers between accounts and a log
    of them, so half a transaction would show in the sum."""
    source.script("CREATE TABLE account (id int PRIMARY KEY, balance bigint)",
                  "INSERT INTO account SELECT i, 1000 FROM generate_series(1, 200) i",
                  "CREATE TABLE transfer (a int, b int, amount int)",
                  """CREATE PROCEDURE transfers(n int) LANGUAGE plpgsql AS $$
                     DECLARE a int; b int; x int; BEGIN FOR i IN 1..n LOOP
                       a := 1 + random() * 199; b := 1 + random() * 199; x := random() * 100;
                       UPDATE account SET balance = balance - x WHERE id = a;
                       INSERT INTO transfer VALUES (a, b, x);
                       UPDATE account SET balance = balance + x WHERE id = b;
                       IF random() < 0.1 THEN UPDATE account SET balance = balance; END IF;
                       COMMIT; END LOOP; END $$""")
    whole = """SELECT (SELECT sum(balance) FROM account) = 200000 AND NOT EXISTS (
                 SELECT FROM account c WHERE balance <> 1000 + coalesce((SELECT sum(amount) FROM transfer WHERE b = c.id), 0)
                                                      - coalesce((SELECT sum(amount) FROM transfer WHERE a = c.id), 0))"""
    service = towline_factory(source, destination, arguments=["--batch-bytes-max", "16kB"])
    stopping = threading.Event()

    def write():
        session = probes.Session(source)
        while not stopping.is_set():
            session.execute("CALL transfers(50)")
        session.close()
    writing = probes.InBackground(write)
    try:
        for _ in range(3):
            service.start()
            service.wait_for_state("streaming")
            position = service.position()
            wait_until(lambda: service.position() > position + 200000, 60, "batches to be applied", explain=service.tail)
            service.process.send_signal(number)
            assert service.wait_exit(STOP_SECONDS) == 0, service.tail()
            assert destination.value(whole)
            slot = probes.slot(source)
            said = re.search(rf"{re.escape(slot.name)}.*keeps? .*(WAL|log)", service.output())
            assert said, service.tail()
            assert "towline drop" in service.output()
            wait_until(lambda: probes.slot(source).active_pid is None, 10, "the slot to be free")
            assert slot.confirmed <= service.position()
    finally:
        stopping.set()
        writing.result()
    service.start()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_a_stop_in_the_midst_of_a_large_transaction(source, destination, towline_factory):
    """It is left whole to the next start: the destination shows nothing of it, and 5 seconds are enough."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    service = towline_factory(source, destination, arguments=["--batch-bytes-max", "64kB"], fault="apply:in-part:stop:3")
    start_and_catch_up(service)
    source.execute("INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 60000) i")
    probes.wait_until_stopped(service)
    service.process.send_signal(signal.SIGTERM)
    probes.go_on(service)
    assert service.wait_exit(STOP_SECONDS) == 0, service.tail()
    assert destination.value("SELECT count(*) FROM t") in (0, 60000)
    service.fault = None
    service.start()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


@pytest.mark.parametrize("point", ["copy:in-table", "copy:before-post-data", "run:before-stream"])
def test_a_stop_before_the_stream(point, source, destination, towline_factory, seed):
    load = Workload(source.uri(), seed, clients=2, rate=100).create().run(transactions=30)
    service = towline_factory(source, destination, fault=f"{point}:stop")
    with load:
        service.start()
        probes.wait_until_stopped(service)
        service.process.send_signal(signal.SIGTERM)
        probes.go_on(service)
        assert service.wait_exit(STOP_SECONDS) == 0, service.tail()
        assert probes.slot(source).name in service.output()
        service.fault = None
        service.start()
        service.wait_for_state("streaming")
        load.stop()
        service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


DAY = 86400


@pytest.mark.parametrize("days", [-3, 3], ids=["back", "ahead"])
def test_a_clock_that_is_set_holds_nothing_up_and_ends_nothing(days, source, destination, destination_cluster, towline_factory,
                                                               session_directory):
    """The service's machine: what it has applied is acknowledged as soon as ever, it goes on trying, and stops when told."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    clock = Clock(session_directory / f"clock{days}")
    service = towline_factory(source, destination, environment=clock.environment)
    start_and_catch_up(service)
    for number in range(3):
        clock.jump(days * DAY)
        before = probes.insert_lsn(source)
        source.execute("INSERT INTO t VALUES (%s)", [number])
        wait_until(lambda: probes.slot(source).confirmed > before, 10, "the slot to follow", explain=service.tail)
    destination_cluster.stop()
    clock.jump(days * DAY)
    tries_end = time.monotonic() + 3  # it tries each second
    while time.monotonic() < tries_end:
        assert service.is_running, service.tail()
        time.sleep(0.1)
    destination_cluster.start()
    source.execute("INSERT INTO t VALUES (3)")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    clock.jump(days * DAY)
    assert service.stop(STOP_SECONDS) == 0
    assert "stopping without it" not in service.output(), service.tail()  # each wait of its own has ended

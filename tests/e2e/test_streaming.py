"""Transactions that the source sends while they are in progress: the same rows as without (I9), nothing
before its commit, nothing lost by a kill in the middle or a disk that is full, within the memory limit.

The source decodes with as little memory as it can, so that every transaction beyond 64 kB is sent in
runs; the service has as little for its spool, so that most of them go to files.
"""
import random
import resource

import pytest

from support.compare import assert_equal
from support.probes import InBackground, Session, assert_confirmed_is_applied, slot
from support.waiting import wait_until

SMALL_SPOOL = ("--spool-memory-max", "64kB")
CLIENTS = 4


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB"})


def streamed(source):
    """Transactions that the source has sent in runs, and those it has sent whole, by the slot's counters."""
    rows = source.query("SELECT slot_name, stream_txns, total_txns FROM pg_stat_replication_slots")
    return {name: int(runs) for name, runs, _ in rows}


def make_tables(source):
    source.script(
        "CREATE SCHEMA s",
        "CREATE TABLE s.wide (client int, id int, n int, body text, PRIMARY KEY (client, id))",
        "ALTER TABLE s.wide ALTER body SET STORAGE EXTERNAL",
        "CREATE TABLE s.whole (client int, id int, v text)", "ALTER TABLE s.whole REPLICA IDENTITY FULL",
        "CREATE TABLE s.plain (client int, id bigint, v numeric)",
        *[f"CREATE TABLE s.own{client} (id int PRIMARY KEY, v text)" for client in range(CLIENTS)],
        """CREATE FUNCTION s.tries(who int, first int, count int) RETURNS void LANGUAGE plpgsql AS $$
           BEGIN FOR i IN first .. first + count - 1 LOOP
             BEGIN INSERT INTO s.plain VALUES (who, i, i / 3.0);
                   IF i % 3 = 0 THEN RAISE EXCEPTION 'not this one'; END IF;
             EXCEPTION WHEN raise_exception THEN NULL; END;
           END LOOP; END $$""")


class Client:
    """One session of large transactions over rows of its own; what it does depends on the seed alone."""

    def __init__(self, source, seed, number):
        self.source, self.number, self.dice, self.next = source, number, random.Random(f"{seed}/{number}"), 1
        self.done = 0

    def statement(self, session):
        me, choice, count = self.number, self.dice.randrange(9), self.dice.choice((1, 40, 400))
        first, self.next = self.next, self.next + count
        low = self.dice.randrange(1, self.next)
        if choice <= 2:
            session.execute("INSERT INTO s.wide SELECT %s, i, i, repeat(md5(i::text), 1 + i %% 40) FROM "
                            "generate_series(%s, %s) i", [me, first, first + count - 1])
        elif choice == 3:
            # Values that are not sent with the rows: unchanged TOAST.
            session.execute("UPDATE s.wide SET n = n + 1 WHERE client = %s AND id BETWEEN %s AND %s",
                            [me, low, low + count])
        elif choice == 4:
            session.execute("UPDATE s.wide SET body = repeat(body, 2) WHERE client = %s AND id = %s AND "
                            "length(body) < 200000", [me, low])
            session.execute("INSERT INTO s.whole SELECT %s, i, repeat('w', i %% 300) FROM generate_series(%s, %s) i",
                            [me, first, first + count - 1])
        elif choice == 5:
            session.execute("DELETE FROM s.wide WHERE client = %s AND id BETWEEN %s AND %s", [me, low, low + count // 2])
            session.execute("UPDATE s.whole SET v = v || '!' WHERE client = %s AND id BETWEEN %s AND %s",
                            [me, low, low + count])
        elif choice == 6:
            session.execute("SELECT s.tries(%s, %s, %s)", [me, first, count])
        elif choice == 7:
            session.execute(f"INSERT INTO s.own{me} SELECT i, md5(i::text) FROM generate_series({first}, "
                            f"{first + count - 1}) i")
        elif self.dice.random() < 0.3:
            session.execute(f"TRUNCATE s.own{me}")

    def part(self, session, depth):
        for _ in range(self.dice.randrange(1, 4)):
            if depth < 4 and self.dice.random() < 0.4:
                name = f"sp{depth}"
                session.execute(f"SAVEPOINT {name}")
                self.part(session, depth + 1)
                session.execute(f"{self.dice.choice(('RELEASE', 'ROLLBACK TO', 'ROLLBACK TO'))} {name}")
            else:
                self.statement(session)

    def run(self, transactions):
        with Session(self.source) as session:
            for _ in range(transactions):
                session.execute("BEGIN")
                for _ in range(self.dice.randrange(1, 5)):
                    self.part(session, 0)
                session.execute("ROLLBACK" if self.dice.random() < 0.2 else "COMMIT")
                self.done += 1


def run_clients(source, seed, transactions):
    """In the background; .result() waits for all."""
    clients = [Client(source, seed, number) for number in range(CLIENTS)]

    def run():
        threads = [InBackground(client.run, transactions) for client in clients]
        for thread in threads:
            thread.result(240)
    return InBackground(run)


@pytest.mark.limit(500)
def test_on_and_off_give_the_same_rows(source, destination_cluster, towline_factory, seed, size):
    make_tables(source)
    variants = {"on": [*SMALL_SPOOL, "--batch-bytes-max", "256kB"], "memory": ["--compression", "zstd"],
                "off": ["--streaming", "off", "--compression", "lz4"]}
    destinations = {name: destination_cluster.create_database(f"streaming_{name}") for name in variants}
    services = {name: towline_factory(source, destinations[name], arguments=arguments, task=name, name=name)
                for name, arguments in variants.items()}
    for service in services.values():
        service.start()
    for service in services.values():
        service.wait_for_state("streaming", seconds=120)
    run_clients(source, seed, transactions=10 * size).result(300)
    for name, service in services.items():
        service.wait_until_caught_up(200)
        assert_equal(source.uri(), destinations[name].uri())
        assert service.stop() == 0
    runs = streamed(source)
    assert runs["towline_on"] > 10 and runs["towline_memory"] > 10 and runs["towline_off"] == 0, runs
    for database in destinations.values():
        database.drop()


def open_large(session, first, rows=3000):
    session.execute("BEGIN")
    session.execute("INSERT INTO s.wide SELECT 99, i, i, repeat(md5(i::text), 20) FROM generate_series(%s, %s) i",
                    [first, first + rows - 1])


def spooled(service):
    status = service.status()
    return status["spool_transactions"], status["spool_memory_bytes"], status["spool_disk_bytes"]


def test_what_is_in_progress_is_shown_and_holds_nothing_up(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=SMALL_SPOOL, task="shop")
    service.start().wait_for_state("streaming")
    with Session(source) as session:
        open_large(session, 1)
        wait_until(lambda: spooled(service)[0] == 1 and spooled(service)[2] > 100_000, 60, "the spool to fill",
                   interval=0.2, explain=lambda: service.status())
        # Others pass, also in the source's eyes, and of this one nothing is seen.
        for number in range(3):
            source.execute("INSERT INTO s.plain VALUES (1, %s, 1)", [number])
            service.wait_until_caught_up()
        assert destination.value("SELECT count(*) FROM s.plain") == 3
        confirmed = slot(source).confirmed
        source.execute("INSERT INTO s.plain VALUES (1, 4, 1)")
        wait_until(lambda: slot(source).confirmed > confirmed, 30, "the slot to be confirmed")
        assert destination.value("SELECT count(*) FROM s.wide") == 0
        assert spooled(service)[0] == 1
        # What was received of it is lost with the process, and is sent again.
        service.kill()
        assert_confirmed_is_applied(service, source)
        service.start().wait_for_state("streaming")
        session.execute("SAVEPOINT a; INSERT INTO s.whole SELECT 99, i, repeat('x', 500) FROM "
                        "generate_series(1, 1000) i; ROLLBACK TO a; INSERT INTO s.whole VALUES (99, 1, 'kept'); COMMIT")
    service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM s.wide") == 3000
    assert_equal(source.uri(), destination.uri())
    wait_until(lambda: spooled(service) == (0, 0, 0), 30, "the spool to be empty")
    # A whole one that is rolled back leaves nothing.
    with Session(source) as session:
        open_large(session, 10_000)
        wait_until(lambda: spooled(service)[0] == 1, 60, "the spool to fill", interval=0.2)
        session.execute("ROLLBACK")
    source.execute("CHECKPOINT")
    wait_until(lambda: spooled(service) == (0, 0, 0), 30, "the spool to be empty", interval=0.2)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


@pytest.mark.limit(400)
def test_kills_in_the_middle_lose_nothing(source, destination, towline_factory, seed, size):
    """kill -9 at random passages of the places where runs are taken and read back, under load."""
    make_tables(source)
    dice = random.Random(seed)
    service = towline_factory(source, destination, arguments=[*SMALL_SPOOL, "--batch-bytes-max", "128kB"])
    service.start().wait_for_state("streaming")
    assert service.stop() == 0
    load = run_clients(source, seed, transactions=15 * size)
    for number in range(6 * size):
        point = ("decode:run-taken", "decode:in-replay")[number % 2]
        service.fault = f"{point}:kill:{dice.randrange(1, 12)}"
        service.start()
        wait_until(lambda: not service.is_running or load.is_done, 120, "the service to die or the load to end")
        if service.is_running:
            break
        assert f"fault point {point}" in service.output(), service.tail()
        assert_confirmed_is_applied(service, source)
    service.close()
    load.result(300)
    service.fault = None
    service.start().wait_until_caught_up(200)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def limit_file_size(service, size):
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_full_disk_stops_cleanly_and_goes_on(source, destination, towline_factory):
    """The system's limit on a file's size stands for a disk without room: it needs no file system of
    its own, and can be lifted while the service runs."""
    make_tables(source)
    service = towline_factory(source, destination, arguments=SMALL_SPOOL, task="shop")
    service.start().wait_for_state("streaming")
    limit_file_size(service, 300_000)
    with Session(source) as session:
        open_large(session, 1, rows=5000)
        service.wait_for_log("cannot write to the spool in ")
        wait_until(lambda: service.status()["state"] == "retrying", 60, "the service to wait for room", interval=0.2)
        assert "spool_directory" in service.output()
        limit_file_size(service, resource.RLIM_INFINITY)
        service.wait_for_state("streaming")
        wait_until(lambda: spooled(service)[2] > 1_000_000, 60, "the spool to fill", interval=0.2,
                   explain=lambda: service.status())
        session.execute("COMMIT")
    service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM s.wide") == 5000
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_limit_on_the_disk_is_named(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, task="shop",
                              arguments=[*SMALL_SPOOL, "--spool-disk-max", "1MB"])
    service.start().wait_for_state("streaming")
    with Session(source) as session:
        open_large(session, 1, rows=5000)
        service.wait_for_log("spool_disk_max allows 1024 kB")
        session.execute("ROLLBACK")
    # Nothing of it is left, so nothing is in the way.
    source.execute("INSERT INTO s.plain VALUES (1, 1, 1)")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_directory_that_cannot_be_written_is_refused(source, destination, towline_factory):
    service = towline_factory(source, destination, arguments=["--spool-directory", "/proc/self"])
    service.start()
    assert service.wait_exit(60) == 3
    assert "cannot spool transactions in /proc/self" in service.output()


@pytest.mark.limit(400)
def test_large_transactions_stay_within_memory(source, destination, towline_factory, size):
    """A transaction of some hundred megabytes beside others, with the limits as they are by default."""
    make_tables(source)
    service = towline_factory(source, destination)
    service.start().wait_for_state("streaming")
    with Session(source) as one, Session(source) as other:
        for session, who in ((one, 1), (other, 2)):
            session.execute("BEGIN")
            session.execute("INSERT INTO s.wide SELECT %s, i, i, repeat(md5(i::text), 60) FROM "
                            "generate_series(1, %s) i", [who, 40_000 * size])
        for session in (one, other):
            session.execute("UPDATE s.wide SET n = n + 1 WHERE id < 20000; COMMIT"
                            if session is other else "DELETE FROM s.wide WHERE id % 7 = 0 AND client = 1; COMMIT")
    service.wait_until_caught_up(300)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0

"""The network fails in every way a network can: exact afterwards, and back without help (I1, B1, B8, B9).

Both ends stand behind proxies; only the service goes through them, the test's own connections do not.
"""
import json
import re

import pytest

from support import probes
from support.compare import assert_equal
from support.proxy import TO_CLIENT, TO_SERVER, Proxy
from support.waiting import wait_until
from support.workload import Workload


def is_stream(connection):
    """The session that the changes come through."""
    return connection.is_replication and "stream" in connection.application_name


def is_apply(connection):
    return "apply" in connection.application_name


class Wire:
    """A service whose ends are both behind proxies."""

    def __init__(self, source, destination, make, **options):
        self.source, self.destination = source, destination
        self.to_source, self.to_destination = Proxy(source.cluster.port), Proxy(destination.cluster.port)
        self.service = make(source, destination, **options)
        # The waits of the test's side go on looking at the servers themselves.
        self.service.command_uris = (self.to_source.uri(source.uri()), self.to_destination.uri(destination.uri()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.service.close()
        self.to_source.close()
        self.to_destination.close()


@pytest.fixture
def wire(source, destination, towline_factory):
    with Wire(source, destination, towline_factory) as made:
        yield made


def small(source):
    source.execute("CREATE TABLE keyed (id int PRIMARY KEY, v text); CREATE TABLE keyless (v text); "
                   "INSERT INTO keyed SELECT i, 'copied' FROM generate_series(1, 100) i; "
                   "INSERT INTO keyless SELECT 'copied' FROM generate_series(1, 100) i")


def start_and_catch_up(service):
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()


def make_load(source, seed):
    return Workload(source.uri(), seed, clients=2, rate=80).create().run(transactions=40)


def finish(wire, load=None):
    if load is not None:
        enough = load.transactions + 40
        wait_until(lambda: load.transactions >= enough, 60, "the load to go on")
        load.stop()
    wire.service.wait_until_caught_up()
    assert_equal(wire.source.uri(), wire.destination.uri())
    assert wire.service.stop() == 0


# --- cuts

def test_cut_in_the_middle_of_frames(wire, source, seed, size):
    load = make_load(source, seed)
    with load:
        wire.service.start()
        for number in range(4 * size):
            wire.service.wait_for_state("streaming")
            rule = wire.to_source.cut_in_message(b"d", longer_than=(60, 300, 1000, 60)[number % 4], which=3 + number,
                                                 only=is_stream)
            rule.wait(60)
            probes.assert_confirmed_is_applied(wire.service, source)
        finish(wire, load)


def test_cut_anywhere_on_the_way_to_the_destination(wire, source, seed, size):
    """Statements, COPY data, answers: whatever the byte belongs to."""
    load = make_load(source, seed)
    with load:
        wire.service.start()
        for number in range(4 * size):
            wire.service.wait_for_state("streaming")
            direction = (TO_SERVER, TO_CLIENT)[number % 2]
            wire.to_destination.cut_after((20000, 700, 5003, 301)[number % 4], direction, only=is_apply).wait(60)
        finish(wire, load)


@pytest.mark.parametrize("end", ["source", "destination"])
def test_cut_during_the_copy(end, wire, source, seed):
    source.execute("CREATE TABLE wide (id int, v text); "
                   "INSERT INTO wide SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 10000) i")
    load = make_load(source, seed)
    rule = (wire.to_source.cut_after(1500000, TO_CLIENT) if end == "source"
            else wire.to_destination.cut_after(1500000, TO_SERVER))
    with load:
        wire.service.start()
        rule.wait(60)
        finish_when_streaming(wire, load)


def finish_when_streaming(wire, load=None):
    wire.service.wait_for_state("streaming")
    finish(wire, load)


def test_all_connections_are_cut_again_and_again(wire, source, seed, size):
    """Also while it is coming back: at the connection, the take-over, the checks, the slot."""
    load = make_load(source, seed)
    with load:
        wire.service.start()
        wire.service.wait_for_state("streaming")
        for number in range(6 * size):
            accepted = wire.to_destination.accepted + wire.to_source.accepted
            wire.to_source.cut()
            wire.to_destination.cut()
            wait_until(lambda: wire.to_destination.accepted + wire.to_source.accepted > accepted + number, 60,
                       "the service to come back", interval=0.002)
        finish_when_streaming(wire, load)


# --- half-open: one end does not know

@pytest.mark.parametrize("end", ["source", "destination"])
def test_the_server_does_not_notice_that_the_client_is_gone(end, wire, source, destination):
    """The service comes back while the server still believes in the old session, which holds the slot or
    the row locks: the new epoch ends it, long before wal_sender_timeout or TCP would."""
    small(source)
    start_and_catch_up(wire.service)
    database, proxy = (source, wire.to_source) if end == "source" else (destination, wire.to_destination)
    only = is_stream if end == "source" else is_apply
    old = probes.sessions(database, "stream" if end == "source" else "apply")
    assert old
    epoch = wire.service.row()[0]
    proxy.abandon_clients(only)
    source.execute("INSERT INTO keyless VALUES ('after')")
    wait_until(lambda: destination.value("SELECT count(*) FROM keyless WHERE v = 'after'") == 1, 30,
               "the service to come back", explain=wire.service.tail)
    assert all(probes.is_gone(database, pid) for pid in old)
    assert wire.service.row()[0] > epoch
    finish(wire)


def start_elsewhere(wire, end):
    """A new process whose way to one end is a new one; the old connections stay open and silent."""
    database = wire.source if end == "source" else wire.destination
    fresh = Proxy(database.cluster.port)
    uris = list(wire.service.command_uris)
    uris[0 if end == "source" else 1] = fresh.uri(database.uri())
    wire.service.command_uris = tuple(uris)
    wire.service.fault = None
    wire.service.start()
    return fresh


@pytest.mark.parametrize("end,same_machine", [("source", True), ("destination", True), ("destination", False)])
def test_the_consumer_s_machine_is_gone(end, same_machine, wire, source, destination):
    """kill -9 behind a black hole: no server hears of it. The next start ends what was left; of a process
    on another machine it knows only that it is silent, and waits until that is long enough."""
    small(source)
    start_and_catch_up(wire.service)
    database, proxy = (source, wire.to_source) if end == "source" else (destination, wire.to_destination)
    old = probes.sessions(database)
    assert old
    proxy.pause()
    source.execute("INSERT INTO keyless VALUES ('unheard')")
    wire.service.kill()
    if not same_machine:
        destination.execute("UPDATE towline_state.session SET client_process = 'another', "
                            "seen_at = seen_at - interval '25 s'")
    with start_elsewhere(wire, end):
        wait_until(lambda: destination.value("SELECT count(*) FROM keyless WHERE v = 'unheard'") == 1, 60,
                   "the next process to stream", explain=wire.service.tail)
        assert not set(old) & set(probes.sessions(database))
        finish(wire)


def test_the_consumer_s_machine_is_gone_in_the_copy(source, destination, towline_factory):
    """The snapshot's session would keep its locks on every table of the source for as long as the server
    believes in it: two hours by TCP's defaults."""
    small(source)
    with Wire(source, destination, towline_factory, fault="copy:in-table:stop") as wire:
        wire.service.start()
        probes.wait_until_stopped(wire.service)
        old = probes.sessions(source)
        wire.to_source.pause()
        wire.service.kill()
        with probes.Session(source) as session, start_elsewhere(wire, "source"):
            truncating = probes.InBackground(session.execute, "TRUNCATE keyless")
            truncating.result(30)
            wire.service.wait_for_state("streaming")
            assert not set(old) & set(probes.sessions(source))
            finish(wire)


@pytest.mark.limit(200)
def test_a_silent_source_is_left(wire, source, destination):
    """A black hole on a living connection: TCP stays content (the proxy acknowledges), only the silence
    tells. The service must leave the connection by itself and come back on a new one."""
    small(source)
    start_and_catch_up(wire.service)
    old = set(probes.sessions(source, "stream"))
    wire.to_source.pause_present()
    source.execute("INSERT INTO keyless VALUES ('through a new connection')")
    wait_until(lambda: destination.value("SELECT count(*) FROM keyless WHERE v LIKE 'through%'") == 1, 120,
               "the service to come back", explain=wire.service.tail)
    assert not old & set(probes.sessions(source, "stream"))
    finish(wire)


def test_back_pressure_does_not_cost_the_connection(source, destination, towline_factory):
    """B8: the destination stands still for longer than wal_sender_timeout while much is waiting; the
    source's session survives because the service reports by its own clock."""
    source.cluster.configure(wal_sender_timeout="4s")
    try:
        with Wire(source, destination, towline_factory,
                  arguments=["--queue-bytes-max", "64kB", "--batch-bytes-max", "64kB", "--status-interval", "1s"]) as wire:
            small(source)
            start_and_catch_up(wire.service)
            stream = probes.sessions(source, "stream")
            with probes.Session(destination) as blocker:
                blocker.execute("BEGIN; LOCK TABLE keyless IN ACCESS EXCLUSIVE MODE")
                source.execute("INSERT INTO keyless SELECT repeat(md5(i::text), 30) FROM generate_series(1, 20000) i")
                seen = {pid: 0 for pid in stream}
                # Its last sign of life is from after the blockade began plus the timeout, several times over.
                start = source.value("SELECT clock_timestamp()")
                source.wait_for(f"SELECT bool_and(reply_time > timestamptz '{start}' + interval '9 s') "
                                "FROM pg_stat_replication", 40, "replies of the service while it is blocked")
                assert set(probes.sessions(source, "stream")) == set(seen)
            finish(wire)
            assert "stream" not in wire.service.output() or wire.service.row()[0] == 1
    finally:
        source.cluster.configure(wal_sender_timeout=None)


# --- the outcome of a COMMIT is not known (B1)

@pytest.mark.parametrize("outcome", ["committed", "not committed", "unknown"])
def test_a_commit_without_an_answer(outcome, wire, source, destination):
    """A row in a table without key is there once, whatever became of the COMMIT."""
    small(source)
    start_and_catch_up(wire.service)
    for number in range(3):
        if outcome == "committed":  # the server has said so; half of the message arrives
            rule = wire.to_destination.cut_in_answer(b"COMMIT\0", only=is_apply)
        elif outcome == "not committed":
            rule = wire.to_destination.cut_before(re.compile(rb"COMMIT", re.I), only=is_apply)
        else:
            rule = wire.to_destination.lose_answer(re.compile(rb"COMMIT", re.I), only=is_apply)
        source.execute("INSERT INTO keyless VALUES (%s); UPDATE keyed SET v = v || '.'", [f"once {number}"])
        rule.wait(60)
        wire.service.wait_until_caught_up()
        assert destination.value("SELECT count(*) FROM keyless WHERE v = %s", [f"once {number}"]) == 1
        wire.service.wait_for_state("streaming")
    finish(wire)


@pytest.mark.parametrize("outcome", ["committed", "not committed"])
def test_a_commit_that_travels_with_the_next_batch(outcome, wire, source, destination):
    """Under a backlog a COMMIT leaves with the first statements of the batch behind it."""
    small(source)
    wire.service.start("--batch-rows-max", "1")
    wire.service.wait_for_state("streaming")
    wire.service.wait_until_caught_up()
    pid, = probes.sessions(destination, "apply")
    with probes.frozen(pid):
        if outcome == "committed":
            rule = wire.to_destination.cut_in_answer(b"COMMIT\0", only=is_apply)
        else:  # of the extended protocol: a COMMIT that is waited for is a message of its own
            rule = wire.to_destination.cut_before(re.compile(rb"^P.{4}\0COMMIT\0", re.S), only=is_apply)
        for _ in range(40):
            source.execute("INSERT INTO keyless VALUES ('once')")
    rule.wait(60)
    wire.service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM keyless WHERE v = 'once'") == 40
    finish(wire)


def test_a_destination_that_is_far_away(wire, source, seed):
    """Round trips are weighed: what goes by COPY to a near one goes in sets. Rows of many forms, exact."""
    load = make_load(source, seed)
    small(source)
    with load:
        wire.service.start()
        wire.service.wait_for_state("streaming")
        wire.to_destination.delay(0.02)
        wire.to_destination.cut(is_apply)  # the next session measures
        source.execute("INSERT INTO keyed SELECT i, CASE WHEN i % 3 > 0 THEN repeat('it''s \"{,}\\', i % 7) END "
                       "FROM generate_series(1001, 6000) i")
        source.execute("UPDATE keyed SET v = v || 'x' WHERE id > 3000; DELETE FROM keyed WHERE id % 5 = 0; "
                       "INSERT INTO keyless SELECT v FROM keyed")
        finish(wire, load)


def test_a_commit_that_is_still_at_work_when_the_service_comes_back(wire, source, destination):
    """The old backend waits for a synchronous standby that is not there, its row written and its commit
    in the log, but invisible to all others; the service is back before it ends."""
    small(source)
    start_and_catch_up(wire.service)
    cluster = destination.cluster
    pids = probes.sessions(destination, "apply")
    try:
        cluster.configure(synchronous_standby_names="nobody")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = ANY(%s)"
        source.execute("INSERT INTO keyless VALUES ('once')")
        # Not every commit is a synchronous one; more rows come until one of them waits.
        count = [0]

        def stuck():
            count[0] += 1
            source.execute("INSERT INTO keyless VALUES ('once')")
            return destination.value(waiting, [pids])
        wait_until(stuck, 30, "a commit that waits for the standby", interval=0.1, explain=wire.service.tail)
        accepted = wire.to_destination.accepted
        wire.to_destination.abandon_clients(is_apply)
        wait_until(lambda: wire.to_destination.accepted > accepted, 60, "the service to come back",
                   explain=wire.service.tail)
    finally:
        cluster.configure(synchronous_standby_names=None)
    wire.service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM keyless WHERE v = 'once'") == count[0] + 1
    finish(wire)


def test_the_old_backend_executes_its_transaction_after_the_service_is_back(wire, source, destination):
    """The transaction with its COMMIT lies unread in the socket of a backend that stands still. Whenever
    it goes on, the row is there once."""
    small(source)
    start_and_catch_up(wire.service)
    pid, = probes.sessions(destination, "apply")
    with probes.frozen(pid):
        source.execute("INSERT INTO keyless VALUES ('once')")
        wait_until(lambda: probes.unread_bytes(pid) > 0, 30, "the transaction to reach the backend's socket",
                   explain=wire.service.tail)
        accepted = wire.to_destination.accepted
        wire.to_destination.abandon_clients(is_apply)
        wait_until(lambda: wire.to_destination.accepted > accepted, 60, "the service to come back",
                   explain=wire.service.tail)
    wire.service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM keyless WHERE v = 'once'") == 1
    assert probes.is_gone(destination, pid)
    finish(wire)


# --- retry

@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_server_that_is_down_is_tried_again_and_status_says_so(end, source, destination, towline_factory):
    small(source)
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    cluster = (source if end == "source" else destination).cluster
    cluster.stop()

    def retrying():
        status = status_by_socket(service)
        return status if status["state"] == "retrying" and status["retry_in_seconds"] > 0 else None
    first = wait_until(retrying, 30, "the state retrying with a countdown", explain=service.tail)
    assert first["retries"] >= 1 and first["waiting_for"]
    assert 0 < first["retry_window_left_seconds"] <= 720 * 60
    wait_until(lambda: status_by_socket(service)["retries"] > first["retries"], 60, "the next try", explain=service.tail)
    cluster.start()
    source.execute("INSERT INTO keyless VALUES ('after')")
    service.wait_until_caught_up(90)
    assert_equal(source.uri(), destination.uri())
    wait_until(lambda: status_by_socket(service)["state"] == "streaming", 10, "the state streaming")
    assert service.stop() == 0


def status_by_socket(service):
    """`towline status --json` as it works when no server can be reached: by the task's socket."""
    done = service.call("status", "--json", ends=False, check=True)
    task, = json.loads(done.stdout)["tasks"]
    return task


def test_sigterm_during_a_retry_stops_at_once(source, destination, towline_factory):
    small(source)
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    destination.cluster.stop()
    service.wait_for_log("(?i)retry")
    assert service.stop() == 0
    destination.cluster.start()
    start_and_catch_up(service)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


# --- another way to the same databases

def test_another_password_or_host_resumes_the_same_task(source, destination, source_cluster, destination_cluster,
                                                        towline_factory):
    small(source)
    role = "mover"
    for cluster in (source_cluster, destination_cluster):
        cluster.database().execute(f"DROP ROLE IF EXISTS {role}; "
                                   f"CREATE ROLE {role} LOGIN SUPERUSER REPLICATION PASSWORD 'Zebra1'")
        cluster.set_hba([f"host all {role} all scram-sha-256", f"host replication {role} all scram-sha-256",
                         "host all all 127.0.0.1/32 trust"])
    service = towline_factory(source, destination)

    def go(password, host, text):
        service.command_uris = [database.uri(user=role, password=password, host=host)
                                for database in (source, destination)]
        start_and_catch_up(service)
        source.execute("INSERT INTO keyless VALUES (%s)", [text])
        service.wait_until_caught_up()
        assert_equal(source.uri(), destination.uri())
        assert password not in service.output()
        assert service.stop() == 0
        return service.row()

    def files():
        return destination.query("SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname LIKE 'key%' "
                                 "ORDER BY 1")
    row, kept = go("Zebra1", "127.0.0.1", "one"), files()
    for cluster in (source_cluster, destination_cluster):
        cluster.database().execute(f"ALTER ROLE {role} PASSWORD 'Okapi2'")
    service.command_uris = [database.uri(user=role, password="Zebra1") for database in (source, destination)]
    assert service.start().wait_exit(60) in (2, 3), service.tail()
    again = go("Okapi2", "localhost", "two")
    assert again[0] > row[0] and again[1] >= row[1] and again[3] == row[3]
    assert files() == kept
    assert destination.value("SELECT count(*) FROM towline_state.task") == 1
    for cluster in (source_cluster, destination_cluster):
        cluster.set_hba(["local all all trust", "host all all 127.0.0.1/32 trust",
                         "host replication all 127.0.0.1/32 trust"])

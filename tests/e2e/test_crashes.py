"""Servers crash, lose their last commits, or are not what they were: exact afterwards, or a loud stop
(I1, I2).
"""
import contextlib

import pytest

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload

PROTECTED = 5  # exit status: stopped to protect data


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source")


@pytest.fixture(scope="module")
def destination_cluster(module_clusters):
    """Writes its log as late as it may, so that a crash loses what was committed asynchronously."""
    return module_clusters("destination", settings={"wal_writer_delay": "10s"})


def small(source):
    """A table with a key and one without."""
    source.execute("CREATE TABLE keyed (id int PRIMARY KEY, v text); CREATE TABLE keyless (v text); "
                   "INSERT INTO keyed SELECT i, 'copied' FROM generate_series(1, 100) i; "
                   "INSERT INTO keyless SELECT 'copied' FROM generate_series(1, 100) i")
    return source


def write(source, text):
    source.execute("INSERT INTO keyless VALUES (%s); "
                   "UPDATE keyed SET v = %s WHERE id <= 10", [text, text])


def start_and_catch_up(service):
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()


def wait_until_confirmed(service, source, lsn):
    wait_until(lambda: probes.slot(source).confirmed >= lsn, 30, "the slot to be confirmed",
               explain=lambda: f"{probes.slot(source)}, wanted {lsn}; {service.tail()}")


# --- crashes under load

@pytest.mark.parametrize("which", ["source", "destination"])
def test_a_server_is_restarted_under_load(which, source, destination, source_cluster, destination_cluster,
                                          towline_factory, seed, size):
    crashing = {"source": source_cluster, "destination": destination_cluster}[which]
    load = Workload(source.uri(), seed, clients=2, rate=80, survive=True).create().run(transactions=40)
    service = towline_factory(source, destination)
    with load:
        service.start()
        for _ in range(3 * size):
            service.wait_for_state("streaming")
            enough = load.transactions + 40
            wait_until(lambda: load.transactions >= enough, 60, "the load to go on")
            crashing.restart("immediate")
            probes.assert_confirmed_is_applied(service, source)
        enough = load.transactions + 40
        wait_until(lambda: load.transactions >= enough, 60, "the load to go on")
        load.stop()
        service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


@pytest.mark.parametrize("which", ["source", "destination"])
def test_a_server_is_restarted_during_the_copy(which, source, destination, source_cluster, destination_cluster,
                                               towline_factory, seed):
    crashing = {"source": source_cluster, "destination": destination_cluster}[which]
    load = Workload(source.uri(), seed, clients=2, rate=80, survive=True).create().run(transactions=40)
    service = towline_factory(source, destination, fault="copy:in-table:stop:2")
    with load:
        service.start()
        probes.wait_until_stopped(service)
        crashing.restart("immediate")
        probes.go_on(service)
        service.wait_for_state("streaming")
        load.stop()
        service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


# --- the destination loses commits that it had acknowledged to nobody

@pytest.mark.limit(600)
def test_asynchronous_commits_that_are_lost_are_streamed_again(source, destination, destination_cluster,
                                                               towline_factory):
    """With an hour between synchronous commits nothing but a flush by chance makes a batch durable. The
    WAL writer stands still, so what was applied is visible and not on disk when the server crashes."""
    small(source)
    service = towline_factory(source, destination, arguments=["--durable-interval-max", "1m"])
    start_and_catch_up(service)
    lost = 0
    for attempt in range(30):
        writer = probes.wal_writer(destination_cluster)
        with probes.frozen(writer):
            write(source, f"lost {attempt}")
            wait_until(lambda: destination.value("SELECT count(*) FROM keyless WHERE v = %s", [f"lost {attempt}"]),
                       30, "the row to arrive", interval=0.002, explain=service.tail)
            before = service.position()
            probes.stand_still(service)
            probes.crash_without_last_log(destination_cluster, writer)
        destination_cluster.start()
        # The service stands still: this is what the crash has left.
        after = service.position()
        assert probes.slot(source).confirmed <= after, "the source was told of commits that the crash took back"
        missing = not destination.value("SELECT count(*) FROM keyless WHERE v = %s", [f"lost {attempt}"])
        assert missing == (after < before)
        lost += missing
        probes.go_on(service)
        service.wait_until_caught_up()
        assert_equal(source.uri(), destination.uri())
        if lost == 2:
            break
    assert lost == 2, "no crash lost a commit: the test shows nothing"
    assert service.stop() == 0


def test_crashes_under_load_never_find_more_confirmed_than_durable(source, destination, destination_cluster,
                                                                   towline_factory, seed):
    """The same with the intervals that users have."""
    load = Workload(source.uri(), seed, clients=2, rate=80).create().run(transactions=20)
    service = towline_factory(source, destination)
    with load:
        service.start()
        for _ in range(3):
            service.wait_for_state("streaming")
            service.wait_until_caught_up()
            writer = probes.wal_writer(destination_cluster)
            with probes.frozen(writer):
                confirmed = probes.slot(source).confirmed
                wait_until(lambda: probes.slot(source).confirmed > confirmed, 60, "the slot to be confirmed further")
                probes.stand_still(service)
                probes.crash_without_last_log(destination_cluster, writer)
            destination_cluster.start()
            assert probes.slot(source).confirmed <= service.position()
            probes.go_on(service)
        load.stop()
        service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_crash_after_large_values_were_taken_back_leaves_a_server_that_starts(is_prepared, source, destination,
                                                                                destination_cluster, towline_factory):
    """What they wait in was made by a transaction that is rolled back; the crash loses that from the log, and not the
    table's making. Of an unlogged table recovery would find a file in its way, and the server would not start."""
    source.script("CREATE TABLE wide (id int PRIMARY KEY, a text)", "INSERT INTO wide VALUES (1, 'small')")
    service = towline_factory(source, destination, fault="apply:values-staged:stop",
                              arguments=["--statement-bytes-max", "16kB", *(("--two-phase", "on") if is_prepared else ())])
    start_and_catch_up(service)
    if is_prepared:
        source.wait_for("SELECT two_phase FROM pg_replication_slots WHERE database = current_database()")
    source.psql("BEGIN; UPDATE wide SET a = repeat(md5('x'), 2000); "
                + ("PREPARE TRANSACTION 'large'" if is_prepared else "COMMIT"))
    probes.wait_until_stopped(service)
    writer = probes.wal_writer(destination_cluster)
    with probes.frozen(writer):
        backends = probes.sessions(destination, "apply")
        destination.execute("CREATE TABLE public.what_was_made_is_on_disk ()")
        service.kill()
        wait_until(lambda: all(probes.is_gone(destination, pid) for pid in backends), 30, "its transaction to be rolled back")
        probes.crash_without_last_log(destination_cluster, writer)
    destination_cluster.start()
    destination.execute("DROP TABLE public.what_was_made_is_on_disk")
    service.fault = None
    service.start()
    if is_prepared:
        source.execute("COMMIT PREPARED 'large'")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


# --- the source loses commits that the copy's snapshot has seen

def test_a_source_cannot_take_back_what_was_copied(source, destination, source_cluster, towline_factory):
    """A commit that nobody waited for lies in the source's memory when the copy's snapshot sees it."""
    small(source)
    service = towline_factory(source, destination, fault="run:slot-stored:stop,copy:before-post-data:stop")
    service.start()
    probes.wait_until_stopped(service)
    writer = probes.wal_writer(source_cluster)
    with probes.frozen(writer):
        source.script("SET synchronous_commit = off", "INSERT INTO keyless VALUES ('not on disk')")
        probes.go_on(service)
        wait_until(lambda: destination.value("SELECT count(*) FROM towline_state.piece WHERE state = 'copied'") == 2,
                   60, "the copy", explain=service.tail)
        probes.wait_until_stopped(service)
        assert destination.value("SELECT count(*) FROM keyless WHERE v = 'not on disk'") == 1
        probes.crash_without_last_log(source_cluster, writer)
    source_cluster.start()
    probes.go_on(service)
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


# --- ends that are not what they were

@pytest.mark.parametrize("is_running", [False, True])
def test_a_destination_put_back_to_an_older_state_stops_the_task(is_running, source, destination,
                                                                 destination_cluster, towline_factory):
    small(source)
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    assert service.stop() == 0
    destination_cluster.stop()
    destination_cluster.save("older")
    destination_cluster.start()
    start_and_catch_up(service)
    write(source, "not in the backup")
    service.wait_until_caught_up()
    wait_until_confirmed(service, source, service.position())
    if not is_running:
        assert service.stop() == 0
    destination_cluster.stop("immediate")
    destination_cluster.restore("older")
    destination_cluster.start()
    rows = destination.query("SELECT count(*), max(v) FROM keyless")
    if not is_running:
        service.start()
    assert service.wait_exit(60) == PROTECTED, service.tail()
    slot = probes.slot(source)
    assert slot.name in service.output() and "HINT" in service.output()
    assert destination.query("SELECT count(*), max(v) FROM keyless") == rows
    # It stays so, and nothing moves the slot meanwhile.
    assert service.start().wait_exit(60) == PROTECTED
    assert probes.slot(source).confirmed == slot.confirmed


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("made_again", [False, True])
def test_a_slot_that_was_dropped_stops_the_task(made_again, is_running, source, destination, towline_factory):
    small(source)
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    name = probes.slot(source).name
    if is_running:
        probes.stand_still(service)
    else:
        assert service.stop() == 0

    def drop():
        pid = probes.slot(source).active_pid
        if pid is not None:
            source.query("SELECT pg_terminate_backend(%s)", [pid])
            return False
        source.query("SELECT pg_drop_replication_slot(%s)", [name])
        return True
    wait_until(drop, 30, "the slot to be dropped")
    write(source, "lost with the slot")
    if made_again:
        source.query("SELECT pg_create_logical_replication_slot(%s, 'towline')", [name])
    if is_running:
        probes.go_on(service)
    else:
        service.start()
    assert service.wait_exit(60) == PROTECTED, service.tail()
    assert name in service.output() and "HINT" in service.output()
    assert destination.value("SELECT count(*) FROM keyless WHERE v LIKE 'lost%%'") == 0


def test_a_slot_made_again_at_once_stops_the_task_too(source, destination, towline_factory):
    """Nothing was written in between, but nobody could know that."""
    small(source)
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    assert service.stop() == 0
    name = probes.slot(source).name
    source.query("SELECT pg_drop_replication_slot(%s), pg_create_logical_replication_slot(%s, 'towline')", [name, name])
    assert service.start().wait_exit(60) == PROTECTED, service.tail()


def test_another_source_behind_the_uri_stops_the_task(source, destination, source_cluster, towline_factory, request):
    """A database of the same name and contents, in the same cluster and in another one."""
    small(source)
    service = towline_factory(source, destination, task="mine")
    start_and_catch_up(service)
    assert service.stop() == 0
    name = probes.slot(source).name
    twin = source_cluster.create_database("twin", f"TEMPLATE {source.name}")
    other_cluster = request.getfixturevalue("new_cluster")("other")
    other = other_cluster.create_database(source.name)
    other.execute("CREATE EXTENSION towline")
    small(other)
    other.query("SELECT pg_create_logical_replication_slot(%s, 'towline')", [name])
    for wrong in (twin, other):
        service.source_uri = wrong.uri()
        assert service.start().wait_exit(60) == PROTECTED, service.tail()
        assert "HINT" in service.output()
    service.source_uri = source.uri()
    start_and_catch_up(service)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0
    twin.drop()


def test_a_copy_of_the_destination_stops_the_task(source, destination, destination_cluster, towline_factory):
    """The copy brings the task row along, but it is not the database that the row speaks of."""
    small(source)
    service = towline_factory(source, destination, task="mine")
    start_and_catch_up(service)
    assert service.stop() == 0
    twin = destination_cluster.create_database("twin", f"TEMPLATE {destination.name}")
    service.destination_uri = twin.uri()
    assert service.start().wait_exit(60) == PROTECTED, service.tail()
    write(source, "for the right one")
    service.destination_uri = destination.uri()
    start_and_catch_up(service)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0
    twin.drop()


def test_a_destination_without_the_task_never_goes_on_with_its_slot(source, destination, destination_cluster,
                                                                    towline_factory):
    """An empty database behind the URI of a task that has a slot: going on from the slot would give it
    the changes without the rows they change."""
    small(source)
    service = towline_factory(source, destination, task="mine")
    start_and_catch_up(service)
    assert service.stop() == 0
    confirmed = probes.slot(source).confirmed
    empty = destination_cluster.create_database("empty")
    service.destination_uri = empty.uri()
    status = service.start().wait_exit(60)
    assert status in (1, 3, PROTECTED), service.tail()
    assert probes.slot(source).name in service.output()
    assert empty.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert probes.slot(source).confirmed == confirmed
    service.destination_uri = destination.uri()
    start_and_catch_up(service)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0
    empty.drop()


def test_a_promoted_standby_of_the_source_stops_the_task(source, destination, source_cluster, towline_factory,
                                                         new_cluster):
    """The same system identifier and database on another timeline, even with a slot of the right name:
    what the old primary had sent beyond the fork never happened there."""
    small(source)
    service = towline_factory(source, destination)
    start_and_catch_up(service)
    assert service.stop() == 0
    name = probes.slot(source).name
    standby = new_cluster("standby", start=False)
    standby.follow(source_cluster)
    standby.start()
    standby.database().execute("SELECT pg_promote()")
    standby.database().wait_for("SELECT NOT pg_is_in_recovery()")
    promoted = standby.database(source.name)
    promoted.query("SELECT pg_create_logical_replication_slot(%s, 'towline')", [name])
    service.source_uri = promoted.uri()
    assert service.start().wait_exit(60) == PROTECTED, service.tail()
    assert "timeline" in service.output()
    with contextlib.suppress(AssertionError):
        standby.stop("immediate")

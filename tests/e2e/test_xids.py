"""Which transactions the copy holds and which the stream brings: each row exactly once (I4, A1, A15).

Where a moment between two steps matters the service stops itself at a fault point (SIGSTOP), the test
does what has to happen then, and lets it go on. Each test says in its first lines which transaction is
where.
"""
import pytest

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload
from support.workload_tables import SHAPES

WAITS_FOR_OPERATOR = 4  # exit status
XIDS_OF_SEGMENT = 32 * 8192 * 4  # of one file of pg_xact
CATCHING_UP = ("catching_up", "streaming")
# TRUNCATE waits for a copy that stands still, and then so does everybody else.
NO_TRUNCATE = [shape.name for shape in SHAPES if shape.name != "truncated"]


def small(source):
    source.execute("CREATE TABLE keyed (id int PRIMARY KEY, v text); CREATE TABLE keyless (v text); "
                   "ALTER TABLE keyless REPLICA IDENTITY FULL; "
                   "INSERT INTO keyed SELECT i, 'copied' FROM generate_series(1, 100) i; "
                   "INSERT INTO keyless SELECT 'copied' FROM generate_series(1, 100) i")


def write(session, number):
    """One row of each kind, as a statement of whatever transaction the session is in."""
    session.execute("INSERT INTO keyed VALUES (%s, 'new'); UPDATE keyed SET v = %s WHERE id = %s; "
                    "INSERT INTO keyless VALUES (%s)", [1000 + number, f"by {number}", number, f"once {number}"])


def assert_written(destination, *numbers):
    for number in numbers:
        found = destination.query("SELECT (SELECT count(*) FROM keyless WHERE v = %s), "
                                  "(SELECT count(*) FROM keyed WHERE id = %s), (SELECT v FROM keyed WHERE id = %s)",
                                  [f"once {number}", 1000 + number, number])[0]
        assert found == (1, 1, f"by {number}")


def finish(service, source, destination, seconds=60):
    service.wait_for_state("streaming")
    service.wait_until_caught_up(seconds)
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def wait_until_slot_waits_for(source, xid):
    wait_until(lambda: probes.waits_for_xid(source, xid), 30, f"the slot's creation to wait for xid {xid}")


# --- prepared transactions

def test_prepared_before_the_slot(source, destination, towline_factory):
    """Slot creation waits for it (it counts as running) and says so with its gid."""
    small(source)
    with probes.Session(source) as session:
        session.execute("BEGIN")
        write(session, 1)
        session.execute("PREPARE TRANSACTION 'before the slot'")
    service = towline_factory(source, destination)
    service.start()
    service.wait_for_log("before the slot")
    source.execute("COMMIT PREPARED 'before the slot'")
    finish(service, source, destination)
    assert_written(destination, 1)


def test_prepared_between_slot_and_snapshot(source, destination, towline_factory):
    """The marker waits for it. Its changes are in the stream (it commits after the slot's start) and in
    the snapshot: they must not arrive twice. The one that is rolled back must not arrive at all."""
    small(source)
    service = towline_factory(source, destination, fault="run:slot-stored:stop")
    service.start()
    probes.wait_until_stopped(service)
    for number, gid in ((1, "between, kept"), (2, "between, rolled back")):
        with probes.Session(source) as session:
            session.execute("BEGIN")
            write(session, number)
            session.execute(f"PREPARE TRANSACTION '{gid}'")
    probes.go_on(service)
    service.wait_for_log("between, (kept|rolled back)")
    assert service.state() not in CATCHING_UP
    source.execute("COMMIT PREPARED 'between, kept'")
    source.execute("ROLLBACK PREPARED 'between, rolled back'")
    finish(service, source, destination)
    assert_written(destination, 1)


def test_prepared_during_the_copy(source, destination, towline_factory):
    """Not in the snapshot, so they come by the stream: one committed during the copy, one while the
    service is away, one while it streams; one rolled back."""
    small(source)
    service = towline_factory(source, destination, fault="copy:in-table:stop")
    service.start()
    probes.wait_until_stopped(service)
    for number in range(1, 5):
        with probes.Session(source) as session:
            session.execute("BEGIN")
            write(session, number)
            session.execute(f"PREPARE TRANSACTION 'during {number}'")
    source.execute("COMMIT PREPARED 'during 1'")
    source.execute("ROLLBACK PREPARED 'during 2'")
    probes.go_on(service)
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_written(destination, 1)
    service.kill()
    source.execute("COMMIT PREPARED 'during 3'")
    service.fault = None
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    source.execute("COMMIT PREPARED 'during 4'")
    finish(service, source, destination)
    assert_written(destination, 1, 3, 4)


# --- running transactions and subtransactions around the snapshot

def test_a_transaction_that_spans_the_snapshot_with_subtransactions_above_it(source, destination, towline_factory):
    """An older transaction holds the marker up; meanwhile others begin, with xids above the marker. They
    are running in the snapshot (in its list), and their subtransactions get xids above its xmax: all of
    them come by the stream, as whole transactions. Those that ended before the snapshot do not."""
    small(source)
    service = towline_factory(source, destination, fault="run:slot-stored:stop,copy:in-table:stop")
    service.start()
    probes.wait_until_stopped(service)
    older, spanning, ended, rolled_back = (probes.Session(source) for _ in range(4))
    older.begin()
    write(older, 1)
    probes.go_on(service)
    service.wait_for_log(rf"\b{older.pid}\b")
    ended.begin()
    write(ended, 2)
    for session, number in ((spanning, 3), (rolled_back, 4)):
        session.begin()
        session.execute("SAVEPOINT a")
        write(session, number)
        session.execute("RELEASE a")
    ended.execute("COMMIT")
    older.execute("COMMIT")
    probes.wait_until_stopped(service)  # in the copy: the snapshot is taken
    for session, number in ((spanning, 5), (rolled_back, 6)):
        session.execute("SAVEPOINT a")
        session.execute("INSERT INTO keyless VALUES ('undone')")
        session.execute("SAVEPOINT b")
        session.execute("DELETE FROM keyed WHERE id > 50")
        session.execute("ROLLBACK TO a")
        session.execute("SAVEPOINT c")
        write(session, number)
        session.execute("RELEASE c")
    with probes.Session(source) as within:
        within.begin()
        within.execute("SAVEPOINT a")
        write(within, 7)
        within.execute("COMMIT")
    spanning.execute("COMMIT")
    rolled_back.execute("ROLLBACK")
    for session in (older, spanning, ended, rolled_back):
        session.close()
    probes.go_on(service)
    finish(service, source, destination)
    assert_written(destination, 1, 2, 3, 5, 7)


@pytest.mark.parametrize("release", ["reset", "cancel"])
def test_a_commit_that_waits_for_a_synchronous_standby(release, source, destination, source_cluster, towline_factory):
    """The commit record of T lies before the slot's start, so T is not streamed; T waits for a standby, so
    it still counts as running and a snapshot taken now does not see it. Only the marker's wait keeps it
    from being lost.

    Two older transactions that overlap (A, then B) hold the slot's creation up in both of its phases, so
    that T can begin after the second and commit before the third record of running transactions."""
    small(source)
    a, b = probes.Session(source), probes.Session(source)
    xid_a = a.begin()
    service = towline_factory(source, destination)
    service.start()
    wait_until_slot_waits_for(source, xid_a)
    xid_b = b.begin()
    a.execute("SET LOCAL synchronous_commit = local; COMMIT")
    wait_until_slot_waits_for(source, xid_b)
    t = probes.Session(source)
    try:
        source_cluster.configure(synchronous_standby_names="nobody")
        writing = probes.InBackground(write, t, 1)  # one statement string: one transaction
        wait_until(lambda: probes.wait_event(source, t.pid) == "SyncRep", 30, "T to wait for its standby")
        after_commit_record = probes.insert_lsn(source)
        b.execute("SET LOCAL synchronous_commit = local; COMMIT")
        service.wait_for_log(rf"\b{t.pid}\b")
        # It is the case that is meant: T's commit precedes the slot's start.
        assert probes.slot(source).confirmed >= after_commit_record
        assert service.state() not in ("copying_schema", "copying", "indexing", *CATCHING_UP)
        if release == "cancel":
            source.query("SELECT pg_cancel_backend(%s)", [t.pid])
            writing.result()
    finally:
        source_cluster.configure(synchronous_standby_names=None)
    writing.result()
    finish(service, source, destination)
    assert_written(destination, 1)
    for session in (a, b, t):
        session.close()


# --- the wait has a limit

@pytest.mark.parametrize("what", ["idle", "prepared"])
@pytest.mark.parametrize("when", ["slot", "marker"])
def test_the_wait_for_older_transactions_is_limited(what, when, source, destination, towline_factory):
    """Named with pid or gid and age, then exit status 4; the same command goes on when it is gone."""
    small(source)
    service = towline_factory(source, destination, arguments=["--snapshot-wait-max", "3s"],
                              fault="run:slot-stored:stop" if when == "marker" else None)
    if when == "marker":
        service.start()
        probes.wait_until_stopped(service)
    session = probes.Session(source)
    session.begin()
    write(session, 1)
    if what == "prepared":
        session.execute("PREPARE TRANSACTION 'forgotten'")
    if when == "marker":
        probes.go_on(service)
    else:
        service.start()
    assert service.wait_exit(40) == WAITS_FOR_OPERATOR, service.tail()
    named = "forgotten" if what == "prepared" else str(session.pid)
    error = service.output()
    assert named in error and "HINT" in error, error
    if what == "prepared":
        source.execute("ROLLBACK PREPARED 'forgotten'")
    else:
        session.execute("COMMIT")
    session.close()
    service.fault, service.arguments = None, []
    service.start()
    finish(service, source, destination)


def test_the_wait_is_shown(source, destination, towline_factory):
    """status names what is waited for while it lasts, and SIGTERM ends the wait at once."""
    small(source)
    session = probes.Session(source)
    session.begin()
    service = towline_factory(source, destination)
    service.start()
    service.wait_for_log(rf"\b{session.pid}\b")
    status = service.status()
    status = status[0] if isinstance(status, list) else status
    assert status["state"] == "waiting" and str(session.pid) in status["waiting_for"], status
    assert service.stop() == 0
    session.close()
    service.start()
    finish(service, source, destination)


# --- locks

def test_a_truncate_in_the_midst_of_the_copy_waits_for_it(source, destination, towline_factory):
    """Whoever waits for ACCESS EXCLUSIVE lets nobody pass after him. The copy must have all the locks it
    will ever need by then, or the two wait for each other for ever, unseen by the server."""
    small(source)
    service = towline_factory(source, destination, fault="copy:schema-stored:stop")
    service.start()
    probes.wait_until_stopped(service)
    with probes.Session(source) as session:
        truncating = probes.InBackground(session.execute, "TRUNCATE keyed, keyless; INSERT INTO keyed VALUES (1, 'after')")
        wait_until(lambda: probes.wait_event(source, session.pid) == "relation", 30, "TRUNCATE to wait")
        probes.go_on(service)
        service.wait_for_state("indexing", *CATCHING_UP, seconds=30)
        truncating.result()
    finish(service, source, destination)
    assert destination.query("SELECT * FROM keyed") == [(1, "after")]


def test_a_lock_that_keeps_the_copy_out_is_named_and_nobody_is_kept_waiting(source, destination, towline_factory):
    """Somebody has altered a table and not committed. The copy waits without holding what others may
    want, says for whom, and goes on when he is done."""
    small(source)
    service = towline_factory(source, destination, fault="run:slot-stored:stop")
    service.start()
    probes.wait_until_stopped(service)
    with probes.Session(source) as older, probes.Session(source) as session, probes.Session(source) as other:
        # An older one holds the marker up until the lock is there, whose xid is above the marker's.
        older.begin()
        probes.go_on(service)
        service.wait_for_log(rf"\b{older.pid}\b")
        session.execute("BEGIN; LOCK TABLE keyless IN ACCESS EXCLUSIVE MODE")
        older.execute("COMMIT")
        service.wait_for_log(rf"lock.*\b{session.pid}\b")
        for _ in range(5):
            other.execute("SET lock_timeout = '5s'; BEGIN; LOCK TABLE keyed IN ACCESS EXCLUSIVE MODE; COMMIT")
        assert service.state() not in CATCHING_UP
        session.execute("COMMIT")
    finish(service, source, destination)


# --- 32-bit transaction numbers

def move_xids(cluster, target):
    """Moves the transaction counter forward as far as years of use would, by steps below two billion
    with everything frozen between, so that the server is in a state that really occurs."""
    cluster.database().execute("UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'")
    for step in (1_500_000_000, 3_000_000_000, target):
        for name, in cluster.database().query("SELECT datname FROM pg_database"):
            cluster.database(name).execute("VACUUM (FREEZE)")
        cluster.database().execute("CHECKPOINT")
        cluster.stop()
        cluster.resetwal("-x", str(step))
        segment = cluster.data / "pg_xact" / f"{step // XIDS_OF_SEGMENT:04X}"
        cluster.write_file(segment, b"\0" * (XIDS_OF_SEGMENT // 4))
        cluster.start()
    for name, in cluster.database().query("SELECT datname FROM pg_database"):
        cluster.database(name).execute("VACUUM (FREEZE)")


def burn_xids(database, beyond):
    database.execute(f"""DO $$ BEGIN
        WHILE pg_current_xact_id()::text::bigint < {beyond} LOOP COMMIT; END LOOP; END $$""")


def test_the_transaction_counter_wraps_during_the_copy(new_cluster, destination, towline_factory, seed):
    """Transactions of both sides of 2^32: in the snapshot, spanning it, after it; and a restart beyond."""
    wrap = 1 << 32
    cluster = new_cluster("wrapping", settings={"autovacuum": "off"})
    move_xids(cluster, wrap - 8000)
    source = cluster.create_database("wrapping")
    source.execute("CREATE EXTENSION towline")
    small(source)
    load = Workload(source.uri(), seed, clients=2, rate=30, shapes=NO_TRUNCATE).create().run(transactions=40)
    service = towline_factory(source, destination, fault="run:slot-stored:stop,copy:in-table:stop")
    with load:
        service.start()
        probes.wait_until_stopped(service)
        older, spanning = probes.Session(source), probes.Session(source)
        older.begin()
        probes.go_on(service)
        service.wait_for_log(rf"\b{older.pid}\b")
        assert spanning.begin() < wrap
        write(spanning, 1)
        older.execute("COMMIT")
        probes.wait_until_stopped(service)
        with probes.Session(source) as session:
            assert session.begin() < wrap, "the counter wrapped too early for this test"
            write(session, 2)
            session.execute("COMMIT")
        burn_xids(source, wrap + 100)
        with probes.Session(source) as session:
            assert session.begin() > wrap
            write(session, 3)
            session.execute("COMMIT")
        spanning.execute("SAVEPOINT beyond")
        write(spanning, 4)
        spanning.execute("COMMIT")
        enough = load.transactions + 40
        wait_until(lambda: load.transactions >= enough, 60, "the load to go on")
        probes.go_on(service)
        service.wait_for_state("streaming")
        service.kill()
        service.fault = None
        with probes.Session(source) as session:
            session.execute("BEGIN")
            write(session, 5)
            session.execute("COMMIT")
        service.start()
        service.wait_for_state("streaming")
        load.stop()
    finish(service, source, destination)
    assert_written(destination, 1, 2, 3, 4, 5)
    for session in (older, spanning):
        session.close()


def test_a_copy_beyond_the_wrap_with_streamed_transactions_before_it(new_cluster, destination, towline_factory):
    """The snapshot is taken beyond 2^32 while what the slot has kept from before it is still to come: those
    transactions must get their own epoch, or they would seem to be from the future and arrive twice."""
    wrap = 1 << 32
    cluster = new_cluster("wrapped", settings={"autovacuum": "off"})
    move_xids(cluster, wrap - 3000)
    source = cluster.create_database("wrapped")
    source.execute("CREATE EXTENSION towline")
    small(source)
    service = towline_factory(source, destination, fault="run:slot-stored:stop")
    service.start()
    probes.wait_until_stopped(service)
    with probes.Session(source) as session:
        assert session.begin() < wrap
        write(session, 1)
        session.execute("COMMIT")
        burn_xids(source, wrap + 100)
        assert session.begin() > wrap
        write(session, 2)
        session.execute("COMMIT")
    probes.go_on(service)
    finish(service, source, destination)
    assert_written(destination, 1, 2)

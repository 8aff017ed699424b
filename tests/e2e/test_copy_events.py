"""What happens to servers and tables in the middle of the initial copy: the result is exact, or the service stops, names
the table and what mends it, and the same command then ends exact.

Where the copy must stand still the service stops itself between two pieces of a table's rows. Restarts of servers
and kills: test_crashes.py, test_kills.py; waits for transactions: test_xids.py.
"""
import pytest

from support import probes
from support.compare import assert_equal
from support.full_disk import FullDisk
from support.waiting import wait_until

ROWS = 40000  # more than one piece of rows is on its way, also with the smallest buffers


def make_tables(source):
    """`big` is copied first; `small` stands for all other tables."""
    source.script("CREATE TABLE big (id int PRIMARY KEY, n int, v text)",
                  f"INSERT INTO big SELECT i, i % 7, repeat(md5(i::text), 5) FROM generate_series(1, {ROWS}) i",
                  "CREATE TABLE small (id int PRIMARY KEY, v text)",
                  "INSERT INTO small SELECT i, 'v' || i FROM generate_series(1, 100) i")


@pytest.fixture
def copying(towline_factory, source, destination):
    """The service, standing still in the middle of `big`."""
    make_tables(source)
    service = towline_factory(source, destination, fault="copy:in-table:stop:2", arguments=["--copy-workers", "1"])
    service.start()
    probes.wait_until_stopped(service)
    return service


def waiting_statement(source, statement):
    """Runs it in the background; it waits for the copy's lock."""
    session = probes.Session(source)
    background = probes.InBackground(session.execute, statement)
    wait_until(lambda: background.is_done or probes.wait_event(source, session.pid) == "relation", 30, "the statement to wait")
    assert not background.is_done, "the copy's lock let it pass"
    return session, background


@pytest.mark.parametrize("statement", ["VACUUM FULL big", "TRUNCATE big", "CLUSTER big USING big_pkey"])
def test_a_table_is_rewritten_or_emptied_during_its_copy(statement, copying, source, destination):
    session, background = waiting_statement(source, statement)
    with session:
        source.execute("INSERT INTO small VALUES (1000, 'meanwhile')")
        probes.go_on(copying)
        copying.wait_for_state("streaming")
        background.result()
    source.execute("INSERT INTO big VALUES (-1, 0, 'after'); UPDATE big SET v = 'changed' WHERE id = 7")
    copying.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert destination.value("SELECT count(*) FROM big") == (1 if statement.startswith("TRUNCATE") else ROWS + 1)
    assert copying.stop() == 0


def test_who_waits_for_a_lock_of_the_copy_is_named_after_five_seconds(towline_factory, source, destination):
    """The copy waits itself, for a lock at the destination, so that the service goes on looking."""
    make_tables(source)
    destination.execute("CREATE TABLE big (id int PRIMARY KEY, n int, v text)")
    service = towline_factory(source, destination, fault="copy:after-pre-data:stop", arguments=["--copy-workers", "1"])
    service.start()
    probes.wait_until_stopped(service)
    with probes.Session(destination) as holder:
        holder.execute("BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
        session, background = waiting_statement(source, "/* secret */ TRUNCATE big")
        with session:
            probes.go_on(service)
            service.wait_for_log(rf"waits for a lock of the copy.*public.big.*\b{session.pid}\b.*AccessExclusiveLock", 30)
            holder.execute("COMMIT")
            service.wait_for_state("streaming")
            background.result()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.output().count("waits for a lock of the copy") == 1 and "secret" not in service.output()
    assert service.stop() == 0


def test_a_table_is_dropped_during_its_copy(copying, source, destination):
    """The DROP waits until the rows are there; it is not carried, so the table stays as it was then."""
    expected = source.query("SELECT * FROM big ORDER BY id")
    session, background = waiting_statement(source, "DROP TABLE big")
    with session:
        probes.go_on(copying)
        copying.wait_for_state("streaming")
        background.result()
    source.execute("INSERT INTO small VALUES (1000, 'after')")
    copying.wait_until_caught_up()
    assert destination.query("SELECT * FROM big ORDER BY id") == expected
    destination.execute("DROP TABLE big")
    assert_equal(source.uri(), destination.uri())
    assert copying.stop() == 0


def test_a_rewriting_alter_right_after_the_copy_of_a_table(copying, source, destination):
    """It waits for the copy; with its first row the stream stops at that table and says what differs."""
    statement = "ALTER TABLE public.big ALTER COLUMN n TYPE text USING 'number ' || n"
    session, background = waiting_statement(source, statement)
    with session:
        probes.go_on(copying)
        copying.wait_for_state("streaming")
        background.result()
    source.execute("INSERT INTO big VALUES (-1, 'none', 'after')")
    assert copying.wait_exit(60) in (3, 4), copying.tail()
    assert 'table public.big: column "n" has type integer' in copying.output(), copying.tail()
    destination.execute(statement)
    copying.fault = None
    copying.start().wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert copying.stop() == 0


def test_a_right_is_revoked_during_the_copy(towline_factory, source, destination):
    """What is being read is read to its end; the next table stops the task."""
    role = f"reader_{source.name}"
    make_tables(source)
    source.script(f"CREATE ROLE {role} LOGIN REPLICATION", f"GRANT SELECT ON big, small TO {role}")
    service = towline_factory(source.uri(user=role), destination, fault="copy:in-table:stop:2", arguments=["--copy-workers", "1"])
    service.start()
    probes.wait_until_stopped(service)
    source.execute(f"REVOKE SELECT ON small FROM {role}; INSERT INTO small VALUES (1000, 'meanwhile')")
    probes.go_on(service)
    assert service.wait_exit(60) == 3, service.tail()
    statement = f'GRANT SELECT ON TABLE "public"."small" TO "{role}";'
    for text in ('copying table "public"."small"', "permission denied for table small", f"HINT:  At the source: {statement}"):
        assert text in service.output(), service.tail()
    service.fault = None
    service.start()
    assert service.wait_exit(60) == 3 and "permission denied for table small" in service.output(), service.tail()
    source.execute(statement)
    service.start().wait_for_state("streaming")
    wait_until(lambda: destination.value("SELECT count(*) FROM small") == 101, 30, "the row of the meantime")
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


# --- no room

@pytest.fixture
def filling(session_directory, new_cluster):
    """A destination whose disk is full on demand: (database, disk)."""
    disk = FullDisk(session_directory / f"full-{len(list(session_directory.iterdir()))}")
    yield new_cluster("filling", environment=disk.environment).create_database("app"), disk
    disk.free()


IN_RANGES = ("--copy-workers", "2", "--copy-planner", "keys", "--copy-part-bytes", "1MB")
FILLING_UP = {
    "it goes on by itself": ("copy:in-table", ("--copy-workers", "1")),
    "it is started again": ("copy:in-table", ("--copy-workers", "1")),
    "two workers in ranges go on": ("copy:range-done", IN_RANGES),
}


@pytest.mark.parametrize("how", FILLING_UP)
def test_the_destination_s_disk_fills_up(how, source, filling, towline_factory):
    destination, disk = filling
    make_tables(source)
    fault, arguments = FILLING_UP[how]
    service = towline_factory(source, destination, fault=f"{fault}:stop:2", arguments=arguments)
    service.start()
    probes.wait_until_stopped(service)
    disk.fill()
    probes.go_on(service)
    service.wait_for_log(r'"?public"?\."?big"?.*No space left on device|No space left on device[^\n]*big', 60)
    wait_until(lambda: service.status()["state"] == "retrying", 30, "status to say so", explain=service.status)
    source.execute("INSERT INTO big VALUES (-1, 0, 'meanwhile'); DELETE FROM big WHERE id = 5")
    if how == "it is started again":
        assert service.stop() == 0
        service.fault = None
        service.start()
        service.wait_for_log("No space left on device", 60)
    disk.free()
    if arguments == IN_RANGES:
        service.wait_for_log("copying rows in ranges of keys.* ranges_kept=[1-9]")
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


@pytest.mark.long
def test_a_disk_that_stays_full_ends_the_task_with_4(source, filling, towline_factory):
    destination, disk = filling
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--retry-other", "1"])
    disk.fill()
    service.start()
    assert service.wait_exit(150) == 4, service.tail()
    assert "No space left on device" in service.tail()
    disk.free()
    service.start().wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())


# --- transactions that are older than the slot

def test_a_transaction_open_since_before_the_slot_writes_on_during_the_copy(towline_factory, source, destination):
    make_tables(source)
    with probes.Session(source) as older:
        older.begin()
        older.execute("UPDATE big SET v = 'older' WHERE id <= 100; INSERT INTO small VALUES (1000, 'older')")
        service = towline_factory(source, destination, fault="copy:in-table:stop:2", arguments=["--copy-workers", "1"])
        service.start()
        service.wait_for_log(rf"\b{older.pid}\b")
        older.execute("DELETE FROM big WHERE id > 39900; COMMIT")
        probes.wait_until_stopped(service)
        # The next one begins behind the slot and ends behind the copy.
        older.begin()
        older.execute("UPDATE big SET n = n + 1 WHERE id <= 50")
        probes.go_on(service)
        service.wait_for_state("streaming")
        older.execute("UPDATE big SET n = n + 1 WHERE id <= 10; COMMIT")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0

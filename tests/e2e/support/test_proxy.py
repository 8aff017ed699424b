"""The proxy does to the network what it says, and nothing when nothing is asked."""
import contextlib
import threading

import psycopg2
import pytest

from support.proxy import TO_CLIENT, TO_SERVER, Proxy
from support.waiting import wait_until


@pytest.fixture(scope="module")
def server(module_clusters):
    return module_clusters("proxied")


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def database(server):
    made = server.database()
    made.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (a int)")
    return made


def connect(proxy, database, **options):
    return psycopg2.connect(proxy.uri(database.uri(connect_timeout=5, **options)))


def test_much_data_passes_unchanged_both_ways(proxy, database):
    connection = connect(proxy, database)
    cursor = connection.cursor()
    cursor.execute("SELECT repeat('x', 20000000), count(*) FROM generate_series(1, 10)")
    assert len(cursor.fetchone()[0]) == 20000000
    cursor.execute("SELECT length(%s)", ["y" * 5000000])
    assert cursor.fetchone()[0] == 5000000
    cursor.execute("SELECT i FROM generate_series(1, 300000) i")
    assert sum(row[0] for row in cursor) == 300000 * 300001 // 2
    connection.close()
    wait_until(lambda: proxy.count() == 0, 5, "the connection to be gone")


def test_cut_resets_and_refuse_keeps_out(proxy, database):
    connection = connect(proxy, database, application_name="mine")
    other = connect(proxy, database, application_name="other")
    assert proxy.cut(only=lambda one: one.application_name == "mine") == 1
    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("SELECT 1")
    other.cursor().execute("SELECT 1")
    proxy.refuse()
    with pytest.raises(psycopg2.OperationalError):
        connect(proxy, database)
    proxy.accept()
    connect(proxy, database).close()


def test_paused_connections_hang_and_go_on(proxy, database):
    connection = connect(proxy, database)
    connection.autocommit = True
    proxy.pause(TO_CLIENT)
    done = threading.Event()

    def insert():
        connection.cursor().execute("INSERT INTO t VALUES (1)")
        done.set()
    threading.Thread(target=insert, daemon=True).start()
    database.wait_for("SELECT count(*) = 1 FROM t")
    assert not done.is_set()
    proxy.resume()
    assert done.wait(5)
    proxy.pause(TO_SERVER)
    threading.Thread(target=insert, daemon=True).start()
    assert database.value("SELECT count(*) FROM t") == 1
    proxy.resume()
    database.wait_for("SELECT count(*) = 2 FROM t")


def test_half_close_ends_one_direction(proxy, database, server):
    connection = connect(proxy, database, application_name="half")  # noqa: F841 (keeps it open)
    pid = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'half'"
    assert database.value(pid) == 1
    proxy.half_close(TO_SERVER)
    database.wait_for(f"SELECT ({pid}) = 0", 10)


def test_cut_after_bytes(proxy, database):
    connection = connect(proxy, database)
    rule = proxy.cut_after(100000)
    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("SELECT repeat('x', 1000000)")
    rule.wait(5)


def test_cut_in_the_fifth_copy_message(proxy, database):
    database.execute("INSERT INTO t SELECT generate_series(1, 100)")
    connection = connect(proxy, database)
    rule = proxy.cut_in_message(b"d", which=5)
    received = []

    class Sink:
        def write(self, data):
            received.append(data)
    with pytest.raises(psycopg2.Error):
        connection.cursor().copy_expert("COPY t TO STDOUT", Sink())
    rule.wait(5)
    assert b"".join(received) == b"1\n2\n3\n4\n"


def test_lost_answer_of_a_commit_that_happened(proxy, database):
    connection = connect(proxy, database)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO t VALUES (1)")
    rule = proxy.lose_answer(b"COMMIT")
    with pytest.raises(psycopg2.OperationalError):
        connection.commit()
    rule.wait(5)
    assert database.value("SELECT count(*) FROM t") == 1


def test_commit_that_never_arrives(proxy, database):
    connection = connect(proxy, database)
    connection.cursor().execute("INSERT INTO t VALUES (1)")
    rule = proxy.cut_before(b"COMMIT")
    with pytest.raises(psycopg2.OperationalError):
        connection.commit()
    rule.wait(5)
    assert database.value("SELECT count(*) FROM t") == 0


def test_client_is_gone_while_the_server_still_works(proxy, database):
    connection = connect(proxy, database, application_name="abandoned")
    connection.autocommit = True
    rule = proxy.lose_answer(b"pg_advisory", answer_seconds=0)
    with contextlib.closing(database.connect()) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("INSERT INTO t SELECT 1 FROM pg_advisory_xact_lock(1)")
        rule.wait(5)
        database.wait_for("SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        assert database.value("SELECT count(*) FROM t") == 0
    database.wait_for("SELECT count(*) = 1 FROM t")
    alive = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'abandoned'"
    assert database.value(alive) == 1
    proxy.cut()
    database.wait_for(f"SELECT ({alive}) = 0")


def test_delay_and_only(proxy, database):
    connection = connect(proxy, database)
    rule = proxy.lose_answer(b"SELECT 1", only=lambda one: one.is_replication)
    proxy.delay(0.05)
    connection.cursor().execute("SELECT 1")
    assert not rule.happened
    proxy.delay(0)
    proxy.cancel(rule)

"""A standby of the source as the server that is streamed from: the slot and the decoding are there, the copy is the
primary's. Versions from 16 on can; `./dev test matrix` runs this with the newest that it has.
"""
import threading

import pytest

from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload
from test_checks import check, levels
from test_matrix import VERSIONS

CAN = [version for version in VERSIONS if version >= 16]
pytestmark = pytest.mark.skipif(not CAN, reason="no server of version 16 or later is there: run ./dev test matrix")


@pytest.fixture
def servers(new_cluster):
    """servers(): a primary with its standby, and a server for the destination; all of one version."""
    def make(feedback="on", slot="follower"):
        programs = VERSIONS[max(CAN)]
        primary, destination = (new_cluster(name, programs=programs, settings={"max_slot_wal_keep_size": "1GB"})
                                for name in ("primary", "destination"))
        standby = new_cluster("standby", programs=programs, start=False, settings={
            "max_slot_wal_keep_size": "1GB", "hot_standby_feedback": feedback, "primary_slot_name": slot,
            "wal_receiver_status_interval": "1s"})
        if slot:
            primary.database().value("SELECT slot_name::text FROM pg_create_physical_replication_slot(%s)", [slot])
        standby.follow(primary)
        standby.start()
        return primary, standby, destination
    return make


def replayed(primary, standby):
    """The standby has all that the primary has written up to now."""
    end = primary.database().value("SELECT pg_current_wal_flush_lsn()::text")
    standby.database().wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{end}'")


def make_service(towline_factory, servers, *statements, user="postgres", **options):
    primary, standby, destination = servers
    source = primary.create_database("app")
    source.script("CREATE EXTENSION towline", *statements)
    target = destination.create_database("app")
    replayed(primary, standby)
    service = towline_factory(source.uri(user=user), target, arguments=["--source-standby", standby.uri("app", user=user)],
                              environment={"TOWLINE_PG_DUMP": str(VERSIONS[max(CAN)] / "pg_dump")}, **options)
    return source, target, service


def slots(cluster):
    return cluster.database().query("SELECT slot_name, database FROM pg_replication_slots WHERE slot_type = 'logical'")


@pytest.fixture
def nudged():
    """nudged(cluster): checkpoints, with which a primary logs its running transactions, while the test runs."""
    end, threads = threading.Event(), []

    def start(cluster):
        def loop():
            while not end.wait(0.5):
                cluster.database().execute("CHECKPOINT")
        threads.append(threading.Thread(target=loop))
        threads[-1].start()
    yield start
    end.set()
    for thread in threads:
        thread.join()


def test_the_copy_from_the_primary_and_the_stream_from_the_standby(servers, towline_factory, seed, nudged):
    """Under load; the standby lags behind the copy's snapshot; the service is killed, then the standby."""
    made = primary, standby, _ = servers()
    source, destination, towline = make_service(towline_factory, made)
    load = Workload(source.uri(), seed, clients=2, rate=80).create()
    load.run(transactions=60)
    replayed(primary, standby)
    assert levels(check(towline, *towline.arguments)).keys() <= {"source.replica_identity"}  # of the load's tables
    follower = standby.database("app")
    with load:
        towline.start()
        follower.wait_for("SELECT count(*) = 1 FROM pg_replication_slots WHERE NOT temporary AND slot_type = 'logical'")
        # What the copy's snapshot sees already comes by the stream much later.
        follower.query("SELECT pg_wal_replay_pause()")
        towline.wait_for_log("the copy is complete")
        towline.kill()
        done = load.transactions
        wait_until(lambda: load.transactions > done + 30, 60, "more load")
        towline.start().wait_for_state("catching_up", "streaming")
        follower.query("SELECT pg_wal_replay_resume()")
        towline.wait_for_state("streaming")
        standby.restart("immediate")
        done = load.transactions
        wait_until(lambda: load.transactions > done + 30, 60, "more load")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert slots(primary) == [] and [database for _, database in slots(standby)] == ["app"]
    assert towline.status()["slot_retained_bytes"] >= 0
    assert towline.stop() == 0
    assert "keeps WAL on the standby" in towline.output()
    # The slot's server is the task's for good.
    arguments, towline.arguments = towline.arguments, []
    towline.start()
    assert towline.wait_exit(30) == 2 and "is on a standby of the source" in towline.output()
    refused = towline.call("drop", "--yes")
    assert refused.returncode == 2 and "--source-standby" in refused.stderr, refused.stderr
    compared = towline.call("verify")
    assert compared.returncode == 0, compared.stdout
    dropped = towline.call("drop", "--yes", *arguments, check=True)
    assert "standby: slot towline_" in dropped.stdout and slots(standby) == []


def test_a_role_that_may_not_have_snapshots_logged_waits_for_the_primary(servers, towline_factory, nudged):
    made = primary, standby, _ = servers()
    source, destination, towline = make_service(
        towline_factory, made, "CREATE ROLE mover LOGIN REPLICATION", "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i", "GRANT SELECT ON t TO mover", user="mover")
    finding = check(towline, *towline.arguments)["source.log_standby_snapshot"]
    assert finding["level"] == "warn" and finding["where"] == "source"
    assert finding["statement"] in towline.call("grants", "--role", "mover", *towline.arguments, check=True).stdout
    assert finding["statement"] in towline.call("init", *towline.arguments).stdout
    towline.start()
    towline.wait_for_log("the primary to log its running transactions")
    nudged(primary)
    towline.wait_for_state("streaming")
    source.execute("UPDATE t SET v = 'w' WHERE id < 50")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    source.execute(finding["statement"])
    replayed(primary, standby)
    assert "source.log_standby_snapshot" not in levels(check(towline, *towline.arguments))


def test_a_standby_that_is_promoted_stops_the_task(servers, towline_factory):
    made = primary, standby, _ = servers()
    source, _, towline = make_service(towline_factory, made, "CREATE TABLE t (id int PRIMARY KEY)")
    towline.start().wait_for_state("streaming")
    standby.database().query("SELECT pg_promote()")
    assert towline.wait_exit(60) == 5
    assert "was promoted" in towline.output()
    source.execute("INSERT INTO t VALUES (1)")
    towline.start()
    assert towline.wait_exit(60) == 5 and "was promoted: its log is not the source's any more" in towline.output()
    finding = check(towline, *towline.arguments)["source.standby"]
    assert finding["level"] == "fail" and "was promoted" in finding["found"]


def test_a_slot_that_the_primary_has_made_useless(servers, towline_factory):
    """Catalog rows that the slot needs go, because nobody tells the primary of it."""
    made = primary, standby, _ = servers(feedback="off", slot="")
    source, _, towline = make_service(towline_factory, made, "CREATE TABLE t (id int PRIMARY KEY)")
    found = check(towline, *towline.arguments)["source.hot_standby_feedback"]
    assert found["level"] == "fail" and found["where"] == "standby" and found["needs"] == "reload"
    towline.start()
    assert towline.wait_exit(60) == 3 and "hot_standby_feedback is off" in towline.output()
    assert found["statement"] in towline.call("init", *towline.arguments).stdout
    standby.database().execute(found["statement"])
    standby.reload()
    found = check(towline, *towline.arguments)["source.hot_standby_feedback"]
    assert found["level"] == "warn" and "without a physical slot" in found["found"]
    towline.start().wait_for_state("streaming")
    # Off again, as if nobody had read what the check says.
    standby.database().execute("ALTER SYSTEM SET hot_standby_feedback = off")
    standby.reload()

    def invalidated():
        source.script("CREATE TABLE gone (id int)", "DROP TABLE gone", "VACUUM pg_class", "VACUUM pg_attribute",
                      "VACUUM pg_type", "VACUUM pg_depend")
        return not towline.is_running
    wait_until(invalidated, 60, "the task to stop")
    assert towline.wait_exit() == 5
    assert "is lost: the server has invalidated it" in towline.output() and "hot_standby_feedback" in towline.output()
    assert check(towline, *towline.arguments)["task.slot"]["level"] == "fail"


def test_checks_of_the_standby(servers, towline_factory):
    made = primary, standby, destination = servers()
    _, target, towline = make_service(towline_factory, made, "CREATE TABLE t (id int PRIMARY KEY)")
    assert levels(check(towline, *towline.arguments)) == {}

    def finding(uri, name):
        return check(towline, "--source-standby", uri)[name]
    target.cluster.create_database("other")
    assert "another system identifier" in finding(destination.uri("app"), "source.standby")["found"]
    assert "is the source itself" in finding(primary.uri("app"), "source.standby")["found"]
    assert "another database" in finding(standby.uri("postgres"), "source.standby")["found"]
    done = towline.call("check", "--json", "--source-standby", standby.uri("nowhere"))
    assert done.returncode == 3 and '"source.standby_connection"' in done.stdout
    # Settings of the standby are mended there.
    standby.settings["wal_sender_timeout"] = "0"
    standby.restart()
    found = check(towline, *towline.arguments)["source.wal_sender_timeout"]
    assert found["level"] == "warn" and found["where"] == "standby"
    standby.database().execute(found["statement"])
    standby.reload()
    assert levels(check(towline, *towline.arguments)) == {}

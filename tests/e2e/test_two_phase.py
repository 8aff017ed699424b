"""Prepared transactions with two_phase: on are prepared at the destination, and end there as at the source,
whatever is killed or restarted in between (hazards B3 to B5)."""
import json
import random
import signal

import pytest

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload
from test_kills import TWO_PHASE_POINTS

ON = ("--two-phase", "on")
TABLES = ("CREATE TABLE keyed (id int PRIMARY KEY, v text)", "CREATE TABLE keyless (v text)",
          "ALTER TABLE keyless REPLICA IDENTITY FULL",
          "INSERT INTO keyed SELECT i, 'copied' FROM generate_series(1, 100) i",
          "INSERT INTO keyless SELECT 'copied' FROM generate_series(1, 100) i")


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    """Spills or streams early, so that large prepared transactions go both ways."""
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB"})


def held(destination):
    """gids of ours at the destination."""
    return [gid for gid, in destination.query(
        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'towline\\_%%' ORDER BY 1", [])]


def notes(destination):
    return destination.value("SELECT count(*) FROM towline_state.prepared")


def wait_for_two_phase(service, source):
    """The stream has passed the copy and asks for transactions at their PREPARE."""
    wait_until(lambda: source.value("SELECT bool_or(two_phase AND active) FROM pg_replication_slots "
                                    "WHERE database = current_database()"), 120, "two-phase decoding",
               explain=service.tail)
    service.wait_for_state("streaming")


def wait_for_held(destination, count, service):
    wait_until(lambda: len(held(destination)) == count and notes(destination) == count, 60, f"{count} prepared transactions",
               explain=lambda: f"{held(destination)}; {service.tail()}")


def prepare(source, gid, *statements):
    session = probes.Session(source)
    with session:
        session.execute("BEGIN")
        for statement in statements:
            session.execute(statement)
        session.execute("PREPARE TRANSACTION %s", [gid])


def end(source, gid, how="COMMIT"):
    with probes.Session(source) as session:
        session.execute(f"{how} PREPARED %s", [gid])


def change(number):
    return (f"INSERT INTO keyed VALUES ({1000 + number}, 'prepared')", f"UPDATE keyed SET v = 'prepared' WHERE id = {number}",
            f"INSERT INTO keyless VALUES ('prepared {number}')", "DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless)")


def finish(service, source, destination):
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert held(destination) == [] and notes(destination) == 0
    assert service.stop() == 0


def test_prepared_transactions_are_held_and_end_as_at_the_source(source, destination, towline_factory):
    source.script(*TABLES)
    service = towline_factory(source, destination, task="it's", arguments=ON).start()
    wait_for_two_phase(service, source)
    gid = "it's \\ \"quoted\" ü"
    prepare(source, gid, *change(1))
    wait_for_held(destination, 1, service)
    assert held(destination)[0].startswith("towline_it's_")
    assert destination.value("SELECT source_gid FROM towline_state.prepared") == gid
    # Invisible, and the position has passed it.
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert destination.value("SELECT count(*) FROM keyed WHERE v = 'prepared'") == 0
    wait_until(lambda: service.status()["prepared"] == 1, 30, "status to show it")
    # Others go on, also on rows that look like the ones that are locked.
    source.script("INSERT INTO keyed VALUES (500, 'other')", "UPDATE keyed SET v = 'other' WHERE id = 2",
                  "DELETE FROM keyless WHERE ctid = (SELECT max(ctid) FROM keyless)",
                  "UPDATE keyless SET v = 'other' WHERE ctid = (SELECT max(ctid) FROM keyless)")
    prepare(source, "second", *change(3)[:3])
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    end(source, gid)
    end(source, "second", "ROLLBACK")
    service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM keyed WHERE v = 'prepared'") == 2
    finish(service, source, destination)


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("which", ["service", "source", "destination"])
def test_prepared_across_restarts(which, how, source, destination, source_cluster, destination_cluster,
                                  towline_factory):
    source.script(*TABLES)
    service = towline_factory(source, destination, arguments=ON).start()
    wait_for_two_phase(service, source)
    prepare(source, "first", *change(1))
    wait_for_held(destination, 1, service)

    def restart():
        if which == "service":
            service.kill()
        else:
            {"source": source_cluster, "destination": destination_cluster}[which].restart("immediate")

    restart()
    prepare(source, "second", *change(2)[:3])
    end(source, "first", how)
    if which == "service":
        assert len(held(destination)) == 1
        service.start()
    service.wait_for_state("streaming")
    wait_for_held(destination, 1, service)
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    restart()
    if which == "service":
        service.start()
    end(source, "second", how)
    service.wait_for_state("streaming")
    finish(service, source, destination)


@pytest.mark.parametrize("how, is_late", [("COMMIT", False), ("ROLLBACK", False), ("COMMIT", True)])
@pytest.mark.parametrize("point", TWO_PHASE_POINTS)
def test_killed_at(point, how, is_late, source, destination, towline_factory):
    """is_late: prepared before two-phase decoding was switched on; it comes at its COMMIT PREPARED, or,
    rolled back, never."""
    source.script(*TABLES)
    service = towline_factory(source, destination)
    if is_late:
        service.start().wait_for_state("streaming")
        service.wait_until_caught_up()
        prepare(source, "first", *change(1))
        service.wait_until_caught_up()  # the position passes the PREPARE
        assert service.stop() == 0
    service.fault, service.arguments = f"{point}:kill", list(ON)
    service.start()
    wait_for_two_phase(service, source)
    if not is_late:
        prepare(source, "first", *change(1))
    if is_late or "end" in point:
        if not is_late:
            wait_for_held(destination, 1, service)
        end(source, "first", how)
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    probes.assert_confirmed_is_applied(service, source)
    service.fault = None
    service.start().wait_for_state("streaming")
    if not is_late and "end" not in point:
        wait_for_held(destination, 1, service)
        assert destination.value("SELECT count(*) FROM keyed WHERE v = 'prepared'") == 0
        end(source, "first", how)
    service.wait_until_caught_up()
    expected = 2 if how == "COMMIT" else 0
    assert destination.value("SELECT count(*) FROM keyed WHERE v = 'prepared'") == expected
    assert destination.value("SELECT count(*) FROM keyless WHERE v = 'prepared 1'") == expected / 2
    finish(service, source, destination)


def test_what_was_prepared_before_comes_whole_at_its_commit(source, destination, towline_factory):
    """Before two_phase was switched on, with other transactions between, and nothing between."""
    source.script(*TABLES)
    service = towline_factory(source, destination).start()
    service.wait_for_state("streaming")
    for number in (1, 2, 3):
        prepare(source, f"early {number}", *change(number)[:3])
    service.wait_until_caught_up()
    assert service.stop() == 0
    service.start(*ON)
    wait_for_two_phase(service, source)
    assert held(destination) == []
    source.execute("INSERT INTO keyless VALUES ('between')")
    end(source, "early 1")
    service.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM keyed WHERE v = 'prepared'") == 2
    assert service.stop() == 0
    end(source, "early 2")
    end(source, "early 3", "ROLLBACK")
    service.start(*ON).wait_for_state("streaming")
    finish(service, source, destination)


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
def test_what_changed_no_row_is_prepared_nowhere(how, source, destination, towline_factory):
    """The server decodes no PREPARE of these; older minor releases do tell of their outcome."""
    source.script(*TABLES, "CREATE SEQUENCE counter")
    service = towline_factory(source, destination, arguments=ON).start()
    wait_for_two_phase(service, source)
    prepare(source, "rows locked", "SELECT * FROM keyed WHERE id < 10 FOR UPDATE")
    prepare(source, "a number taken", "SELECT nextval('counter')")
    prepare(source, "a table locked", "LOCK TABLE keyless IN SHARE MODE", "SELECT pg_current_xact_id()")
    service.wait_until_caught_up()
    assert held(destination) == []
    for gid in ("rows locked", "a number taken", "a table locked"):
        end(source, gid, how)
    source.execute("INSERT INTO keyless VALUES ('after')")
    finish(service, source, destination)


def test_prepared_while_the_copy_runs(source, destination, towline_factory):
    source.script(*TABLES, "CREATE TABLE wide (id int PRIMARY KEY, v text)",
                  "INSERT INTO wide SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 4000) i")
    service = towline_factory(source, destination, fault="copy:in-table:stop", arguments=ON).start()
    probes.wait_until_stopped(service)
    prepare(source, "during 1", *change(1)[:3])
    prepare(source, "during 2", *change(2)[:3])
    end(source, "during 2")
    probes.go_on(service)
    wait_for_two_phase(service, source)
    assert held(destination) == []  # it comes at its end
    end(source, "during 1")
    prepare(source, "after", *change(3)[:3])
    wait_for_held(destination, 1, service)
    end(source, "after")
    finish(service, source, destination)


@pytest.mark.parametrize("streaming", ["on", "off"])
def test_large_prepared_transactions(streaming, source, destination, towline_factory):
    """In parts, and (streaming: on) sent while in progress."""
    source.script(*TABLES)
    service = towline_factory(source, destination,
                              arguments=[*ON, "--streaming", streaming, "--batch-rows-max", "500"]).start()
    wait_for_two_phase(service, source)
    for number, how in ((0, "COMMIT"), (1, "ROLLBACK"), (2, "COMMIT")):
        first = 10000 * (number + 1)
        prepare(source, f"large {number}",
                f"INSERT INTO keyed SELECT i, repeat('x', 200) FROM generate_series({first}, {first} + 4000) i",
                "SAVEPOINT s", f"DELETE FROM keyed WHERE id BETWEEN {first} AND {first} + 3000", "ROLLBACK TO s",
                f"UPDATE keyed SET v = 'y' WHERE id BETWEEN {first} AND {first} + 100")
        wait_for_held(destination, 1, service)
        service.kill()
        end(source, f"large {number}", how)
        service.start().wait_for_state("streaming")
        service.wait_until_caught_up()
        assert_equal(source.uri(), destination.uri())
    finish(service, source, destination)


def test_under_load_with_kills(source, destination, towline_factory, seed, size):
    dice = random.Random(seed)
    load = Workload(source.uri(), seed, clients=3, rate=60, prepared_share=0.4).create().run(transactions=20)
    service = towline_factory(source, destination, arguments=ON)
    with load:
        service.start()
        wait_for_two_phase(service, source)
        for _ in range(4 * size):
            enough = load.transactions + dice.randrange(10, 60)
            wait_until(lambda enough=enough: load.transactions >= enough, 60, "the load to go on")
            service.kill()
            probes.assert_confirmed_is_applied(service, source)
            service.start().wait_for_state("streaming")
        load.stop()
    finish(service, source, destination)


def test_two_tasks_prepare_the_same_transaction(source, destination, destination_cluster, towline_factory, request):
    """Into two databases of one server, which knows each gid once."""
    second = destination_cluster.create_database(f"{destination.name}_2")
    request.addfinalizer(second.drop)
    source.script(*TABLES)
    services = [towline_factory(source, database, task=f"task{number}", name=f"task{number}", arguments=ON).start()
                for number, database in enumerate((destination, second))]
    for service in services:
        service.wait_for_state("streaming")
    wait_until(lambda: source.value("SELECT bool_and(two_phase AND active) FROM pg_replication_slots "
                                    "WHERE database = current_database()"), 120, "two-phase decoding")
    prepare(source, "both", *change(1))
    for service, database in zip(services, (destination, second)):
        wait_for_held(database, 1, service)
    end(source, "both")
    for service, database in zip(services, (destination, second)):
        finish(service, source, database)


def test_ended_by_somebody_else_otherwise_stops(source, destination, towline_factory):
    source.script(*TABLES)
    service = towline_factory(source, destination, arguments=ON).start()
    wait_for_two_phase(service, source)
    prepare(source, "first", *change(1))
    wait_for_held(destination, 1, service)
    end(destination, held(destination)[0], "ROLLBACK")
    end(source, "first")
    assert service.wait_exit(60) == 5, service.tail()
    assert "was rolled back at the destination" in service.output()


def test_drop_rolls_back_what_is_held(source, destination, towline_factory):
    source.script(*TABLES)
    service = towline_factory(source, destination, task="left", arguments=ON).start()
    wait_for_two_phase(service, source)
    prepare(source, "first", *change(1))
    wait_for_held(destination, 1, service)
    gid = held(destination)[0]
    assert service.stop() == 0
    assert json.loads(service.call("status", "--json", check=True).stdout)["prepared"] == 1
    assert f"prepared transaction {gid} rolled back" in service.call("drop", check=True).stdout
    assert held(destination) == []
    end(source, "first")


def test_switched_off_again(source, destination, towline_factory):
    """Before version 18 a slot stays as it is, and what it brings is taken as it comes."""
    source.script(*TABLES)
    service = towline_factory(source, destination, arguments=ON).start()
    wait_for_two_phase(service, source)
    prepare(source, "first", *change(1)[:3])
    wait_for_held(destination, 1, service)
    assert service.stop() == 0
    service.arguments = []
    service.start().wait_for_state("streaming")
    service.wait_for_log("two_phase is off, but")
    prepare(source, "second", *change(2)[:3])
    wait_for_held(destination, 2, service)
    end(source, "first")
    end(source, "second", "ROLLBACK")
    finish(service, source, destination)


def test_a_destination_that_cannot_prepare_is_found_by_check(source, new_cluster, towline_factory):
    destination = new_cluster("cannot", settings={"max_prepared_transactions": 0}).database()
    source.script(*TABLES)
    service = towline_factory(source, destination)
    found = json.loads(service.call("check", "--json", *ON).stdout)
    check = {finding["id"]: finding for finding in found["findings"]}
    assert check["source.two_phase"]["level"] == "pass"
    assert check["destination.two_phase"]["level"] == "fail"
    assert check["destination.two_phase"]["statement"] == "ALTER SYSTEM SET max_prepared_transactions = '50';"
    # A task that runs without it stops at the start that asks for it, before its slot is changed.
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    assert service.stop() == 0
    assert service.start(*ON).wait_exit(60) == 3, service.tail()
    assert source.value("SELECT NOT two_phase FROM pg_replication_slots WHERE database = current_database()")

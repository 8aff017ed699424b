"""Two consumers for one task: the second is refused, and even if both run, one writes (I1, B1, B9)."""
import pytest

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload

NOT_PREPARED = 3  # exit status


def make_load(source, seed):
    return Workload(source.uri(), seed, clients=2, rate=80).create().run(transactions=30)


def go_on_for(load, transactions=40):
    enough = load.transactions + transactions
    wait_until(lambda: load.transactions >= enough, 60, "the load to go on")


def finish(service, load, source, destination):
    go_on_for(load)
    load.stop()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_a_second_consumer_is_refused_and_told_who_runs(source, destination, towline_factory, seed):
    load = make_load(source, seed)
    first, second = towline_factory(source, destination), towline_factory(source, destination)
    with load:
        first.start()
        first.wait_for_state("streaming")
        epoch = first.row()[0]
        assert second.start().wait_exit(40) == NOT_PREPARED, second.tail()
        assert f"pid {first.process.pid}" in second.output() and "HINT" in second.output()
        assert first.row()[0] == epoch
        finish(first, load, source, destination)


def test_a_second_consumer_of_the_same_user_is_refused(source, destination, towline_factory, seed):
    """With the same home: it finds the first by its socket, and does not touch it."""
    load = make_load(source, seed)
    first, second = towline_factory(source, destination), towline_factory(source, destination)
    second.environment["XDG_RUNTIME_DIR"] = first.environment["XDG_RUNTIME_DIR"]
    with load:
        first.start()
        first.wait_for_state("streaming")
        epoch = first.row()[0]
        assert second.start().wait_exit(40) == NOT_PREPARED, second.tail()
        assert str(first.process.pid) in second.output() and "HINT" in second.output()
        assert first.row()[0] == epoch and first.status()["pid"] == first.process.pid
        finish(first, load, source, destination)


def test_a_second_consumer_is_refused_during_the_copy(source, destination, towline_factory, seed):
    load = make_load(source, seed)
    first = towline_factory(source, destination, fault="copy:in-table:stop:2")
    second = towline_factory(source, destination)
    with load:
        first.start()
        probes.wait_until_stopped(first)
        assert second.start().wait_exit(40) == NOT_PREPARED, second.tail()
        assert f"pid {first.process.pid}" in second.output()
        probes.go_on(first)
        first.wait_for_state("streaming")
        finish(first, load, source, destination)


@pytest.mark.parametrize("moment", ["copying", "before a commit"])
def test_one_that_wakes_up_after_another_took_over_writes_nothing(moment, source, destination, towline_factory, seed):
    """The first stands still until its session with the lock is gone, as if its network had died. The
    second ends the first's other sessions and takes over."""
    fault = {"copying": "copy:in-table:stop:2", "before a commit": "apply:before-commit:stop:5"}[moment]
    load = make_load(source, seed)
    first, second = towline_factory(source, destination, fault=fault), towline_factory(source, destination)
    with load:
        first.start()
        probes.wait_until_stopped(first)
        old = probes.sessions(destination)
        epoch = first.row()[0]
        destination.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                          "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        second.start()
        wait_until(lambda: second.row()[0] > epoch, 60, "the second to take over", explain=second.tail)
        second.wait_for_state("streaming")
        assert not set(old) & set(probes.sessions(destination)), "sessions of the predecessor are left"
        go_on_for(load)
        position = second.position()
        probes.go_on(first)
        # It finds its sessions gone, comes back, and is refused by the one that holds the lock.
        assert first.wait_exit(60) == NOT_PREPARED, first.tail()
        assert second.is_running and second.row()[0] == epoch + 1 and second.position() >= position
        finish(second, load, source, destination)


@pytest.mark.parametrize("moment", ["copying", "streaming"])
def test_the_epoch_alone_keeps_two_writers_apart(moment, source, destination, towline_factory, seed):
    """Nobody ends the first's sessions (the second cannot know them): it goes on with everything it had
    open, and the task row alone tells it that it is not the one."""
    fault = {"streaming": "apply:in-batch:stop:5", "copying": "copy:in-table:stop:2"}[moment]
    load = make_load(source, seed)
    service = towline_factory(source, destination, fault=fault)
    with load:
        service.start()
        probes.wait_until_stopped(service)
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'load'"
        assert destination.value(tables) > 0
        # What has begun holds the task row, by its first statement: nobody can take over under it, and it
        # commits; the next one does not.
        epoch = service.row()[0]
        taken = probes.InBackground(destination.execute, "UPDATE towline_state.task SET epoch = epoch + 1")
        probes.go_on(service)
        taken.result(30)
        service.wait_for_log("(?i)(taken over|epoch)")
        wait_until(lambda: service.row()[0] > epoch + 1, 60, "the service to take the task over again",
                   explain=service.tail)
        service.wait_for_state("streaming")
        finish(service, load, source, destination)


def test_a_predecessor_that_stands_still_for_long_is_ended_without_help(source, destination, towline_factory, seed):
    """Its sessions are there and hold the lock, but it gives no sign of life: after half a minute the next
    one may take over, with nobody's help."""
    load = make_load(source, seed)
    first, second = towline_factory(source, destination), towline_factory(source, destination)
    with load:
        first.start()
        first.wait_for_state("streaming")
        probes.stand_still(first)
        # Half a minute passes.
        destination.execute("UPDATE towline_state.session SET seen_at = seen_at - interval '30 s'")
        epoch = first.row()[0]
        second.start()
        wait_until(lambda: second.row()[0] > epoch, 60, "the second to take over", explain=second.tail)
        second.wait_for_state("streaming")
        go_on_for(load)
        probes.go_on(first)
        assert first.wait_exit(60) == NOT_PREPARED, first.tail()
        finish(second, load, source, destination)


def test_a_start_that_was_interrupted_leaves_anothers_slot_alone(source, destination, destination_cluster, towline_factory,
                                                                 request):
    """Its intent to make a slot is stored; meanwhile the task of another destination has made the one of that name."""
    second = destination_cluster.create_database(f"{destination.name}_second")
    request.addfinalizer(second.drop)
    source.script("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    first = towline_factory(source, destination, task="shop", name="first", fault="run:after-slot:kill")
    first.start().wait_exit(30)
    source.query("SELECT pg_drop_replication_slot('towline_shop')")
    other = towline_factory(source, second, task="shop", name="other")
    first.fault = None
    other.start().wait_for_state("streaming")
    epoch = other.row()[0]
    assert first.start().wait_exit(30) == NOT_PREPARED, first.tail()
    assert "this task has not made it" in first.output() and "HINT" in first.output()
    other.wait_until_caught_up()
    assert other.row()[0] == epoch and probes.slot(source, "towline_shop").active_pid
    # Nor when it is not in use.
    assert other.stop() == 0
    assert first.start().wait_exit(30) == NOT_PREPARED, first.tail()
    assert "was not made by this task" in first.call("drop", check=True).stdout
    source.execute("INSERT INTO t VALUES (2)")
    other.start().wait_for_state("streaming")
    other.wait_until_caught_up()
    assert_equal(source.uri(), second.uri())
    assert other.stop() == 0

"""The faults. Each is a function of (world, dice) that returns when the fault is over (the network passes again, the
server is up, the service has been started again), with a word on what it did.

A fault that ends the service starts it again; one that leaves it running expects it to come back by itself.
"""
import contextlib
import re
import time

import psycopg2

from support import probes
from support.cluster import ROOT
from support.proxy import DIRECTIONS, TO_CLIENT
from support.waiting import wait_until

NOT_PREPARED = 3      # exit status of a consumer that finds another one
REACH_SECONDS = 8     # for a fault point or a byte in the network to be met
TAKEN_SECONDS = 60
ORDERLY_SECONDS = 20  # SIGTERM while anything may be the matter
CLOCK_AHEAD_MAX = 30 * 86400


def points_of_all():
    """Names of the points that the service has."""
    found = set()
    for file in (ROOT / "consumer").rglob("*.cpp"):
        found.update(re.findall(r'(?:\bFaultPoint\(\s*|\bfault_point = )"([^"]+)"', file.read_text(encoding="utf-8")))
    return sorted(found)


def fault_points(world):
    """Names of those that may be met now."""
    options = world.plan.options
    in_parts = options["streaming"] == "on" and world.plan.source_settings["logical_decoding_work_mem"] == "64kB"
    never = ["copy:append", "copy:large-objects", "copy:before-adjusting", "stream:parked", "apply:in-fallback", "heal:"]
    never += ["run:before-slot", "run:after-slot", "run:slot-stored"]
    never += ["copy:", "stream:"] if world.has_streamed else ["decode:"]
    never += [] if in_parts else ["decode:"]
    never += [] if options["two_phase"] == "on" else ["apply:before-prepare", "apply:after-prepare", "apply:prepare-stored",
                                                      "apply:before-end", "apply:after-end"]
    never += [] if options["ddl"] == "apply" else ["apply:after-ddl"]
    never += [] if options["limits"]["statement_bytes_max"] == "16kB" else ["apply:values-staged"]
    return [name for name in points_of_all() if not name.startswith(tuple(never))]


def last(dice, longest):
    """How long something lasts, in seconds: this is the fault, not a wait."""
    seconds = dice.uniform(0, longest)
    time.sleep(seconds)
    return f"{seconds:.1f} s"


def side(world, dice):
    """('source' or 'destination', its cluster, its proxy, its database)"""
    if dice.random() < 0.5:
        return "source", world.source_cluster, world.to_source, world.source
    return "destination", world.destination_cluster, world.to_destination, world.destination


# --- the service

def kill(world, dice):
    world.service.kill()
    world.start()
    return "kill -9"


def kill_twice(world, dice):
    """The second time while it is coming back."""
    world.service.kill()
    world.start()
    lasted = last(dice, 1)
    world.service.kill()
    world.start()
    return f"kill -9, and again after {lasted}"


def kill_at_point(world, dice):
    point = f"{dice.choice(fault_points(world))}:kill:{dice.choice((1, 1, 2, 3, 10))}"
    world.service.kill()
    world.start(fault=point)
    deadline = time.monotonic() + REACH_SECONDS
    while world.service.is_running and time.monotonic() < deadline:
        time.sleep(0.02)
    reached = not world.service.is_running
    if reached:
        assert "fault point" in world.service.output(), f"the service ended by itself: {world.service.tail()}"
    else:
        world.service.kill()
    world.start()
    return point if reached else f"{point}, not met, then kill -9"


def stop_in_order(world, dice):
    # Before its first word it has no handler, and begun nothing.
    world.service.wait_for_log(".")
    world.stop(ORDERLY_SECONDS)
    world.start()
    return "SIGTERM"


def stand_still(world, dice):
    probes.stand_still(world.service)
    lasted = last(dice, 4)
    probes.go_on(world.service)
    return f"SIGSTOP for {lasted}"


def taken_over(world, dice):
    """The service stands still, a second one takes over, the first wakes up and has to go."""
    first, second = world.service, world.new_service()
    if first.row() is None:
        return kill(world, dice)
    probes.stand_still(first)
    with contextlib.suppress(psycopg2.errors.UndefinedTable):
        world.destination.execute("UPDATE towline_state.session SET seen_at = clock_timestamp() - interval '31 s'")
    epoch = first.row()[0]
    second.start("--config", world.configuration)
    wait_until(lambda: second.row() and second.row()[0] > epoch, TAKEN_SECONDS, "the second service to take over",
               explain=second.tail)
    world.service = second
    probes.go_on(first)
    assert first.wait_exit(TAKEN_SECONDS) == NOT_PREPARED, first.tail()
    return "a second service"


# --- clocks

def clock_jump(world, dice):
    """The time of day at one of the three machines is set, minutes to days forward or back. It may stay so: what comes
    behind it then runs with clocks that are that far apart."""
    name = dice.choice(("service", "service", "source", "destination"))
    clock = world.clocks[name]
    minutes = dice.choice((2, 70, 60 * 30, 60 * 24 * 9)) * dice.choice((-1, 1))
    if abs(clock.ahead + 60 * minutes) > CLOCK_AHEAD_MAX:
        minutes = -minutes
    clock.jump(60 * minutes)
    lasted = last(dice, 4)
    if dice.random() < 0.6:
        clock.set_ahead(0)
        lasted += ", and right again"
    return f"{minutes:+} minutes at the {name} for {lasted}"


# --- servers

def crash(world, dice):
    name, cluster, _, _ = side(world, dice)
    cluster.stop("immediate")
    lasted = last(dice, 1.5)
    cluster.start()
    return f"{name} away for {lasted}"


def lose_the_last_log(world, dice):
    """The destination loses what no session has flushed itself. The service stands still meanwhile, so that what is
    read afterwards is what the crash has left."""
    probes.stand_still(world.service)
    writer = probes.wal_writer(world.destination_cluster)
    with probes.frozen(writer):
        probes.go_on(world.service)
        last(dice, 1.5)
        probes.stand_still(world.service)
        confirmed = world.confirmed()
        probes.crash_without_last_log(world.destination_cluster, writer)
    world.destination_cluster.start()
    position = world.service.position()
    assert confirmed is None or position == 0 or confirmed <= position, \
        f"I2: the slot was confirmed to {confirmed:X}, the crash has left {position:X}"
    probes.go_on(world.service)
    return "destination"


def crash_in_the_middle_of_all(world, dice):
    world.service.kill()
    for cluster in (world.source_cluster, world.destination_cluster):
        cluster.stop("immediate")
    world.source_cluster.start()
    world.start()
    lasted = last(dice, 1)
    world.destination_cluster.start()
    return f"both, and kill -9; destination {lasted} later"


def terminate(world, dice):
    """Some or all sessions of the service."""
    name, _, _, database = side(world, dice)
    sessions = probes.sessions(database)
    chosen = sessions if dice.random() < 0.3 else dice.sample(sessions, min(1, len(sessions)))
    for pid in chosen:
        database.query("SELECT pg_terminate_backend(%s)", [pid])
    return f"{len(chosen)} of {len(sessions)} sessions at the {name}"


def cancel(world, dice):
    name, _, _, database = side(world, dice)
    done = database.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
                          "application_name LIKE 'towline%%' AND state = 'active' AND backend_type = 'client backend'")
    return f"{len(done)} sessions at the {name}"


def freeze_backend(world, dice):
    name, _, _, database = side(world, dice)
    sessions = probes.sessions(database)
    if not sessions:
        return f"no session at the {name}"
    with probes.frozen(dice.choice(sessions)):
        lasted = last(dice, 3)
    return f"one at the {name} for {lasted}"


def lock(world, dice):
    tables = [table for table, in world.destination.query(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN "
        "('pg_catalog', 'information_schema', 'towline_state')")]
    if not tables:
        return "no table"
    table = dice.choice(sorted(tables))
    mode = dice.choice(("ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE", "rows"))
    with probes.Session(world.destination) as session:
        try:
            session.execute("SET lock_timeout = '3s'")
            session.execute("BEGIN")
            session.execute(f"SELECT FROM {table} FOR UPDATE" if mode == "rows" else f"LOCK TABLE {table} IN {mode} MODE")
        except psycopg2.Error:
            return f"{table} could not be locked"
        return f"{mode} of {table} for {last(dice, 7)}"


def fill_disk(world, dice):
    world.disk.fill()
    lasted = last(dice, 3)
    world.disk.free()
    return f"the destination's for {lasted}"


def checkpoint(world, dice):
    """No fault, but what moves a slot's restart point and recycles the log."""
    for cluster in (world.source_cluster, world.destination_cluster):
        cluster.database().execute("CHECKPOINT")
    return kill(world, dice)


# --- the network

def cut(world, dice):
    name, _, proxy, _ = side(world, dice)
    return f"{proxy.cut(reset=dice.random() < 0.5)} connections to the {name}"


def cut_and_refuse(world, dice):
    name, _, proxy, _ = side(world, dice)
    proxy.refuse()
    proxy.cut()
    lasted = last(dice, 2)
    proxy.accept()
    return f"{name} for {lasted}"


def delay(world, dice):
    name, _, proxy, _ = side(world, dice)
    seconds = dice.choice((0.02, 0.2, 0.6))
    proxy.delay(seconds)
    lasted = last(dice, 4)
    proxy.delay(0)
    return f"{seconds} s to the {name} for {lasted}"


def silence(world, dice):
    name, _, proxy, _ = side(world, dice)
    direction = dice.choice((None, *DIRECTIONS))
    proxy.pause(direction)
    lasted = last(dice, 5)
    proxy.resume()
    return f"{direction or 'both ways'}, {name}, for {lasted}"


def silence_and_kill(world, dice):
    """The service's machine is gone, and no server has heard of it."""
    name, _, proxy, _ = side(world, dice)
    proxy.pause_present()
    world.service.kill()
    world.start()
    return name


def abandon(world, dice):
    """The service's end is reset, the server's end stays open and silent."""
    name, _, proxy, _ = side(world, dice)
    proxy.abandon_clients()
    return name


def half_close(world, dice):
    name, _, proxy, _ = side(world, dice)
    direction = dice.choice(DIRECTIONS)
    proxy.half_close(direction)
    return f"{direction}, {name}"


def met(rule, proxy):
    try:
        rule.wait(REACH_SECONDS)
        return ""
    except AssertionError:
        proxy.cancel(rule)
        return ", not met"


def cut_somewhere(world, dice):
    name, _, proxy, _ = side(world, dice)
    count, direction = dice.randrange(1, dice.choice((500, 20000, 300000))), dice.choice(DIRECTIONS)
    return f"after {count} bytes {direction}, {name}{met(proxy.cut_after(count, direction), proxy)}"


def cut_in_message(world, dice):
    proxy = world.to_source
    rule = proxy.cut_in_message(b"d", dice.choice((60, 300, 1000)), dice.randrange(1, 20), TO_CLIENT)
    return f"from the source{met(rule, proxy)}"


def lose_answer(world, dice):
    """Of the destination's COMMIT: it may be done or not."""
    proxy = world.to_destination
    pattern = re.compile(rb"COMMIT|PREPARE TRANSACTION")
    how = dice.randrange(3)
    rule = (proxy.cut_before(pattern) if how == 0
            else proxy.lose_answer(pattern, answer_seconds=0 if how == 1 else 2))
    return ("COMMIT does not arrive", "its answer is lost at once", "its answer is lost")[how] + met(rule, proxy)


FAULTS = {
    kill: 8, kill_twice: 4, kill_at_point: 14, stop_in_order: 3, stand_still: 3, taken_over: 2, clock_jump: 8,
    crash: 8, lose_the_last_log: 6, crash_in_the_middle_of_all: 3, terminate: 8, cancel: 4, freeze_backend: 3, lock: 6,
    fill_disk: 4, checkpoint: 3,
    cut: 5, cut_and_refuse: 3, delay: 3, silence: 4, silence_and_kill: 2, abandon: 4, half_close: 3, cut_somewhere: 5,
    cut_in_message: 4, lose_answer: 6,
}


def choose(dice):
    return dice.choices(tuple(FAULTS), tuple(FAULTS.values()))[0]

"""A standby takes the place of the source or of the destination, under load, and often without its last transactions.

From version 17 on a standby of the source may have kept the slot: then the task goes on by itself. Otherwise it must stop
to protect its data, and go on with --heal, also when it is killed while it heals. A destination that is not behind what
the slot was confirmed for must go on by itself, too.

No schema change is on its way meanwhile: one that only the lost server knew is nothing that a heal could mend
(docs/heal.md).
"""
import time

from support.towline import marker
from support.waiting import wait_until

from . import faults

PROTECTED = 5  # exit status: stopped to protect data
STOP_SECONDS = 120
HEAL_SECONDS = 400
SYNCED_SECONDS = 240
LOST_ROWS = 50
PHYSICAL_SLOT = "standby"


def promote(world, dice):
    began = time.monotonic()
    result = {"source": source, "destination": destination}[world.plan.promotes](world, dice)
    world.report({"kind": "promotion", "side": world.plan.promotes, **result, "seconds": round(time.monotonic() - began, 1)})


def source(world, dice):
    keeps_slot = world.plan.version >= 17 and world.plan.options["two_phase"] == "off"
    is_behind = dice.random() < 0.5
    standby = follow(world, "source", keeps_slot)
    if keeps_slot:
        if not is_behind:
            world.source_cluster.configure(synchronized_standby_slots=PHYSICAL_SLOT)
        wait_until(lambda: is_synced(world, standby), SYNCED_SECONDS, "the slot to be synchronised", interval=0.5)
    world.watch.pause()
    if is_behind:
        standby.stop()
        world.source.execute("INSERT INTO load.bulk SELECT -2, i, 'lost with the primary' "
                             f"FROM generate_series(1, {LOST_ROWS}) i")
        world.wait_until_applied(STOP_SECONDS)
    take_place(world, "source", standby)
    if keeps_slot and not is_behind:
        world.wait_until_applied(STOP_SECONDS)
        world.watch.resume()
        return {"is_behind": False, "how": "went on"}
    stops(world)
    healed = heal(world, dice)
    # One that was killed may have taken them back already.
    assert not is_behind or healed["killed"] or healed["taken_back"] >= LOST_ROWS, healed
    return {"is_behind": is_behind, **healed}


def destination(world, dice):
    standby = follow(world, "destination")
    world.watch.pause()
    is_behind, is_running = dice.random() < 0.7, dice.random() < 0.5
    if is_behind:
        standby.stop()
        world.wait_until_applied(STOP_SECONDS)
        faults.last(dice, 3)  # what is applied is acknowledged some time later, or not yet
    if not is_running:
        world.service.kill()
    take_place(world, "destination", standby)
    # Nothing can acknowledge before it has gone on from what is there.
    confirmed, position = world.confirmed(), world.service.position()
    if not is_running:
        world.start()
    if confirmed <= position:
        world.wait_until_applied(STOP_SECONDS)
        world.watch.resume()
        return {"is_behind": is_behind, "how": "went on"}
    stops(world)
    return {"is_behind": is_behind, **heal(world, dice)}


def follow(world, side, keeps_slot=False):
    """A standby, running, that has all that is there now."""
    old = cluster_of(world, side)
    standby = world.new_cluster(side, number=2)
    standby.follow(old)
    if keeps_slot:
        old.database().query("SELECT pg_create_physical_replication_slot(%s, true)", [PHYSICAL_SLOT])
        standby.settings["primary_conninfo"] += " dbname=postgres"
        standby.settings.update(primary_slot_name=PHYSICAL_SLOT, hot_standby_feedback="on", sync_replication_slots="on")
    standby.start()
    end = old.database().value("SELECT pg_switch_wal()::text")  # which flushes
    standby.database().wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{end}'")
    return standby


def is_synced(world, standby):
    # The slot there moves with the source's, and that with the transactions that the source logs as running.
    marker(world.source.uri())
    world.source_cluster.database().execute("CHECKPOINT")
    return standby.database().value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced AND NOT temporary",
                                    [world.slot]) == 1


def cluster_of(world, side):
    return world.source_cluster if side == "source" else world.destination_cluster


def take_place(world, side, standby):
    """The old server is gone without a word, and the new one answers where it did."""
    old = cluster_of(world, side)
    old.stop("immediate")
    if not standby.is_running:
        standby.start()
    standby.database().query("SELECT pg_promote()")
    standby.database().wait_for("SELECT NOT pg_is_in_recovery()")
    standby.stop()
    for name in ("primary_conninfo", "primary_slot_name", "hot_standby_feedback", "sync_replication_slots"):
        standby.settings.pop(name, None)
    standby.port = old.port
    standby.start()
    assert standby.port == old.port, "somebody has taken the old server's port"
    if side == "source":
        world.source_cluster = world.source.cluster = standby
    else:
        world.destination_cluster = world.destination.cluster = standby


def stops(world):
    status = world.service.wait_exit(STOP_SECONDS)
    assert status == PROTECTED, f"on a promoted standby the service ended with {status}; {world.service.tail()}"
    assert "--heal" in world.service.output(), f"it does not name the command; {world.service.tail()}"


def heals(world):
    """How many were completed."""
    return world.destination.value("SELECT count(*) FROM towline_state.heal WHERE ended_at IS NOT NULL")


def heal(world, dice):
    points = [f"{name}:kill:1" for name in faults.points_of_all() if name.startswith("heal:")]
    killed = dice.choice((None, None, "at any moment", *points))
    done = heals(world)
    if killed == "at any moment":
        world.start("--heal")
        killed += f", after {faults.last(dice, 3)}"
        world.service.kill()
    elif killed is not None:
        world.start("--heal", fault=killed)
        wait_until(lambda: not world.service.is_running or heals(world) > done, HEAL_SECONDS, killed, explain=world.explain)
        world.service.kill()
    if heals(world) == done:
        world.start("--heal")
        wait_until(lambda: world.must_run() or heals(world) > done, HEAL_SECONDS, "the heal", explain=world.explain)
    elif not world.service.is_running:
        world.start()
    world.wait_until_applied(HEAL_SECONDS)
    world.watch.resume()
    brought, taken_back, changed = world.destination.query(
        "SELECT missing, extra, different FROM towline_state.heal WHERE ended_at IS NOT NULL ORDER BY number DESC LIMIT 1")[0]
    return {"how": "healed", "killed": killed, "brought": brought, "taken_back": taken_back, "changed": changed}

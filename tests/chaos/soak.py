"""Soak: the same load for long, with few faults. Memory, descriptors and lag must be flat, and are drawn.

The process is killed three times only, so that what grows in one has time to show; between that a server is restarted or
the network cut every minute, and the service goes on in the same process.
"""
import random
import statistics
import time

from . import faults, plot

FAULT_SECONDS = 60
ROUNDS = 4  # each of one process; the databases are compared behind each
VERIFY_PAUSE = 60
GROWTH_SHARE, GROWTH_BYTES = 0.15, 4 << 20  # what the memory of a process may grow by from its second sixth to its last
LIVED_THROUGH = (faults.crash, faults.cut, faults.terminate, faults.lose_the_last_log, faults.abandon, faults.lock)


def course(minutes, file):
    """What World.run is to chaos; for world.run()."""
    def run(world):
        dice = random.Random(f"soak {world.plan.seed}")
        world.plan.copy_faults = 0
        world.verify_pause = VERIFY_PAUSE
        world.begin(dice)
        done, lives, end = 0, [], time.monotonic()
        for number in range(ROUNDS):
            first, end = len(world.watch.samples), end + 60 * minutes / ROUNDS
            while time.monotonic() < end:
                time.sleep(max(0, min(FAULT_SECONDS, end - time.monotonic())))
                done += 1
                world.fault(dice.choice(LIVED_THROUGH), dice, done)
            lives.append(world.watch.samples[first:])
            world.round_ends(is_last=number == ROUNDS - 1)
            if number < ROUNDS - 1:
                done += 1
                world.fault(faults.kill, dice, done)
        world.end(done)
        plot.draw(file, world.watch.samples)
        for life in lives:
            check_flat(world, life)
    return run


def check_flat(world, samples):
    sixth = max(1, len(samples) // 6)
    before = statistics.median(sample[1] for sample in samples[sixth:2 * sixth])
    after = statistics.median(sample[1] for sample in samples[-sixth:])
    world.report({"kind": "flat", "resident_before": int(before), "resident_after": int(after),
                  "descriptors_before": max(sample[2] for sample in samples[sixth:2 * sixth]),
                  "descriptors_after": max(sample[2] for sample in samples[-sixth:])})
    assert after <= before * (1 + GROWTH_SHARE) + GROWTH_BYTES, f"memory went from {before} to {after} bytes"

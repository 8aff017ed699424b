"""Two servers, two proxies, a service between them, a load, and what is asked of them: one seed's worth of chaos."""
import json
import random
import shutil
import time
import traceback

import psycopg2

from support import preload, probes
from support.clock import Clock
from support.cluster import Cluster
from support.compare import assert_equal
from support.full_disk import FullDisk
from support.proxy import Proxy
from support.towline import MEMORY_LIMIT, Towline, marker
from support.waiting import wait_until
from support.workload import Workload

from . import faults, promotion
from .tables import SchemaChanges
from .watch import Watch, short

TASK = "chaos"
PROTECTED = 5  # exit status: stopped to protect data
RECOVERY_SECONDS = COPY_SECONDS = DRAIN_SECONDS = VERIFY_SECONDS = 400
BURST = 0.25  # how often a fault is followed by the next one at once


class World:
    """report(record) is given a dict for every fault, every comparison and the end. programs: of other servers than the
    usual ones, whose pg_dump reads the schema."""

    def __init__(self, plan, directory, binary, report, programs=None):
        self.plan, self.directory, self.binary, self.report = plan, directory, binary, report
        self.programs = programs
        self.disk = FullDisk(directory / "disk")
        self.clocks = {name: Clock(directory / f"clock-{name}") for name in ("service", "source", "destination")}
        self.clusters, self.services = [], []
        self.source_cluster = self.new_cluster("source").start()
        self.destination_cluster = self.new_cluster("destination").start()
        self.to_source, self.to_destination = Proxy(self.source_cluster.port), Proxy(self.destination_cluster.port)
        self.source = self.source_cluster.create_database("app")
        self.destination = self.destination_cluster.create_database("app")
        self.source.execute("CREATE EXTENSION towline")
        if plan.has_ddl:
            self.source.query("SELECT towline.enable_ddl()")
        self.configuration, self.slot = directory / "chaos.yaml", f"towline_{TASK}"
        self.has_streamed = False
        self.environment = dict(self.clocks["service"].environment)
        if programs:
            self.environment["TOWLINE_PG_DUMP"] = str(programs / "pg_dump")
        self.service, self.verifier = self.new_service(), self.new_service(direct=True, name="verify")
        self.load = Workload(self.source.uri(), plan.seed, clients=plan.clients, rate=plan.rate, survive=True,
                             shapes=plan.shapes, more_shapes=plan.more_shapes, prepared_share=plan.prepared_share).create()
        self.schema_changes, self.changes_made, self.watch, self.verify_pause = None, 0, None, 1

    def close(self):
        for service in self.services:
            service.close()
        for proxy in (self.to_source, self.to_destination):
            proxy.close()
        for cluster in self.clusters:
            cluster.stop("immediate")

    def new_cluster(self, side, number=1):
        """Not started. Of each side the first, and the standbys that take its place."""
        # The destination writes its log as late as it may, so that a crash loses what was committed asynchronously.
        settings = self.plan.source_settings if side == "source" else {"wal_writer_delay": "10s"}
        environments = [self.clocks[side].environment] + ([self.disk.environment] if side == "destination" else [])
        cluster = Cluster(self.directory, side if number == 1 else f"{side}-{number}", settings, programs=self.programs,
                          environment=preload.together(*environments))
        self.clusters.append(cluster)
        return cluster

    # --- the service

    def new_service(self, direct=False, name="towline"):
        service = Towline(self.source, self.destination, directory=self.directory / f"service-{len(self.services)}",
                          binary=self.binary, task=TASK, name=name, environment=self.environment)
        if not direct:
            service.command_uris = (self.to_source.uri(self.source.uri()), self.to_destination.uri(self.destination.uri()))
        self.services.append(service)
        return service

    def configure(self, is_slow):
        self.configuration.write_text(json.dumps(self.plan.configuration(is_slow), indent=1), encoding="utf-8")

    def start(self, *more, fault=None):
        # The program with fault points in any case: one more thing that is always the same.
        self.service.fault = fault or "none:kill:1"
        self.service.start("--config", self.configuration, *more)

    def stop(self, seconds):
        assert self.service.is_running, f"the service ended by itself: {self.service.exit_status}; {self.service.tail()}"
        status = self.service.stop(seconds)
        assert status == 0, f"an orderly stop ended with {status}; {self.service.tail()}"

    def verify(self, *more, seconds):
        return self.verifier.call("verify", "--config", self.configuration, "--json", *more, seconds=seconds)

    def confirmed(self):
        slot = probes.slot(self.source, self.slot)
        return slot.confirmed if slot else None

    # --- a run

    def run(self):
        dice = random.Random(f"faults {self.plan.seed}")
        done = self.begin(dice)
        while done < self.plan.faults:
            if self.plan.has_ddl:
                self.schema_changes = SchemaChanges(self.source, self.plan.seed, self.plan.random_tables,
                                                    self.plan.schema_pause, done * 10000)
            for _ in range(min(self.plan.round_faults, self.plan.faults - done)):
                done += 1
                self.fault(faults.choose(dice), dice, done)
            self.round_ends(is_last=done == self.plan.faults)
            if self.plan.promotes and done < self.plan.faults and len(self.clusters) == 2:
                promotion.promote(self, dice)
        if self.plan.loses_slot:
            self.lose_slot()
        self.end(done)

    def begin(self, dice):
        """Load, service, and the copy with its faults; returns how many those were."""
        self.load.run(transactions=25)
        self.load.start()
        self.configure(is_slow=self.plan.copy_faults > 0)
        self.start()
        self.watch = Watch(self, self.verify_pause)
        done = 0
        while done < self.plan.copy_faults and not self.is_copied():
            done += 1
            self.fault(faults.choose(dice), dice, done)
        self.configure(is_slow=False)
        self.full_speed()
        wait_until(self.is_copied, COPY_SECONDS, "the copy", interval=0.1, explain=self.explain)
        self.has_streamed = True
        return done

    def end(self, done):
        self.watch.stop()
        self.look_for_problems()
        peak = max(service.peak_memory for service in self.services)
        assert peak <= MEMORY_LIMIT, f"the service used {peak >> 20} MiB (I6)"
        self.report({"kind": "end", "faults": done, "peak_bytes": peak, "descriptors": self.watch.descriptors,
                     "slot_looks": self.watch.looks, "verify": self.watch.verdicts, "transactions": self.load.transactions,
                     "schema_changes": self.changes_made})

    def is_copied(self):
        self.must_run()
        return self.service.state() in ("streaming",)

    def must_run(self):
        assert self.service.is_running, f"the service ended by itself: {self.service.exit_status}; {self.service.tail(60)}"

    def look_for_problems(self):
        if self.watch.problems:
            raise AssertionError("; ".join(self.watch.problems))
        for client in self.load.clients:
            if client.error is not None:
                raise client.error
        if self.schema_changes is not None and self.schema_changes.error is not None:
            raise self.schema_changes.error

    def explain(self):
        return f"task row is {self.service.row()}; {self.service.tail(60)}"

    def full_speed(self):
        """For the process that runs already; another one reads it from the configuration. It listens when its copy has
        begun."""
        wait_until(lambda: self.service.call("set", "copy_rows_max", "0").returncode == 0 or self.is_copied(), 120,
                   "the limit to be taken off", explain=self.explain)

    def fault(self, chosen, dice, number):
        self.look_for_problems()
        self.must_run()
        is_followed = dice.random() < BURST
        was_streaming = self.has_streamed
        began = time.monotonic()
        what = chosen(self, dice)
        record = {"kind": "fault", "number": number, "fault": chosen.__name__, "what": what,
                  "phase": "stream" if was_streaming else "copy", "with_ddl": self.schema_changes is not None,
                  "seconds": round(time.monotonic() - began, 2)}
        if not is_followed and self.has_streamed:
            record["streams_seconds"], record["caught_up_seconds"] = self.wait_until_applied(RECOVERY_SECONDS)
        elif not is_followed:
            before = self.progress()
            wait_until(lambda: self.must_run() or self.progress() != before, RECOVERY_SECONDS, "the copy to go on",
                       explain=self.explain)
        self.report(record)

    def wait_until_applied(self, seconds):
        """Seconds until it streams again, which is until the position moves, and until what was committed at the source
        by now is applied, behind all that was waiting."""
        began, before, target = time.monotonic(), self.service.position(), marker(self.source.uri())
        streams = None

        def look():
            nonlocal streams
            self.must_run()
            row = self.service.row()
            if row is None or row[2] != "streaming" or row[1] <= before:
                return False
            streams = streams or time.monotonic() - began
            return row[1] > target
        wait_until(look, seconds, "the service to stream again", interval=0.01, explain=self.explain)
        return round(streams, 3), round(time.monotonic() - began, 3)

    def progress(self):
        """Something that changes when the copy does."""
        try:
            row = self.service.row()
            pieces = self.destination.query("SELECT state, count(*) FROM towline_state.piece GROUP BY 1 ORDER BY 1")
            ranges = self.destination.query("SELECT state, count(*) FROM towline_state.range GROUP BY 1 ORDER BY 1")
            sizes = self.destination.query("SELECT sum(pg_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON "
                                           "n.oid = relnamespace WHERE nspname LIKE 'load' OR nspname LIKE 'Odd%'")
            return row, pieces, ranges, sizes
        except psycopg2.Error:
            return None

    def round_ends(self, is_last):
        """The load stops, everything is applied, and both databases are the same."""
        began = time.monotonic()
        if self.schema_changes is not None:
            self.schema_changes.stop()
            self.changes_made += self.schema_changes.done
            self.schema_changes = None
        self.load.stop()
        for proxy in (self.to_source, self.to_destination):
            proxy.resume()
        self.look_for_problems()
        _, drained = self.wait_until_applied(DRAIN_SECONDS)
        result = assert_equal(self.source.uri(), self.destination.uri(), definitions=True)
        verify_began = time.monotonic()
        done = self.verify(seconds=VERIFY_SECONDS)
        verified = round(time.monotonic() - verify_began, 2)
        assert done.returncode == 0, f"both are equal, towline verify says {done.returncode}: {short(done.stdout)}{done.stderr}"
        prepared = self.destination_cluster.database().query("SELECT gid FROM pg_prepared_xacts")
        assert not prepared, f"prepared at the destination, and not at the source: {prepared}"
        conflicts = self.destination.query("SELECT * FROM towline_state.conflict")
        assert not conflicts, f"conflicts where nobody else writes: {conflicts}"
        probes.assert_confirmed_is_applied(self.service, self.source)
        self.look_for_problems()
        if is_last:
            self.stop(faults.ORDERLY_SECONDS)
            assert_equal(self.source.uri(), self.destination.uri())
        else:
            self.load.start()
        self.report({"kind": "equal", "tables": len(result.rows), "rows": sum(result.rows.values()),
                     "drain_seconds": drained, "verify_seconds": verified, "seconds": round(time.monotonic() - began, 1)})

    def lose_slot(self):
        """The service is stopped. The source gives the slot up; the next start must say so and change nothing."""
        self.source_cluster.configure(max_slot_wal_keep_size="1MB")
        database = self.source_cluster.database()

        def is_lost():
            self.source.execute("INSERT INTO load.bulk SELECT -1, i, repeat('lost', 100) FROM generate_series(1, 20000) i")
            database.execute("SELECT pg_switch_wal()")
            database.execute("CHECKPOINT")
            return database.value("SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = %s",
                                  [self.slot])
        wait_until(is_lost, 60, "the slot to be given up")
        position = self.service.position()
        self.start()
        status = self.service.wait_exit(60)
        assert status == PROTECTED, f"with a lost slot the service ended with {status}; {self.service.tail()}"
        assert self.service.position() == position
        assert self.destination.value("SELECT count(*) FROM load.bulk WHERE client = -1") == 0
        self.report({"kind": "lost slot"})


def run(plan, directory, binary, report, programs=None, course=World.run):
    """One seed, by `course` (of the world). Returns whether all was well; what was not is reported, and the directory stays."""
    report({"kind": "begin", "options": plan.options, "source": plan.source_settings, "shapes": plan.shapes,
            "random_tables": len(plan.random_tables), "clients": plan.clients, "rate": plan.rate,
            "version": plan.version, "promotes": plan.promotes})
    world = None
    try:
        world = World(plan, directory, binary, report, programs)
        course(world)
    except Exception as error:  # whatever it is, it is the finding
        report({"kind": "failure", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-4),
                "kept": str(directory)})
        return False
    finally:
        if world is not None:
            if world.watch is not None:
                world.watch.stopping.set()
            world.close()
    shutil.rmtree(directory, ignore_errors=True)
    return True

#!/usr/bin/python3
"""How fast a backlog is drained: Towline against native logical replication, on the same backlog.

    ./dev bench apply [--size 1.0] [--rounds 5] [--workloads inserts,tpcb,...] [--results FILE]
                      [--kinds "native text,native binary,towline"] [--delay MS] [--option NAME=VALUE]...

Two private servers. Towline copies the (nearly empty) tables once and is stopped; then the backlog is
written. Every run gets a copy of the slot that was kept from before it (for native replication with
plugin pgoutput) and a copy of the destination database as it was then, so all drain the same changes
into the same rows. A run's wall time ends when the last row of the backlog is visible at the destination.
CPU is that of both servers' processes and the client, and by itself that of walsender, applying
backends and client. Rounds are interleaved in rotating order; ratios are taken within a round, because
the machine's speed drifts. After each run all rows of both databases are compared by hash.

Sizes at --size 1: inserts 2 million rows in transactions of 1000; tpcb 200,000 pgbench transactions at scale 50;
updates 1 million rows in ten statements; mixed 100,000 transactions of ten changes; toast 100,000 updates beside an
unchanged value of 8 KB; nokey 10,000 updates of a table of a million rows under FULL; hot 500,000 updates of 100 rows;
large one transaction of 5 million rows. (Of nokey native replication reads half the table for each change: hours.)

Kind `far` is Towline with its destination behind a proxy that keeps every byte back --delay milliseconds, each way; `near`
is the same proxy without delay. stream_seconds is the time since the slot is read from: a start takes many round trips.
A subscription has its destination beside it, so native has no such kinds.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from support.cluster import ROOT, Cluster, server_bin, session_directory
from support.proxy import Proxy
from support.towline import Towline

SETTINGS = {"shared_buffers": "1GB", "maintenance_work_mem": "256MB", "max_wal_size": "8GB",
            "checkpoint_timeout": "30min", "autovacuum": "off", "max_replication_slots": 50,
            "wal_retrieve_retry_interval": "10ms"}  # else a subscription may wait five seconds for its worker
TICKS = os.sysconf("SC_CLK_TCK")
LAST_ROW_SECONDS = 1800


# --- CPU

def process_stat(pid):
    """(parent, CPU seconds of its own, CPU seconds of children that have ended), or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return int(fields[1]), own / TICKS, ended / TICKS


def cpu_of(pid):
    stat = process_stat(pid)
    return stat[1] if stat else 0.0


def cpu_of_server(cluster):
    """Of the server and all its processes, those that have ended included."""
    postmaster = cluster.process.pid
    total = sum(process_stat(postmaster)[1:])
    for entry in os.listdir("/proc"):
        stat = process_stat(entry) if entry.isdigit() else None
        if stat and stat[0] == postmaster:
            total += stat[1]
    return total


# --- workloads: what the tables are before, and the backlog

class Inserts:
    name = "inserts"

    def __init__(self, size):
        self.transactions = max(1, int(2000 * size))
        self.changes = self.transactions * 1000

    def prepare(self, source):
        source.execute("CREATE TABLE bench_insert (id bigint PRIMARY KEY, customer int NOT NULL, amount numeric(12,2),"
                       " note text, at timestamptz NOT NULL, flag bool)")

    def fill(self, source):
        source.script("SET synchronous_commit = off", f"""DO $$ BEGIN
            FOR i IN 0..{self.transactions - 1} LOOP
              INSERT INTO bench_insert SELECT i * 1000 + g, g % 777, g * 1.25, 'note of row ' || g,
                '2026-01-01'::timestamptz + g * interval '1 second', g % 2 = 0 FROM generate_series(1, 1000) g;
              COMMIT;
            END LOOP; END $$""")


class TpcB:
    name = "tpcb"

    def __init__(self, size):
        self.transactions = max(2, int(200_000 * size))
        self.changes = self.transactions * 4
        self.scale = max(1, int(50 * size))

    def pgbench(self, source, *more):
        subprocess.run([server_bin() / "pgbench", *map(str, more), source.uri()], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "PGOPTIONS": "-c synchronous_commit=off"})

    def prepare(self, source):
        self.pgbench(source, "-i", "-s", self.scale)

    def fill(self, source):
        self.pgbench(source, "-n", "-c", 2, "-t", self.transactions // 2)


class Mixed:
    """Transactions of ten changes on one table: four rows come, four change, two go."""
    name = "mixed"

    def __init__(self, size):
        self.transactions = max(1, int(100_000 * size))
        self.changes = self.transactions * 10
        self.rows = max(1000, int(500_000 * size))

    def prepare(self, source):
        source.execute(f"""CREATE TABLE bench_mixed (id bigint PRIMARY KEY, n int NOT NULL, note text, at timestamptz);
            INSERT INTO bench_mixed SELECT g, 0, 'note of row ' || g, now() FROM generate_series(1, {self.rows}) g""")

    def fill(self, source):
        # Rows are changed far from where others go, so that every statement finds its rows.
        source.script("SET synchronous_commit = off", f"""DO $$ BEGIN
            FOR i IN 0..{self.transactions - 1} LOOP
              INSERT INTO bench_mixed SELECT {self.rows} + i * 4 + g, i, 'new row', now() FROM generate_series(1, 4) g;
              UPDATE bench_mixed SET n = n + 1 WHERE id IN (SELECT {self.rows} - 1 - (i * 7919::bigint + g * 104729)
                % ({self.rows} / 2) FROM generate_series(1, 4) g);
              DELETE FROM bench_mixed WHERE id IN ({self.rows} + i * 4 - 3, {self.rows} + i * 4 - 2);
              COMMIT;
            END LOOP; END $$""")


class Updates:
    """A column without index of all rows, in ten statements."""
    name = "updates"

    def __init__(self, size):
        self.changes = self.rows = max(10, int(1_000_000 * size))

    def prepare(self, source):
        source.execute(f"""CREATE TABLE bench_update (id bigint PRIMARY KEY, n int NOT NULL, note text, at timestamptz);
            INSERT INTO bench_update SELECT g, 0, 'note of row ' || g, now() FROM generate_series(1, {self.rows}) g""")

    def fill(self, source):
        source.script("SET synchronous_commit = off",
                      *[f"UPDATE bench_update SET n = n + 1 WHERE id % 10 = {i}" for i in range(10)])


class Toast:
    """Rows with a large value that their updates do not touch."""
    name = "toast"

    def __init__(self, size):
        self.changes = max(10, int(100_000 * size))
        self.rows = max(10, self.changes // 10)

    def prepare(self, source):
        source.execute(f"""CREATE TABLE bench_toast (id bigint PRIMARY KEY, n int NOT NULL, large text);
            ALTER TABLE bench_toast ALTER large SET STORAGE EXTERNAL;
            INSERT INTO bench_toast SELECT g, 0, repeat(md5(g::text), 256) FROM generate_series(1, {self.rows}) g""")

    def fill(self, source):
        source.script("SET synchronous_commit = off",
                      *["UPDATE bench_toast SET n = n + 1" for _ in range(self.changes // self.rows)])


class NoKey:
    name = "nokey"

    def __init__(self, size):
        self.changes = max(10, int(10_000 * size))
        self.rows = max(1000, int(1_000_000 * size))

    def prepare(self, source):
        source.execute(f"""CREATE TABLE bench_nokey (id bigint, n int, note text); ALTER TABLE bench_nokey REPLICA IDENTITY FULL;
            INSERT INTO bench_nokey SELECT g, 0, 'note of row ' || g FROM generate_series(1, {self.rows}) g""")

    def fill(self, source):
        source.execute(f"UPDATE bench_nokey SET n = n + 1 WHERE id % ({self.rows} / {self.changes}) = 0")


class Hot:
    name = "hot"

    def __init__(self, size):
        self.changes = max(100, int(500_000 * size) // 100 * 100)

    def prepare(self, source):
        source.execute("CREATE TABLE bench_hot (id int PRIMARY KEY, n int NOT NULL, note text); INSERT INTO bench_hot "
                       "SELECT g, 0, 'note' FROM generate_series(1, 100) g")

    def fill(self, source):
        source.script("SET synchronous_commit = off", f"""DO $$ BEGIN
            FOR i IN 1..{self.changes // 100} LOOP UPDATE bench_hot SET n = n + 1; COMMIT; END LOOP; END $$""")


class Large:
    name = "large"

    def __init__(self, size):
        self.changes = max(10, int(5_000_000 * size))

    def prepare(self, source):
        source.execute("CREATE TABLE bench_large (id bigint PRIMARY KEY, note text, at timestamptz)")

    def fill(self, source):
        source.execute(f"INSERT INTO bench_large SELECT g, 'note of row ' || g, now() FROM generate_series(1, {self.changes}) g")


WORKLOADS = {workload.name: workload for workload in (Inserts, TpcB, Updates, Mixed, Toast, NoKey, Hot, Large)}


# --- one workload

class Drain:
    def __init__(self, workload, servers, directory, binary, options, report):
        self.workload, self.options, self.report = workload, options, report
        self.source_server, self.destination_server = servers
        self.directory, self.binary = directory, binary
        self.task = f"apply_{workload.name}"
        self.source = self.source_server.create_database(self.task)
        self.run_number = 0

    def prepare(self):
        """Copies the tables, keeps slot and destination as they are then, writes the backlog."""
        self.source.execute("CREATE EXTENSION towline; CREATE TABLE bench_end (id int PRIMARY KEY)")
        self.workload.prepare(self.source)
        self.source.execute("CREATE PUBLICATION bench FOR ALL TABLES")
        base = self.destination_server.create_database(f"base_{self.workload.name}")
        service = Towline(self.source, base, self.directory / "service", self.binary, task=self.task)
        service.start()
        service.wait_for_state("streaming", seconds=600)
        service.wait_until_caught_up()
        service.stop(30)
        self.base = base
        self.slot = service.row()[3]
        self.keep = f"keep_{self.workload.name}"
        self.copy_slot(self.slot, self.keep)
        self.drop_slot(self.slot)
        started = time.monotonic()
        self.workload.fill(self.source)
        self.source.execute("INSERT INTO bench_end VALUES (1)")
        self.source_server.database().execute("CHECKPOINT")
        print(f"{self.workload.name}: backlog of {self.workload.changes} changes written in "
              f"{time.monotonic() - started:.0f} s", file=sys.stderr)
        self.expected = self.fingerprint(self.source)

    def copy_slot(self, slot, copy, plugin=None):
        self.source.query("SELECT pg_copy_logical_replication_slot(%s, %s, false, %s)" if plugin else
                          "SELECT pg_copy_logical_replication_slot(%s, %s)", [slot, copy] + ([plugin] if plugin else []))

    def drop_slot(self, slot):
        self.source.wait_for(f"SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{slot}'")
        self.source.query("SELECT pg_drop_replication_slot(%s)", [slot])

    def fingerprint(self, database):
        tables = [name for name, in database.query(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
            "ORDER BY 1")]
        return {name: database.query(f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {name} t")[0]
                for name in tables}

    def destination(self, kind):
        self.run_number += 1
        name = f"run_{self.workload.name}_{kind}_{self.run_number}"
        server = self.destination_server.database()
        server.execute(f"CREATE DATABASE {name} TEMPLATE {self.base.name}")
        server.execute("CHECKPOINT")
        return self.destination_server.database(name)

    def measure(self, kind, database, start, client_pid, finish):
        """start() begins the run; finish() ends it after the measurement."""
        servers = (self.source_server, self.destination_server)
        before = sum(cpu_of_server(server) for server in servers)
        look = database.connect()
        cursor = look.cursor()
        began = time.monotonic()
        start()
        source = self.source.connect()
        source_cursor = source.cursor()
        streaming = None
        while True:
            if streaming is None:
                source_cursor.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' OR state = 'catchup'")
                streaming = time.monotonic() if source_cursor.fetchone() else None
            cursor.execute("SELECT count(*) FROM bench_end")
            if cursor.fetchone()[0]:
                break
            if time.monotonic() - began > LAST_ROW_SECONDS:
                raise TimeoutError(f"{kind} did not drain the backlog")
            time.sleep(0.02)
        ended = time.monotonic()
        wall = ended - began
        source.close()
        total = sum(cpu_of_server(server) for server in servers) - before
        walsender = sum(cpu_of(pid) for pid, in self.source_server.database().query(
            "SELECT pid FROM pg_stat_replication"))
        backends = sum(cpu_of(pid) for pid, in self.destination_server.database().query(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND (backend_type = "
            "'logical replication worker' OR application_name LIKE 'towline%%apply')", [database.name]))
        client = cpu_of(client_pid()) if client_pid() else 0.0
        look.close()
        finish()
        is_equal = self.fingerprint(database) == self.expected
        row = {"workload": self.workload.name, "changes": self.workload.changes, "kind": kind,
               "wall_seconds": round(wall, 2), "cpu_seconds": round(total + client, 2),
               "walsender_seconds": round(walsender, 2), "backend_seconds": round(backends, 2),
               "client_seconds": round(client, 2), "stream_seconds": round(ended - (streaming or began), 2), "verified": is_equal, "at": time.strftime("%Y-%m-%dT%H:%M:%S")}
        self.report(row)
        if not is_equal:
            raise AssertionError(f"{kind} left other rows than the source has: {database.name}")
        database.drop()
        return row

    def native(self, binary):
        kind = "native binary" if binary else "native text"
        slot = f"native_{self.run_number}"
        self.copy_slot(self.keep, slot, "pgoutput")
        database = self.destination("native")

        def start():
            database.execute(f"CREATE SUBSCRIPTION bench CONNECTION '{self.source.uri()}' PUBLICATION bench WITH "
                             f"(slot_name = '{slot}', create_slot = false, copy_data = false, binary = {binary})")

        def finish():
            database.script("ALTER SUBSCRIPTION bench DISABLE", "ALTER SUBSCRIPTION bench SET (slot_name = NONE)",
                            "DROP SUBSCRIPTION bench")
            self.drop_slot(slot)
        return self.measure(kind, database, start, lambda: None, finish)

    def towline(self, kind="towline", delay_ms=None):
        """delay_ms: through a proxy."""
        self.copy_slot(self.keep, self.slot)
        database = self.destination("towline")
        # A copy of the destination is another database: the task is told that it is meant.
        database.execute("UPDATE towline_state.task SET destination_database = current_database(), "
                         "destination_database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())")
        service = Towline(self.source, database, self.directory / f"service-{self.run_number}", self.binary,
                          task=self.task, arguments=self.options)
        proxy = None
        if delay_ms is not None:
            proxy = Proxy(database.cluster.port)
            proxy.delay(delay_ms / 1000)
            service.command_uris = (self.source.uri(), proxy.uri(database.uri()))

        def finish():
            service.stop(60)
            self.drop_slot(self.slot)
        try:
            return self.measure(kind, database, service.start, lambda: service.process.pid, finish)
        except Exception:
            print(service.tail(), file=sys.stderr)
            service.close()
            raise
        finally:
            if proxy is not None:
                proxy.close()


def table(rows, rounds):
    print(f"\n{'workload':10} {'kind':14} {'wall s':>15} {'CPU us/change':>14} {'walsender':>10} {'backend':>8} "
          f"{'client':>7} {'stream s':>18}   against the better native run, per round")
    for workload in dict.fromkeys(row["workload"] for row in rows):
        of_workload = [row for row in rows if row["workload"] == workload]
        # The better of the two, by round.
        text = [row for row in of_workload if row["kind"] == "native text"]
        binary = [row for row in of_workload if row["kind"] == "native binary"]
        native_rows = [min(pair, key=lambda row: row["wall_seconds"]) for pair in zip(text, binary or text)]
        native = [row["wall_seconds"] for row in native_rows]
        for kind in dict.fromkeys(row["kind"] for row in of_workload):
            runs = [row for row in of_workload if row["kind"] == kind]
            walls = [row["wall_seconds"] for row in runs]
            streams = [row["stream_seconds"] for row in runs]

            def per_change(key, runs=runs):
                return statistics.median(row[key] / row["changes"] * 1e6 for row in runs)
            ratios = sorted(n / w for n, w in zip(native, walls))
            cpu = sorted(w["cpu_seconds"] / n["cpu_seconds"] for n, w in zip(native_rows, runs))
            print(f"{workload:10} {kind:14} {statistics.median(walls):6.1f} [{min(walls):.1f}-{max(walls):.1f}]".ljust(41) +
                  f" {per_change('cpu_seconds'):14.1f} {per_change('walsender_seconds'):10.2f} "
                  f"{per_change('backend_seconds'):8.2f} {per_change('client_seconds'):7.2f} "
                  f"{statistics.median(streams):6.2f} [{min(streams):.2f}-{max(streams):.2f}]   " +
                  (f"{statistics.median(ratios):.2f}x faster [{ratios[0]:.2f}-{ratios[-1]:.2f}], CPU "
                   f"{statistics.median(cpu):.2f} [{cpu[0]:.2f}-{cpu[-1]:.2f}]" if ratios else ""))
    print(f"{rounds} interleaved rounds; every run's rows were compared with the source's and equal.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.0, help="factor on the sizes above")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", default="inserts,tpcb,updates,mixed,toast,hot")
    parser.add_argument("--kinds", default="native text,native binary,towline")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build-release" / "bin" / "towline")
    parser.add_argument("--delay", type=float, default=20, metavar="MS", help="each way, of kind far")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                        help="of Towline: batch-rows-max=200000")
    parser.add_argument("--results", type=pathlib.Path, help="rows are appended here as JSON lines")
    arguments = parser.parse_args()
    directory = session_directory("towline-apply-")
    rows = []

    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True,
                            check=False).stdout.strip()

    def report(row):
        row.update(size=arguments.size, commit=commit)
        if row["kind"] == "far":
            row["delay_ms"] = arguments.delay
        if arguments.option:
            row["options"] = arguments.option
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
        if arguments.results:
            with open(arguments.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    options = [part for option in arguments.option for part in ("--" + option).split("=", 1)]
    source = Cluster(directory, "source", SETTINGS, fsync=True).start()
    destination = Cluster(directory, "destination", SETTINGS, fsync=True).start()
    try:
        for name in arguments.workloads.split(","):
            drain = Drain(WORKLOADS[name](arguments.size), (source, destination), directory, arguments.binary.resolve(),
                          options, report)
            drain.prepare()
            runs = {"native text": lambda d=drain: d.native(False), "native binary": lambda d=drain: d.native(True),
                    "towline": drain.towline, "near": lambda d=drain: d.towline("near", 0),
                    "far": lambda d=drain: d.towline("far", arguments.delay)}
            kinds = arguments.kinds.split(",")
            for number in range(arguments.rounds):
                turn = number % len(kinds)
                for kind in kinds[turn:] + kinds[:turn]:
                    runs[kind]()
            drain.drop_slot(drain.keep)
        table(rows, arguments.rounds)
    finally:
        source.stop("immediate")
        destination.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

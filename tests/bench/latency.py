#!/usr/bin/python3
"""How long a commit takes from the source to the destination at a steady load: Towline against native logical replication.

    ./dev bench latency [--rate 300] [--seconds 20] [--rounds 3] [--results FILE]

Two private servers. One session commits transactions of one INSERT and one UPDATE at the given rate; another looks at
the destination all the time (about every 0.3 ms). A transaction's latency is the time between the return of its COMMIT
and the first look that sees its row, by one clock. Native: one subscription, binary, its default synchronous_commit
(off). Rounds are interleaved; what was seen is compared with what was written.
"""
import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import sys
import time

import psycopg2

from support.cluster import ROOT, Cluster, session_directory
from support.towline import Towline

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "autovacuum": "off", "max_replication_slots": 20}
LOOK_SECONDS = 0.0003
WARM_UP_SECONDS = 2
LAST_ROW_SECONDS = 60
ROWS = 1000


def write(uri, first, rate, seconds, results):
    """Sends [(id, time of commit)]."""
    done = []
    with contextlib.closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"PREPARE step AS WITH u AS (UPDATE latency_counter SET n = n + 1 WHERE id = $1 % {ROWS}) "
                       "INSERT INTO latency VALUES ($1, 'a row of some length')")
        began = time.monotonic()
        for number in range(int(rate * (seconds + WARM_UP_SECONDS))):
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            cursor.execute(f"EXECUTE step ({first + number})")
            committed = time.monotonic()
            if committed - began > WARM_UP_SECONDS:
                done.append((first + number, committed))
    results.put(done)


def watch(uri, first, last, results):
    """Sends {id: first time it was seen}. Ids are committed, and so seen, in their order."""
    seen = {}
    with contextlib.closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("PREPARE look AS SELECT max(id) FROM latency")
        reached = first - 1
        deadline = time.monotonic() + LAST_ROW_SECONDS
        while reached < last and time.monotonic() < deadline:
            cursor.execute("EXECUTE look")
            now = time.monotonic()
            top = cursor.fetchone()[0] or 0
            if top > reached:
                seen.update((number, now) for number in range(reached + 1, top + 1))
                reached = top
                deadline = now + LAST_ROW_SECONDS
            time.sleep(LOOK_SECONDS)
    results.put(seen)


def in_process(function, *arguments):
    results = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=function, args=(*arguments, results), daemon=True)
    process.start()
    return process, results


class Latency:
    def __init__(self, servers, directory, binary, arguments, report):
        self.servers, self.directory, self.binary = servers, directory, binary
        self.arguments, self.report, self.number = arguments, report, 0
        self.source = servers[0].create_database("latency")
        self.source.script("CREATE EXTENSION towline", "CREATE TABLE latency (id bigint PRIMARY KEY, note text)",
                           "CREATE TABLE latency_counter (id int PRIMARY KEY, n int NOT NULL)",
                           f"INSERT INTO latency_counter SELECT g, 0 FROM generate_series(0, {ROWS - 1}) g",
                           "CREATE PUBLICATION bench FOR ALL TABLES")

    def measure(self, kind, database):
        total = int(self.arguments.rate * (self.arguments.seconds + WARM_UP_SECONDS))
        first = 1 + (self.source.value("SELECT coalesce(max(id), 0) FROM latency"))
        watcher, seen = in_process(watch, database.uri(), first, first + total - 1)
        writer, written = in_process(write, self.source.uri(), first, self.arguments.rate, self.arguments.seconds)
        commits, sights = written.get(), seen.get()
        writer.join()
        watcher.join()
        missing = [number for number, _ in commits if number not in sights]
        if missing:
            raise AssertionError(f"{kind}: {len(missing)} transactions were not seen")
        # A row may be seen before the writer's own COMMIT has returned.
        latencies = sorted(max(0.0, sights[number] - committed) * 1000 for number, committed in commits)
        self.report({"bench": "latency", "kind": kind, "rate": self.arguments.rate, "transactions": len(latencies),
                     "median_ms": round(statistics.median(latencies), 2),
                     "p99_ms": round(latencies[int(len(latencies) * 0.99)], 2), "max_ms": round(latencies[-1], 2),
                     "load": round(os.getloadavg()[0], 2), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})

    def native(self):
        database = self.servers[1].create_database(f"native_{self.number}")
        database.script("CREATE TABLE latency (id bigint PRIMARY KEY, note text)",
                        "CREATE TABLE latency_counter (id int PRIMARY KEY, n int NOT NULL)",
                        f"CREATE SUBSCRIPTION bench CONNECTION '{self.source.uri()}' PUBLICATION bench WITH (binary = true)")
        database.wait_for("SELECT count(*) > 0 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel", 120)
        self.measure("native", database)
        database.execute("DROP SUBSCRIPTION bench")
        database.drop()

    def towline(self):
        database = self.servers[1].create_database(f"towline_{self.number}")
        service = Towline(self.source, database, self.directory / f"service-{self.number}", self.binary, task="bench_latency")
        try:
            service.start().wait_for_state("streaming", seconds=120)
            self.measure("towline", database)
            service.stop(30)
            service.call("drop", "--yes", check=True)
        except Exception:
            print(service.tail(), file=sys.stderr)
            raise
        finally:
            service.close()
        database.drop()

    def run(self, kind):
        self.number += 1
        getattr(self, kind)()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=300, help="transactions a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build-release" / "bin" / "towline")
    parser.add_argument("--results", type=pathlib.Path, help="rows are appended here as JSON lines")
    arguments = parser.parse_args()
    directory = session_directory("towline-latency-")
    rows = []

    def report(row):
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
        if arguments.results:
            with open(arguments.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    servers = [Cluster(directory, name, SETTINGS, fsync=True).start() for name in ("source", "destination")]
    try:
        latency = Latency(servers, directory, arguments.binary.resolve(), arguments, report)
        kinds = ["native", "towline"]
        for number in range(arguments.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                latency.run(kind)
        for kind in kinds:
            runs = [row for row in rows if row["kind"] == kind]
            print(f"{kind:8} median {statistics.median(row['median_ms'] for row in runs):6.2f} ms, p99 "
                  f"{statistics.median(row['p99_ms'] for row in runs):6.2f} ms, longest {max(row['max_ms'] for row in runs):7.2f} ms")
    finally:
        for server in servers:
            server.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

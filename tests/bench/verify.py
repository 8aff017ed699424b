#!/usr/bin/python3
"""How long `towline verify` takes, in times of `SELECT sum(hashtext(t::text)) FROM t` on both servers at once.

    ./dev bench verify [--size 1.0] [--rounds 5] [--results FILE]

Two private servers, pgbench's accounts with ten million rows at --size 1, the same rows on both, nothing written
meanwhile. Kinds: `key` with the primary key, `bare` without any key. Rounds are interleaved; ratios are of the
two runs of one round. Memory is the peak of the program alone.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

from support.cluster import ROOT, Cluster, make_directory, session_directory

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off"}
TABLES = {"key": "ALTER TABLE {} ADD PRIMARY KEY (aid)", "bare": "SELECT '{}'"}
FILLER = "rpad(md5(g::text), 84)"


def fill(database, rows):
    for kind, key in TABLES.items():
        database.script(f"CREATE TABLE {kind} (aid int NOT NULL, bid int, abalance int, filler char(84))",
                        f"INSERT INTO {kind} SELECT g, g / 100000, 0, {FILLER} FROM generate_series(1, {rows}) g",
                        key.format(kind))
    database.execute("VACUUM ANALYZE")


def floor(databases, kind):
    threads = [threading.Thread(target=database.value, args=(f"SELECT sum(hashtext(t::text)) FROM {kind} t",))
               for database in databases]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def verify(binary, databases, kind):
    """(seconds, peak bytes)."""
    command = [binary, "verify", "--source", databases[0].uri(), "--destination", databases[1].uri(),
               "--include", f"public.{kind}"]
    started = time.monotonic()
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output.decode()
    return time.monotonic() - started, usage.ru_maxrss << 10


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", default=ROOT / "build/bin/towline")
    parser.add_argument("--results", type=pathlib.Path)
    options = parser.parse_args()
    directory = session_directory("towline-bench-")
    for name in ("source", "destination"):
        make_directory(directory / name, 0o755)
    clusters = [Cluster(directory / name, name, settings=SETTINGS) for name in ("source", "destination")]
    try:
        databases = [cluster.start().create_database("bench") for cluster in clusters]
        for database in databases:
            fill(database, int(10_000_000 * options.size))
        for kind in TABLES:
            floor(databases, kind)  # reads all once
            ratios = []
            for number in range(options.rounds):
                seconds = floor(databases, kind)
                ours, peak = verify(options.binary, databases, kind)
                ratios.append(ours / seconds)
                row = {"kind": kind, "round": number, "rows": int(10_000_000 * options.size),
                       "floor_s": round(seconds, 2), "verify_s": round(ours, 2), "ratio": round(ours / seconds, 3),
                       "peak_mib": peak >> 20}
                print(json.dumps(row), flush=True)
                if options.results:
                    with options.results.open("a", encoding="ascii") as file:
                        file.write(json.dumps(row) + "\n")
            print(f"{kind}: median ratio {statistics.median(ratios):.2f}", file=sys.stderr)
    finally:
        for cluster in clusters:
            cluster.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

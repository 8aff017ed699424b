#!/usr/bin/python3
"""Many tables: how long a stream takes to start under filters, and the walsender's memory.

    ./dev bench relations [--tables 100000] [--filtered 10000] [--results FILE]

A private server. Startup: --filtered tables and options that name each of them; the time from
START_REPLICATION to the first row at the reader. Memory: --tables tables of six columns with one row each, inserted
in transactions of 1000; the walsender's resident memory without shared buffers when all are described, for a
plugin that writes nothing (what the server's own caches take), pgoutput, and ours. At full size some five minutes.
"""
import argparse
import json
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

import psycopg2
import psycopg2.extras

import decode
from support.cluster import as_server_user, quote_literal, server_bin, session_directory

COLUMNS = ("id bigint PRIMARY KEY, account int NOT NULL, amount numeric(12,2), note text, "
           "created timestamptz, is_open bool")
PER_TRANSACTION = 1000


def create_tables(database, count):
    for first in range(0, count, PER_TRANSACTION):
        database.execute(f"""DO $$ BEGIN FOR i IN {first}..{min(first + PER_TRANSACTION, count) - 1} LOOP
            EXECUTE format('CREATE TABLE t%s ({COLUMNS})', i); END LOOP; END $$""")


def insert_rows(database, count):
    for first in range(0, count, PER_TRANSACTION):
        database.execute(f"""DO $$ BEGIN FOR i IN {first}..{min(first + PER_TRANSACTION, count) - 1} LOOP
            EXECUTE format('INSERT INTO t%s VALUES (1, 2, 3.4, ''note'', now(), true)', i); END LOOP; END $$""")


def private_mib(pid):
    """Resident memory without what is shared (buffers, the program)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0]) / 1024


def released(monitor):
    """Drops the run's slot as soon as nobody uses it."""
    while True:
        monitor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = 'run'")
        if not monitor.fetchone()[0]:
            break
        time.sleep(0.02)
    monitor.execute("SELECT pg_drop_replication_slot('run')")


def seconds_to_first_row(database, monitor, options):
    """Over a connection of our own: an argument of a program holds at most 128 KiB."""
    monitor.execute("SELECT pg_copy_logical_replication_slot('backlog', 'run', false, 'towline')")
    connection = psycopg2.connect(database.uri(), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cursor = connection.cursor()
    listed = ", ".join(f'"{name}" {quote_literal(value)}' for name, value in options.items())
    started = time.monotonic()
    cursor.start_replication_expert("START_REPLICATION SLOT run LOGICAL 0/0" + (f" ({listed})" if listed else ""))
    while cursor.read_message() is None:
        select.select([connection], [], [], 1)
        if time.monotonic() - started > decode.DEADLINE_SECONDS:
            sys.exit("no row came")
    seconds = time.monotonic() - started
    connection.close()
    released(monitor)
    return seconds


def walsender_mib(cluster, database, monitor, plugin, options, end_lsn):
    monitor.execute("SELECT pg_copy_logical_replication_slot('backlog', 'run', false, %s)", (plugin,))
    arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    receiver = subprocess.Popen(
        [server_bin() / "pg_recvlogical", "-h", str(cluster.sockets), "-p", str(cluster.port), "-U", "postgres", "-d",
         database.name, "--slot", "run", "--start", "--no-loop", "-F", "0", "-f", "/dev/null", *arguments],
        stderr=subprocess.PIPE, cwd="/", **as_server_user())
    row = None
    while not row or not row[1]:
        if receiver.poll() is not None:
            sys.exit(f"{plugin}: {receiver.stderr.read().decode()}")
        time.sleep(0.1)
        monitor.execute("SELECT pid, sent_lsn >= %s::pg_lsn FROM pg_stat_replication", (end_lsn,))
        row = monitor.fetchone()
    mib = private_mib(row[0])
    receiver.send_signal(signal.SIGINT)
    receiver.wait()
    released(monitor)
    return mib


def knows_rules(monitor):
    """Whether the plugin has the option table_rules yet."""
    try:
        monitor.execute("SELECT count(*) FROM pg_logical_slot_peek_binary_changes('backlog', NULL, 1, "
                        "'max_protocol', '2', 'table_rules', '[]')")
        return True
    except psycopg2.Error:
        return False


def measure_startup(cluster, count, write):
    database = cluster.create_database("startup")
    create_tables(database, count)
    connection = database.connect()
    monitor = connection.cursor()
    monitor.execute("SELECT pg_create_logical_replication_slot('backlog', 'towline')")
    database.execute(f"INSERT INTO t{count - 1} VALUES (1, 2, 3.4, 'note', now(), true)")
    cases = [("no filter", {}), ("include_tables", {"include_tables": ",".join(f"public.t{i}" for i in range(count))})]
    if knows_rules(monitor):
        rules = [{"schema": "public", "table": f"t{i}", "where": f"account > {i} - {count}"} for i in range(count)]
        cases.append(("table_rules", {"max_protocol": "2", "table_rules": json.dumps(rules)}))
    for title, options in cases:
        seconds = statistics.median(seconds_to_first_row(database, monitor, options) for _ in range(3))
        print(f"{count} tables, {title}: first row after {seconds:.3f} s", flush=True)
        write({"bench": "startup", "tables": count, "options": title, "seconds": round(seconds, 3)})
    monitor.execute("SELECT pg_drop_replication_slot('backlog')")
    connection.close()
    database.drop()


def measure_memory(cluster, count, write):
    database = cluster.create_database("memory")
    create_tables(database, count)
    database.execute("CREATE PUBLICATION all_tables FOR ALL TABLES")
    connection = database.connect()
    monitor = connection.cursor()
    monitor.execute("SELECT pg_create_logical_replication_slot('backlog', 'pgoutput')")
    insert_rows(database, count)
    end_lsn = database.value("SELECT pg_current_wal_flush_lsn()::text")
    floor = None
    for variant in ("floor", "pgoutput-binary", "towline"):
        mib = walsender_mib(cluster, database, monitor, *decode.VARIANTS[variant], end_lsn)
        floor = floor or mib
        print(f"{count} relations, {variant}: {mib:.1f} MiB, {(mib - floor) * 1024 / count:.2f} KiB a relation above "
              "the floor", flush=True)
        write({"bench": "relations", "relations": count, "variant": variant, "mib": round(mib, 1)})
    monitor.execute("SELECT pg_drop_replication_slot('backlog')")
    connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100_000)
    parser.add_argument("--filtered", type=int, default=10_000)
    parser.add_argument("--results", help="file that JSON lines are appended to")
    args = parser.parse_args()
    directory = session_directory("towline-bench-")
    cluster = None
    try:
        cluster = decode.start_server(directory, max_locks_per_transaction=1000)

        def write(row):
            if args.results:
                with open(args.results, "a", encoding="utf-8") as file:
                    file.write(json.dumps({**row, **decode.conditions(cluster.database().value("SHOW server_version"))})
                               + "\n")
        if args.filtered:
            measure_startup(cluster, args.filtered, write)
        if args.tables:
            measure_memory(cluster, args.tables, write)
    finally:
        if cluster:
            cluster.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

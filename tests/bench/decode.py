#!/usr/bin/python3
"""CPU time of the walsender per million changes: ours against pgoutput, on one backlog.

    tests/bench/decode.py --bindir BINDIR [--rows 1000000] [--rounds 5] [--results FILE]

BINDIR is the bin directory of a server tree in which the extension is installed. A private server
is started in a temporary directory; the backlog is written once (six columns, --rows-per-txn rows a
transaction), and every run streams it from a copy of the same slot through pg_recvlogical to
/dev/null. The walsender's CPU time is read when it has sent everything and is still there.

Variants: floor (pgoutput with a publication that has no table: WAL reading and reordering alone),
pgoutput text and binary, towline binary and text. One round runs each once, in an order that
rotates, so that slow phases of the machine hit all of them; ratios are taken within a round. Results
are appended to FILE as JSON lines; the table goes to stdout.
"""
import argparse
import json
import os
import platform
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SETTINGS = """
listen_addresses = ''
wal_level = logical
max_wal_size = 16GB
checkpoint_timeout = 1h
shared_buffers = 256MB
fsync = off
synchronous_commit = off
autovacuum = off
max_replication_slots = 20
max_wal_senders = 10
"""

PGOUTPUT = ["-o", "proto_version=1", "-o", "publication_names=all_tables"]
VARIANTS = {
    "floor": ("pgoutput", ["-o", "proto_version=1", "-o", "publication_names=no_table"]),
    "pgoutput-text": ("pgoutput", PGOUTPUT),
    "pgoutput-binary": ("pgoutput", PGOUTPUT + ["-o", "binary=true"]),
    "towline-binary": ("towline", []),
    "towline-text": ("towline", ["-o", "binary=off"]),
}
SCHEMA = """
CREATE TABLE item (id bigint PRIMARY KEY, account int NOT NULL, amount numeric(12,2),
                   note text, created timestamptz, is_open bool);
CREATE PUBLICATION all_tables FOR TABLE item;
CREATE PUBLICATION no_table;
"""
ROWS = """
INSERT INTO item SELECT i, i % 10007, (i % 1000000) / 100.0, 'note number ' || i || ' of this table',
       '2026-01-01 00:00+00'::timestamptz + i * interval '1 second', i % 3 = 0
FROM generate_series({first}, {last}) i;
"""


class Server:
    def __init__(self, bindir):
        self.bindir = bindir
        self.dir = tempfile.mkdtemp(prefix="towline-bench.")
        self.prefix = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        self.data = os.path.join(self.dir, "data")
        self.connection = ["-h", self.dir, "-p", self.port, "-U", "postgres"]
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--encoding=UTF8",
                 "--locale=C", "--no-sync")
        known = self.run("postgres", "--describe-config")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write(SETTINGS + f"unix_socket_directories = '{self.dir}'\nport = {self.port}\n")
            if "output_plugin_libraries" in known:
                conf.write("output_plugin_libraries = 'pgoutput, towline'\n")
        self.run("pg_ctl", "-D", self.data, "-l", os.path.join(self.dir, "log"), "-w", "start")

    def command(self, program, *args):
        return self.prefix + [os.path.join(self.bindir, program), *args]

    def run(self, program, *args, stdin=None):
        done = subprocess.run(self.command(program, *args), input=stdin, text=True,
                              capture_output=True, cwd=self.dir, check=False)
        if done.returncode != 0:
            sys.exit(f"{program} failed: {done.stderr}")
        return done.stdout

    def sql(self, statement):
        return self.run("psql", *self.connection, "-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1",
                        stdin=statement).strip()

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")
        shutil.rmtree(self.dir)


def cpu_seconds(pid):
    """User and system time; schedstat has nanoseconds where the kernel keeps it."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        nanoseconds = int(file.read().split()[0])
    if nanoseconds:
        return nanoseconds / 1e9
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def generate(server, rows, rows_per_txn):
    server.sql(SCHEMA)
    server.sql("SELECT pg_create_logical_replication_slot('backlog', 'pgoutput')")
    batch = []
    for first in range(1, rows + 1, rows_per_txn):
        batch.append(ROWS.format(first=first, last=min(first + rows_per_txn - 1, rows)))
    server.sql("\n".join(batch))
    server.sql("CHECKPOINT")
    return server.sql("SELECT pg_current_wal_flush_lsn()")


def stream(server, variant, end_lsn, deadline_s):
    plugin, options = VARIANTS[variant]
    server.sql("SELECT pg_copy_logical_replication_slot('backlog', 'run', false, "
               f"'{plugin}')")
    started = time.monotonic()
    receiver = subprocess.Popen(
        server.command("pg_recvlogical", *server.connection, "-d", "postgres", "--slot", "run",
                       "--start", "--no-loop", "-F", "0", "-f", "/dev/null", *options),
        stderr=subprocess.PIPE, cwd=server.dir)
    try:
        while True:
            row = server.sql(f"SELECT pid, sent_lsn >= '{end_lsn}' FROM pg_stat_replication")
            wall_s = time.monotonic() - started
            if receiver.poll() is not None:
                sys.exit(f"{variant}: pg_recvlogical ended: {receiver.stderr.read().decode()}")
            if row.endswith("|t"):
                break
            if wall_s > deadline_s:
                sys.exit(f"{variant}: not finished after {deadline_s} s")
            time.sleep(0.05)
        walsender_s = cpu_seconds(int(row.split("|")[0]))
        # exec'ed by setpriv, so this is pg_recvlogical itself.
        receiver_s = cpu_seconds(receiver.pid)
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.wait()
    while server.sql("SELECT active FROM pg_replication_slots WHERE slot_name = 'run'") != "f":
        time.sleep(0.02)
    server.sql("SELECT pg_drop_replication_slot('run')")
    return {"walsender_cpu_s": round(walsender_s, 3), "receiver_cpu_s": round(receiver_s, 3),
            "wall_s": round(wall_s, 2)}


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def report(runs, rows, rounds):
    print(f"\n{rows} inserts; CPU seconds per million changes, median (min-max) of {rounds} rounds")
    print(f"{'variant':<17} {'walsender':>22} {'receiver':>9} {'of pgoutput-text':>22} {'of floor':>9}")
    summary = {}
    for variant in VARIANTS:
        mine = [run for run in runs if run["variant"] == variant]
        per_million = [run["walsender_cpu_s"] * 1e6 / rows for run in mine]
        receiver = [run["receiver_cpu_s"] * 1e6 / rows for run in mine]

        def paired(other):
            base = {run["round"]: run["walsender_cpu_s"] for run in runs if run["variant"] == other}
            return [run["walsender_cpu_s"] / base[run["round"]] for run in mine]
        to_text, to_floor = paired("pgoutput-text"), paired("floor")
        summary[variant] = statistics.median(to_text)
        print(f"{variant:<17} {statistics.median(per_million):6.2f} ({min(per_million):5.2f}-{max(per_million):5.2f}) "
              f"{statistics.median(receiver):13.3f} {statistics.median(to_text):8.2f} "
              f"({min(to_text):.2f}-{max(to_text):.2f}) {statistics.median(to_floor):9.2f}")
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bindir", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-per-txn", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", help="file that JSON lines are appended to")
    parser.add_argument("--max-ratio", type=float,
                        help="fail when the median of towline-binary to pgoutput-text is above")
    args = parser.parse_args()
    server = Server(args.bindir)
    try:
        version = server.sql("SHOW server_version")
        print(f"PostgreSQL {version}: writing {args.rows} rows", flush=True)
        end_lsn = generate(server, args.rows, args.rows_per_txn)
        stream(server, "towline-binary", end_lsn, 600)  # warm-up, not counted
        names, runs = list(VARIANTS), []
        for number in range(args.rounds):
            for offset in range(len(names)):
                variant = names[(number + offset) % len(names)]
                run = {"bench": "decode", "variant": variant, "round": number, "rows": args.rows,
                       "rows_per_txn": args.rows_per_txn, "server": version, "cpu": cpu_model(),
                       "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
                       "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       **stream(server, variant, end_lsn, 600)}
                runs.append(run)
                print(f"round {number} {variant:<16} {run['walsender_cpu_s']:.2f} s", flush=True)
                if args.results:
                    with open(args.results, "a", encoding="utf-8") as file:
                        file.write(json.dumps(run) + "\n")
        ratio = report(runs, args.rows, args.rounds)["towline-binary"]
        if args.max_ratio and ratio > args.max_ratio:
            sys.exit(f"towline-binary takes {ratio:.2f} of pgoutput-text, more than {args.max_ratio}")
    finally:
        server.stop()


main()

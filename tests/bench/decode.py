#!/usr/bin/python3
"""What decoding costs on the source: CPU of the walsender and bytes on the wire, ours against others'.

    ./dev bench decode [--size 1.0] [--rounds 5] [--works inserts,tpcb] [--variants …] [--results FILE]

A private server. For each work the backlog is written once, and every run streams it from a copy of the
same slot through pg_recvlogical to /dev/null. The walsender's CPU time is read when it has sent everything
and is still there. One round runs each variant once, in an order that rotates; ratios are taken within a
round, because the machine's speed drifts, and the table shows their medians.

Works, at --size 1: `inserts` 1M rows of six columns, 1000 a transaction; `tpcb` 100,000 transactions of
pgbench; `update_default`, `update_full` 1M rows updated, 100,000 a transaction, by REPLICA IDENTITY; `wide`
200,000 rows of 30 columns, mostly text and numeric, 1000 a transaction. A quick look: --size 0.1 --rounds 1.
At full size five rounds take some twelve minutes of a quiet machine with two cores.

Bytes are those of the CopyData messages, 30 bytes of header each included, as pg_recvlogical received them.
--results: JSON lines are appended; --resume leaves out runs that the file has already (of this size), so
that an interrupted measurement goes on; --report FILE prints the table of a file and measures nothing.
"""
import argparse
import collections
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time

from support.cluster import Cluster, as_server_user, known_settings, server_bin, session_directory

SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "fsync": "off",
            "synchronous_commit": "off", "autovacuum": "off", "max_replication_slots": 20,
            "max_wal_senders": 10}
DEADLINE_SECONDS = 900
# 'd', length, 'w', and three numbers of 64 bits before the plugin's bytes.
COPY_DATA_HEADER = 30

PGOUTPUT = {"proto_version": 1, "publication_names": "all_tables"}
VARIANTS = {
    "floor": ("noop", {}),
    "pgoutput-text": ("pgoutput", PGOUTPUT),
    "pgoutput-binary": ("pgoutput", {**PGOUTPUT, "binary": "true"}),
    "towline": ("towline", {}),
    "towline-text": ("towline", {"binary": "off"}),
    "towline-lz4": ("towline", {"max_protocol": 2, "compression": "lz4"}),
    "towline-zstd": ("towline", {"max_protocol": 2, "compression": "zstd"}),
    "wal2json": ("wal2json", {"format-version": 2}),
    "decoderbufs": ("decoderbufs", {}),
}


# --- works

class Inserts:
    name, title = "inserts", "6-column inserts, 1000 a transaction"
    rows_per_txn = 1000
    table = """CREATE TABLE item (id bigint PRIMARY KEY, account int NOT NULL, amount numeric(12,2),
                                  note text, created timestamptz, is_open bool)"""
    insert = """INSERT INTO item SELECT i, i % 10007, (i % 1000000) / 100.0, 'note number ' || i || ' of this table',
                    '2026-01-01 00:00+00'::timestamptz + i * interval '1 second', i % 3 = 0
                FROM generate_series({first}, {last}) i"""

    def __init__(self, size):
        self.rows = max(self.rows_per_txn, int(1_000_000 * size))

    def prepare(self, _cluster, database):
        database.execute(self.table)

    def fill(self, _cluster, database):
        steps = range(1, self.rows + 1, self.rows_per_txn)
        database.script(*[self.insert.format(first=first, last=min(first + self.rows_per_txn - 1, self.rows))
                          for first in steps])
        return self.rows


class Wide(Inserts):
    name, title = "wide", "30 columns, mostly text and numeric"
    columns = ["id bigint PRIMARY KEY"]
    values = ["i"]
    for number in range(1, 30):
        kind = number % 8
        if kind in (0, 3, 6):
            columns.append(f"n{number} numeric(14,{number % 5})")
            values.append(f"(i * {number * 7919}::bigint % 100000000) / 100.0")
        elif kind == 5:
            columns.append(f"a{number} timestamptz")
            values.append(f"'2026-01-01 00:00+00'::timestamptz + i * interval '{number} seconds'")
        elif number == 18:
            columns.append(f"i{number} int")
            values.append("i % 1000")
        else:
            columns.append(f"t{number} text")
            values.append(f"CASE WHEN i % {number + 3} = 0 THEN NULL ELSE "
                          f"'column {number} of ' || md5((i * {number})::text) END")
    table = f"CREATE TABLE wide ({', '.join(columns)})"
    insert = f"INSERT INTO wide SELECT {', '.join(values)} FROM generate_series({{first}}, {{last}}) i"

    def __init__(self, size):
        super().__init__(size)
        self.rows = max(self.rows_per_txn, int(200_000 * size))


class UpdateDefault(Inserts):
    name, title = "update_default", "updates, REPLICA IDENTITY DEFAULT, 100,000 a transaction"
    identity, update_rows = "DEFAULT", 100_000

    def prepare(self, cluster, database):
        super().prepare(cluster, database)
        database.execute(f"ALTER TABLE item REPLICA IDENTITY {self.identity}")
        super().fill(cluster, database)

    def fill(self, _cluster, database):
        step = min(self.update_rows, self.rows)
        database.script(*[f"UPDATE item SET amount = amount + 1, note = 'a new note of row ' || id "
                          f"WHERE id BETWEEN {first} AND {first + step - 1}"
                          for first in range(1, self.rows + 1, step)])
        return self.rows


class UpdateFull(UpdateDefault):
    name, title = "update_full", "updates, REPLICA IDENTITY FULL, 100,000 a transaction"
    identity = "FULL"


class TpcB:
    name, title = "tpcb", "pgbench TPC-B"
    scale, clients = 10, 4

    def __init__(self, size):
        self.transactions = max(self.clients, int(100_000 * size))

    def pgbench(self, cluster, database, *options):
        subprocess.run([server_bin() / "pgbench", "-h", str(cluster.sockets), "-p", str(cluster.port), "-U",
                        "postgres", *options, database.name], check=True, cwd="/",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_server_user())

    def prepare(self, cluster, database):
        self.pgbench(cluster, database, "-i", "-q", "-s", str(self.scale))

    def fill(self, cluster, database):
        each = self.transactions // self.clients
        self.pgbench(cluster, database, "-n", "-M", "prepared", "-c", str(self.clients), "-j", "2", "-t", str(each))
        return each * self.clients * 4


WORKS = {work.name: work for work in (Inserts, TpcB, UpdateDefault, UpdateFull, Wide)}


# --- measuring

def cpu_seconds(pid):
    """User and system time; schedstat has nanoseconds where the kernel keeps it."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        nanoseconds = int(file.read().split()[0])
    if nanoseconds:
        return nanoseconds / 1e9
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def received(pid):
    """(messages, bytes of CopyData): pg_recvlogical writes each message and a line feed apart."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        io = {line.split(": ")[0]: int(line.split(": ")[1]) for line in file}
    messages = io["syscw"] // 2
    return messages, io["wchar"] + messages * (COPY_DATA_HEADER - 1)


def build_noop(directory):
    """The plugin that is the floor, built for this server; the name that CREATE … SLOT takes."""
    pg_config = server_bin() / "pg_config"
    source = pathlib.Path(__file__).with_name("noop.c")
    include = subprocess.run([pg_config, "--includedir-server"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.strip()
    if not pathlib.Path(include, "postgres.h").exists():  # of a tree that was copied without it
        major = subprocess.run([pg_config, "--version"], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.split()[1].split(".")[0]
        include = f"/usr/include/postgresql/{major}/server"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{include}", "-o", directory / "noop.so", source], check=True)
    (directory / "noop.so").chmod(0o755)


def start_server(directory, **settings):
    """A private server that finds the floor and allows all plugins."""
    build_noop(directory)
    settings = {**SETTINGS, "dynamic_library_path": f"{directory}:$libdir", **settings}
    if "output_plugin_libraries" in known_settings():
        settings["output_plugin_libraries"] = "pgoutput, towline, noop, wal2json, decoderbufs"
    return Cluster(directory, "source", settings=settings).start()


def stream(cluster, database, monitor, variant, end_lsn):
    """One run: the walsender's and the receiver's CPU, messages and bytes."""
    plugin, options = VARIANTS[variant]
    monitor.execute("SELECT pg_copy_logical_replication_slot('backlog', 'run', false, %s)", (plugin,))
    arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    started = time.monotonic()
    receiver = subprocess.Popen(
        [server_bin() / "pg_recvlogical", "-h", str(cluster.sockets), "-p", str(cluster.port), "-U", "postgres",
         "-d", database.name, "--slot", "run", "--start", "--no-loop", "-F", "0", "-f", "/dev/null", *arguments],
        stderr=subprocess.PIPE, cwd="/", **as_server_user())
    try:
        while True:
            monitor.execute("SELECT pid, sent_lsn >= %s::pg_lsn FROM pg_stat_replication", (end_lsn,))
            row = monitor.fetchone()
            wall_s = time.monotonic() - started
            if receiver.poll() is not None:
                sys.exit(f"{variant}: pg_recvlogical ended: {receiver.stderr.read().decode()}")
            if row and row[1]:
                break
            if wall_s > DEADLINE_SECONDS:
                sys.exit(f"{variant}: not finished after {DEADLINE_SECONDS} s")
            time.sleep(0.05)
        # What was sent has been received when the receiver has nothing more to write for a while.
        last, still = None, 0
        while still < 6:
            now = received(receiver.pid)
            last, still = now, still + 1 if now == last else 0
            time.sleep(0.05)
        walsender_s, receiver_s = cpu_seconds(row[0]), cpu_seconds(receiver.pid)
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.wait()
    while True:
        monitor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = 'run'")
        if not monitor.fetchone()[0]:
            break
        time.sleep(0.02)
    monitor.execute("SELECT pg_drop_replication_slot('run')")
    return {"walsender_cpu_s": round(walsender_s, 3), "receiver_cpu_s": round(receiver_s, 3),
            "wall_s": round(wall_s, 2), "messages": last[0], "wire_bytes": last[1]}


def conditions(server_version):
    cpu = platform.processor()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    return {"server": server_version, "cpu": cpu, "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def usable(monitor, variant):
    """Whether the server has the variant's plugin; what it needs of it is asked by the first run."""
    plugin, options = VARIANTS[variant]
    try:
        monitor.execute("SELECT pg_create_logical_replication_slot('probe', %s)", (plugin,))
        if options:
            pairs = [str(word) for pair in options.items() for word in pair]
            monitor.execute("SELECT count(*) FROM pg_logical_slot_peek_binary_changes('probe', NULL, 1, VARIADIC %s)",
                            (pairs,))
        problem = None
    except Exception as error:  # pylint: disable=broad-except
        problem = str(error).splitlines()[0]
    monitor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'probe'")
    if problem:
        print(f"left out: {variant} ({problem})", flush=True)
    return problem is None


def measure(cluster, work, args, done, write):
    database = cluster.create_database("bench_" + work.name)
    work.prepare(cluster, database)
    database.script("CREATE PUBLICATION all_tables FOR ALL TABLES", "VACUUM ANALYZE", "CHECKPOINT")
    connection = database.connect()
    monitor = connection.cursor()
    version = database.value("SHOW server_version")
    names = [name for name in args.variants if usable(monitor, name)]
    monitor.execute("SELECT pg_create_logical_replication_slot('backlog', 'pgoutput')")
    started = time.monotonic()
    changes = work.fill(cluster, database)
    database.script("CHECKPOINT")
    end_lsn = database.value("SELECT pg_current_wal_flush_lsn()::text")
    print(f"{work.name}: {changes} changes written in {time.monotonic() - started:.0f} s", flush=True)
    stream(cluster, database, monitor, names[0], end_lsn)  # warm-up, not counted
    for number in range(args.rounds):
        for offset in range(len(names)):
            variant = names[(number + offset) % len(names)]
            if (work.name, variant, number) in done:
                continue
            run = {"bench": "decode", "work": work.name, "variant": variant, "round": number, "size": args.size,
                   "changes": changes, **conditions(version),
                   **stream(cluster, database, monitor, variant, end_lsn)}
            write(run)
            print(f"{work.name} round {number} {variant:<15} {run['walsender_cpu_s']:7.2f} s", flush=True)
    monitor.execute("SELECT pg_drop_replication_slot('backlog')")
    connection.close()
    database.drop()


# --- the table

# Work -> ratios that the issue asks for: to the better of pgoutput, and to the better of the others.
GOALS = {"inserts": (0.45, 0.25), "tpcb": (0.60, 0.45), "update_default": (0.45, 0.25), "update_full": (0.45, 0.25),
         "wide": (0.50, 0.30)}


def median_ratio(mine, others, key):
    """Median, lowest and highest ratio to the cheapest of `others` in the same round."""
    ratios = []
    for number, value in mine.items():
        bases = [runs[number][key] for runs in others if number in runs and runs[number][key]]
        if bases:
            ratios.append(value[key] / min(bases))
    return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def show(ratio):
    return "–" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})"


def report(runs):
    """Markdown tables; the ratios of `towline` by work."""
    by_work = collections.defaultdict(lambda: collections.defaultdict(dict))
    for run in runs:
        by_work[run["work"]][run["variant"]][run["round"]] = run
    result = {}
    for work in (name for name in WORKS if name in by_work):
        variants = by_work[work]
        pgoutput = [variants[name] for name in ("pgoutput-text", "pgoutput-binary")]
        third = [variants[name] for name in ("wal2json", "decoderbufs")]
        any_run = next(iter(next(runs for runs in variants.values() if runs).values()))
        rounds = max(len(runs) for runs in variants.values())
        print(f"\n{WORKS[work].title}: {any_run['changes']} changes, {rounds} rounds\n")
        print("| | CPU s per million | of the better pgoutput | of the better of wal2json, decoderbufs | of the floor "
              "| bytes a change | of pgoutput binary | receiver |")
        print("|---|---|---|---|---|---|---|---|")
        for name in (name for name in VARIANTS if variants.get(name)):
            mine = variants[name]
            per_million = statistics.median(run["walsender_cpu_s"] * 1e6 / run["changes"] for run in mine.values())
            receiver = statistics.median(run["receiver_cpu_s"] * 1e6 / run["changes"] for run in mine.values())
            wire = statistics.median(run["wire_bytes"] / run["changes"] for run in mine.values())
            bytes_ratio = median_ratio(mine, [variants["pgoutput-binary"]], "wire_bytes")
            ratios = [median_ratio(mine, peers, "walsender_cpu_s") for peers in (pgoutput, third, [variants["floor"]])]
            print(f"| {name} | {per_million:.2f} | {show(ratios[0])} | {show(ratios[1])} | {show(ratios[2])} "
                  f"| {wire:.0f} | {'–' if bytes_ratio is None else f'{bytes_ratio[0]:.2f}'} | {receiver:.2f} |")
            if name == "towline":
                result[work] = ratios[:2]
        goals = GOALS[work]
        print(f"\nWanted of towline: at most {goals[0]} of pgoutput, {goals[1]} of the others; bytes at most 0.8 of "
              "pgoutput binary, 0.35 with zstd.")
    return result


def read_results(file):
    if not file or not os.path.exists(file):
        return []
    with open(file, encoding="utf-8") as lines:
        return [run for run in map(json.loads, lines) if "work" in run]


def names_in(text, known, what):
    names = text.split(",") if text else list(known)
    for name in names:
        if name not in known:
            sys.exit(f"no {what} {name}: {', '.join(known)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--works", help=", ".join(WORKS))
    parser.add_argument("--variants", help=", ".join(VARIANTS))
    parser.add_argument("--frame-bytes", help="sizes, separated by commas: towline once with each, instead of --variants")
    parser.add_argument("--results", help="file that JSON lines are appended to")
    parser.add_argument("--resume", action="store_true", help="go on with --results")
    parser.add_argument("--report", metavar="FILE", help="print the table of this file only")
    parser.add_argument("--check", action="store_true", help="fail when towline's ratios are above those wanted")
    args = parser.parse_args()
    if args.report:
        report(read_results(args.report))
        return
    works = names_in(args.works, WORKS, "work")
    if args.frame_bytes:
        for size in args.frame_bytes.split(","):
            for name in ("towline", "towline-lz4", "towline-zstd"):
                VARIANTS[f"{name}-{size}"] = ("towline", {**VARIANTS[name][1], "frame_bytes": size})
        args.variants = [name for name in VARIANTS if name.rpartition("-")[2].isdigit()]
    else:
        args.variants = names_in(args.variants, VARIANTS, "variant")
    runs = [run for run in read_results(args.results) if run["size"] == args.size] if args.resume else []
    done = {(run["work"], run["variant"], run["round"]) for run in runs}

    def write(run):
        runs.append(run)
        if args.results:
            with open(args.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")

    directory = session_directory("towline-bench-")
    cluster = None
    try:
        cluster = start_server(directory)
        for name in works:
            measure(cluster, WORKS[name](args.size), args, done, write)
    finally:
        if cluster:
            cluster.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)
    result = report(runs)
    if args.check:
        for work, ratios in result.items():
            for ratio, goal in zip(ratios, GOALS[work]):
                if ratio and ratio[0] > goal:
                    sys.exit(f"{work}: {ratio[0]:.2f}, more than {goal}")


if __name__ == "__main__":
    main()

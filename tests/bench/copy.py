#!/usr/bin/python3
"""How long the initial copy takes: Towline against pgcopydb, native replication, pg_dump and a floor.

    ./dev bench copy [--size 1.0] [--rounds 3] [--works wide,one,small] [--kinds towline,pgcopydb,…] [--results FILE]

Two private servers; every run copies the same source into an empty database. Its time begins with the
program and ends when rows, indexes and constraints are there and analyzed (native: when every table is
ready). CPU is that of both servers and of the program with its children. After each run the rows of both
databases are compared by hash, and the destination's size is taken. Rounds are interleaved in rotating order.

Works at --size 1: `wide` 5 million rows of pgbench's accounts and a million rows of mixed types with three
indexes; `one` a table of ten million rows (Towline with one worker and two); `small` 5,000 tables of ten rows.
Kinds: `floor` two pipes of psql COPY BINARY by ranges of keys, then ANALYZE and the indexes, by hand (wide and
one only); `towline`; `towline-1` with one worker; `pgcopydb` clone, two jobs each; `dump` pg_dump -Fd -Z0 -j2 and
pg_restore -j2; `native` a subscription with copy_data into a schema that has its indexes. --delay MS puts a
relay before the destination that holds every byte up by so long (towline kinds only).
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from apply import cpu_of_server, process_stat
from support.cluster import ROOT, Cluster, as_server_user, server_bin, server_user, session_directory
from support.proxy import Proxy
from support.towline import Towline

SETTINGS = {"shared_buffers": "1GB", "maintenance_work_mem": "256MB", "max_wal_size": "8GB",
            "checkpoint_timeout": "30min", "autovacuum": "off", "max_replication_slots": 50,
            "max_locks_per_transaction": 4096, "max_sync_workers_per_subscription": 2}
DEADLINE_SECONDS = 3600


# --- works

class Wide:
    name = "wide"
    kinds = ("floor", "towline", "pgcopydb", "dump", "native")
    # Table, key, rows: what the floor copies in two halves.
    indexes = ("ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)", "ALTER TABLE wide ADD PRIMARY KEY (id)",
               "CREATE INDEX wide_customer ON wide (customer)", "CREATE INDEX wide_at ON wide (at)",
               "CREATE INDEX wide_note ON wide (note)")

    def __init__(self, size):
        self.accounts, self.wides = max(1000, int(5_000_000 * size)), max(1000, int(1_000_000 * size))
        self.halves = (("pgbench_accounts", "aid", self.accounts), ("wide", "id", self.wides))

    tables = ("CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84))",
              "CREATE TABLE wide (id bigint NOT NULL, customer int, amount numeric(12,2), note text, body text, "
              "at timestamptz, day date, flag bool, tags text[], doc jsonb, ratio float8, uid uuid)")

    def fill(self, source):
        source.script(*self.tables, f"INSERT INTO pgbench_accounts SELECT g, g / 100000, 0, '' FROM "
                      f"generate_series(1, {self.accounts}) g",
                      f"""INSERT INTO wide SELECT g, g % 9973, g * 1.25, 'note ' || md5(g::text), repeat(md5(g::text), 3),
                          '2026-01-01'::timestamptz + g * interval '1 second', '2026-01-01'::date + g % 999, g % 2 = 0,
                          ARRAY['a' || g % 10, 'b'], jsonb_build_object('n', g, 's', 'text ' || g), g / 7.0,
                          md5(g::text)::uuid FROM generate_series(1, {self.wides}) g""", *self.indexes)


class One(Wide):
    name = "one"
    kinds = ("floor", "towline-1", "towline")
    indexes = ("ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid)",)
    tables = Wide.tables[:1]

    def __init__(self, size):
        self.accounts = max(1000, int(10_000_000 * size))
        self.halves = (("pgbench_accounts", "aid", self.accounts),)

    def fill(self, source):
        source.script(*self.tables, f"INSERT INTO pgbench_accounts SELECT g, g / 100000, 0, '' FROM "
                      f"generate_series(1, {self.accounts}) g", *self.indexes)


class Small:
    name = "small"
    kinds = ("towline", "pgcopydb", "dump")

    def __init__(self, size):
        self.count = max(10, int(5000 * size))

    def fill(self, source):
        for first in range(0, self.count, 500):
            source.execute(f"""DO $$ BEGIN FOR i IN {first}..{min(first + 500, self.count) - 1} LOOP
                EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', i);
                EXECUTE format('INSERT INTO t%s SELECT g, ''row '' || g FROM generate_series(1, 10) g', i);
                END LOOP; END $$""")


WORKS = (Wide, One, Small)


# --- one run of one kind

def peak_mib(pid):
    """The most resident memory that a process has had."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return round(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024)


class Program:
    """A child whose CPU, with that of its children, is known after its end."""

    def __init__(self):
        self.seconds = 0.0

    def run(self, command, **more):
        before = os.times()
        subprocess.run([str(part) for part in command], check=True, cwd="/", stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, **as_server_user(), **more)
        after = os.times()
        self.seconds += after.children_user + after.children_system - before.children_user - before.children_system


class Copy:
    def __init__(self, work, servers, directory, binary, delay, report):
        self.work, self.report, self.delay = work, report, delay
        self.source_server, self.destination_server = servers
        self.directory, self.binary, self.number = directory, binary, 0
        self.source = self.source_server.create_database(f"copy_{work.name}")
        started = time.monotonic()
        self.source.execute("CREATE EXTENSION towline")
        work.fill(self.source)
        self.source.execute("VACUUM ANALYZE")
        self.source.execute("CREATE PUBLICATION bench FOR ALL TABLES")
        self.source_server.database().execute("CHECKPOINT")
        print(f"{work.name}: filled in {time.monotonic() - started:.0f} s", file=sys.stderr)
        self.expected = self.fingerprint(self.source)

    def fingerprint(self, database):
        tables = [name for name, in database.query(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
            "ORDER BY 1")]
        found = {}
        for first in range(0, len(tables), 200):
            some = tables[first:first + 200]
            rows = database.query(" UNION ALL ".join(
                f"SELECT '{name}', count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {name} t" for name in some))
            found.update((name, (count, total)) for name, count, total in rows)
        indexes = database.value("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
                                 "WHERE c.relnamespace = 'public'::regnamespace AND indisvalid")
        return found, indexes

    # each: database → CPU seconds of the program

    def towline(self, database, *more):
        with contextlib.ExitStack() as stack:
            service = Towline(self.source, database, self.directory / f"service-{self.number}", self.binary,
                              task="bench_copy", arguments=more)
            if self.delay:
                proxy = Proxy(database.cluster.port)
                stack.callback(proxy.close)
                proxy.delay(self.delay / 1000)
                service.command_uris = (self.source.uri(), proxy.uri(database.uri()))
            service.start()
            try:
                service.wait_for_state("catching_up", "streaming", seconds=DEADLINE_SECONDS)
                self.stop_clock()
                _, own, ended = process_stat(service.process.pid)
                self.peak_mib = peak_mib(service.process.pid)
                service.stop(60)
                service.call("drop", check=True)
            except Exception:
                print(service.tail(), file=sys.stderr)
                raise
            finally:
                service.close()
        return own + ended

    def towline_1(self, database):
        return self.towline(database, "--copy-workers", 1)

    def pgcopydb(self, database):
        program, work = Program(), self.own_directory("pgcopydb")
        program.run(["pgcopydb", "clone", "--source", self.source.uri(), "--target", database.uri(), "--dir", work,
                     "--table-jobs", 2, "--index-jobs", 2, "--no-owner", "--no-acl"])
        self.stop_clock()
        return program.seconds

    def own_directory(self, name):
        """One that the servers' user may write to, which runs the programs."""
        work = self.directory / f"{name}-{self.number}"
        work.mkdir()
        if os.geteuid() == 0:
            shutil.chown(work, server_user())
        return work

    def dump(self, database):
        program, work = Program(), self.own_directory("dump") / "dump"
        program.run([server_bin() / "pg_dump", "-Fd", "-Z0", "-j2", "--no-publications", "-f", work, "-d",
                     self.source.uri()])
        program.run([server_bin() / "pg_restore", "-j2", "-d", database.uri(), work])
        database.execute("ANALYZE")
        self.stop_clock()
        shutil.rmtree(work)
        return program.seconds

    def floor(self, database):
        program = Program()
        database.script(*self.work.tables)
        pipes = []
        for half in (0, 1):
            copies = [self.half_copy(database, half, *table) for table in self.work.halves]
            pipes.append(" && ".join(copies))
        program.run(["bash", "-c", f"set -o pipefail; ({pipes[0]}) & first=$!; ({pipes[1]}) && wait $first"])
        database.execute("SET maintenance_work_mem = '256MB'")
        halves = self.work.indexes[::2], self.work.indexes[1::2]
        script = [" ".join(f"{statement};" for statement in half) for half in halves if half]
        program.run(["bash", "-c", " & ".join(f"psql -X -q -d '{database.uri()}' -c \"{text}\"" for text in script)
                     + " & for job in $(jobs -p); do wait $job || exit 1; done"])
        database.execute("ANALYZE")
        self.stop_clock()
        return program.seconds

    def half_copy(self, database, half, table, key, rows):
        where = f"{key} <= {rows // 2}" if half == 0 else f"{key} > {rows // 2}"
        return (f"psql -X -q -d '{self.source.uri()}' -c 'COPY (SELECT * FROM {table} WHERE {where}) TO STDOUT (FORMAT binary)' "
                f"| psql -X -q -d '{database.uri()}' -c 'COPY {table} FROM STDIN (FORMAT binary)'")

    def native(self, database):
        database.script(*self.work.tables, *self.work.indexes)
        database.execute(f"CREATE SUBSCRIPTION bench CONNECTION '{self.source.uri()}' PUBLICATION bench")
        try:
            database.wait_for("SELECT count(*) > 0 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel",
                              DEADLINE_SECONDS)
            self.stop_clock()
        finally:
            database.execute("DROP SUBSCRIPTION bench")
        return 0.0

    def stop_clock(self):
        self.wall = time.monotonic() - self.began

    def run(self, kind):
        self.number += 1
        name = f"run_{self.work.name}_{self.number}"
        database = self.destination_server.create_database(name)
        self.destination_server.database().execute("CHECKPOINT")
        servers = (self.source_server, self.destination_server)
        before = sum(cpu_of_server(server) for server in servers)
        self.began, self.peak_mib = time.monotonic(), None
        client = getattr(self, kind.replace("-", "_"))(database)
        total = sum(cpu_of_server(server) for server in servers) - before
        size = database.value("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' "
                              "AND relnamespace = 'public'::regnamespace")
        is_equal = self.fingerprint(database) == self.expected
        row = {"bench": "copy", "work": self.work.name, "kind": kind, "delay_ms": self.delay,
               "wall_seconds": round(self.wall, 2), "cpu_seconds": round(total + client, 2),
               "client_seconds": round(client, 2), "peak_mib": self.peak_mib, "bytes": int(size), "verified": is_equal,
               "tables": len(self.expected[0]),
               "load": round(os.getloadavg()[0], 2), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self.report(row)
        if not is_equal:
            raise AssertionError(f"{kind} left something else than the source has: {name}")
        database.drop()


def table(rows):
    print(f"\n{'work':7} {'kind':10} {'wall s':>19} {'CPU s':>7} {'client':>7} {'MiB':>8} {'peak':>5}  wall of the floor, of pgcopydb, per round")
    for work in dict.fromkeys(row["work"] for row in rows):
        of_work = [row for row in rows if row["work"] == work]

        def walls(kind, of_work=of_work):
            return [row["wall_seconds"] for row in of_work if row["kind"] == kind]
        for kind in dict.fromkeys(row["kind"] for row in of_work):
            runs = [row for row in of_work if row["kind"] == kind]
            mine = walls(kind)
            ratios = []
            for base in ("floor", "pgcopydb"):
                found = sorted(wall / other for wall, other in zip(mine, walls(base)))
                ratios.append(f"{statistics.median(found):.2f} [{found[0]:.2f}-{found[-1]:.2f}]" if found else "–")
            print(f"{work:7} {kind:10} {statistics.median(mine):6.1f} [{min(mine):.1f}-{max(mine):.1f}]".ljust(38)
                  + f" {statistics.median(row['cpu_seconds'] for row in runs):7.1f}"
                  f" {statistics.median(row['client_seconds'] for row in runs):7.1f}"
                  f" {statistics.median(row['bytes'] for row in runs) / 2**20:8.0f}"
                  f" {max(row['peak_mib'] or 0 for row in runs) or '':>5}  {ratios[0]}, {ratios[1]}")
    print("Every run's rows and number of indexes were compared with the source's and equal.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1.0, help="factor on the sizes above")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--works", default="wide,one,small")
    parser.add_argument("--kinds", help="of those that a work has")
    parser.add_argument("--delay", type=int, default=0, metavar="MS", help="each way, before the destination")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build-release" / "bin" / "towline")
    parser.add_argument("--results", type=pathlib.Path, help="rows are appended here as JSON lines")
    arguments = parser.parse_args()
    directory = session_directory("towline-copy-")
    rows = []

    def report(row):
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
        if arguments.results:
            with open(arguments.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    servers = [Cluster(directory, name, SETTINGS, fsync=True).start() for name in ("source", "destination")]
    try:
        for work in WORKS:
            if work.name not in arguments.works.split(","):
                continue
            copy = Copy(work(arguments.size), servers, directory, arguments.binary.resolve(), arguments.delay, report)
            kinds = [kind for kind in work.kinds if not arguments.kinds or kind in arguments.kinds.split(",")]
            if arguments.delay:
                kinds = [kind for kind in kinds if kind.startswith("towline")]
            for number in range(arguments.rounds):
                turn = number % len(kinds)
                for kind in kinds[turn:] + kinds[:turn]:
                    copy.run(kind)
            copy.source.drop()
        table(rows)
    finally:
        for server in servers:
            server.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

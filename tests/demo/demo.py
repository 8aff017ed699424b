"""./dev demo: Towline at work, in about a minute, with proof at the end.

Two PostgreSQL servers of its own (temporary directories, free ports), a shop under load in the first, a
live copy in the second, the service killed once with -9 in between, and at the end every table compared
row by row by the tests' comparator. Exit status: 0 equal, 1 different, 2 it did not come to that.
"""
import argparse
import os
import pathlib
import pwd
import shutil
import signal
import sys
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import shop  # noqa: E402
from support import cluster as clusters  # noqa: E402
from support.compare import compare  # noqa: E402
from support.towline import Towline  # noqa: E402

ROOT = clusters.ROOT


def say(text=""):
    print(text, flush=True)


def user_name():
    return pwd.getpwuid(os.geteuid()).pw_name


class Demo:
    def __init__(self, options):
        self.options = options
        self.directory = clusters.session_directory("towline-demo-")
        self.began = time.monotonic()

    def servers(self):
        say(f"Servers run as {clusters.server_user() or user_name()}, the service and this script as "
            f"{user_name()}; all files are in {self.directory}, nothing else on this machine is touched.")
        self.source_server = clusters.Cluster(self.directory, "source").start()
        self.destination_server = clusters.Cluster(self.directory, "destination").start()
        self.source = self.source_server.create_database("shop")
        self.destination = self.destination_server.create_database("shop_copy")
        say(f"Source      {self.source.uri()}\nDestination {self.destination.uri()}")

    def run(self):
        self.servers()
        self.source.execute("CREATE EXTENSION towline")
        connection = self.source.connect(autocommit=False)
        say(f"Loaded a shop of {shop.create(connection, self.options.size)} into the source.")
        connection.close()
        self.load = shop.Shop(self.source.uri()).start()
        self.service = Towline(self.source, self.destination, self.directory / "service",
                               ROOT / "build/bin/towline")
        say("\nThe shop is open; now the one command that makes a live copy:\n  "
            + " ".join(self.service.command("run")) + "\n")
        self.service.start()
        end = time.monotonic() + self.options.seconds
        self.progress_until(lambda: self.service.state() == "streaming", time.monotonic() + 600)
        if self.service.state() != "streaming":
            raise RuntimeError("the copy did not get to streaming within ten minutes")
        say(f"""
The copy is live. Try it in another terminal:
  psql '{self.source.uri()}' -c "INSERT INTO shop.note (text) VALUES ('hello')"
  psql '{self.destination.uri()}' -c "SELECT * FROM shop.note"
""")
        half = time.monotonic() + max(2.0, (end - time.monotonic()) / 2)
        self.progress_until(lambda: False, half)
        self.service.kill()
        say("\nKilled the service with -9, in the middle of it; the shop goes on. The same command again:\n")
        self.service.start()
        self.progress_until(lambda: False, max(end, time.monotonic() + 2))
        self.load.stop()
        say(f"\nClosed the shop after {self.load.transactions} transactions; waiting for the copy to catch up.")
        self.service.wait_until_caught_up()
        status = self.prove()
        if self.options.keep:
            self.wait_for_interrupt()
        self.service.stop()
        say(f"Peak memory of the service: {self.service.peak_memory >> 20} MiB.")
        return status

    def progress_until(self, condition, end):
        """One line a second, as long as the service lives."""
        before = self.load.transactions
        while time.monotonic() < end and not condition():
            if not self.service.is_running:
                raise RuntimeError(f"the service ended with {self.service.exit_status}")
            if self.load.errors:
                raise self.load.errors[0]
            row = self.service.row()
            state, lag = "starting", "-"
            if row:
                flushed = int(self.source.value("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"))
                state, lag = row[2], f"{max(0, flushed - row[1]) / 1024:.0f} kB" if row[1] else "-"
            now = self.load.transactions
            copied = self.destination.value(
                "SELECT coalesce(sum(pg_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n "
                "ON n.oid = relnamespace WHERE nspname = 'shop' AND relkind = 'r'")
            say(f"{time.monotonic() - self.began:5.0f} s  {state:<16} at the destination {copied / 1e6:7.1f} MB   "
                f"behind {lag:>9}   shop {now - before:4d} transactions/s")
            before = now
            tick = time.monotonic() + 1
            while time.monotonic() < min(tick, end) and not condition():
                time.sleep(0.05)

    def prove(self):
        say("\nComparing both databases, every row of every table (with own code, none of Towline's):")
        result = compare(self.source.uri(), self.destination.uri())
        differing = {text.split()[1].rstrip(":") for text in result.differences if text.startswith("table ")}
        for table, rows in result.rows.items():
            say(f"  {table:<24} {rows:9d} rows   {'DIFFERENT' if table in differing else 'equal'}")
        if not result:
            say("\nNOT EQUAL:\n" + str(result))
            return 1
        say(f"\nEqual: {sum(result.rows.values())} rows in {len(result.rows)} tables.")
        return 0

    def wait_for_interrupt(self):
        say("\nServers and service keep running; Ctrl-C ends them.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            say()

    def close(self, keep):
        """Everything that was started is ended, also after an error."""
        if hasattr(self, "load"):
            self.load.stopping.set()
        if hasattr(self, "service"):
            self.service.close()
        for name in ("source_server", "destination_server"):
            if hasattr(self, name):
                getattr(self, name).stop("fast")
        if keep:
            say(f"Logs and data are left in {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=positive, default=60, help="how long the shop is open (60)")
    parser.add_argument("--size", type=positive, default=50, help="megabytes of data (50)")
    parser.add_argument("--keep", action="store_true", help="let servers and service run on until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    demo = Demo(options)
    status = 2
    try:
        status = demo.run()
    except KeyboardInterrupt:
        say("\ninterrupted")
    except Exception as error:
        traceback.print_exc()
        say(f"\nThe demo failed: {error}")
        if hasattr(demo, "service"):
            say(demo.service.tail())
    finally:
        demo.close(keep=status != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())

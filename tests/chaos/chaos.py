#!/usr/bin/python3
"""Chaos: a running task under random load and random faults; afterwards both databases are equal row for row.

    ./dev chaos [--seed N] [--minutes M] [--seeds N] [--faults N] [--server V] [--ddl] [--promote WHICH]
                [--results FILE] [--soak FILE]

A seed decides tables, load, options and faults (plan.py, faults.py); when exactly a fault meets the service is the
machine's doing. One seed is run, or one after another: with --minutes for so long, with --seeds so many at least. Every
failure prints the command that runs its seed again, and keeps logs and data. With --ddl the schema changes in all of
them, with --promote a standby takes a server's place in all of them, or in none. With --soak one seed is run for so many
minutes, with few faults, and memory, descriptors and lag are drawn into FILE (soak.py).
"""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import time

from matrix import servers
from support.cluster import ROOT, server_bin, session_directory

from . import soak, summary, world
from .plan import Plan


class Report:
    """Prints, keeps and writes what is reported (JSON lines)."""

    def __init__(self, file, arguments):
        self.file, self.arguments, self.seed, self.records = file, arguments, None, []
        self.began = time.monotonic()

    def __call__(self, record):
        record = {"seed": self.seed, "at": round(time.monotonic() - self.began, 1), **record}
        self.records.append(record)
        if self.file:
            with open(self.file, "a", encoding="utf-8") as output:
                output.write(json.dumps(record) + "\n")
        print(self.line(record), flush=True)

    def line(self, record):
        shown = {key: value for key, value in record.items() if key not in ("seed", "at", "kind")}
        if record["kind"] == "failure":
            return f"FAILED {record['error']}\n{record['trace']}\nlogs and data: {record['kept']}\nagain: {self.command()}"
        return f"seed {record['seed']} {record['at']:8.1f} s  {record['kind']}: " + ", ".join(
            f"{key} {value}" for key, value in shown.items())

    def command(self):
        more = self.arguments
        return (f"./dev chaos --seed {self.seed} --faults {more.faults}" + (f" --server {more.server}" if more.server else "")
                + (" --ddl" if more.ddl else "") + (f" --promote {more.promote}" if more.promote else ""))


def usual_version():
    text = subprocess.run([server_bin() / "postgres", "--version"], check=True, text=True, stdout=subprocess.PIPE).stdout
    return int(re.search(r"\) (\d+)", text).group(1))


def programs_of(version):
    """Of another server than the usual one, with the extension in it."""
    try:
        programs = servers.get([version], server_bin().parents[3].parent, ROOT / "build" / "matrix")[version]
    except servers.Unavailable as why:
        sys.exit(str(why))
    subprocess.run(["make", "--no-print-directory", "-s", "-f", "Makefile.pgxs", f"PG_CONFIG={programs / 'pg_config'}",
                    f"BUILD_DIR=build/plugin/pg{version}", "install"], cwd=ROOT, check=True)
    return programs


def main():
    usual = usual_version()
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--minutes", type=float, default=0, help="seed after seed until so many minutes are over")
    parser.add_argument("--seeds", type=int, default=1, help="seed after seed, so many at least")
    parser.add_argument("--faults", type=int, default=25, help="of each seed")
    parser.add_argument("--server", type=int, choices=sorted({usual, *servers.SUITES}), help="major version of both servers")
    parser.add_argument("--ddl", action="store_true", help="the schema changes in every seed")
    parser.add_argument("--promote", choices=("source", "destination", "none"),
                        help="whose standby takes its place in every seed; otherwise the seed says")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "bin" / "towline")
    parser.add_argument("--results", type=pathlib.Path, help="records are appended here as JSON lines")
    parser.add_argument("--soak", type=pathlib.Path, help="an SVG file to write: one seed for --minutes")
    arguments = parser.parse_args()
    report, seed, succeeded = Report(arguments.results, arguments), arguments.seed, True
    version = arguments.server or usual
    programs = programs_of(version) if version != usual else None
    promotes = "" if arguments.promote == "none" else arguments.promote
    end = time.monotonic() + 60 * arguments.minutes
    course = soak.course(arguments.minutes, arguments.soak) if arguments.soak else world.World.run
    while True:
        report.seed = seed
        succeeded &= world.run(Plan(seed, arguments.faults, version, arguments.ddl, promotes),
                               session_directory("towline-chaos-"), arguments.binary.resolve(), report, programs, course)
        seed += 1
        if arguments.soak or (time.monotonic() > end and seed >= arguments.seed + arguments.seeds):
            break
    print(summary.text(report.records))
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())

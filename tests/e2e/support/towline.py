"""Runs the service as a user would: command line, signals, log, exit status; and watches its memory.

Waits look at the destination (table towline_state.task), not at what the service says of itself.
"""
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import threading
import time

import psycopg2

from . import sessions
from .waiting import Deadline, wait_until

MEMORY_LIMIT = 256 << 20  # P13; plus three times the largest row
STOP_SECONDS = 5          # SIGTERM: at a transaction border within this time; test_idle.py holds it to that


def faults_binary(binary):
    """The program with fault points stands beside the one that users get."""
    binary = pathlib.Path(binary)
    return binary if binary.name.endswith("-faults") else binary.with_name(binary.name + "-faults")


class Towline:
    """source, destination: Database objects (or URIs). fault: for TOWLINE_FAULT, uses the test program.
    arguments: more of the command line. largest_row: bytes, raises the memory limit."""

    def __init__(self, source, destination, directory, binary, task=None, fault=None, arguments=(),
                 environment=None, largest_row=0, name="towline"):
        self.source, self.destination = source, destination
        self.source_uri = source if isinstance(source, str) else source.uri()
        self.destination_uri = destination if isinstance(destination, str) else destination.uri()
        self.command_uris = None  # other URIs for the service than for the test's own look at the servers
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.binary, self.task, self.fault = pathlib.Path(binary), task, fault
        self.arguments = list(arguments)
        # A home and runtime directory of its own: sockets and files of several tests must not meet.
        # Nothing of TOWLINE_* but what the test sets, and the pg_dump that fits the servers of TOWLINE_SERVER_BIN.
        self.environment = {key: value for key, value in os.environ.items()
                            if not key.startswith("TOWLINE_") or key == "TOWLINE_PG_DUMP"}
        self.environment.update(HOME=str(self.directory), XDG_RUNTIME_DIR=str(self.directory),
                                TMPDIR=str(self.directory), **(environment or {}))
        self.log = self.directory / f"{name}.log"
        self.largest_row, self.peak_memory = largest_row, 0
        self.process = None
        self._watcher = None

    # --- the process

    def command(self, verb, *more, ends=True):
        binary = faults_binary(self.binary) if self.fault and verb == "run" else self.binary
        line = [str(binary), verb]
        if ends:
            source, destination = self.command_uris or (self.source_uri, self.destination_uri)
            line += ["--source", source, "--destination", destination]
            if self.task:
                line += ["--task", self.task]
        return line + [str(part) for part in more]

    def start(self, *more):
        """Starts `towline run` in the background; the log goes on in the same file."""
        assert not self.is_running, "it runs already"
        environment = dict(self.environment)
        if self.fault:
            environment["TOWLINE_FAULT"] = self.fault
        command = self.command("run", *self.arguments, *more)
        with open(self.log, "ab") as log:
            log.write(f"$ {shlex.join(command)}\n".encode())
            log.flush()
            self.log_start = log.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment, cwd=self.directory, start_new_session=True)
        self._watcher = threading.Thread(target=self._watch, args=(self.process,), daemon=True)
        self._watcher.start()
        return self

    def _watch(self, process):
        """The kernel keeps the peak (VmHWM) but only while the process lives, hence the sampling."""
        status = f"/proc/{process.pid}/status"
        while process.poll() is None:
            try:
                with open(status, encoding="ascii", errors="replace") as file:
                    found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
                if found:
                    self.peak_memory = max(self.peak_memory, int(found.group(1)) << 10)
            except OSError:
                return
            time.sleep(0.02)

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def exit_status(self):
        return None if self.process is None else self.process.poll()

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status."""
        assert self.process is not None, "it was not started"
        self.process.send_signal(signal.SIGTERM)
        return self.wait_exit(seconds)

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def wait_exit(self, seconds=60):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Deadline(f"the service did not end within {seconds} s; {self.tail()}") from None

    def close(self):
        """Ends it in any state (also stopped by SIGSTOP)."""
        if self.is_running:
            self.kill()
        if self._watcher is not None:
            self._watcher.join(5)

    # --- other commands

    def call(self, verb, *more, ends=True, seconds=60, check=False):
        """Runs a command to its end: .returncode, .stdout, .stderr."""
        done = subprocess.run(self.command(verb, *more, ends=ends), env=self.environment, text=True,
                              cwd=self.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=seconds, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"towline {verb} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def status(self):
        """What `towline status --json` says, parsed."""
        more = [self.task] if self.task else []
        done = self.call("status", *more, "--json", "--source", self.source_uri, "--destination",
                         self.destination_uri, ends=False, check=True)
        return json.loads(done.stdout)

    # --- its log

    def output(self, all_runs=False):
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as file:
            file.seek(0 if all_runs else getattr(self, "log_start", 0))
            return file.read().decode("utf-8", "replace")

    def tail(self, lines=40):
        return "\n".join(self.output(all_runs=True).splitlines()[-lines:])

    def wait_for_log(self, pattern, seconds=60):
        """Waits for a line of the present run that matches; returns the match."""
        def look():
            found = re.search(pattern, self.output())
            if not found and not self.is_running:
                raise AssertionError(f"the service ended with {self.exit_status} before it logged {pattern!r}; "
                                     f"{self.tail()}")
            return found
        return wait_until(look, seconds, f"a log line {pattern!r}", explain=self.tail)

    # --- its state at the destination

    def row(self):
        """(epoch, position as an integer, state, slot) of the task row; None if there is none yet."""
        def work(cursor):
            cursor.execute("SELECT to_regclass('towline_state.task') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return None
            cursor.execute("""SELECT epoch, coalesce("position", '0/0') - '0/0'::pg_lsn, state::text, slot
                                FROM towline_state.task WHERE %(task)s IS NULL OR task = %(task)s
                               ORDER BY task""", {"task": self.task})
            rows = cursor.fetchall()
            assert len(rows) <= 1, "several tasks at this destination: name one"
            return (rows[0][0], int(rows[0][1]), rows[0][2], rows[0][3]) if rows else None
        try:
            return sessions.use(self.destination_uri, work, connect_timeout=5)
        except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):
            return None

    def state(self):
        row = self.row()
        return row[2] if row else None

    def position(self):
        row = self.row()
        return row[1] if row else 0

    def wait_for_state(self, *states, seconds=120):
        def look():
            state = self.state()
            if state in states:
                return state
            if not self.is_running:
                raise AssertionError(f"the service ended with {self.exit_status} in state {state} before "
                                     f"{' or '.join(states)}; {self.tail()}")
            return None
        return wait_until(look, seconds, f"state {' or '.join(states)}",
                          explain=lambda: f"state is {self.state()}; {self.tail()}")

    def wait_until_caught_up(self, seconds=120, states=("streaming",)):
        """Waits until everything that was committed at the source before this call is applied.

        The target is the insert position read before a marker transaction: what was committed earlier
        ends at or below it, the marker above it, so "position > target" holds as soon as the marker has
        passed, also when nothing else happens at the source."""
        target = marker(self.source_uri)

        def look():
            row = self.row()
            if row and row[1] > target and row[2] in states:
                return True
            if not self.is_running:
                raise AssertionError(f"the service ended with {self.exit_status} before it had caught up; "
                                     f"{self.tail()}")
            return False

        def explain():
            row = self.row()
            return f"task row is {row}, target {target}; {self.tail()}"
        wait_until(look, seconds, "the service to catch up", interval=0.05, explain=explain)


def marker(source_uri):
    """Returns an LSN above which a marker transaction, committed before the return, ends."""
    connection = psycopg2.connect(source_uri)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            # Nobody else may flush it: a server whose clock was set back leaves that for as long as it was ahead.
            cursor.execute("SET synchronous_commit = on")
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
            target = int(cursor.fetchone()[0])
            cursor.execute("SELECT pg_logical_emit_message(true, 'test marker', '')")
            return target
    finally:
        connection.close()


def wait_until_caught_up(service, seconds=120, **options):
    service.wait_until_caught_up(seconds, **options)

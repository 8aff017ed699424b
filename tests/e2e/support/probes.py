"""What the servers say of themselves, for tests that must know more than "equal": slots, sessions,
waits. Everything is asked of the servers; nothing here believes the service.
"""
import contextlib
import dataclasses
import os
import pathlib
import signal
import threading

import psycopg2

from .waiting import wait_until

APPLICATION = "application_name LIKE 'towline%%'"


@dataclasses.dataclass
class Slot:
    """LSNs are integers (bytes of log)."""
    name: str
    confirmed: int
    restart: int
    active_pid: int


def slot(source, name=None):
    """The slot of that name, or the database's only one; None if there is none."""
    rows = source.query("""SELECT slot_name, coalesce(confirmed_flush_lsn, '0/0') - '0/0'::pg_lsn,
                                  coalesce(restart_lsn, '0/0') - '0/0'::pg_lsn, active_pid
                             FROM pg_replication_slots WHERE database = current_database() AND NOT temporary
                              AND slot_name = coalesce(%s, slot_name)""", [name])
    assert len(rows) <= 1, f"several slots: {rows}"
    return Slot(rows[0][0], int(rows[0][1]), int(rows[0][2]), rows[0][3]) if rows else None


def insert_lsn(database):
    return int(database.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def sessions(database, purpose=""):
    """Process ids of the service's sessions with this database whose application name holds `purpose`."""
    return [pid for pid, in database.query(
        f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {APPLICATION} "
        "AND application_name LIKE %s", [f"%{purpose}%"])]


def is_gone(database, pid):
    return not database.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])


def wait_event(database, pid):
    return database.value("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid])


def waits_for_xid(database, xid):
    """Whether somebody waits for this transaction (of the 32-bit number) to end."""
    return bool(database.value("""SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid'
                                     AND NOT granted AND transactionid::text::bigint = %s""", [xid & 0xffffffff]))


def assert_confirmed_is_applied(service, source):
    """I2, its half that can be seen from outside at any moment: the source was never told more than
    the destination holds. The slot is read first: both only grow. (Position 0: a slot that was made
    and is not noted yet.)"""
    seen = slot(source)
    position = service.position()
    if seen is None or position == 0:
        return
    assert seen.confirmed <= position, \
        f"the slot is confirmed to {seen.confirmed:X}, the destination's position is {position:X}"


class Session:
    """A connection with its process id, xid and SQL as methods; rolls back when closed."""

    def __init__(self, database, **options):
        self.connection = database.connect(**options)
        self.pid = self.connection.info.backend_pid

    def execute(self, sql, parameters=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql, parameters=None):
        return self.execute(sql, parameters)[0][0]

    def begin(self):
        """Opens a transaction that has an xid already; returns the xid (64 bits)."""
        self.execute("BEGIN")
        return int(self.value("SELECT pg_current_xact_id()::text"))

    def close(self):
        with contextlib.suppress(psycopg2.Error):
            self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class InBackground:
    """Runs a function in a thread; result() gives what it returned or raises what it raised."""

    def __init__(self, function, *arguments):
        self._function, self._arguments = function, arguments
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._value = self._function(*self._arguments)
        except Exception as error:  # pylint: disable=broad-except  (given to result())
            self._error = error

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def result(self, seconds=30):
        self._thread.join(seconds)
        assert self.is_done, f"the thread did not end within {seconds} s"
        if self._error is not None:
            raise self._error
        return self._value


# --- processes

def process_state(pid):
    """The kernel's letter: R, S, T (stopped), Z; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]


def wait_until_stopped(service, seconds=60):
    """Waits until the service has stopped itself at a fault point with the action `stop`."""
    def look():
        assert service.is_running, f"the service ended with {service.exit_status}; {service.tail()}"
        return process_state(service.process.pid) == "T"
    wait_until(look, seconds, "the service to stand at its fault point", explain=service.tail)


def stand_still(service):
    """SIGSTOP: the process is there, holds its connections and does nothing."""
    service.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: process_state(service.process.pid) == "T", 5, "the service to stand still")


def go_on(service):
    service.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def frozen(pid):
    """Holds one process of a server still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: process_state(pid) in ("T", None), 5, f"process {pid} to stand still")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def children(pid):
    """Process id → command line of a process's children."""
    found = {}
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((directory / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(directory.name)] = (directory / "cmdline").read_text(errors="replace").replace("\0", " ")
        except (OSError, ValueError, IndexError):
            continue
    return found


def unread_bytes(pid):
    """What has arrived on a process's TCP connections and was not read yet."""
    inodes = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if target.startswith("socket:["):
                inodes.add(target[len("socket:["):-1])
    total = 0
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] == "01":  # established; a listener's queue counts connections
                total += int(fields[4].split(":")[1], 16)
    return total


def wal_writer(cluster):
    return next(pid for pid, line in children(cluster.process.pid).items() if "walwriter" in line)


def crash_without_last_log(cluster, wal_writer_pid):
    """`immediate` while the WAL writer stands still (frozen by the caller's choice of moment): what no
    session has flushed itself is lost, as when the machine loses power."""
    cluster.process.send_signal(signal.SIGQUIT)

    def signalled():
        """SIGQUIT waits for it: it dies of it the moment it goes on, before it writes anything."""
        try:
            text = pathlib.Path(f"/proc/{wal_writer_pid}/status").read_text(encoding="ascii")
        except OSError:
            return True
        pending = 0
        for line in text.splitlines():
            if line.startswith(("SigPnd:", "ShdPnd:")):
                pending |= int(line.split()[1], 16)
        return pending & (1 << (signal.SIGQUIT - 1) | 1 << (signal.SIGKILL - 1))
    wait_until(signalled, 10, "the server to end its processes")
    with contextlib.suppress(ProcessLookupError):
        os.kill(wal_writer_pid, signal.SIGCONT)
    cluster.process.wait(30)


@contextlib.contextmanager
def at_work(database, count):
    """So many sessions that do something, as the server counts it."""
    sessions = [Session(database) for _ in range(count)]

    def sleep(session):
        with contextlib.suppress(psycopg2.Error):
            session.execute("SELECT pg_sleep(600)")

    threads = [threading.Thread(target=sleep, args=[session]) for session in sessions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for session in sessions:
            database.execute(f"SELECT pg_terminate_backend({session.pid})")
        for thread in threads:
            thread.join()

"""What a decoding session does to its server: it ends when it is told to, wherever it is, and its memory does not grow."""
import json
import pathlib
import subprocess

import psycopg2
import psycopg2.errors
import pytest

from support.cluster import as_server_user, server_bin
from support.probes import InBackground, Session, is_gone, process_state, wait_event
from support.towline_stream import Stream, StreamReader
from support.waiting import wait_until

SECONDS = 120  # the deadline of what takes less than one on an idle machine


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"logical_decoding_work_mem": "4MB", "wal_sender_timeout": "0",
                                               "autovacuum": "off", "max_wal_size": "4GB"})


def cpu_ticks(pid):
    """Hundredths of a second that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# A filter that takes about a millisecond a row, from the 500th on: the transaction takes most of a minute,
# and nothing is sent of it.
SLOW_ROWS = 40_000
SLOW_FILTER = json.dumps([{"schema": "public", "table": "t",
                           "where": "CASE WHEN id <= 500 THEN true ELSE md5(repeat(v, 30000)) = 'x' END"}])
SLOW = {"table_rules": SLOW_FILTER}


def make(source, rows, value="repeat('r', 20)"):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    source.query("SELECT pg_create_logical_replication_slot('h', 'towline')")
    source.execute(f"INSERT INTO t SELECT i, {value} FROM generate_series(1, {rows}) i")
    return source.value(POSITION)


POSITION = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'h'"

# What the session is in the midst of: value of each row, options, and how many rows: for a walsender, which waits for
# its reader, and for who does not wait.
WORK = {
    "rows": ("repeat('r', 20)", {}, 200_000, 1_500_000),
    "a filter": ("repeat('r', 20)", SLOW, SLOW_ROWS, SLOW_ROWS),
    "large values": ("repeat('large value ', 4000000)", {}, 2, 12),
}


# The function, and what the reader is told then. A walsender that was cancelled waits for another command.
ENDS = {"terminate": ("pg_terminate_backend", "terminating connection due to administrator command"),
        "cancel": ("pg_cancel_backend", "canceling statement due to user request")}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("streaming", ["off", "on"])
def test_a_walsender_can_be_ended(source, what, streaming, how):
    function, told = ENDS[how]
    value, options, rows, _ = WORK[what]
    position = make(source, rows, value)
    reader = StreamReader(1024)
    with Stream(source, "h", reader, frame_bytes=1024, streaming=streaming, **options) as stream:
        # In the midst of the transaction: something of it is here, and its end cannot be: the server waits for us,
        # or has almost a minute's work.
        stream.read_until(lambda: "begin" in reader.seen or "stream_start" in reader.seen)
        if what == "a filter":
            stream.read_until(lambda: reader.seen.get("insert", 0) >= 400)
            before = cpu_ticks(stream.pid)
            wait_until(lambda: cpu_ticks(stream.pid) > before + 20, SECONDS, "the walsender to evaluate the filter")
        else:
            wait_until(lambda: wait_event(source, stream.pid) == "WalSenderWriteData", SECONDS, "the walsender to wait")
        source.query(f"SELECT {function}(%s)", [stream.pid])
        # It goes once it has told us so, behind what is in the sockets.
        with pytest.raises(psycopg2.Error, match=told):
            while True:
                stream.read(SECONDS)
        if how == "cancel":
            assert_slot_is_free(source, position)
        else:
            wait_until(lambda: is_gone(source, stream.pid), SECONDS, "the walsender to end")
        assert not {"commit", "stream_commit"} & set(reader.seen)
    assert_slot_is_free(source, position)


def assert_slot_is_free(source, position):
    source.wait_for("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'h'", SECONDS)
    assert source.value(POSITION) == position


@pytest.mark.parametrize("what", WORK)
def test_a_session_that_peeks_can_be_cancelled(source, what):
    value, options, _, rows = WORK[what]
    position = make(source, rows, value)
    flat = [part for item in options.items() for part in item]
    with Session(source) as session:
        before = cpu_ticks(session.pid)
        peek = InBackground(session.execute, "SELECT count(*) FROM towline.changes('h', options => %s::text[])", [flat])
        wait_until(lambda: cpu_ticks(session.pid) > before + 20 or peek.is_done, SECONDS, "the session to decode")
        assert not peek.is_done
        source.query("SELECT pg_cancel_backend(%s)", [session.pid])
        with pytest.raises(psycopg2.errors.QueryCanceled):
            peek.result(SECONDS)
        assert session.value("SELECT 1") == 1
    assert_slot_is_free(source, position)


# --- memory

def own_memory(pid):
    """Kilobytes of a process's own memory."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


class Drain:
    """pg_recvlogical that throws everything away, and its walsender's memory over time."""

    def __init__(self, source, **options):
        self.source, self.samples = source, []
        end = source.value("SELECT pg_current_wal_flush_lsn()")
        chosen = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        self.client = subprocess.Popen(
            [str(server_bin() / "pg_recvlogical"), "-d", source.uri(), "--slot", "h", "--start", "--no-loop", "-E", end,
             "-f", "/dev/null", *chosen], stdout=subprocess.DEVNULL, cwd="/", **as_server_user())

    def run(self, seconds):
        pid = self.source.wait_for("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'h'", SECONDS)
        ticks = 0

        def ended():
            nonlocal ticks
            if self.client.poll() is not None:
                return True
            if process_state(pid) not in (None, "Z"):
                try:
                    self.samples.append(own_memory(pid))
                    ticks = cpu_ticks(pid)
                except OSError:
                    pass
            return False
        wait_until(ended, seconds, "the backlog to be read", interval=0.05)
        assert self.client.returncode == 0
        return ticks / 100

    def growth(self):
        """Kilobytes between the peak of the first half and that of the second; and the peak."""
        half = len(self.samples) // 2
        return max(self.samples[half:]) - max(self.samples[:half]), max(self.samples)


ROWS_A_TRANSACTION = 50_000
CHANGES = 2_000_000


@pytest.mark.limit(7200)
@pytest.mark.parametrize("changes", [CHANGES, pytest.param(50_000_000, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_changes(source, changes, size):
    changes *= size
    source.execute("CREATE TABLE t (id int, n int)")
    source.query("SELECT pg_create_logical_replication_slot('h', 'towline')")
    source.execute(f"""CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1 .. {changes // ROWS_A_TRANSACTION} LOOP
            INSERT INTO t SELECT j, i FROM generate_series(1, {ROWS_A_TRANSACTION}) j; COMMIT;
            IF i % 20 = 0 THEN TRUNCATE t; COMMIT; END IF;
        END LOOP; END $$""")
    source.execute("CALL fill()")
    drain = Drain(source)
    seconds = drain.run(3600)
    growth, peak = drain.growth()
    sent = source.value("SELECT total_bytes FROM pg_stat_replication_slots WHERE slot_name = 'h'")
    print(f"{changes} changes: {seconds:.1f} s of CPU, peak {peak} kB, growth {growth} kB in {len(drain.samples)} samples, "
          f"{sent} bytes decoded")
    assert len(drain.samples) >= 6
    assert growth < 2048 and peak < 64 * 1024


@pytest.mark.limit(7200)
@pytest.mark.parametrize("relations", [6000, pytest.param(60_000, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_relations_that_are_gone(source, relations, size):
    relations *= size
    source.query("SELECT pg_create_logical_replication_slot('h', 'towline')")
    source.execute(f"""CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1 .. {relations} LOOP
            EXECUTE format('CREATE TABLE r%s (id int, n int)', i); EXECUTE format('INSERT INTO r%s VALUES (1, 2)', i); COMMIT;
            EXECUTE format('DROP TABLE r%s', i); COMMIT;
        END LOOP; END $$""")
    source.execute("CALL fill()")
    drain = Drain(source)
    seconds = drain.run(3600)
    growth, peak = drain.growth()
    print(f"{relations} relations: {seconds:.1f} s of CPU, peak {peak} kB, growth {growth} kB in {len(drain.samples)} samples")
    # What is not valid any more is forgotten from 10000 on (plugin.md).
    assert growth < (2048 if relations > 40_000 else 2 * relations) and peak < 64 * 1024

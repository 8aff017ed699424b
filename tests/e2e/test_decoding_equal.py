"""The same WAL through pgoutput and through towline, whatever the options: the same transactions in the same
order, the same rows, the same old and new images (I9).

Random work is decoded after the fact, again and again, and by a reader that is connected while it goes on,
so that transactions are rolled back under it, and that loses its connection now and then. The source
decodes with 64 kB, so that most transactions are spilled or sent in runs.
"""
import contextlib
import itertools
import json
import random
import threading

import pytest

from support import referee
from support.random_work import SETUP, TABLES, Work
from support.towline_stream import Stream, StreamReader, difference
from support.probes import Session, wait_event
from support.waiting import wait_until

STEPS = 1800
CHOICES = {
    "streaming": ("on", "off"), "two_phase": ("on", "off"), "binary": ("on", "basic", "off"),
    "frame_bytes": (1024, 8192, 65536, 1 << 20), "compression": ("none", "lz4", "zstd"),
    "partitions": ("leaf", "root"), "memory": ("64kB", "400kB", "64MB"), "rules": ("none", "all"), "origin": ("any", "none"),
}
# Filters that every row passes, old and new, whatever the replica identity is at the moment: each change is
# judged and nothing may become of it. Values of long_key's key are stored out of line.
RULES = json.dumps([{"schema": "public", "table": table, "where": where} for table, where in {
    "keyed": "id IS NULL OR id IS NOT NULL", "whole": "n IS NULL OR v IS NULL OR id > 0 OR id <= 0", "indexed": "true",
    "long_key": "length(k) >= 0 OR k IS NULL", "bare": "true", "tree": "id = id OR id IS NULL"}.items()])
# What pgoutput's texts depend on; towline has its own.
PINNED = ("SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 3; "
          "SET bytea_output = 'hex'; SET search_path = pg_catalog, pg_temp")
CAREFUL = "SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'"


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB", "wal_sender_timeout": "0"})


def peek(source, slot, options, settings):
    flat = [part for name, value in options.items() for part in (name, str(value))]
    with contextlib.closing(source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(settings)
        cursor.execute("SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes(%s, NULL, NULL, VARIADIC %s::text[])",
                       [slot, flat])
        return [row[0] for row in cursor]


def judged(source, partitions="leaf"):
    """What pgoutput makes of the WAL, with partitions under that name."""
    options = {"proto_version": 1, "publication_names": f"by_{partitions}", "messages": "true"}
    return referee.merge(*(referee.parse(peek(source, "referee", {**options, "binary": binary}, PINNED))
                           for binary in ("false", "true")))


def ours(source, streaming="off", two_phase="off", memory="64kB", rules="none", **options):
    """What towline makes of it."""
    if rules == "all":
        options["table_rules"] = RULES
    reader = StreamReader(options.get("frame_bytes", 65536), options.get("partitions", "leaf"))
    options.update(streaming=streaming, two_phase=two_phase)
    slot = "prepared" if two_phase == "on" else "whole"
    for frame in peek(source, slot, options, f"{CAREFUL}; SET logical_decoding_work_mem = '{memory}'"):
        reader.read(frame)
    assert not reader.parts and not reader.streams and not reader.prepared
    return reader


def with_keys(entries):
    """Where a rule holds, a key's value that an update leaves alone is taken from the old row, which has it."""
    def change_with_keys(change):
        if change[:1] != ("update",) or change[2] != "key":
            return change
        old = iter(change[3])
        keys = [next(old) if column[3] else None for column in change[1][2]]
        return (*change[:4], tuple(key if cell == referee.UNCHANGED and key is not None else cell
                                   for cell, key in zip(change[4], keys)))
    return [(*entry[:5], [change_with_keys(change) for change in entry[5]]) if entry[0] == "transaction" else entry
            for entry in entries]


def assert_same(expected, reader, options=""):
    what = difference(expected, reader.ended)
    assert not what, f"{options} {what}"


def prepare(source):
    source.execute(SETUP)
    source.script("CREATE PUBLICATION by_leaf FOR ALL TABLES",
                  "CREATE PUBLICATION by_root FOR ALL TABLES WITH (publish_via_partition_root)")
    source.query("SELECT pg_create_logical_replication_slot('referee', 'pgoutput'), "
                 "pg_create_logical_replication_slot('whole', 'towline')")
    for slot in ("prepared", "live"):
        source.query("SELECT pg_create_logical_replication_slot(%s, 'towline', false, true)", [slot])


def pairs(options):
    return set(itertools.combinations(sorted(options.items()), 2))


def combinations(dice, more):
    """Of all combinations of options as few as hold every pair of values, and some more."""
    every = [dict(zip(CHOICES, values)) for values in itertools.product(*CHOICES.values())]
    sure = dict(zip(CHOICES, ("on", "on", "on", 1024, "zstd", "leaf", "64kB", "none", "any")))
    yield sure
    missing = set().union(*map(pairs, every)) - pairs(sure)
    while missing:
        candidates = dice.sample(every, 60)
        best = max(candidates, key=lambda options: len(pairs(options) & missing))
        missing -= pairs(best)
        yield best
    yield from dice.sample(every, more)


class LiveReader:
    """Reads with streaming and two-phase decoding while the work goes on. After so many frames of each
    connection it drops it, sometimes without having confirmed anything."""

    def __init__(self, source, seed):
        self.source, self.dice, self.reader = source, random.Random(seed), StreamReader(4096)
        self.error, self.connections, self.ended = None, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.ended:
                self.connect()
        except Exception as error:  # pylint: disable=broad-except  # told by finish()
            self.error = error

    def is_last(self):
        return bool(self.reader.ended) and self.reader.ended[-1][:2] == ("message", "end of work")

    def connect(self):
        self.connections += 1
        with Stream(self.source, "live", self.reader, streaming="on", two_phase="on", frame_bytes=4096,
                    compression="lz4") as stream:
            for _ in range(self.dice.choice((60, 300, 1500))):
                stream.read()
                if self.is_last():
                    self.ended = True
                    break
            if self.dice.random() < 0.7:
                stream.confirm()
        self.source.wait_for("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'live'", 60)

    def finish(self):
        self.thread.join(240)
        if self.error is not None:
            raise self.error
        assert self.ended


LARGE = 1_300_000


def sure_work(source):
    """What random work may miss."""
    with contextlib.closing(source.connect()) as connection, connection.cursor() as cursor:
        for sql in (
                # Values in parts, old and new.
                f"BEGIN; INSERT INTO keyed (id, n, doc, b) VALUES (-1, 1, repeat('a', {LARGE}), convert_to(repeat('b', {LARGE}), 'UTF8'));"
                f"INSERT INTO whole (id, n, doc) VALUES (-1, 1, repeat('a', {LARGE})); COMMIT",
                f"BEGIN; UPDATE whole SET n = 2 WHERE id = -1; UPDATE whole SET doc = repeat('b', {LARGE * 7}) WHERE id = -1; "
                "UPDATE keyed SET n = 2 WHERE id = -1; UPDATE keyed SET id = -2 WHERE id = -1; DELETE FROM whole WHERE id = -1; COMMIT",
                # Subtransactions within each other, of which the middle one is rolled back.
                "BEGIN; INSERT INTO bare SELECT i FROM generate_series(1, 1000) i; SAVEPOINT a; INSERT INTO bare SELECT i FROM "
                "generate_series(1001, 2000) i; SAVEPOINT b; INSERT INTO bare SELECT i FROM generate_series(2001, 7000) i; SAVEPOINT c; "
                "INSERT INTO bare SELECT i FROM generate_series(7001, 8000) i; ROLLBACK TO b; INSERT INTO bare SELECT i FROM "
                "generate_series(8001, 9000) i; COMMIT",
                "BEGIN; INSERT INTO bare SELECT i FROM generate_series(1, 5000) i; PREPARE TRANSACTION 'large 1'",
                "BEGIN; INSERT INTO bare SELECT i FROM generate_series(1, 5000) i; PREPARE TRANSACTION 'large 2'",
                "COMMIT PREPARED 'large 2'", "ROLLBACK PREPARED 'large 1'",
                "BEGIN; DELETE FROM whole WHERE false; PREPARE TRANSACTION 'empty'", "COMMIT PREPARED 'empty'"):
            for statement in sql.split("; "):
                cursor.execute(statement)


@pytest.mark.limit(900)
def test_every_reading_equals_that_of_pgoutput(source, seed, size):
    prepare(source)
    live = LiveReader(source, seed)
    sure_work(source)
    work = Work(source, seed)
    for _ in range(STEPS * size):
        work.step()
    work.finish()
    source.query("SELECT pg_logical_emit_message(false, 'end of work', '')")
    source.execute("CREATE TABLE after ()")  # a commit flushes the message, too
    print(f"done: {work.counts}")

    expected = {partitions: judged(source, partitions) for partitions in CHOICES["partitions"]}
    changes = sum(len(entry[5]) for entry in expected["leaf"] if entry[0] == "transaction")
    kinds = {change[0] for entry in expected["leaf"] if entry[0] == "transaction" for change in entry[5]}
    assert kinds == {"insert", "update", "delete", "truncate", "message"}
    assert {table.rsplit(" ", maxsplit=1)[-1] for table in TABLES} <= {
        change[1][1] for entry in expected["root"] if entry[0] == "transaction" for change in entry[5] if change[0] == "insert"}
    rolled_back = sorted(["large 1", *work.rolled_back])

    live.finish()
    assert_same(expected["leaf"], live.reader)
    assert sorted(live.reader.rolled_back) == rolled_back
    assert not live.reader.prepared
    print(f"kept to the end: {sorted(live.reader.streams)}")
    print(f"{changes} changes; read while they were made, in {live.connections} connections: {live.reader.seen}, "
          f"rolled back {({kind: live.reader.aborts.count(kind) for kind in set(live.reader.aborts)})}")
    seen, aborts = set(), set(live.reader.aborts)
    for options in combinations(random.Random(seed), 4 * (size - 1)):
        reader = ours(source, **options)
        wanted = expected[options["partitions"]]
        assert_same(with_keys(wanted) if options["rules"] == "all" else wanted, reader, options)
        assert sorted(reader.rolled_back) == (rolled_back if options["two_phase"] == "on" else [])
        seen |= set(reader.seen)
        aborts |= set(reader.aborts)
    assert seen >= {"hello", "relation", "insert", "update", "delete", "truncate", "message", "value_part", "compressed", "begin",
                    "commit", "stream_start", "stream_stop", "stream_abort", "stream_commit", "stream_prepare",
                    "subtransaction", "begin_prepare", "prepare", "commit_prepared", "rollback_prepared"}, seen
    assert "part" in aborts


def make_spilled(source):
    """A transaction of which a subtransaction with more rows than the server reads back at once (4096) was spilled,
    and a reader that begins behind it."""
    prepare(source)
    session = Session(source)
    for statement in ("BEGIN", "INSERT INTO bare (id) VALUES (1)", "SAVEPOINT a",
                      "INSERT INTO bare (id) SELECT i FROM generate_series(1, 6000) i"):
        session.execute(statement)
    source.execute("INSERT INTO bare (id) VALUES (2)")
    source.query("SELECT pg_replication_slot_advance(slot_name, pg_current_wal_flush_lsn()) FROM pg_replication_slots")
    return session


def test_rolled_back_rows_do_not_stay_where_they_had_been_spilled(source):
    with make_spilled(source) as session, Stream(source, "whole", StreamReader(), streaming="on") as stream:
        session.execute("SAVEPOINT b; INSERT INTO bare (id) SELECT i FROM generate_series(6001, 7000) i")
        stream.read_until(lambda: "stream_stop" in stream.reader.seen)
        assert stream.reader.seen["insert"] > 6000, "the rows were sent"
        session.execute("ROLLBACK TO a; INSERT INTO bare (id) VALUES (3)")
        session.execute("COMMIT")
        stream.read_until(lambda: stream.reader.ended)
        expected = judged(source)
        assert len(expected[0][5]) == 2
        assert_same(expected, stream.reader)


def check_column_added_in_a_run_cut_short(source):
    prepare(source)
    with Session(source) as one, Session(source) as two:
        one.execute("BEGIN; INSERT INTO keyed (id) SELECT generate_series(1, 2000)")  # sent in runs
        one.execute("SAVEPOINT a; INSERT INTO tree (id) VALUES (1)")  # needs the catalogs, so the server notices
        two.execute("ALTER TABLE bare ADD COLUMN more text")
        one.execute("INSERT INTO whole (id) SELECT generate_series(1, 3000)")  # the run that is cut short
        one.execute("ROLLBACK TO a")
        one.execute("INSERT INTO bare (id, more) VALUES (1, 'must not be lost')")
        one.execute("COMMIT")
    for streaming in ("off", "on"):
        assert_same(judged(source), ours(source, streaming=streaming), streaming)


def test_column_added_in_a_run_cut_short(source):
    """A run that the server cuts short, as what it decodes has been rolled back meanwhile, holds the news that another
    transaction has altered a table; the transaction goes on to use that table."""
    check_column_added_in_a_run_cut_short(source)


FIRST = 15000  # rows that are being sent when the transaction is rolled back: far more than sockets hold


def hold_up(source, stream):
    """The server stands in the midst of the first rows' transmission."""
    stream.read()
    wait_until(lambda: wait_event(source, stream.pid) == "WalSenderWriteData", 120, "the walsender to wait for its reader")


def write_both(session, savepoint="", first=1):
    session.execute("BEGIN")
    session.execute(f"INSERT INTO bare (id, v) SELECT i, repeat('r', 200) FROM generate_series(1, {FIRST // 2}) i")
    if savepoint:
        session.execute(savepoint)
    session.execute(f"INSERT INTO bare (id, v) SELECT i, repeat('r', 200) FROM generate_series(1, {FIRST // 2}) i")
    session.execute(f"INSERT INTO tree (id, v) SELECT i, repeat('r', 200) FROM generate_series({first}, {first + FIRST - 1}) i")


@pytest.mark.parametrize("undo, abort", [("ROLLBACK", "whole"), ("ROLLBACK TO a", "part")])
def test_rollback_while_its_rows_are_sent(source, undo, abort):
    """The run ends where the server finds out: at the next table whose description it needs."""
    prepare(source)
    settings = "-c logical_decoding_work_mem=8MB"
    with Session(source) as session, Stream(source, "whole", StreamReader(), settings, streaming="on") as stream:
        write_both(session, "SAVEPOINT a" if "TO" in undo else "")
        hold_up(source, stream)
        assert stream.reader.seen["insert"] < FIRST
        session.execute(undo)
        if "TO" in undo:
            session.execute("INSERT INTO bare (id) VALUES (-1)")
            session.execute("COMMIT")
        source.execute("INSERT INTO bare (id) VALUES (-2)")
        stream.read_until(lambda: stream.reader.ended and stream.reader.ended[-1][5][0][2][0][1] == b"\xff\xff\xff\xfe")
        expected = judged(source)
        assert_same(expected, stream.reader)
        # (A table that is not described cannot have rows.)
        assert stream.reader.seen["relation"] == 1
        assert abort in stream.reader.aborts and not stream.reader.streams


@pytest.mark.parametrize("streaming", ["off", "on"])
def test_rollback_of_a_prepared_transaction_while_it_is_sent(source, streaming):
    """It is cut short, still ended by Prepare, so that RollbackPrepared has something to roll back."""
    prepare(source)
    settings = "-c logical_decoding_work_mem=" + {"on": "8MB", "off": "200MB"}[streaming]
    with Session(source) as session:
        write_both(session)
        session.execute("PREPARE TRANSACTION 'cut'")
        with Stream(source, "prepared", StreamReader(), settings, streaming=streaming, two_phase="on") as stream:
            hold_up(source, stream)
            session.execute("ROLLBACK PREPARED 'cut'")
            source.execute("INSERT INTO bare (id) VALUES (-2)")
            stream.read_until(lambda: stream.reader.ended)
            assert stream.reader.rolled_back == ["cut"] and not stream.reader.prepared
            assert stream.reader.seen["stream_prepare" if streaming == "on" else "prepare"] == 1
            assert stream.reader.seen["insert"] == FIRST + 1 and stream.reader.seen["relation"] == 1
            expected = judged(source)
            assert_same(expected, stream.reader)


def test_streamed_and_prepared_across_connections(source):
    """Runs, StreamPrepare and outcome each in a connection of its own."""
    prepare(source)
    reader = StreamReader()

    def read_until(condition):
        with Stream(source, "prepared", reader, streaming="on", two_phase="on") as stream:
            stream.read_until(condition)
            stream.confirm()
            source.wait_for("SELECT confirmed_flush_lsn - '0/0'::pg_lsn >= "
                            f"{reader.position} FROM pg_replication_slots WHERE slot_name = 'prepared'")
        source.wait_for("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'prepared'", 60)

    with Session(source) as one, Session(source) as two:
        write_both(one)
        write_both(two, first=FIRST + 1)
        read_until(lambda: reader.seen.get("stream_stop", 0) > 10)
        one.execute("PREPARE TRANSACTION 'one'")
        two.execute("SAVEPOINT a; INSERT INTO bare (id) SELECT generate_series(1, 3000); ROLLBACK TO a; PREPARE TRANSACTION 'two'")
        read_until(lambda: len(reader.prepared) == 2)
        source.execute("INSERT INTO bare (id) VALUES (-1)")
        one.execute("COMMIT PREPARED 'two'")
        one.execute("ROLLBACK PREPARED 'one'")
        source.execute("INSERT INTO bare (id) VALUES (-2)")
        read_until(lambda: len(reader.ended) == 3)
    expected = judged(source)
    assert_same(expected, reader)
    assert reader.rolled_back == ["one"] and reader.seen["stream_prepare"] == 2

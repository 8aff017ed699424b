"""Reads what the plugin writes, by docs/protocol.md and the .proto file alone, and checks the order of entries,
frames' sizes and counts on the way.

StreamReader(…).read(frame) puts transactions together as a service would: those in progress are kept until
their commit, prepared ones until their outcome. `ended` holds them as support.referee describes, but with
cells None, UNCHANGED or (is_text, bytes).
"""
import ctypes
import functools
import importlib
import pathlib
import select
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

import psycopg2
import psycopg2.extras

from .referee import UNCHANGED
from .waiting import Deadline

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
FRAME_MAX = 16 << 20


@functools.lru_cache(None)
def wire():
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["protoc", "-I", str(PROTO), "--python_out", out, "towline/v1/wire.proto"], check=True)
        sys.path.insert(0, out)
        try:
            return importlib.import_module("towline.v1.wire_pb2")
        finally:
            sys.path.remove(out)


@functools.lru_cache(None)
def library(name):
    return ctypes.CDLL(name)


def decompress(frame):
    method, size, block = frame.method, frame.raw_bytes, frame.block
    assert size <= FRAME_MAX and len(block) <= size - size // 16
    raw = ctypes.create_string_buffer(size)
    if method == wire().CompressedEntries.LZ4:
        done = library("liblz4.so.1").LZ4_decompress_safe(block, raw, len(block), size)
    else:
        assert method == wire().CompressedEntries.ZSTD
        function = library("libzstd.so.1").ZSTD_decompress
        function.restype = ctypes.c_size_t
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        done = function(raw, size, block, len(block))
    assert done == size
    return raw.raw


class Table:
    def __init__(self, relation):
        sent = [column for column in relation.columns if column.sent]
        self.described = (relation.schema, relation.name,
                          tuple((c.name, c.type_oid, c.typmod, c.in_key) for c in sent))
        self.is_part = relation.oid != relation.root_oid
        self.new = [column.format == wire().Column.TEXT for column in sent]
        self.key = [column.format == wire().Column.TEXT for column in relation.columns if column.in_key]


class Kept:
    """A transaction that has not ended: its changes with the subtransaction that made them."""

    def __init__(self):
        self.changes, self.owners, self.count = [], [], 0


class StreamReader:
    def __init__(self, frame_bytes=65536, partitions="leaf"):
        self.frame_bytes, self.partitions = frame_bytes, partitions
        self.ended, self.prepared, self.rolled_back = [], {}, []
        self.seen, self.aborts, self.messages, self.position = {}, [], set(), 0
        self.reconnect()

    def reconnect(self):
        """Forgets what belongs to a connection: what is in progress comes again."""
        self.tables, self.streams, self.parts, self.is_first = {}, {}, [], True
        self.whole = self.run = self.owner = self.begin = None

    # --- frames

    def read(self, data):
        data = bytes(data)
        assert len(data) <= FRAME_MAX
        frame = wire().Frame.FromString(data)
        if frame.HasField("compressed"):
            assert not self.is_first and not frame.entries
            self.note("compressed")
            data = decompress(frame.compressed)
            frame = wire().Frame.FromString(data)
            assert not frame.HasField("compressed")
        assert frame.entries
        # It was sent as soon as it was large enough.
        assert len(data) - frame.entries[-1].ByteSize() - 10 < self.frame_bytes
        for entry in frame.entries:
            kind = entry.WhichOneof("kind")
            assert (kind == "hello") == self.is_first
            self.is_first = False
            self.note(kind)
            getattr(self, "on_" + kind)(getattr(entry, kind))

    def note(self, kind):
        self.seen[kind] = self.seen.get(kind, 0) + 1

    # --- rows

    def take_parts(self):
        """The next value that came in parts."""
        first = self.parts[0]
        value, size = [], first.value_bytes
        while True:
            part = self.parts.pop(0)
            value.append(part.part)
            if part.is_last:
                break
        value = b"".join(value)
        assert len(value) == size
        return value

    def row(self, image, formats):
        count, = struct.unpack_from(">h", image)
        assert count == len(formats)
        at, cells = 2, []
        for is_text in formats:
            length, = struct.unpack_from(">i", image, at)
            at += 4
            if length >= 0:
                cells.append((is_text, image[at:at + length]))
                at += length
            elif length == -3:
                cells.append((is_text, self.take_parts()))
            else:
                cells.append({-1: None, -2: UNCHANGED}[length])
        assert at == len(image)
        return tuple(cells)

    def old_row(self, table, body):
        kind = wire().OldImage.Name(body.old_image).lower()
        return kind, self.row(body.old_row, table.new if kind == "full" else table.key) if kind != "none" else ()

    # --- changes

    def add(self, change, counts=True):
        assert not self.parts
        kept = self.whole if self.run is None else self.streams[self.run]
        kept.changes.append(change)
        kept.owners.append(self.owner)
        kept.count += counts

    def on_hello(self, body):
        assert body.protocol_version == 3 and body.server_encoding == "UTF8"

    def on_relation(self, body):
        assert body.number not in self.tables and body.number > 0
        self.tables[body.number] = Table(body)

    def on_value_part(self, body):
        assert self.whole is not None or self.run is not None or not self.parts
        self.parts.append(body)

    def on_insert(self, body):
        table = self.tables[body.relation]
        self.add(("insert", table.described, self.row(body.new_row, table.new)))

    def on_update(self, body):
        table = self.tables[body.relation]
        image, old = self.old_row(table, body)
        self.add(("update", table.described, image, old, self.row(body.new_row, table.new)))

    def on_delete(self, body):
        table = self.tables[body.relation]
        self.add(("delete", table.described, *self.old_row(table, body)))

    def on_truncate(self, body):
        tables = [self.tables[number] for number in body.relations]
        names = sorted(table.described[:2] for table in tables
                       if not (self.partitions == "root" and table.is_part))
        self.add(("truncate", tuple(names), body.cascade + 2 * body.restart_identity))

    def on_message(self, body):
        content = self.take_parts() if body.content_in_parts else body.content
        entry = ("message", body.prefix, content, body.lsn)
        if body.transactional:
            self.add(entry, counts=False)
        else:
            assert self.whole is None and self.run is None
            if body.lsn not in self.messages:
                self.messages.add(body.lsn)
                self.ended.append(entry)

    # --- transactions

    def end(self, xid, body, changes):
        if body.end_lsn <= self.position:
            return
        self.position = body.end_lsn
        # pgoutput does not tell of partitions that are truncated when it publishes roots.
        changes = [change for change in changes if change[:2] != ("truncate", ())]
        if changes:
            self.ended.append(("transaction", xid & 0xFFFFFFFF, body.commit_lsn, body.end_lsn, body.commit_time,
                               changes))

    def on_begin(self, body):
        assert self.whole is None and self.run is None
        self.whole, self.begin, self.owner = Kept(), body, body.xid

    on_begin_prepare = on_begin

    def finish(self, body, lsn):
        whole, self.whole = self.whole, None
        assert (body.xid, body.end_lsn, getattr(body, lsn)) == (
            self.begin.xid, self.begin.end_lsn, getattr(self.begin, lsn))
        assert body.change_count == whole.count
        return whole.changes

    def on_commit(self, body):
        changes = self.finish(body, "commit_lsn")
        assert not self.parts and changes and body.commit_time == self.begin.commit_time
        self.end(body.xid, body, changes)

    def on_prepare(self, body):
        self.parts = []  # of a row that did not come: the transaction had been rolled back
        self.prepare(body, self.begin.gid, self.finish(body, "prepare_lsn"))

    def on_stream_prepare(self, body):
        kept = self.streams.pop(body.xid)
        assert kept.count == body.change_count
        self.prepare(body, body.gid, kept.changes)

    def prepare(self, body, gid, changes):
        if body.end_lsn > self.position:
            assert gid not in self.prepared
            self.prepared[gid], self.position = (body.xid, body.end_lsn, changes), body.end_lsn

    # A transaction that was prepared before this connection may be sent in runs once more, and ends with its outcome.

    def on_commit_prepared(self, body):
        self.streams.pop(body.xid, None)
        if body.end_lsn > self.position:
            xid, _, changes = self.prepared.pop(body.gid)
            assert xid == body.xid
            self.end(body.xid, body, changes)

    def on_rollback_prepared(self, body):
        self.streams.pop(body.xid, None)
        if body.rollback_end_lsn > self.position:
            xid, end_lsn, _ = self.prepared.pop(body.gid)
            assert (xid, end_lsn) == (body.xid, body.prepare_end_lsn)
            self.rolled_back.append(body.gid)
            self.position = body.rollback_end_lsn

    # --- transactions in progress

    def on_stream_start(self, body):
        assert self.whole is None and self.run is None and not self.parts
        assert body.is_first == (body.xid not in self.streams)
        if body.is_first:
            self.streams[body.xid] = Kept()
        self.run = self.owner = body.xid

    def on_subtransaction(self, body):
        assert self.run is not None and not self.parts
        self.owner = body.xid

    def on_stream_stop(self, body):
        assert body.xid == self.run
        self.run, self.parts = None, []

    def on_stream_abort(self, body):
        assert self.run is None and self.whole is None
        if body.xid == body.subxid:
            del self.streams[body.xid]
            self.aborts.append("whole")
            return
        kept = self.streams[body.xid]
        if body.subxid in kept.owners:
            at = kept.owners.index(body.subxid)
            del kept.owners[at:], kept.changes[at:]
            self.aborts.append("part")
        else:
            self.aborts.append("nothing")

    def on_stream_commit(self, body):
        kept = self.streams.pop(body.xid)
        assert kept.count == body.change_count
        self.end(body.xid, body, kept.changes)


class Stream:
    """A replication connection of a slot, read frame by frame into a StreamReader. Whoever does not read holds the
    server up (through a socket of the file system, whose buffers are small)."""

    def __init__(self, source, slot, reader, settings="", **options):
        self.reader = reader
        sockets = urllib.parse.quote(str(source.cluster.sockets), safe="")
        self.connection = psycopg2.connect(source.uri(host=sockets, options=settings),
                                           connection_factory=psycopg2.extras.LogicalReplicationConnection)
        self.pid = self.connection.info.backend_pid
        self.cursor = self.connection.cursor()
        self.cursor.start_replication(slot, options={name: str(value) for name, value in options.items()}, decode=False)
        reader.reconnect()

    def read(self, seconds=120):
        """One frame."""
        end = time.monotonic() + seconds
        while (message := self.cursor.read_message()) is None:
            if time.monotonic() > end:
                raise Deadline(f"no frame came for {seconds} s")
            select.select([self.connection], [], [], 1)
        self.reader.read(message.payload)

    def read_until(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            self.read(max(end - time.monotonic(), 0))

    def confirm(self):
        self.cursor.send_feedback(flush_lsn=self.reader.position, force=True)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- the verdict

def same_row(expected, row):
    if len(expected) != len(row):
        return False
    for cell, got in zip(expected, row):
        if cell is None or cell == UNCHANGED or got is None or got == UNCHANGED:
            if cell != got:
                return False
        elif cell[0 if got[0] else 1] != got[1]:
            return False
    return True


def same_change(expected, got):
    if expected[0] != got[0] or expected[1] != got[1]:
        return False
    if expected[0] == "insert":
        return same_row(expected[2], got[2])
    if expected[0] in ("update", "delete"):
        return expected[2] == got[2] and all(map(same_row, expected[3:], got[3:]))
    return expected == got


def difference(expected, got):
    """What is first different between pgoutput's stream and ours, or None."""
    for number, (one, other) in enumerate(zip(expected, got)):
        if one[0] == "message" or one[:5] != other[:5]:
            if one != other:
                return f"entry {number}: expected {str(one)[:500]}, got {str(other)[:500]}"
            continue
        for place, (change, ours) in enumerate(zip(one[5], other[5])):
            if not same_change(change, ours):
                return (f"transaction {one[1]}, change {place}:\nexpected {str(change)[:1500]}\n"
                        f"got      {str(ours)[:1500]}")
        if len(one[5]) != len(other[5]):
            return (f"transaction {one[1]}: {len(one[5])} changes expected, {len(other[5])} came; "
                    f"the first beyond: {str((one[5] + other[5])[min(len(one[5]), len(other[5]))])[:500]}")
    if len(expected) != len(got):
        return f"{len(expected)} transactions expected, {len(got)} came"
    return None

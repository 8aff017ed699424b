"""What pgoutput says of the same WAL: the referee of the plugin's tests.

Its messages (version 1: whole transactions after their commit) are parsed here from PostgreSQL's
documentation of them; nothing is shared with towline's code or format. They are read twice, as text and
as binary, because towline chooses by column.

A transaction is (xid, commit LSN, end LSN, time in microseconds since 1970, changes); a change one of

    ("insert", table, new)         ("update", table, image, old, new)      ("delete", table, image, old)
    ("truncate", names, options)   ("message", prefix, content, lsn)

image: none, key or full. A table is (schema, name, columns), a column (name, type OID, typmod, is key); a
row a tuple of cells; a cell None, UNCHANGED or (text, binary), binary None where the type has none.
A message outside of transactions is ("message", prefix, content, lsn).
"""
import struct

UNCHANGED = "unchanged"
EPOCH = 946684800 * 1000000  # PostgreSQL's, in microseconds of Unix'
OLD_IMAGES = {"K": "key", "O": "full"}


class Reader:
    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values if len(values) > 1 else values[0]

    def letter(self):
        return self.take("c").decode()

    def bytes(self, length):
        self.at += length
        return self.data[self.at - length:self.at]

    def text(self):
        end = self.data.index(0, self.at)
        start, self.at = self.at, end + 1
        return self.data[start:end].decode()

    def row(self):
        cells = []
        for _ in range(self.take("H")):
            kind = self.letter()
            if kind == "n":
                cells.append(None)
            elif kind == "u":
                cells.append(UNCHANGED)
            else:
                cells.append((kind, self.bytes(self.take("I"))))
        return cells


def keys_of(row, table):
    return tuple(cell for cell, column in zip(row, table[2]) if column[3])


def parse(messages):
    """The stream's transactions and messages, cells as (kind, bytes)."""
    tables, result, changes, begin = {}, [], None, None
    for message in messages:
        read = Reader(message)
        kind = read.letter()
        if kind == "B":
            begin, changes = read.take("QqI"), []
        elif kind == "C":
            _, commit_lsn, end_lsn, time = read.take("BQQq")
            assert (commit_lsn, time) == begin[:2]
            result.append(("transaction", begin[2], commit_lsn, end_lsn, time + EPOCH, changes))
            changes = None
        elif kind == "R":
            oid, schema, name, _ = read.take("I"), read.text(), read.text(), read.letter()
            columns = []
            for _ in range(read.take("H")):
                is_key, column = bool(read.take("B") & 1), read.text()
                columns.append((column, *read.take("Ii"), is_key))
            tables[oid] = (schema, name, tuple(columns))
        elif kind in "IUD":
            table, image, old = tables[read.take("I")], "none", None
            letter = read.letter()
            if letter in OLD_IMAGES:
                image, old = OLD_IMAGES[letter], read.row()
                letter = read.letter() if kind != "D" else None
            new = read.row() if kind != "D" else None
            if image == "full" and new is not None:
                new = [was if cell == UNCHANGED else cell for cell, was in zip(new, old)]
            old = keys_of(old, table) if image == "key" else tuple(old or ())
            changes.append({"I": lambda: ("insert", table, tuple(new)),
                            "U": lambda: ("update", table, image, old, tuple(new)),
                            "D": lambda: ("delete", table, image, old)}[kind]())
        elif kind == "T":
            count, options = read.take("IB")
            names = sorted(tables[read.take("I")][:2] for _ in range(count))
            changes.append(("truncate", tuple(names), options))
        elif kind == "M":
            is_transactional, lsn = read.take("BQ")
            prefix = read.text()
            entry = ("message", prefix, read.bytes(read.take("I")), lsn)
            (changes if is_transactional else result).append(entry)
        else:
            assert kind in "OY", f"a message of kind {kind}"
    assert changes is None
    return result


def both(text, binary):
    """One row of cells (text, binary) from the two readings of it."""
    cells = []
    for one, other in zip(text, binary, strict=True):
        if one is None or one == UNCHANGED:
            assert one == other
            cells.append(one)
        else:
            cells.append((one[1], other[1] if other[0] == "b" else None))
    return tuple(cells)


def merge(text, binary):
    """The two readings of a stream as one."""
    result = []
    for one, other in zip(text, binary, strict=True):
        assert one[:5] == other[:5] or one[0] == "message"
        if one[0] == "message":
            assert one == other
            result.append(one)
            continue
        changes = [tuple(both(a, b) if is_row(a) else a for a, b in zip(x, y)) if x[0] != "truncate" else x
                   for x, y in zip(one[5], other[5], strict=True)]
        result.append((*one[:5], changes))
    return result


def is_row(part):
    return isinstance(part, tuple) and (not part or part[0] is None or part[0] == UNCHANGED
                                        or isinstance(part[0], tuple))

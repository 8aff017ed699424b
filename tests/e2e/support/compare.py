"""Are two databases equal, row for row? The judge of all outside tests; it shares nothing with Towline.

Each table is read on both sides with COPY (SELECT … FROM ONLY …) TO STDOUT in one snapshot under the
same settings, both outputs are sorted and compared as multisets: a row that is there twice must be
there twice. Rows beyond MEMORY_BYTES go through files and sort(1), very long rows are replaced by a
hash, so memory stays bounded whatever the size. Partitioned tables are compared leaf by leaf.

`binary` compares the binary form instead of the text: finer (it sees what output functions round or
hide), but arrays and rows of user-defined types carry OIDs and then differ although they are equal.
"""
import fnmatch
import hashlib
import pathlib
import struct
import subprocess
import tempfile

import psycopg2

MEMORY_BYTES = 16 << 20
LONG_LINE = 64 << 10
SHOWN_ROWS = 10
SHOWN_BYTES = 300

SETTINGS = """
SET client_encoding = 'UTF8'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
SET timezone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = 'content';
SET lc_monetary = 'C'; SET search_path = ''; SET quote_all_identifiers = off; SET statement_timeout = 0; SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0; SET row_security = off; SET max_parallel_workers_per_gather = 0;
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
"""
USER_SCHEMA = ("n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'towline', "
               "'towline_state')")
TABLES = f"""
SELECT n.nspname, c.relname, CASE WHEN c.relispartition AND c.relkind = 'r' THEN 'leaf' ELSE c.relkind::text END,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{{}}'),
       coalesce((SELECT array_agg(format('%s %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                                         CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                                         CASE WHEN a.attidentity <> '' THEN ' identity ' || a.attidentity::text ELSE '' END,
                                         CASE WHEN a.attgenerated <> '' THEN ' generated' ELSE '' END)
                                  ORDER BY a.attnum) FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{{}}')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND {USER_SCHEMA} AND c.relpersistence <> 't'
   AND (c.relkind <> 'm' OR c.relispopulated)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
 ORDER BY 1, 2"""
SEQUENCES = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND {USER_SCHEMA} ORDER BY 1, 2"""
DEFINITIONS = f"""
SELECT format('index %I.%I: %s', n.nspname, c.relname, pg_get_indexdef(c.oid))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I') AND {USER_SCHEMA}
UNION ALL
SELECT format('constraint %I.%I on %s: %s%s', n.nspname, k.conname, k.conrelid::regclass,
              pg_get_constraintdef(k.oid), CASE WHEN k.convalidated THEN '' ELSE ' not validated' END)
  FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
 WHERE {USER_SCHEMA} AND k.conrelid <> 0
UNION ALL
SELECT format('view %I.%I: %s', n.nspname, c.relname, pg_get_viewdef(c.oid))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND {USER_SCHEMA}
UNION ALL
SELECT format('trigger %s: %s, %s', t.tgrelid::regclass, pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND {USER_SCHEMA}
UNION ALL
SELECT format('default %s.%I: %s', d.adrelid::regclass, a.attname, pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
  JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {USER_SCHEMA}
UNION ALL
SELECT format('function %s: %s', p.oid::regprocedure, md5(pg_get_functiondef(p.oid)))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prokind <> 'a' AND {USER_SCHEMA}
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                    AND d.deptype = 'e')
 ORDER BY 1"""


class Lines:
    """Collects lines in any order and gives them back sorted, through files when they are many."""

    def __init__(self, directory):
        self.directory, self.memory, self.size, self.file = directory, [], 0, None

    def add(self, line):
        self.memory.append(line)
        self.size += len(line) + 60
        if self.size > MEMORY_BYTES:
            self._spill()

    def _spill(self):
        if self.file is None:
            self.file = tempfile.NamedTemporaryFile(dir=self.directory, delete=False)
        if self.memory:
            self.file.write(b"\n".join(self.memory) + b"\n")
        self.memory, self.size = [], 0

    def sorted(self):
        if self.file is None:
            yield from sorted(self.memory)
            return
        self._spill()
        self.file.close()
        subprocess.run(["sort", "-S", "64M", "-T", self.directory, "-o", self.file.name, self.file.name],
                       check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        with open(self.file.name, "rb") as file:
            for line in file:
                yield line[:-1]
        pathlib.Path(self.file.name).unlink()


class TextRows:
    """Receives COPY text; one line is one row (newlines in values are escaped)."""

    def __init__(self, lines):
        self.lines, self.part, self.part_size = lines, [], 0

    def write(self, chunk):
        if not self.part and chunk.find(b"\n") == len(chunk) - 1:  # one row, which is what servers send
            self.lines.add(shorten(memoryview(chunk)[:-1]))
            return
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._end()
        if rest:
            self._add(rest)

    def _add(self, piece):
        self.part.append(piece)
        self.part_size += len(piece)

    def _end(self):
        line = self.part[0] if len(self.part) == 1 else b"".join(self.part)
        self.lines.add(shorten(line))
        self.part, self.part_size = [], 0


class BinaryRows:
    """Receives COPY BINARY and makes a line of hexadecimal values of each row."""

    def __init__(self, lines):
        self.lines, self.buffer, self.at_header = lines, b"", True

    def write(self, chunk):
        self.buffer += chunk
        if self.at_header:
            if len(self.buffer) < 19:
                return
            extension, = struct.unpack_from("!i", self.buffer, 15)
            if len(self.buffer) < 19 + extension:
                return
            self.buffer, self.at_header = self.buffer[19 + extension:], False
        position = 0
        while True:
            row = self._row(position)
            if row is None:
                break
            position, line = row
            if line is not None:
                self.lines.add(shorten(line))
        self.buffer = self.buffer[position:]

    def _row(self, position):
        if len(self.buffer) < position + 2:
            return None
        count, = struct.unpack_from("!h", self.buffer, position)
        position += 2
        if count < 0:
            return position, None
        values = []
        for _ in range(count):
            if len(self.buffer) < position + 4:
                return None
            length, = struct.unpack_from("!i", self.buffer, position)
            position += 4
            if length < 0:
                values.append(b"\\N")
                continue
            if len(self.buffer) < position + length:
                return None
            values.append(self.buffer[position:position + length].hex().encode())
            position += length
        return position, b"\t".join(values)


def shorten(line):
    if len(line) <= LONG_LINE:
        return bytes(line)
    return b"%s... %d bytes, sha256 %s" % (bytes(line[:80]), len(line), hashlib.sha256(line).hexdigest().encode())


def quote(name):
    return '"' + name.replace('"', '""') + '"'


class Side:
    """One database, read in one snapshot."""

    def __init__(self, dsn):
        self.connection = psycopg2.connect(dsn)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.cursor.execute(SETTINGS)
        self.cursor.execute(TABLES)
        self.tables = {f"{schema}.{name}": (schema, name, kind, columns, shape)
                       for schema, name, kind, columns, shape in self.cursor.fetchall()}

    def rows(self, table, columns, binary, directory):
        schema, name, kind, _, _ = self.tables[table]
        lines = Lines(directory)
        only = "" if kind in ("p", "m") else "ONLY "
        selected = ", ".join(quote(column) for column in columns)
        self.cursor.copy_expert(
            f"COPY (SELECT {selected} FROM {only}{quote(schema)}.{quote(name)}) TO STDOUT"
            + (" (FORMAT binary)" if binary else ""),
            BinaryRows(lines) if binary else TextRows(lines), size=1 << 16)
        return lines.sorted()

    def selected(self, sql, binary, directory):
        lines = Lines(directory)
        self.cursor.copy_expert(f"COPY ({sql}) TO STDOUT" + (" (FORMAT binary)" if binary else ""),
                                BinaryRows(lines) if binary else TextRows(lines), size=1 << 16)
        return lines.sorted()

    def listed(self, sql):
        self.cursor.execute(sql)
        return [row[0] for row in self.cursor.fetchall()]

    def sequences(self):
        self.cursor.execute(SEQUENCES)
        found = {}
        for schema, name in self.cursor.fetchall():
            self.cursor.execute(f"SELECT last_value, is_called FROM {quote(schema)}.{quote(name)}")
            found[f"{schema}.{name}"] = self.cursor.fetchone()
        return found


def show(line):
    text = line.decode("utf-8", "replace")
    return text if len(text) <= SHOWN_BYTES else text[:SHOWN_BYTES] + "..."


def row_differences(table, left, right):
    """Merges two sorted sequences of rows."""
    shown, missing, extra, rows = [], 0, 0, 0
    end = object()
    a, b = next(left, end), next(right, end)
    while a is not end or b is not end:
        if b is end or (a is not end and a < b):
            missing += 1
            if len(shown) < SHOWN_ROWS:
                shown.append(f"  only at the source:      {show(a)}")
            a = next(left, end)
            rows += 1
        elif a is end or b < a:
            extra += 1
            if len(shown) < SHOWN_ROWS:
                shown.append(f"  only at the destination: {show(b)}")
            b = next(right, end)
        else:
            a, b = next(left, end), next(right, end)
            rows += 1
    if missing or extra:
        shown.insert(0, f"table {table}: {missing} rows only at the source, {extra} only at the destination")
    return shown, rows


class Result:
    def __init__(self):
        self.differences, self.rows = [], {}

    def __bool__(self):
        return not self.differences

    def __str__(self):
        return "\n".join(self.differences) or f"{len(self.rows)} tables equal, {sum(self.rows.values())} rows"


def compare(source, destination, tables=None, ignore=(), binary=False, sequences=False, definitions=False,
            columns=None, names=None, roots=False, selects=None):
    """Compares two databases given as DSNs or URIs.

    tables, ignore  names "schema.table" or patterns (*, ?): what to compare (all), what to leave out
    binary          compare values in binary form
    sequences       also the sequences' values
    definitions     also indexes, constraints, views, triggers, defaults and functions
    columns         table → columns to compare, where not all of them are replicated
    names           source table → destination table, where they differ
    roots           partitioned tables as wholes instead of leaf by leaf
    selects         table → (SELECT at the source, SELECT at the destination): compared by the rows that these
                    give instead of by its own, where not all rows, columns or values are replicated
    """
    result = Result()
    columns, names, selects = columns or {}, names or {}, selects or {}
    left = right = None
    try:
        left, right = Side(source), Side(destination)

        def selected(side, table):
            if roots and side.tables[table][2] == "leaf":
                return False
            if any(fnmatch.fnmatchcase(table, pattern) for pattern in ignore):
                return False
            return tables is None or any(fnmatch.fnmatchcase(table, pattern) for pattern in tables)

        wanted = [table for table in left.tables if selected(left, table)]
        if tables is not None:
            for pattern in tables:
                if not any(fnmatch.fnmatchcase(table, pattern) for table in wanted):
                    result.differences.append(f"table {pattern}: not at the source")
        known = {names.get(table, table) for table in wanted}
        for table in right.tables:
            if table not in known and selected(right, table):
                result.differences.append(f"table {table}: only at the destination")
        with tempfile.TemporaryDirectory(prefix="towline-compare-") as directory:
            for table in selects:
                if table not in wanted:
                    result.differences.append(f"table {table}: not among those that are compared")
                    continue
                shown, rows = row_differences(table, left.selected(selects[table][0], binary, directory),
                                              right.selected(selects[table][1], binary, directory))
                result.differences += shown
                result.rows[table] = rows
            for table in wanted:
                if table in selects:
                    continue
                compare_table(result, left, right, table, names.get(table, table), columns.get(table),
                              binary, directory, roots)
        if sequences:
            a, b = left.sequences(), right.sequences()
            for name in sorted(a.keys() | b.keys()):
                if a.get(name) != b.get(name):
                    result.differences.append(f"sequence {name}: {a.get(name)} at the source, {b.get(name)} "
                                              "at the destination")
        if definitions:
            a, b = set(left.listed(DEFINITIONS)), set(right.listed(DEFINITIONS))
            result.differences += [f"only at the source: {text}" for text in sorted(a - b)]
            result.differences += [f"only at the destination: {text}" for text in sorted(b - a)]
    finally:
        for side in (left, right):
            if side is not None:
                side.connection.close()
    return result


def compare_table(result, left, right, table, other, columns, binary, directory, roots):
    if other not in right.tables:
        result.differences.append(f"table {table}: missing at the destination")
        return
    _, _, kind, all_columns, shape = left.tables[table]
    _, _, _, _, other_shape = right.tables[other]
    if columns is None:
        columns = all_columns
        if shape != other_shape:
            result.differences.append(f"table {table}: columns differ: {shape} at the source, "
                                      f"{other_shape} at the destination")
            return
    if kind == "p" and not roots:
        return
    shown, rows = row_differences(table, left.rows(table, columns, binary, directory),
                                  right.rows(other, columns, binary, directory))
    result.differences += shown
    result.rows[table] = rows


def assert_equal(source, destination, **options):
    """Raises with the differing rows; returns the result. Nothing compared is not equality."""
    result = compare(source, destination, **options)
    if not result:
        raise AssertionError("the databases differ:\n" + str(result))
    if not result.rows:
        raise AssertionError("no table was compared")
    return result

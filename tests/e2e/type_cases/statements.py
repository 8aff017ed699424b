"""The statements that carry one type through every kind of change.

Four tables for each type, each with the type's corner values:
  columns    key of its own; the type, its array, and values that are stored out of line
  multiset   REPLICA IDENTITY FULL, no key; every row twice, and rows that are equal but not identical
  key        the type is the primary key (DEFAULT identity), where it has btree equality
  array_key  the same for its array
"""
from support.cluster import quote_literal

LARGE_BYTES = 2500  # a row above some 2 kB has its EXTERNAL values moved out of line
SECOND_HALF = 1000  # ids of the rows that are inserted while streaming


def quote_element(literal):
    return "NULL" if literal is None else '"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Statements:
    """spelling: the type as SQL names it. heavy: literals too long for an array of hundreds."""

    def __init__(self, spelling, literals, delimiter, has_btree, length, equal=None, heavy=()):
        self.type, self.literals, self.delimiter = spelling, literals, delimiter
        self.has_btree, self.length, self.equal, self.heavy = has_btree, length, equal, heavy

    def literal(self, index):
        return self.literals[index % len(self.literals)]

    def value(self, index):
        return f"{quote_literal(self.literal(index))}::{self.type}"

    def braces(self, *elements):
        return "{" + self.delimiter.join(elements) + "}"

    def array(self, index):
        """Arrays of every shape: empty, with NULLs, several dimensions, lower bounds other than 1."""
        v, w = quote_element(self.literal(index)), quote_element(self.literal(index + 1))
        pair, turned = self.braces(v, w), self.braces(w, v)
        text = ["{}", self.braces(v, "NULL", w), self.braces(pair, turned),
                "[-1:0][0:0][7:8]=" + self.braces(self.braces(pair), self.braces(turned)), self.braces(v),
                "[5:6]=" + pair][index % 6]
        return f"{quote_literal(text)}::{self.type}[]"

    def large_array(self, index):
        cycle = [quote_element(literal) for literal in self.literals if literal not in self.heavy]
        cycle = cycle[index % len(cycle):] + cycle[:index % len(cycle)] + ["NULL"]
        bytes_each = self.length if self.length > 0 else 4
        times = LARGE_BYTES // (bytes_each * (len(cycle) - 1)) + 1
        part = self.delimiter.join(cycle)
        return (f"('{{' || repeat({quote_literal(part + self.delimiter)}, {times}) || {quote_literal(part)} "
                f"|| '}}')"
                f"::{self.type}[]")

    def rows(self):
        return max(len(self.literals), 6)

    def setup(self):
        t = self.type
        statements = [
            f"CREATE TABLE columns (id integer PRIMARY KEY, v {t}, a {t}[], large {t}[], "
            "n integer NOT NULL DEFAULT 0)",
            # Out of line and uncompressed: an update of n then leaves `large` out of the log.
            "ALTER TABLE columns ALTER large SET STORAGE EXTERNAL",
            f"CREATE TABLE multiset (v {t}, a {t}[], n integer NOT NULL DEFAULT 0)",
            "ALTER TABLE multiset REPLICA IDENTITY FULL"]
        if self.has_btree:
            statements += [f"CREATE TABLE key (k {t} PRIMARY KEY, n integer NOT NULL DEFAULT 0)",
                           f"CREATE TABLE array_key (k {t}[] PRIMARY KEY, n integer NOT NULL DEFAULT 0)"]
        fill = [f"INSERT INTO columns VALUES ({i}, {self.value(i)}, {self.array(i)}, {self.large_array(i)})"
                for i in range(self.rows())]
        fill.append("INSERT INTO columns VALUES (500, NULL, NULL, NULL), (501, NULL, NULL, NULL)")
        # Twice one after another, then all again in another order.
        fill += [f"INSERT INTO multiset SELECT {self.value(i)}, {self.array(i)} FROM generate_series(1, 2)"
                 for i in range(len(self.literals))]
        fill.append("INSERT INTO multiset SELECT NULL, NULL FROM generate_series(1, 3)")
        fill.append("INSERT INTO multiset SELECT v, a FROM multiset ORDER BY ctid DESC")
        return ["; ".join(statements), "; ".join(fill + self.insert_keys(0))]

    def insert_keys(self, first):
        if not self.has_btree:
            return []
        # A value may equal another one that differs in its bits.
        return [f"INSERT INTO {table} VALUES ({value(i)}) ON CONFLICT DO NOTHING"
                for table, value in (("key", self.value), ("array_key", self.array))
                for i in range(first, self.rows(), 2)]

    def live(self):
        """Each text is one transaction."""
        rows = self.rows()
        return [
            "; ".join(f"INSERT INTO columns VALUES ({SECOND_HALF + i}, {self.value(i)}, {self.array(i)}, "
                      f"{self.large_array(i)})" for i in range(rows)),
            "; ".join(f"UPDATE columns SET v = {self.value(i + 1)}, a = {self.array(i + 1)} WHERE id = {i}"
                      for i in range(rows)),
            "UPDATE columns SET n = n + 1",                            # large stays unsent
            "UPDATE columns SET v = NULL, n = n + 1 WHERE id = 0; "
            "UPDATE columns SET a = NULL WHERE id = 1; "
            "UPDATE columns SET large = NULL WHERE id = 2; "
            f"UPDATE columns SET large = {self.large_array(1)} WHERE id = 3; "
            "UPDATE columns SET id = 700 WHERE id = 4",                # another key, large unsent
            f"UPDATE columns SET v = {self.value(0)}, a = {self.array(1)}, large = {self.large_array(2)} "
            f"WHERE id = 500; DELETE FROM columns WHERE id = {SECOND_HALF}; "
            f"INSERT INTO columns VALUES ({SECOND_HALF}, NULL, '{{}}', NULL); DELETE FROM columns WHERE id = "
            f"501",
            "; ".join(self.change_multiset()),
            "; ".join(["SELECT 1", *self.insert_keys(1)]),
            "; ".join(["SELECT 1", *self.change_keys()]),
        ]

    @staticmethod
    def nth(table, number):
        """By place: most types have no operator to ask for exactly one of two equal values."""
        return f"ctid = (SELECT ctid FROM {table} ORDER BY ctid OFFSET {number} LIMIT 1)"

    def change_multiset(self):
        statements = []
        for step, number in enumerate(range(0, 4 * len(self.literals) + 6, 3)):
            row = self.nth("multiset", number)
            statements.append([f"DELETE FROM multiset WHERE {row}",
                               f"UPDATE multiset SET v = {self.value(number)}, a = NULL WHERE {row}",
                               f"UPDATE multiset SET v = NULL, a = {self.array(number)} WHERE {row}",
                               f"UPDATE multiset SET n = n + 1 WHERE {row}"][step % 4])
        statements.append(f"INSERT INTO multiset VALUES ({self.value(0)}, {self.array(0)}), (NULL, '{{}}')")
        return statements

    def change_keys(self):
        if not self.has_btree:
            return []
        statements = []
        for table in ("key", "array_key"):
            statements += [
                f"UPDATE {table} SET n = n + 1",
                f"UPDATE {table} SET k = k, n = -1 WHERE {self.nth(table, 1)}",
                # A key goes and another row takes it.
                f"CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT k FROM {table} WHERE {self.nth(table, 0)}",
                f"DELETE FROM {table} WHERE {self.nth(table, 0)}",
                f"UPDATE {table} SET k = (SELECT k FROM taken), n = n + 10 WHERE {self.nth(table, 0)}",
                "DROP TABLE taken"]
        if self.equal:
            one, other = (f"{quote_literal(literal)}::{self.type}" for literal in self.equal)
            statements += [f"DELETE FROM key WHERE k = {one}", f"INSERT INTO key VALUES ({one})",
                           f"UPDATE key SET k = {other} WHERE k = {one}"]
        return statements

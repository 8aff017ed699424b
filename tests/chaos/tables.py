"""Tables of random shape for the load, besides those of support/workload_tables.py, and what changes their schema.

Everything here depends on the seed alone. As with the other shapes, a client touches only its own rows.
"""
import random
import threading
import uuid

import psycopg2

from support.workload import SERVER_IS_AWAY
from support.workload_tables import SCHEMA, Shape, long_text, number, text

COPIED_ROWS = 3000  # of the larger tables, before the copy


class Ranged(Shape):
    """What the copy divides into ranges of its key; rows move from range to range."""
    name, weight = "ranged", 12
    create = ["CREATE TABLE load.ranged (id bigint PRIMARY KEY, client int, v int NOT NULL, note text)",
              "ALTER TABLE load.ranged ALTER note SET STORAGE EXTERNAL",
              "INSERT INTO load.ranged SELECT i * 16, i %% 3, 0, repeat(md5(i::text), CASE WHEN i %% 40 = 0 THEN 100 "
              f"ELSE 3 END) FROM generate_series(1, {COPIED_ROWS}) i",
              "ANALYZE load.ranged"]
    one = "id = (SELECT id FROM load.ranged WHERE client = %s AND id >= %s ORDER BY id LIMIT 1)"

    def somewhere(self, random):
        return random.randrange(-200, COPIED_ROWS * 16 + 200)

    def free(self, client, random):
        """An id that no other client uses; one of ours may have it."""
        return self.somewhere(random) // 16 * 16 + 1 + client

    def do_insert(self, client, random, keys):
        yield ("INSERT INTO load.ranged VALUES (%s, %s, 1, repeat('n', %s)) ON CONFLICT DO NOTHING",
               (self.free(client, random), client, random.choice((0, 5, 3000))))

    def do_update(self, client, random, keys):
        yield (f"UPDATE load.ranged SET v = v + 1 WHERE {self.one}", (client, self.somewhere(random)))

    def do_move(self, client, random, keys):
        new = self.free(client, random)
        note = random.choice(("", ", note = note || '.'", ", note = note || '.'"))
        yield (f"UPDATE load.ranged SET id = %s, v = v + 1{note} WHERE {self.one} AND NOT EXISTS "
               "(SELECT FROM load.ranged WHERE id = %s)", (new, client, self.somewhere(random), new))

    def do_delete(self, client, random, keys):
        yield (f"DELETE FROM load.ranged WHERE {self.one}", (client, self.somewhere(random)))


class Bulk(Shape):
    """Without a key and larger, so that its copy takes a while and that large transactions touch it."""
    name, weight = "bulk", 2
    create = ["CREATE TABLE load.bulk (client int, n int, filler text)",
              "INSERT INTO load.bulk SELECT 0, i, repeat(md5(i::text), 5) FROM "
              f"generate_series(1, {COPIED_ROWS * 2}) i", "CREATE INDEX ON load.bulk (n)"]

    def do_insert(self, client, random, keys):
        yield ("INSERT INTO load.bulk SELECT %s, i, repeat(md5(i::text), 5) FROM generate_series(1, %s) i",
               (client, random.choice((1, 20, 700))))


# Type to what a client may write into it.
VALUES = {
    "int": lambda dice: dice.choice((None, dice.randrange(-9, 10**6))),
    "smallint": lambda dice: dice.randrange(-99, 99),
    "numeric": number,
    "numeric(12, 3)": lambda dice: f"{dice.uniform(-1e6, 1e6):.5f}",
    "float8": lambda dice: dice.choice(("NaN", "-0", "Infinity", repr(dice.uniform(-1, 1)))),
    "boolean": lambda dice: dice.choice((None, True, False)),
    "text": lambda dice: dice.choice((None, text(dice))),
    "varchar(40)": lambda dice: text(dice, 8)[:40],
    "char(7)": lambda dice: dice.choice(("", "a", "ab  ")),
    "bytea": lambda dice: dice.randbytes(dice.randrange(60)),
    "timestamptz": lambda dice: dice.choice((None, "infinity", f"20{dice.randrange(10, 99)}-02-11 1:2:3.{dice.randrange(999)}+3")),
    "date": lambda dice: f"{dice.randrange(1, 9999):04}-11-29",
    "interval": lambda dice: f"{dice.randrange(40)} mon {dice.randrange(-9, 9)} day {dice.random():.4f} s",
    "uuid": lambda dice: str(uuid.UUID(int=dice.getrandbits(128))),
    "jsonb": lambda dice: f'{{"n": {dice.randrange(99)}, "l": [null, 1.0]}}',
    "int[]": lambda dice: [dice.randrange(9) for _ in range(dice.randrange(4))],
    "text[]": lambda dice: [dice.choice((None, text(dice, 4))) for _ in range(dice.randrange(3))],
    "inet": lambda dice: f"10.{dice.randrange(255)}.0.{dice.randrange(255)}",
    "int4range": lambda dice: f"[{dice.randrange(9)},{dice.randrange(9, 99)})",
    "load.mood": lambda dice: dice.choice((None, "sad", 'very "happy"')),
    "load.percent": lambda dice: dice.choice((None, "0", "99.99")),
}
IDENTITIES = ("key", "key", "wide key", "index", "full", "full key")


class RandomTable(Shape):
    """The attributes of a subclass, which random_table() makes: identity, one of IDENTITIES; columns, (name, type);
    is_unique: `place` is unique for each client, NULLs aside; is_large: `large` is stored out of line."""
    identity, columns, is_unique, is_large = "key", (), False, False

    @property
    def table(self):
        return f'{SCHEMA}."{self.name}"'

    def keys_sql(self):
        return f"SELECT id FROM {self.table} WHERE client = %s"

    def extras(self, random):
        """Values of the columns that are neither key nor client."""
        values = {name: VALUES[kind](random) for name, kind in self.columns}
        if self.is_large:
            values["large"] = random.choice((None, "", long_text(random, 2000, 9000)))
        if self.identity == "index":
            values["code"] = f"code {random.getrandbits(60)}"
        return values

    def do_insert(self, client, random, keys):
        for _ in range(random.choice((1, 1, 3))):
            key = client * 10**6 + random.randrange(10**6)
            if (key,) in keys:
                continue
            keys.add((key,))
            values = {"id": key, "client": client, **self.extras(random)}
            names = ", ".join(f'"{name}"' for name in values)
            yield (f"INSERT INTO {self.table} ({names}) VALUES ({', '.join(['%s'] * len(values))})", tuple(values.values()))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            values = self.extras(random)
            names = random.sample(sorted(values), min(len(values), random.choice((1, 1, 2, 5))))
            yield (f"UPDATE {self.table} SET " + ", ".join(f'"{name}" = %s' for name in names)
                   + " WHERE client = %s AND id = %s", (*(values[name] for name in names), client, *key))

    def do_update_many(self, client, random, keys):
        name, kind = random.choice(self.columns)
        yield (f'UPDATE {self.table} SET "{name}" = %s WHERE client = %s AND id %% 7 = %s',
               (VALUES[kind](random), client, random.randrange(7)))

    def do_change_key(self, client, random, keys):
        key, new = self.pick(random, keys), (client * 10**6 + random.randrange(10**6),)
        if key and new not in keys:
            keys.discard(key)
            keys.add(new)
            yield (f"UPDATE {self.table} SET id = %s WHERE client = %s AND id = %s", (*new, client, *key))

    def do_take_a_place(self, client, random, keys):
        """A unique value goes from one row to another."""
        key, place = self.pick(random, keys), random.randrange(20)
        if key and self.is_unique:
            yield (f"UPDATE {self.table} SET place = NULL WHERE client = %s AND place = %s", (client, place))
            yield (f"UPDATE {self.table} SET place = %s WHERE client = %s AND id = %s", (place, client, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield (f"DELETE FROM {self.table} WHERE client = %s AND id = %s", (client, *key))

    def do_delete_and_insert_again(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            values = {"id": key[0], "client": client, **self.extras(random)}
            yield (f"DELETE FROM {self.table} WHERE client = %s AND id = %s", (client, *key))
            yield (f"INSERT INTO {self.table} (" + ", ".join(f'"{name}"' for name in values)
                   + f") VALUES ({', '.join(['%s'] * len(values))})", tuple(values.values()))


def random_table(number, dice):
    """A subclass of RandomTable."""
    identity = dice.choice(IDENTITIES)
    kinds = [dice.choice(sorted(VALUES)) for _ in range(dice.randrange(2, 8))]
    columns = tuple((f"c{at}" if at % 3 else f"C {at}", kind) for at, kind in enumerate(kinds))
    attributes = {"name": f"random {number}" if number % 2 else f"random_{number}", "identity": identity, "columns": columns,
                  "is_unique": dice.random() < 0.4, "is_large": dice.random() < 0.4}
    table = f'load."{attributes["name"]}"'
    parts = ["id bigint NOT NULL", "client int NOT NULL", *(f'"{name}" {kind}' for name, kind in columns), "gone int"]
    if attributes["is_unique"]:
        parts.append("place int")
    if attributes["is_large"]:
        parts.append("large text")
    if identity == "index":
        parts.append("code text NOT NULL")
    if dice.random() < 0.3:
        parts.append("twice bigint GENERATED ALWAYS AS (id * 2) STORED")
    dice.shuffle(parts)
    key = {"key": "PRIMARY KEY (id)", "full key": "PRIMARY KEY (id)", "wide key": "PRIMARY KEY (client, id)"}.get(identity)
    # A unique index of a partitioned table holds the columns that divide it.
    is_divided = dice.random() < 0.25 and identity in ("key", "full key", "full") and not attributes["is_unique"]
    create = [f"CREATE TABLE {table} ({', '.join([*parts, *([key] if key else [])])})"
              + (" PARTITION BY HASH (id)" if is_divided else "")]
    leaves = [table]
    if is_divided:
        leaves = [f'load."{attributes["name"]} part {part}"' for part in range(2)]
        create += [f"CREATE TABLE {leaf} PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
                   for part, leaf in enumerate(leaves)]
    create.append(f"ALTER TABLE {table} DROP gone")
    if attributes["is_large"]:
        create.append(f"ALTER TABLE {table} ALTER large SET STORAGE EXTERNAL")
    if attributes["is_unique"]:
        create.append(f"CREATE UNIQUE INDEX ON {table} (client, place)")
    if identity == "index":
        create += [f'CREATE UNIQUE INDEX "identity {number}" ON {table} (code, client)',
                   f'ALTER TABLE {table} REPLICA IDENTITY USING INDEX "identity {number}"']
    if identity in ("full", "full key"):
        create += [f"ALTER TABLE {leaf} REPLICA IDENTITY FULL" for leaf in {table, *leaves}]
    name, kind = columns[0]
    if kind not in ("jsonb", "text"):
        create.append(f'CREATE INDEX ON {table} ("{name}")')
    return type(f"RandomTable{number}", (RandomTable,), {**attributes, "create": create})


class SchemaChanges:
    """One session that changes the schema of random tables, and makes tables of its own, until it is left. A change
    that meets a lock or a server that is away is not done; the next one comes."""

    TYPES = ("int", "bigint", "text", "numeric", "timestamptz", "jsonb")
    DEFAULTS = {"int": ("7", "(random() * 9)::int"), "bigint": ("1",), "text": ("'d'", "md5(random()::text)"), "numeric": ("1.50",),
                "timestamptz": ("now()", "clock_timestamp()"), "jsonb": ("'{}'",)}

    def __init__(self, database, seed, tables, pause, first):
        """first: a number from which on names were not given yet."""
        self.database, self.tables, self.pause = database, [table().table for table in tables], pause
        self.dice, self.made, self.done, self.refused = random.Random(f"{seed}/schema/{first}"), first, 0, 0
        self.stopping, self.error = threading.Event(), None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "the session that changes the schema hangs"
        if self.error is not None:
            raise self.error

    def _run(self):
        while not self.stopping.wait(self.dice.uniform(0, 2 * self.pause)):
            try:
                with self.database.connect(autocommit=False) as connection, connection.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '2s'")
                    connection.commit()
                    for statement in self.change(cursor):
                        cursor.execute(statement)
                    if self.dice.random() < 0.1:
                        connection.rollback()
                connection.close()
                self.done += 1
            except SERVER_IS_AWAY:  # also a lock that is not had, and a deadlock
                self.refused += 1
            except psycopg2.Error as error:
                self.error = error
                return

    def columns(self, cursor, table):
        """Names of the columns of `table` that were added here, with their types."""
        cursor.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
                       "AND attnum > 0 AND NOT attisdropped AND attname LIKE 'x%%' ORDER BY attnum", [table])
        return cursor.fetchall()

    def own_tables(self, cursor):
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'made%' AND relkind = 'r' ORDER BY relname")
        return [name for name, in cursor.fetchall()]

    def change(self, cursor):
        """The statements of one transaction."""
        self.made += 1
        dice, name = self.dice, f"x{self.made}"
        table = dice.choice(self.tables)
        added = self.columns(cursor, table)
        own = self.own_tables(cursor)
        kinds = ["add", "add", "create", "index"]
        kinds += ["drop", "rename", "type", "fill", "both"] if added else []
        kinds += ["write", "write", "drop table", "rename table", "truncate"] if own else []
        what = dice.choice(kinds)
        kind = dice.choice(self.TYPES)
        default = dice.choice((None, *self.DEFAULTS[kind]))
        add = f"ALTER TABLE {table} ADD COLUMN {name} {kind}" + (f" DEFAULT {default}" if default else "")
        old = dice.choice(added)[0] if added else None
        mine = f'load."{dice.choice(own)}"' if own else None
        if what == "add":
            return [add]
        if what == "drop":
            return [f"ALTER TABLE {table} DROP COLUMN {old}"]
        if what == "rename":
            return [f"ALTER TABLE {table} RENAME COLUMN {old} TO {name}"]
        if what == "type":
            using = dice.choice((f"{old}::text", f"'v' || {old}::text || random()"))
            return [f"ALTER TABLE {table} ALTER {old} DROP DEFAULT, ALTER {old} TYPE text USING {using}"]
        if what == "fill":
            return [f"UPDATE {table} SET {old} = DEFAULT WHERE id % 5 = {dice.randrange(5)}"]
        if what == "both":
            return [f"DELETE FROM {table} WHERE id % 50 = {dice.randrange(50)}", add,
                    f"UPDATE {table} SET {name} = DEFAULT WHERE id % 3 = 0", f"ALTER TABLE {table} DROP COLUMN {old}"]
        if what == "index":
            return [f"CREATE INDEX ON {table} (client, id)"]
        if what == "create":
            if dice.random() < 0.4:
                return [f"CREATE TABLE load.made_{self.made} AS SELECT i AS id, md5(i::text) AS v, now() AS at "
                        f"FROM generate_series(1, {dice.choice((1, 500))}) i",
                        f"ALTER TABLE load.made_{self.made} REPLICA IDENTITY FULL"]
            return [f"CREATE TABLE load.made_{self.made} (id bigserial PRIMARY KEY, v text, at timestamptz DEFAULT now())",
                    f"INSERT INTO load.made_{self.made} (v) SELECT 'first' FROM generate_series(1, {dice.choice((1, 50))})"]
        return {"write": [f"INSERT INTO {mine} (id, v) SELECT coalesce(max(id), 0) + 1000, 'more' FROM {mine}",
                          f"UPDATE {mine} SET v = v || '.' WHERE id % 3 = 0", f"DELETE FROM {mine} WHERE id % 11 = 5"],
                "drop table": [f"DROP TABLE {mine}"],
                "rename table": [f"ALTER TABLE {mine} RENAME TO made_{self.made}"],
                "truncate": [f"TRUNCATE {mine}"]}[what]

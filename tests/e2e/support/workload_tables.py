"""The table shapes of the load generator, each with the statements that may happen to it.

A shape is a class with CREATE statements and operations. Every table has a column `client`: a client
touches only its own rows, so that what it does depends on its seed alone and not on what others are
doing at that moment. Operations get the client's random numbers and its memory of the keys that it has
(`keys`, restored after rollbacks), and yield (statement, parameters).
"""
import json
import uuid

SCHEMA = "load"
ODD = '"Odd ""Schéma"""'

PRELUDE = f"""
CREATE SCHEMA {SCHEMA};
CREATE SCHEMA {ODD};
CREATE TYPE {SCHEMA}.mood AS ENUM ('sad', 'ok', 'very "happy"');
CREATE TYPE {SCHEMA}.pair AS (a int, b text);
CREATE DOMAIN {SCHEMA}.percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
"""

ALPHABET = ["a", "B", "zz", " ", "ü", "\t", "\n", "\\", "'", '"', "\\N", "漢", "🙂", "{", "}", ",", "(", "0"]


def text(random, longest=20):
    return "".join(random.choice(ALPHABET) for _ in range(random.randrange(longest + 1)))


def long_text(random, low=3000, high=30000):
    """Barely compressible, so that it is stored out of line."""
    return random.randbytes(random.randrange(low, high) // 2).hex()


def number(random):
    return random.choice([None, "0", "-0.00", "NaN", "1e30", "123456789012345678901234567890.123456789",
                          str(random.randrange(-10**9, 10**9)), f"{random.uniform(-1e6, 1e6):.4f}"])


class Shape:
    """weight: how often a client turns to this table. A key is whatever identifies a row."""
    name, weight = "", 10
    create = ""

    @property
    def table(self):
        return f"{SCHEMA}.{self.name}"

    def keys_sql(self):
        """Reads a client's keys back after a connection was lost, for clients that go on."""
        return None

    def operations(self):
        return [getattr(self, name) for name in dir(self) if name.startswith("do_")]

    def pick(self, random, keys):
        return random.choice(sorted(keys)) if keys else None


class Composite(Shape):
    name = "composite"
    create = """CREATE TABLE load.composite (client int, a int, b text, v numeric, t timestamptz,
                PRIMARY KEY (client, a, b))"""

    def keys_sql(self):
        return "SELECT a, b FROM load.composite WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (random.randrange(1000), text(random, 5))
        if key in keys:
            return
        keys.add(key)
        yield ("INSERT INTO load.composite VALUES (%s, %s, %s, %s, now())", (client, *key, number(random)))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.composite SET v = %s WHERE client = %s AND a = %s AND b = %s",
                   (number(random), client, *key))

    def do_change_key(self, client, random, keys):
        key, new = self.pick(random, keys), (random.randrange(1000), text(random, 5))
        if key and new not in keys:
            keys.discard(key)
            keys.add(new)
            yield ("UPDATE load.composite SET a = %s, b = %s WHERE client = %s AND a = %s AND b = %s",
                   (*new, client, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.composite WHERE client = %s AND a = %s AND b = %s", (client, *key))

    def do_delete_and_insert_again(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("DELETE FROM load.composite WHERE client = %s AND a = %s AND b = %s", (client, *key))
            yield ("INSERT INTO load.composite VALUES (%s, %s, %s, %s, NULL)", (client, *key, number(random)))


class UuidKey(Shape):
    name = "uuid_key"
    create = "CREATE TABLE load.uuid_key (id uuid PRIMARY KEY, client int, payload jsonb, tags text[])"

    def keys_sql(self):
        return "SELECT id::text FROM load.uuid_key WHERE client = %s"

    def values(self, random):
        tags = [random.choice([None, text(random)]) for _ in range(random.randrange(4))]
        return json.dumps({"n": random.randrange(1000), "list": [1, None, "x"]}), tags

    def do_insert(self, client, random, keys):
        key = (str(uuid.UUID(int=random.getrandbits(128))),)
        keys.add(key)
        yield ("INSERT INTO load.uuid_key VALUES (%s, %s, %s, %s)", (key[0], client, *self.values(random)))

    def do_hot_row(self, client, random, keys):
        """Inserted, updated ten times and deleted in one go."""
        key = str(uuid.UUID(int=random.getrandbits(128)))
        yield ("INSERT INTO load.uuid_key VALUES (%s, %s, %s, %s)", (key, client, *self.values(random)))
        for _ in range(10):
            yield ("UPDATE load.uuid_key SET payload = %s, tags = %s WHERE id = %s", (*self.values(random), key))
        yield ("DELETE FROM load.uuid_key WHERE id = %s", (key,))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.uuid_key SET payload = %s, tags = %s WHERE id = %s", (*self.values(random), key[0]))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.uuid_key WHERE id = %s", key)


class NoKeyFull(Shape):
    """Rows may be equal; one of several equal ones is changed or deleted."""
    name = "no_key_full"
    create = ["CREATE TABLE load.no_key_full (client int, n int, t text)",
              "ALTER TABLE load.no_key_full REPLICA IDENTITY FULL"]
    one = ("ctid = (SELECT ctid FROM load.no_key_full WHERE client = %s AND n = %s LIMIT 1)")

    def do_insert(self, client, random, keys):
        for _ in range(random.randrange(1, 4)):
            yield ("INSERT INTO load.no_key_full VALUES (%s, %s, %s)",
                   (client, random.randrange(10), random.choice([None, "", "same"])))

    def do_update_one(self, client, random, keys):
        yield (f"UPDATE load.no_key_full SET t = %s WHERE {self.one}", (text(random, 3), client, random.randrange(10)))

    def do_update_many(self, client, random, keys):
        yield ("UPDATE load.no_key_full SET n = (n + 1) %% 10 WHERE client = %s AND n = %s",
               (client, random.randrange(10)))

    def do_delete_one(self, client, random, keys):
        yield (f"DELETE FROM load.no_key_full WHERE {self.one}", (client, random.randrange(10)))


class InsertOnly(Shape):
    name, weight = "insert_only", 5
    create = "CREATE TABLE load.insert_only (client int, at timestamptz DEFAULT clock_timestamp(), line text)"

    def do_insert(self, client, random, keys):
        for _ in range(random.randrange(1, 5)):
            yield ("INSERT INTO load.insert_only (client, line) VALUES (%s, %s)", (client, text(random)))

    def do_copy(self, client, random, keys):
        yield ("INSERT INTO load.insert_only (client, line) SELECT %s, md5(i::text) FROM generate_series(1, %s) i",
               (client, random.randrange(10, 100)))


class Toast(Shape):
    name, weight = "toast", 8
    create = ["""CREATE TABLE load.toast (id bigint PRIMARY KEY, client int, small int, big text, bytes bytea)""",
              "ALTER TABLE load.toast ALTER big SET STORAGE EXTERNAL"]

    def keys_sql(self):
        return "SELECT id FROM load.toast WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (client * 10**9 + random.randrange(10**9),)
        if key in keys:
            return
        keys.add(key)
        yield ("INSERT INTO load.toast VALUES (%s, %s, %s, %s, %s)",
               (key[0], client, random.randrange(100), long_text(random),
                random.choice([None, random.randbytes(random.randrange(20000))])))

    def do_update_beside(self, client, random, keys):
        """The large values stay unchanged and are not in the WAL."""
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.toast SET small = small + 1 WHERE id = %s", key)

    def do_update_big(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.toast SET big = %s WHERE id = %s",
                   (random.choice([None, "", "short", long_text(random)]), *key))

    def do_change_key(self, client, random, keys):
        key, new = self.pick(random, keys), (client * 10**9 + random.randrange(10**9),)
        if key and new not in keys:
            keys.discard(key)
            keys.add(new)
            yield ("UPDATE load.toast SET id = %s WHERE id = %s", (*new, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.toast WHERE id = %s", key)


class ToastFull(Toast):
    name, weight = "toast_full", 4
    create = ["""CREATE TABLE load.toast_full (id bigint PRIMARY KEY, client int, small int, big text, bytes bytea)""",
              "ALTER TABLE load.toast_full ALTER big SET STORAGE EXTERNAL",
              "ALTER TABLE load.toast_full REPLICA IDENTITY FULL"]

    def keys_sql(self):
        return "SELECT id FROM load.toast_full WHERE client = %s"

    def operations(self):
        def renamed(operation):
            def run(client, random, keys):
                for statement, parameters in operation(client, random, keys):
                    yield statement.replace("load.toast", "load.toast_full"), parameters
            return run
        return [renamed(operation) for operation in super().operations()]


class Generated(Shape):
    name, weight = "generated", 6
    create = """CREATE TABLE load.generated (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client int, a int,
                b int, sum int GENERATED ALWAYS AS (a + b) STORED, other bigint GENERATED BY DEFAULT AS IDENTITY)"""
    one = "id = (SELECT max(id) FROM load.generated WHERE client = %s AND a = %s)"

    def do_insert(self, client, random, keys):
        yield ("INSERT INTO load.generated (client, a, b) VALUES (%s, %s, %s)",
               (client, random.randrange(20), random.choice([None, random.randrange(100)])))

    def do_update(self, client, random, keys):
        yield (f"UPDATE load.generated SET b = %s WHERE {self.one}",
               (random.randrange(100), client, random.randrange(20)))

    def do_new_identity(self, client, random, keys):
        yield (f"UPDATE load.generated SET id = DEFAULT WHERE {self.one}", (client, random.randrange(20)))

    def do_delete(self, client, random, keys):
        yield (f"DELETE FROM load.generated WHERE {self.one}", (client, random.randrange(20)))


class Partitioned(Shape):
    name = "partitioned"
    create = ["""CREATE TABLE load.partitioned (client int, id int, region text, v text,
                 PRIMARY KEY (client, id, region)) PARTITION BY LIST (region)""",
              "CREATE TABLE load.partitioned_n PARTITION OF load.partitioned FOR VALUES IN ('n')",
              "CREATE TABLE load.partitioned_s (v text, region text NOT NULL, gone int, id int NOT NULL, "
              "client int NOT NULL)",
              "ALTER TABLE load.partitioned_s DROP gone",
              "ALTER TABLE load.partitioned ATTACH PARTITION load.partitioned_s FOR VALUES IN ('s')",
              "CREATE TABLE load.partitioned_rest PARTITION OF load.partitioned DEFAULT PARTITION BY HASH (id)",
              *(f"CREATE TABLE load.partitioned_rest_{i} PARTITION OF load.partitioned_rest "
                f"FOR VALUES WITH (MODULUS 2, REMAINDER {i})" for i in range(2))]
    regions = "n", "s", "e", "w"

    def keys_sql(self):
        return "SELECT id FROM load.partitioned WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (random.randrange(10**6),)
        if key in keys:
            return
        keys.add(key)
        yield ("INSERT INTO load.partitioned VALUES (%s, %s, %s, %s)",
               (client, key[0], random.choice(self.regions), text(random)))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.partitioned SET v = %s WHERE client = %s AND id = %s", (text(random), client, *key))

    def do_move(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.partitioned SET region = %s WHERE client = %s AND id = %s",
                   (random.choice(self.regions), client, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.partitioned WHERE client = %s AND id = %s", (client, *key))


class IndexIdentity(Shape):
    """The replica identity is a unique index, not the primary key; both change."""
    name = "index_identity"
    create = ["""CREATE TABLE load.index_identity (id int, client int, code text NOT NULL, region int NOT NULL,
                 note text, PRIMARY KEY (client, id))""",
              "CREATE UNIQUE INDEX index_identity_code ON load.index_identity (client, code, region)",
              "ALTER TABLE load.index_identity ALTER client SET NOT NULL, "
              "REPLICA IDENTITY USING INDEX index_identity_code"]

    def keys_sql(self):
        return "SELECT id FROM load.index_identity WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (random.randrange(10**6),)
        if key in keys:
            return
        keys.add(key)
        yield ("INSERT INTO load.index_identity VALUES (%s, %s, %s, %s, %s)",
               (key[0], client, f"code {key[0]}", random.randrange(3), text(random)))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.index_identity SET note = %s WHERE client = %s AND id = %s",
                   (text(random), client, *key))

    def do_change_identity(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.index_identity SET region = %s WHERE client = %s AND id = %s",
                   (random.randrange(3), client, *key))

    def do_change_primary_key(self, client, random, keys):
        key, new = self.pick(random, keys), (random.randrange(10**6),)
        if key and new not in keys:
            keys.discard(key)
            keys.add(new)
            yield ("UPDATE load.index_identity SET id = %s, code = %s WHERE client = %s AND id = %s",
                   (new[0], f"code {new[0]}", client, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.index_identity WHERE client = %s AND id = %s", (client, *key))


class Parents(Shape):
    name = "parent"
    create = ["CREATE TABLE load.parent (id int, client int, name text, PRIMARY KEY (client, id))",
              """CREATE TABLE load.child (client int, parent int, line int, v text, PRIMARY KEY (client, parent, line),
                 FOREIGN KEY (client, parent) REFERENCES load.parent (client, id)
                 ON UPDATE CASCADE ON DELETE CASCADE)"""]

    def keys_sql(self):
        return "SELECT id FROM load.parent WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (random.randrange(10**6),)
        if key in keys:
            return
        keys.add(key)
        yield ("INSERT INTO load.parent VALUES (%s, %s, %s)", (key[0], client, text(random)))
        for line in range(random.randrange(4)):
            yield ("INSERT INTO load.child VALUES (%s, %s, %s, %s)", (client, key[0], line, text(random)))

    def do_update_children(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield ("UPDATE load.child SET v = %s WHERE client = %s AND parent = %s", (text(random), client, *key))

    def do_change_key(self, client, random, keys):
        key, new = self.pick(random, keys), (random.randrange(10**6),)
        if key and new not in keys:
            keys.discard(key)
            keys.add(new)
            yield ("UPDATE load.parent SET id = %s WHERE client = %s AND id = %s", (*new, client, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.parent WHERE client = %s AND id = %s", (client, *key))


class Types(Shape):
    name = "types"
    create = """CREATE TABLE load.types (client int, id int, mood load.mood, pairs load.pair[], percent load.percent,
                matrix int[][], n numeric, f float8, r real, at timestamptz, day date, span interval, bits bit varying,
                network inet, range int4range, ranges tsmultirange, money money, document xml, j json, word char(8),
                flag boolean, PRIMARY KEY (client, id))"""
    samples = {
        "mood": [None, "sad", 'very "happy"'],
        "pairs": [None, "{}", '{"(1,x)","(,)"}', '{NULL,"(2,\\"a \\\\\\"b\\")"}'],
        "percent": [None, "0", "99.99", "100"],
        "matrix": [None, "{}", "{{1,2},{3,NULL}}", "[0:1]={7,8}"],
        "f": ["0", "-0", "NaN", "Infinity", "0.1", "1e-300"],
        "r": ["0.1", "-Infinity", "1e30"],
        "at": [None, "infinity", "2024-02-29 12:00:00.123456+05:30", "0044-03-15 BC", "9999-12-31"],
        "day": [None, "-infinity", "2000-01-01", "4713-01-01 BC"],
        "span": [None, "1 mon -1 day 00:00:00.000001", "-178000000 years"],
        "bits": [None, "", "1", "10101010101"],
        "network": [None, "10.0.0.1", "10.1.0.0/16", "fe80::1"],
        "range": [None, "empty", "[1,5)", "(,7]"],
        "ranges": [None, "{}", "{[2020-01-01,2020-02-01),[2021-01-01,)}"],
        "money": [None, "1.23", "-92233720368547758.08"],
        "document": [None, "<a>1</a>", "plain"],
        "j": [None, '{"b": 1,  "b":2}', "[]", '"\\u00fc"'],
        "word": [None, "", "a", "ab      "],
        "flag": [None, "t", "f"],
    }

    def keys_sql(self):
        return "SELECT id FROM load.types WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (random.randrange(10**6),)
        if key in keys:
            return
        keys.add(key)
        columns = sorted(self.samples)
        values = [random.choice(self.samples[column]) for column in columns]
        yield (f"INSERT INTO load.types (client, id, n, {', '.join(columns)}) VALUES (%s, %s, %s"
               + ", %s" * len(columns) + ")", (client, key[0], number(random), *values))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            column = random.choice(sorted(self.samples))
            yield (f"UPDATE load.types SET {column} = %s WHERE client = %s AND id = %s",
                   (random.choice(self.samples[column]), client, *key))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.types WHERE client = %s AND id = %s", (client, *key))


class Swap(Shape):
    """Keys change places within a transaction; `place` also within one statement."""
    name = "swap"
    create = """CREATE TABLE load.swap (client int, id int, place int, v text, PRIMARY KEY (client, id),
                UNIQUE (client, place) DEFERRABLE)"""

    def keys_sql(self):
        return "SELECT id FROM load.swap WHERE client = %s"

    def do_insert(self, client, random, keys):
        key = (random.randrange(1, 100000),)
        if key in keys:
            return
        keys.add(key)
        yield ("INSERT INTO load.swap VALUES (%s, %s, NULL, %s)", (client, key[0], text(random)))

    def do_swap_keys(self, client, random, keys):
        if len(keys) < 2:
            return
        (a,), (b,) = random.sample(sorted(keys), 2)
        for old, new in ((a, -1), (b, a), (-1, b)):
            yield ("UPDATE load.swap SET id = %s WHERE client = %s AND id = %s", (new, client, old))

    def do_permute_places(self, client, random, keys):
        """One UPDATE that moves every value of a unique column (which only a deferrable one allows)."""
        yield ("""UPDATE load.swap s SET place = n.n FROM (SELECT client, id, row_number() OVER (
                  ORDER BY (id * %s) %% 1009, id) AS n FROM load.swap WHERE client = %s) n
                  WHERE s.client = n.client AND s.id = n.id""", (random.randrange(1, 1009), client))

    def do_delete(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            keys.discard(key)
            yield ("DELETE FROM load.swap WHERE client = %s AND id = %s", (client, *key))


class OddNames(Shape):
    name, weight = "odd", 5
    table = ODD + '."SELECT ""x"" \'%%\'"'
    create = (f"CREATE TABLE {ODD}.\"SELECT \"\"x\"\" '%%'\" (client int, \"from\" int, \"Ä b\" text, "
              f"\"{'c' * 63}\" text, PRIMARY KEY (client, \"from\"))")

    def keys_sql(self):
        return f'SELECT "from" FROM {self.table} WHERE client = %s'

    def do_insert(self, client, random, keys):
        key = (random.randrange(10**6),)
        if key in keys:
            return
        keys.add(key)
        yield (f"INSERT INTO {self.table} VALUES (%s, %s, %s, %s)", (client, *key, text(random), text(random)))

    def do_update(self, client, random, keys):
        key = self.pick(random, keys)
        if key:
            yield (f'UPDATE {self.table} SET "Ä b" = %s WHERE client = %s AND "from" = %s',
                   (text(random), client, *key))


class Many(Shape):
    name, weight = "many", 2
    create = "CREATE TABLE load.many (client int, id int, v text, n int, PRIMARY KEY (client, id))"

    def do_insert(self, client, random, keys):
        low = random.randrange(0, 5000)
        yield ("""INSERT INTO load.many SELECT %s, i, md5(i::text), i FROM generate_series(%s, %s) i
                  ON CONFLICT DO NOTHING""", (client, low, low + random.randrange(100, 2000)))

    def do_update(self, client, random, keys):
        yield ("UPDATE load.many SET n = n + 1 WHERE client = %s AND id %% %s = 0", (client, random.randrange(2, 9)))

    def do_shift_keys(self, client, random, keys):
        yield ("UPDATE load.many SET id = -id WHERE client = %s AND id BETWEEN %s AND %s AND NOT EXISTS "
               "(SELECT FROM load.many o WHERE o.client = many.client AND o.id = -many.id)",
               (client, low := random.randrange(4000), low + 50))

    def do_delete(self, client, random, keys):
        low = random.randrange(0, 5000)
        yield ("DELETE FROM load.many WHERE client = %s AND id BETWEEN %s AND %s", (client, low, low + 1000))


class Truncated(Shape):
    """TRUNCATE takes every client's rows, so nothing here depends on what is there."""
    name, weight = "truncated", 2
    create = ["CREATE TABLE load.truncated (client int, v text)",
              "CREATE TABLE load.truncated_too (client int, v text)"]

    def do_insert(self, client, random, keys):
        for table in ("truncated", "truncated_too"):
            yield (f"INSERT INTO load.{table} SELECT %s, %s FROM generate_series(1, 5)", (client, text(random)))

    def do_insert_more(self, client, random, keys):
        yield from self.do_insert(client, random, keys)

    def do_truncate(self, client, random, keys):
        yield ("TRUNCATE load.truncated, load.truncated_too", ())


SHAPES = (Composite, UuidKey, NoKeyFull, InsertOnly, Toast, ToastFull, Generated, Partitioned, IndexIdentity,
          Parents, Types, Swap, OddNames, Many, Truncated)

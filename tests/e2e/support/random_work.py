"""Random work of several sessions side by side, for the tests that decode it: what it does depends on the
seed alone, as one thread makes every step and no statement ever waits for another session.

For that, every transaction works on the rows of a lane (ids that leave the same rest when divided by LANES), a
prepared one keeps its lane, and what locks a table is done only where no other open transaction has
touched it.
"""
import random

LANES = 32
SESSIONS = 4

SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN small AS int CHECK (value < 1000000);
CREATE TABLE keyed (id int PRIMARY KEY, n int, v text, num numeric(20, 4), at timestamptz, b bytea, doc text, js jsonb,
    arr int[], m mood, moods mood[], p pair, r int4range, f float8, d date, iv interval, s small,
    rc regclass, gone text, gen int GENERATED ALWAYS AS (n * 2) STORED);
ALTER TABLE keyed ALTER doc SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
ALTER TABLE keyed DROP gone;
CREATE TABLE whole (LIKE keyed INCLUDING GENERATED INCLUDING STORAGE);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE indexed (code text NOT NULL UNIQUE, n int, id int PRIMARY KEY, v text, doc text);
ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_code_key;
ALTER TABLE indexed ALTER doc SET STORAGE EXTERNAL;
CREATE TABLE long_key (k text PRIMARY KEY, id int, n int, v text, doc text);
ALTER TABLE long_key ALTER k SET STORAGE EXTERNAL, ALTER doc SET STORAGE EXTERNAL;
CREATE TABLE bare (id int, n int, v text, doc text);
CREATE TABLE tree (id int, n int, v text, doc text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (MINVALUE) TO (20000);
CREATE TABLE "Tree 2" (doc text, gone int, v text, id int NOT NULL, n int);
ALTER TABLE "Tree 2" DROP gone;
ALTER TABLE tree ATTACH PARTITION "Tree 2" FOR VALUES FROM (20000) TO (60000);
CREATE TABLE tree_3 PARTITION OF tree FOR VALUES FROM (60000) TO (MAXVALUE) PARTITION BY RANGE (id);
CREATE TABLE tree_3_1 PARTITION OF tree_3 FOR VALUES FROM (60000) TO (MAXVALUE);
"""

RICH = ("n, v, num, at, b, doc, js, arr, m, moods, p, r, f, d, iv, s, rc",
        """{i} % 1000, CASE WHEN {i} % 7 > 0 THEN 'é' || {i} END, {i} / 7.0,
        '2024-02-29 12:00:00+02'::timestamptz + {i} * interval '1.5 s', decode(md5(({i})::text), 'hex'), {doc}, jsonb_build_object('i', {i}, 'l', ARRAY[{i}]), ARRAY[{i}, NULL, 3],
        'happy'::mood, ARRAY['sad', NULL]::mood[], ({i}, 'x"y')::pair, int4range({i}, {i} + 5), {i} / 3.0,
        '1999-12-31'::date + {i} % 9000,
        {i} * interval '1 day 2 s', {i} % 999, 'keyed'::regclass""")
PLAIN = ("n, v, doc", "{i} % 1000, repeat('v', {i} % 50), {doc}")
# Table → what its id, or key, is made of, and its other columns.
TABLES = {
    "keyed": ("id", "{i}", RICH), "whole": ("id", "{i}", RICH),
    "indexed": ("code, id", "'c' || {i}, {i}", PLAIN),
    "long_key": ("k, id", "{i} || repeat('k', CASE WHEN {i} % 3 = 0 THEN 2400 ELSE 3 END), {i}", PLAIN),
    "bare": ("id", "{i}", PLAIN), "tree": ("id", "{i}", PLAIN),
}
NEW_KEY = {"keyed": "id = {i}", "whole": "id = {i}", "tree": "id = {i}", "indexed": "code = 'd' || {i}, id = {i}",
           "long_key": "k = {i} || repeat('k', CASE WHEN {i} % 2 = 0 THEN 2400 ELSE 3 END), id = {i}"}
EXTRA_TYPES = ("int", "bigint", "numeric", "text", "varchar(40)", "bytea", "int[]", "mood", "timestamptz")
EXTRA_VALUES = {"integer": "{i}", "bigint": "{i} * 10000000000", "numeric": "{i} / 3.0", "text": "'t' || {i}", "bytea": "'\\x0102'::bytea",
                "character varying(40)": "'c' || {i}", "integer[]": "ARRAY[{i}]", "mood": "'ok'::mood",
                "timestamp with time zone": "'2024-01-01Z'::timestamptz + {i} * interval '1 s'"}
FIXED = "('id','k','code','n','v','num','at','b','doc','js','arr','m','moods','p','r','f','d','iv','s','rc','gen')"


class Transaction:
    def __init__(self, lane, steps):
        self.lane, self.steps, self.savepoints, self.touched, self.number = lane, steps, [], set(), 0
        self.is_two_phase = False
        self.altered = set()  # savepoints since which the catalogs were changed


class Work:
    """step() makes one step; finish() ends what is open. `counts` tells what was done."""

    def __init__(self, database, seed):
        self.dice = random.Random(seed)
        self.connections = [database.connect() for _ in range(SESSIONS)]
        self.cursors = [connection.cursor() for connection in self.connections]
        self.open = [None] * SESSIONS
        self.prepared = {}  # gid → transaction
        self.lanes = list(range(LANES))
        self.next, self.made, self.counts, self.rolled_back = 0, 0, {}, []
        self.exclusive = {}  # table → transaction

    # --- statements

    def execute(self, session, sql):
        self.cursors[session].execute(sql)

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def ids(self, lane, count):
        """The first of so many new ids of a lane."""
        first, self.next = self.next, self.next + count
        return first * LANES + lane

    def doc(self):
        return self.dice.choice(["NULL", "'short'", "'short'", "repeat(md5(({i})::text), 70)", "repeat(md5(({i})::text), 300)"])

    def table(self, txn, names=tuple(TABLES), alone=False):
        """One that may be used without waiting, else None."""
        others = [*self.open, *self.prepared.values()]
        free = [name for name in names if self.exclusive.get(name, txn) is txn and
                not (alone and any(other not in (None, txn) and name in other.touched for other in others))]
        if not free:
            return None
        chosen = self.dice.choice(free)
        txn.touched.add(chosen)
        if alone:
            self.exclusive[chosen] = txn
        return chosen

    def extras(self, session, table):
        self.execute(session, f"SELECT quote_ident(attname), format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{table}'"
                              f"::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN {FIXED} ORDER BY attnum")
        return self.cursors[session].fetchall()

    def insert(self, session, txn, table, count):
        key, key_value, (columns, values) = TABLES[table]
        extras = self.extras(session, table)
        columns = ", ".join([key, columns, *(name for name, _ in extras)])
        values = ", ".join([key_value, values, *(EXTRA_VALUES[kind] for _, kind in extras)])
        values = values.replace("{doc}", self.doc() if count < 50 else "NULL").replace("{i}", "i")
        first = self.ids(txn.lane, count)
        self.execute(session, f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series({first}, "
                              f"{first + (count - 1) * LANES}, {LANES}) i")

    def lane_rows(self, txn, table, count):
        return (f"id IN (SELECT id FROM {table} WHERE id % {LANES} = {txn.lane} "
                f"ORDER BY id OFFSET {self.dice.randrange(20)} LIMIT {count})")

    # --- what a step of a transaction may be

    def do_insert(self, session, txn):
        if table := self.table(txn):
            self.insert(session, txn, table, self.dice.choice((1, 1, 3)))

    def do_many(self, session, txn):
        if table := self.table(txn):
            self.insert(session, txn, table, self.dice.choice((60, 150, 400)))

    def do_update(self, session, txn):
        if table := self.table(txn, tuple(NEW_KEY)):
            change = self.dice.choice(["n = n + 1", "v = 'w' || n", "v = NULL", "doc = " + self.doc().replace("{i}", "id"), "n = n"])
            extras = self.extras(session, table)
            if extras and self.dice.random() < 0.4:
                name, kind = self.dice.choice(extras)
                change = f"{name} = " + EXTRA_VALUES[kind].replace("{i}", "(n % 100)")
            self.execute(session, f"UPDATE {table} SET {change} WHERE "
                                  + self.lane_rows(txn, table, self.dice.choice((1, 3, 3, 100))))

    def do_key(self, session, txn):
        if table := self.table(txn, tuple(NEW_KEY)):
            change = NEW_KEY[table].replace("{i}", str(self.ids(txn.lane, 1)))
            extra = self.dice.choice(["", ", n = 0", ", doc = repeat('changed', 500)"])
            self.execute(session, f"UPDATE {table} SET {change}{extra} WHERE {self.lane_rows(txn, table, 1)}")

    def do_delete(self, session, txn):
        if table := self.table(txn, tuple(NEW_KEY)):
            self.execute(session, f"DELETE FROM {table} WHERE {self.lane_rows(txn, table, self.dice.choice((1, 5)))}")

    def do_message(self, session, txn):
        transactional = self.dice.random() < 0.6
        self.execute(session, f"SELECT pg_logical_emit_message({transactional}, 'prefix {self.dice.randrange(9)}', "
                              f"repeat('content', {self.dice.choice((0, 1, 30, 3000))}))")

    def do_truncate(self, session, txn):
        tables = {self.table(txn, alone=True) for _ in range(self.dice.choice((1, 1, 2)))} - {None}
        names = ", ".join('"Tree 2"' if name == "tree" and self.dice.random() < 0.5 else name for name in sorted(tables))
        if names:
            self.execute(session, f"TRUNCATE {names} {self.dice.choice(['', 'CASCADE', 'RESTART IDENTITY'])}")

    def do_savepoint(self, session, txn):
        txn.number += 1
        txn.savepoints.append(f"s{txn.number}")
        txn.altered.discard(f"s{txn.number}")
        self.execute(session, f"SAVEPOINT s{txn.number}")

    def do_release(self, session, txn):
        if txn.savepoints:
            at = self.dice.randrange(len(txn.savepoints))
            self.execute(session, f"RELEASE {txn.savepoints[at]}")
            del txn.savepoints[at:]

    def do_rollback_to(self, session, txn):
        # Not what has changed the catalogs: while it decodes in runs the server takes such changes for real, and may
        # fail at the next one (docs/plugin.md, "A server's limit").
        plain = [at for at, name in enumerate(txn.savepoints) if name not in txn.altered]
        if plain:
            at = self.dice.choice(plain)
            self.execute(session, f"ROLLBACK TO {txn.savepoints[at]}")
            del txn.savepoints[at + 1:]

    def do_ddl(self, session, txn):
        table = self.table(txn, alone=True)
        if table is None:
            return
        extras = self.extras(session, table)
        self.made += 1
        if len(extras) < 2 or self.dice.random() < 0.3:
            kind = self.dice.choice(EXTRA_TYPES)
            default = self.dice.choice(["", "", " DEFAULT NULL"])
            if kind in ("int", "bigint"):
                default = self.dice.choice(["", f" DEFAULT {self.dice.randrange(99)}", " DEFAULT (random() * 9)::int"])
            self.execute(session, f"ALTER TABLE {table} ADD COLUMN \"x {self.made}\" {kind}{default}")
            return
        name, _ = self.dice.choice(extras)
        choice = self.dice.randrange(6)
        if choice == 0:
            self.execute(session, f"ALTER TABLE {table} DROP COLUMN {name}")
        elif choice == 1:
            self.execute(session, f"ALTER TABLE {table} RENAME COLUMN {name} TO \"x {self.made}\"")
        elif choice == 2:
            kind, using = self.dice.choice([("text", "{0}::text"), ("varchar(40)", "left({0}::text, 40)"), ("int", "length({0}::text)"),
                                            ("numeric", "length({0}::text)")])
            self.execute(session, f"ALTER TABLE {table} ALTER {name} DROP DEFAULT, ALTER {name} TYPE {kind} USING {using.format(name)}")
        elif choice == 3 and table == "keyed":
            self.execute(session, f"ALTER TABLE keyed REPLICA IDENTITY {self.dice.choice(['FULL', 'DEFAULT'])}")
        elif choice == 3 and table == "indexed":
            self.execute(session, "ALTER TABLE indexed REPLICA IDENTITY "
                                  + self.dice.choice(["FULL", "DEFAULT", "USING INDEX indexed_code_key"]))
        elif choice == 4:
            self.execute(session, f"CREATE INDEX ON {table} (n)" if table != "tree" else "ANALYZE tree")
        else:
            self.execute(session, f"ALTER TABLE {table} ADD COLUMN \"x {self.made}\" int")

    def do_create(self, session, txn):
        self.made += 1
        name = f"made_{self.made}"
        self.execute(session, self.dice.choice([
            f"CREATE TABLE {name} (id int, v text); INSERT INTO {name} VALUES (1, 'made')",
            f"CREATE TABLE {name} AS SELECT i AS id, repeat('m', 100) AS v FROM generate_series(1, 30) i",
            f"CREATE TEMP TABLE t{name} ON COMMIT DROP AS SELECT 1 AS i; CREATE UNLOGGED TABLE u{name} AS SELECT 2 AS i",
        ]) if not txn.is_two_phase else f"CREATE TABLE {name} (id int, v text); INSERT INTO {name} VALUES (1, 'made')")
        if self.dice.random() < 0.3 and not txn.savepoints:
            self.execute(session, f"DROP TABLE IF EXISTS {name}")

    STEPS = {"insert": 8, "many": 3, "update": 10, "key": 5, "delete": 4, "message": 2, "truncate": 1, "savepoint": 5,
             "release": 2, "rollback_to": 3, "ddl": 3, "create": 1}

    # --- transactions

    def begin(self, session):
        if not self.lanes:
            return
        txn = Transaction(self.lanes.pop(self.dice.randrange(len(self.lanes))), self.dice.choice((1, 3, 8, 20)))
        txn.is_two_phase = self.dice.random() < 0.25
        self.open[session] = txn
        self.execute(session, "BEGIN")
        if txn.is_two_phase:
            # Else the server may fail at a table that a savepoint has made (docs/plugin.md, "Another").
            self.execute(session, "SELECT pg_logical_emit_message(true, 'first', '')")

    def let_go(self, txn):
        self.lanes.append(txn.lane)
        self.exclusive = {table: holder for table, holder in self.exclusive.items() if holder is not txn}

    def end(self, session):
        txn, self.open[session] = self.open[session], None
        if self.dice.random() < 0.2:
            self.execute(session, "ROLLBACK")
            self.count("rollback")
        elif txn.is_two_phase:
            self.made += 1
            gid = f"gid {self.made}"
            self.execute(session, f"PREPARE TRANSACTION '{gid}'")
            self.prepared[gid] = txn
            self.count("prepare")
            return
        else:
            self.execute(session, "COMMIT")
            self.count("commit")
        self.let_go(txn)

    def decide(self, session):
        gid = self.dice.choice(sorted(self.prepared))
        txn = self.prepared.pop(gid)
        outcome = self.dice.choice(("COMMIT", "COMMIT", "ROLLBACK"))
        self.execute(session, f"{outcome} PREPARED '{gid}'")
        if outcome == "ROLLBACK":
            self.rolled_back.append(gid)
        self.count(f"{outcome.lower()} prepared")
        self.let_go(txn)

    def step(self):
        session = self.dice.randrange(SESSIONS)
        txn = self.open[session]
        if txn is None:
            if self.prepared and (len(self.prepared) > 3 or self.dice.random() < 0.3):
                self.decide(session)
            else:
                self.begin(session)
        elif txn.steps == 0:
            self.end(session)
        else:
            txn.steps -= 1
            what = self.dice.choices(tuple(self.STEPS), tuple(self.STEPS.values()))[0]
            getattr(self, f"do_{what}")(session, txn)
            if what in ("ddl", "truncate", "create"):
                txn.altered.update(txn.savepoints)
            self.count(what)

    def finish(self):
        for session, txn in enumerate(self.open):
            if txn is not None:
                self.end(session)
        while self.prepared:
            self.decide(0)
        for connection in self.connections:
            connection.close()

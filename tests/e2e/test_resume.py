"""A copy that is killed keeps the tables that are done: only the others are copied again, under a snapshot
of their own, and what the stream brings is judged table by table (I4).

The load makes transactions that one table's snapshot holds and another's does not: rows move from table to
table, with TOAST, key changes, duplicates without a key, partitions and TRUNCATE of two tables at once.
All are small, so that they share snapshots: test_pieces.py has large ones.
That copied tables stay is read off the destination: their files and the rows' xmin are the same.
"""
import json
import random
import signal
import subprocess

import psycopg2
import pytest

from support.background_load import BackgroundLoad
from support.compare import assert_equal
from support.probes import assert_confirmed_is_applied
from support.waiting import wait_until

MOVED = ("r.t1", "r.t2", "r.t3", "r.t4", "r.t5")
PARTITIONS = ("r.p0", "r.p1", "r.p2")
# Rows that no load touches: what is copied of them stays as it was written.
STILL = 50
# Large transactions pass in runs and in parts.
IN_PARTS = ("--batch-bytes-max", "64kB", "--queue-bytes-max", "256kB")

SCHEMA = """
CREATE SCHEMA r;
CREATE TABLE r.parent (id bigint PRIMARY KEY, v text);
CREATE TABLE r.child (id bigint PRIMARY KEY, parent bigint NOT NULL, v text);
CREATE TABLE r.bag (a int, b text);
ALTER TABLE r.bag REPLICA IDENTITY FULL;
CREATE TABLE r.log1 (n bigint PRIMARY KEY, v text);
CREATE TABLE r.log2 (n bigint PRIMARY KEY, v text);
CREATE TABLE r.p (k int NOT NULL, id bigint NOT NULL, v text, PRIMARY KEY (k, id)) PARTITION BY LIST (k);
"""


def make_tables(source, rows=600):
    source.execute(SCHEMA)
    for number, table in enumerate(MOVED):
        # Of different sizes, because the largest is copied first.
        source.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, v int NOT NULL, note text);"
                       f"ALTER TABLE {table} ALTER note SET STORAGE EXTERNAL;"
                       f"INSERT INTO {table} SELECT i, 0, repeat(md5(i::text), 1 + i % 4 * 30) "
                       f"FROM generate_series({number * 1_000_000} + 1, {number * 1_000_000} + "
                       f"{rows - 100 * number}) i")
    for k, table in enumerate(PARTITIONS):
        source.execute(f"CREATE TABLE {table} PARTITION OF r.p FOR VALUES IN ({k});"
                       f"INSERT INTO r.p SELECT {k}, i, md5(i::text) FROM generate_series(1, {100 + k}) i")
    # The largest: it is done when its children are not.
    source.script("ALTER TABLE r.parent ALTER v SET STORAGE EXTERNAL",
                  "INSERT INTO r.parent SELECT i, repeat('p', 4000) FROM generate_series(1, 300) i",
                  "INSERT INTO r.child SELECT i, 1 + i % 300, repeat('c', 100) FROM generate_series(1, 900) i",
                  "INSERT INTO r.bag SELECT i % 40, md5((i % 40)::text) FROM generate_series(1, 400) i",
                  "INSERT INTO r.log1 SELECT i, 'l' FROM generate_series(1, 100) i",
                  "INSERT INTO r.log2 SELECT i, repeat('l', 100) FROM generate_series(1, 100) i",
                  "ALTER TABLE r.child ADD CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES r.parent (id)",
                  f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'")


class Mover:
    """One client; its rows are its own (id modulo the number of clients), so that nobody waits for it."""

    def __init__(self, source, seed, number, clients):
        self.random = random.Random(f"{seed}/{number}")
        self.number, self.clients = number, clients
        self.connection = source.connect(autocommit=False)
        self.next_id = 10_000_000 + number
        self.done = 0

    def fresh(self):
        self.next_id += self.clients
        return self.next_id

    def one(self, cursor, table, columns="id", key="id"):
        cursor.execute(f"SELECT {columns} FROM {table} WHERE {key} %% %s = %s AND {key} %% 1000000 > %s "
                       "ORDER BY md5((id + %s)::text) LIMIT 1",
                       (self.clients, self.number, STILL, self.random.randrange(1 << 30)))
        return cursor.fetchone()

    def move(self, cursor):
        a, b = self.random.sample(MOVED, 2)
        row = self.one(cursor, a)
        if row:
            cursor.execute(f"WITH gone AS (DELETE FROM {a} WHERE id = %s RETURNING *) "
                           f"INSERT INTO {b} SELECT %s, v + 1, note FROM gone", (row[0], self.fresh()))

    def insert(self, cursor):
        # One of the largest travels in parts.
        times = 40_000 if self.random.random() < 0.02 else self.random.choice((0, 1, 200))
        cursor.execute(f"INSERT INTO {self.random.choice(MOVED)} VALUES (%s, 1, repeat(md5(%s), %s))",
                       (self.fresh(), str(self.random.random()), times))

    def update(self, cursor):
        table = self.random.choice(MOVED)
        row = self.one(cursor, table)
        if row:  # the note is not sent where it is stored out of line
            cursor.execute(f"UPDATE {table} SET v = v + 1 WHERE id = %s", row)

    def change_key(self, cursor):
        table = self.random.choice(MOVED)
        row = self.one(cursor, table)
        if row:
            cursor.execute(f"UPDATE {table} SET id = %s WHERE id = %s", (self.fresh(), row[0]))

    def delete(self, cursor):
        table = self.random.choice(MOVED)
        row = self.one(cursor, table)
        if row:
            cursor.execute(f"DELETE FROM {table} WHERE id = %s", row)

    def family(self, cursor):
        parent = self.fresh()
        cursor.execute("INSERT INTO r.parent VALUES (%s, 'n')", (parent,))
        for _ in range(3):
            cursor.execute("INSERT INTO r.child VALUES (%s, %s, 'n')", (self.fresh(), parent))
        old = self.one(cursor, "r.parent")
        if old and old[0] != parent:
            cursor.execute("UPDATE r.child SET parent = %s WHERE parent = %s", (parent, old[0]))
            cursor.execute("DELETE FROM r.parent WHERE id = %s", old)

    def bag(self, cursor):
        a = self.number + self.clients * self.random.randrange(40 // self.clients)
        cursor.execute("DELETE FROM r.bag WHERE ctid = (SELECT ctid FROM r.bag WHERE a = %s LIMIT 1)", (a,))
        cursor.execute("INSERT INTO r.bag SELECT a, md5(a::text) FROM (SELECT %s::int AS a) x, "
                       "generate_series(1, %s)", (a, self.random.randrange(3)))

    def partition(self, cursor):
        row = self.one(cursor, "r.p", "id, k")
        if row:
            cursor.execute("UPDATE r.p SET k = (k + 1) %% 3, id = %s WHERE id = %s AND k = %s",
                           (self.fresh(), *row))

    def empty(self, cursor):
        """The copy may hold a lock on them: that is no reason to wait."""
        if self.number:
            return
        cursor.execute("SAVEPOINT s")
        try:
            cursor.execute("SET LOCAL lock_timeout = '50ms'")
            cursor.execute("TRUNCATE r.log1, r.log2")
        except psycopg2.errors.LockNotAvailable:
            cursor.execute("ROLLBACK TO s")
        for table in ("r.log1", "r.log2"):
            cursor.execute(f"INSERT INTO {table} VALUES (%s, 'n')", (self.fresh(),))

    def transaction(self):
        operations = (self.move, self.move, self.move, self.insert, self.update, self.update, self.change_key,
                      self.delete, self.family, self.bag, self.partition, self.empty)
        with self.connection.cursor() as cursor:
            # Sometimes larger than the source decodes in memory.
            for _ in range(self.random.choice((1, 2, 3, 5, 8, 8, 40))):
                self.random.choice(operations)(cursor)
        if self.random.random() < 0.1:
            self.connection.rollback()
        else:
            self.connection.commit()
        self.done += 1


class Load(BackgroundLoad):
    def __init__(self, source, seed, clients=2):
        super().__init__(Mover(source, seed, number, clients) for number in range(clients))


# --- what the destination shows

def pieces(destination):
    """Table to (state, number of its snapshot)."""
    if not destination.value("SELECT to_regclass('towline_state.piece') IS NOT NULL"):
        return {}
    return {f"{schema}.{table}": (state, number) for schema, table, state, number in destination.query(
        "SELECT schema_name, table_name, state, snapshot_number FROM towline_state.piece")}


def traces(destination):
    """Of each table that is done what would change if it were emptied and copied again: its file, and who
    wrote the rows that no load touches."""
    found = {}
    for table, (state, _) in pieces(destination).items():
        if state == "copied":
            key = {"r.bag": "0", "r.log1": "0", "r.log2": "0"}.get(table, f"CASE WHEN id % 1000000 <= {STILL} "
                                                                   "THEN xmin::text::bigint ELSE 0 END")
            found[table] = (destination.value(f"SELECT relfilenode FROM pg_class WHERE oid = '{table}'::regclass"),
                            destination.value(f"SELECT sum({key}) FROM {table}"))
    return found


BEFORE_THE_END = (None, "new", "checking", "copying_schema", "copying")


def dies_at(service, fault):
    service.fault = fault
    service.start()
    assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
    service.fault = None


def finish(service, source, destination):
    service.wait_until_caught_up(states=("catching_up", "streaming"))
    service.wait_for_state("streaming")
    assert_equal(source.uri(), destination.uri())
    assert destination.query("SELECT * FROM towline_state.snapshot") == []
    assert destination.value("SELECT lsn_after FROM towline_state.task") is None
    # Between tables everything is as it should be again.
    assert destination.value("SELECT convalidated FROM pg_constraint WHERE conname = 'child_parent'")
    assert service.stop() == 0


# --- killed and killed again

# Each is a chain of kills; the counts say how many tables are done before each.
CHAINS = {
    "one-snapshot-more": ("copy:table-done:kill:5",),
    "in-a-table": ("copy:in-table:kill:8",),
    "three-snapshots": ("copy:table-done:kill:4", "copy:table-done:kill:3", "copy:in-table:kill:2"),
    "before-it-has-copied": ("copy:table-done:kill:6", "copy:resume-stored:kill:1", "copy:resume-emptied:kill:1"),
}


@pytest.mark.parametrize("chain", [pytest.param(chain, marks=pytest.mark.long) if chain == "in-a-table" else chain
                                   for chain in CHAINS])
def test_tables_that_are_done_stay(chain, source, destination, towline_factory, seed):
    make_tables(source)
    workers = "1" if chain == "in-a-table" else "2"
    service = towline_factory(source, destination, arguments=[*IN_PARTS, "--copy-workers", workers])
    done = {}
    with Load(source, seed) as load:
        for fault in CHAINS[chain]:
            load.wait_for(20)
            dies_at(service, fault)
            assert service.state() == "copying"
            assert_confirmed_is_applied(service, source)
            now = traces(destination)
            assert {table: now[table] for table in done} == done
            done = now
            assert 0 < len(done) < len(pieces(destination)), service.tail()
            load.wait_for(40)  # new to the tables that are done, known to the others' next snapshot
        service.start()
        kept = service.wait_for_log(r"goes on under a new snapshot.*tables_kept=(\d+).*tables_left=(\d+)")
        assert int(kept.group(1)) == len(done)
        service.wait_for_state("indexing", "catching_up", "constraints", "streaming")
        load.wait_for(100)
        load.stop()
        finish(service, source, destination)
    now = traces(destination)
    assert {table: now[table][0] for table in done} == {table: done[table][0] for table in done}
    snapshots = {number for _, number in pieces(destination).values()}
    assert len(snapshots) >= 2, f"{snapshots}; {service.tail()}"


def test_killed_at_random_moments(source, destination, towline_factory, seed, size):
    """The same at any moment of the copy, until it is through; what is done is never lost."""
    dice = random.Random(seed)
    make_tables(source, rows=1500)
    # Slow enough to be met.
    service = towline_factory(source, destination, arguments=["--copy-workers", "1", "--copy-rows-max", "1500"])
    done = {}
    with Load(source, seed) as load:
        for _ in range(4 * size):
            service.start()
            # Somewhat further each time, so that every kill but the first meets tables that are done.
            enough = len(done) + dice.randrange(1, 4)
            service.wait_for_log("task taken over")
            wait_until(lambda: len(traces(destination)) >= enough or service.state() not in BEFORE_THE_END, 60,
                       f"{enough} tables to be done", explain=service.tail)
            try:
                status = service.process.wait(dice.uniform(0, 0.1))
                raise AssertionError(f"the service ended by itself with {status}; {service.tail()}")
            except subprocess.TimeoutExpired:
                service.kill()
            now = traces(destination)
            kept = {table for table in done if now[table][0] == done[table][0]}
            assert kept == set(done), f"copied again: {set(done) - kept}; {service.tail()}"
            done = now
            load.wait_for(10)
        service.start()
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(50)
        load.stop()
        finish(service, source, destination)
    assert "goes on under a new snapshot" in service.output(all_runs=True), service.tail()


# --- transactions and statements that lie across the snapshots

def killed_with(source, destination, service, passage=3):
    """Stands still with some tables done; what the test does next is behind the first snapshot. Killed by
    the caller."""
    service.fault = f"copy:table-done:stop:{passage}"
    service.start()
    wait_until(lambda: "fault point copy:table-done" in service.output(), 60, "the copy", explain=service.tail)
    # The other worker's transaction may have been open.
    return {table for table, (state, _) in pieces(destination).items() if state == "copied"}


def kill(service):
    service.kill()
    service.fault = None


def test_truncate_between_the_snapshots(source, destination, towline_factory):
    """Of two tables in one statement one is copied before, the other after it; then rows again."""
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    done = killed_with(source, destination, service)
    kill(service)
    left = set(MOVED) - done
    before, after = sorted(done & set(MOVED))[0], sorted(left)[0]
    assert "r.parent" in done and "r.child" not in done
    source.script(f"TRUNCATE {before}, {after}",
                  f"INSERT INTO {after} VALUES (1, 1, 'n')",
                  f"BEGIN; TRUNCATE {before}, r.log1; INSERT INTO {before} VALUES (1, 1, 'n'); COMMIT",
                  f"BEGIN; INSERT INTO {before} VALUES (2, 2, 'gone'); TRUNCATE {before}; "
                  f"INSERT INTO {before} VALUES (3, 3, 'stays'); COMMIT",
                  "TRUNCATE r.parent CASCADE",
                  "INSERT INTO r.parent VALUES (1, 'n'); INSERT INTO r.child VALUES (1, 1, 'n')",
                  "TRUNCATE r.p", "INSERT INTO r.p VALUES (1, 1, 'n')")
    service.start()
    service.wait_for_log("goes on under a new snapshot")
    source.execute(f"INSERT INTO {before} VALUES (4, 4, 'later')")
    service.wait_until_caught_up()
    assert [source.value(f"SELECT count(*) FROM {table}") for table in (before, after, "r.child")] == [2, 1, 1]
    finish(service, source, destination)


def test_transactions_across_the_snapshots(source, destination, towline_factory):
    """Begun before the first snapshot's tables are done and ended behind the kill, one of them by
    COMMIT PREPARED. The new snapshot waits for them, as for every transaction older than its marker, and says
    so; a rewrite and a table that comes and goes in between change nothing."""
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    done = killed_with(source, destination, service)
    first, second = sorted(done & set(MOVED))[0], sorted(set(MOVED) - done)[0]
    move = (f"WITH gone AS (DELETE FROM {{0}} WHERE id %% 1000000 BETWEEN {{2}} AND {{2}} + 9 RETURNING *) "
            f"INSERT INTO {{1}} SELECT id + 500000, v, note FROM gone").replace("%%", "%")
    open_one = source.connect(autocommit=False)
    with open_one.cursor() as cursor:
        cursor.execute(move.format(first, second, 100))
        cursor.execute(move.format(second, first, 120))
    source.execute(f"BEGIN; {move.format(first, second, 140)}; {move.format(second, first, 160)}; "
                   f"INSERT INTO r.log1 VALUES (7777, 'prepared'); PREPARE TRANSACTION 'across'")
    kill(service)
    service.start()
    service.wait_for_log("(?i)prepared transaction|across|pid ")
    assert service.state() == "copying"
    open_one.commit()
    open_one.close()
    source.execute("COMMIT PREPARED 'across'")
    service.wait_for_log("goes on under a new snapshot")
    source.script(f"VACUUM FULL {first}", f"VACUUM FULL {second}", f"UPDATE {first} SET v = v + 1 WHERE id % 2 = 0",
                  f"UPDATE {second} SET v = v + 1")
    finish(service, source, destination)
    assert {number for _, number in pieces(destination).values()} == {1, 2}


def test_a_table_that_comes_and_goes_in_between(source, destination, towline_factory):
    """Nobody has copied it, and the destination never had it: its changes are nobody's."""
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    done = killed_with(source, destination, service)
    kill(service)
    first = sorted(done & set(MOVED))[0]
    source.script("CREATE TABLE r.brief (id int PRIMARY KEY)",
                  f"BEGIN; INSERT INTO r.brief VALUES (1); UPDATE {first} SET v = v + 1; TRUNCATE r.brief; COMMIT",
                  "DROP TABLE r.brief", f"VACUUM FULL {first}", f"CLUSTER {first} USING {first[2:]}_pkey")
    service.start()
    service.wait_for_log("goes on under a new snapshot")
    finish(service, source, destination)


# --- tables that are not what they were

CHANGES = {  # at the source, at the destination, what the log says; the first three by default
    "dropped": ("DROP TABLE {done}", "", "does not belong to the copy any more.*{done_name}.*is gone, or not selected"),
    "created": ("CREATE TABLE r.t9 AS SELECT * FROM {done}; ALTER TABLE r.t9 ADD PRIMARY KEY (id)", "",
                "is copied as well.*t9.*it is new"),
    "left-altered": ("ALTER TABLE {left} ALTER v TYPE bigint", "ALTER TABLE {left} ALTER v TYPE bigint",
                     "copied again.*{left_name}.*from .*v.* integer NOT NULL to .*v.* bigint NOT NULL"),
    "made-anew": ("ALTER TABLE {done} RENAME TO old; ALTER TABLE r.old SET SCHEMA public; DROP TABLE public.old; "
                  "CREATE TABLE {done} (id bigint PRIMARY KEY, v int NOT NULL, note text); "
                  "INSERT INTO {done} VALUES (1, 1, 'new')", "", "copied again.*{done_name}.*was made anew"),
    "swapped": ("ALTER TABLE {done} RENAME TO x; ALTER TABLE {left} RENAME TO {done_name}; "
                "ALTER TABLE r.x RENAME TO {left_name}", "", "copied again.*{done_name}.*was made anew"),
    "unique": ("ALTER TABLE {done} ADD UNIQUE (id, v)", "", "copied again.*{done_name}.*unique index .* is new"),
    "excluding": ("UPDATE {done} SET v = id; ALTER TABLE {done} ADD EXCLUDE USING btree (v WITH =)", "",
                  "copied again.*{done_name}.*exclusion constraint .* is new"),
}


def equal_where_the_source_has_tables(source, destination):
    """Tables that are gone from the source stay behind at the destination, emptied."""
    assert_equal(source.uri(), destination.uri(), tables=[
        row[0] for row in source.query("SELECT format('%s.%s', schemaname, tablename) FROM pg_tables "
                                       "WHERE schemaname = 'r' AND tablename <> 'p'")])


def assert_others_stay(destination, before, but):
    now = traces(destination)
    assert {table: now.get(table, [None])[0] for table in before if table not in but} == {
        table: before[table][0] for table in before if table not in but}


@pytest.mark.parametrize("change", [change if number < 3 else pytest.param(change, marks=pytest.mark.long)
                                    for number, change in enumerate(CHANGES)])
def test_only_tables_that_changed_are_copied_again(change, source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    copied = killed_with(source, destination, service)
    kill(service)
    done, left = sorted(copied & set(MOVED))[0], sorted(set(MOVED) - copied)[0]
    before = traces(destination)
    at_source, at_destination, because = (text.format(done=done, left=left, done_name=done[2:], left_name=left[2:])
                                          for text in CHANGES[change])
    # Known to the new snapshot alone, or to none of those that stay.
    source.script(at_source, f"INSERT INTO {left} VALUES (99, 9, 'n') ON CONFLICT DO NOTHING",
                  "UPDATE r.parent SET v = 'between' WHERE id % 7 = 0")
    if at_destination:
        destination.execute(at_destination)
    # Before the new tables are known to be made, or behind that.
    service.fault = f"copy:{'schema-stored' if change == 'created' else 'after-pre-data'}:kill:1"
    service.start()
    service.wait_for_log(because)
    assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
    assert_others_stay(destination, before, {done})
    service.fault = None
    service.start()
    service.wait_for_state("streaming")
    assert "starts again" not in service.output(all_runs=True), service.tail()
    assert_others_stay(destination, before, {done})
    source.execute(f"INSERT INTO {left} VALUES (98, 9, 'n') ON CONFLICT DO NOTHING")
    service.wait_until_caught_up()
    equal_where_the_source_has_tables(source, destination)
    assert service.stop() == 0


def test_a_table_that_was_altered_is_told_and_waits_for_the_destination(source, destination, towline_factory):
    """Nothing is emptied before the destination's table takes the rows; killed where the others' marks alone are left."""
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    copied = killed_with(source, destination, service)
    kill(service)
    done = sorted(copied & set(MOVED))[0]
    before = traces(destination)
    source.script(f"ALTER TABLE {done} ADD COLUMN more int DEFAULT 5", f"UPDATE {done} SET more = 6 WHERE id % 3 = 0",
                  "UPDATE r.parent SET v = 'between' WHERE id % 7 = 0")
    service.start()
    assert service.wait_exit(60) == 3, service.tail()
    assert f'ALTER TABLE "r"."{done[2:]}" ADD COLUMN "more" integer;' in service.output(), service.tail()
    assert traces(destination) == before
    destination.execute(f"ALTER TABLE {done} ADD COLUMN more int")
    dies_at(service, "copy:resume-emptied:kill:1")
    service.wait_for_log(f"copied again.*{done[2:]}.*more.* integer is new")
    assert_others_stay(destination, before, {done})
    service.arguments = [*service.arguments, "--copy-rows-max", "300"]
    service.start()
    service.wait_for_log(f"goes on under a new snapshot.*tables_kept={len(before) - 1}")
    wait_until(lambda: service.status().get("copy_note"), 60, "the note", explain=service.tail)
    note = service.status()["copy_note"]
    assert f"{len(before) - 1} of {len(pieces(destination))} tables were done and stay" in note, note
    assert "copy note" in service.call("status", check=True).stdout
    assert service.call("set", "copy_rows_max", "0", check=True)
    service.wait_for_state("streaming")
    assert_others_stay(destination, before, {done})
    finish(service, source, destination)
    assert "starts again" not in service.output(all_runs=True)


def test_only_the_table_of_another_rule_is_copied_again(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    done = sorted(killed_with(source, destination, service) & set(MOVED))[0]
    kill(service)
    before = traces(destination)
    file = service.directory / "task.yaml"
    file.write_text(json.dumps({"table": {done: {"where": "id % 2 = 0", "columns": ["id", "v", {"loud": "upper(note)"}]}}}))
    service.environment["TOWLINE_CONFIG"] = str(file)
    source.execute(f"ALTER TABLE {done} REPLICA IDENTITY FULL")
    service.start()
    service.wait_for_log("copied again.*its rule has changed")
    service.wait_for_state("streaming")
    assert_others_stay(destination, before, {done})
    assert destination.query(f"SELECT id, loud FROM {done} ORDER BY 1") == source.query(
        f"SELECT id, upper(note) FROM {done} WHERE id % 2 = 0 ORDER BY 1")
    assert service.stop() == 0


def test_only_a_table_that_somebody_has_emptied_is_copied_again(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    done = sorted(killed_with(source, destination, service) & set(MOVED))[0]
    kill(service)
    before = traces(destination)
    # Made anew, without its key, whose statement is done.
    destination.execute(f"DROP TABLE {done}; CREATE TABLE {done} (id bigint NOT NULL, v int NOT NULL, note text)")
    service.start()
    service.wait_for_log("copied again.*it is empty at the destination")
    service.wait_for_state("streaming")
    assert_others_stay(destination, before, {done})
    assert destination.value("SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conrelid = %s::regclass", [done]) == 1
    finish(service, source, destination)


# --- what makes it start over

def test_foreign_keys_that_would_act_on_emptying_start_over(source, destination, towline_factory):
    """Without the right to the replica role, emptying a table that is not done could take rows of one that is."""
    make_tables(source)
    # The right is asked for at the first start; it is taken away later.
    destination.script("CREATE ROLE mere LOGIN SUPERUSER", f"GRANT CREATE ON DATABASE {destination.name} TO mere",
                       "CREATE SCHEMA r AUTHORIZATION mere", "SET ROLE mere",
                       "CREATE TABLE r.t5 (id bigint PRIMARY KEY, v int NOT NULL, note text)",
                       "CREATE TABLE r.outside (t5 bigint REFERENCES r.t5 (id) ON DELETE CASCADE)")
    service = towline_factory(source, destination.uri(user="mere"), arguments=["--copy-workers", "1"])
    assert "r.t5" not in killed_with(source, destination, service)
    kill(service)
    destination.execute("ALTER ROLE mere NOSUPERUSER")
    service.start()
    service.wait_for_log("starts again.*others refer to tables that are not done")
    service.kill()
    destination.script("ALTER ROLE mere SUPERUSER", "DROP TABLE r.outside")
    service.start()
    service.wait_for_state("streaming")
    finish(service, source, destination)


def test_tables_with_rows_of_their_own_start_over(source, destination, towline_factory):
    make_tables(source)
    destination.execute("CREATE SCHEMA r; CREATE TABLE r.log1 (n bigint PRIMARY KEY, v text); "
                        "INSERT INTO r.log1 VALUES (-1, 'mine')")
    service = towline_factory(source, destination, arguments=["--copy-workers", "1", "--existing", "append"])
    killed_with(source, destination, service)
    kill(service)
    service.start()
    service.wait_for_log("starts again.*append")
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert destination.value("SELECT v FROM r.log1 WHERE n = -1") == "mine"
    destination.execute("DELETE FROM r.log1 WHERE n = -1")
    finish(service, source, destination)


# --- state of an older version

# Takes back what the versions since have done.
DOWNGRADE = ("DROP TABLE towline_state.shape",
             "ALTER TABLE towline_state.verify_result DROP COLUMN form", "DROP TABLE towline_state.verify_look",
             "DROP TABLE towline_state.table_request",
             "ALTER TABLE towline_state.piece DROP COLUMN is_added, DROP COLUMN reason, DROP COLUMN was_empty, DROP COLUMN has_left",
             "DROP TABLE towline_state.verify_progress", "DROP TABLE towline_state.heal",
             "ALTER TABLE towline_state.task DROP COLUMN is_slot_on_standby",
             "DROP TABLE towline_state.verify_run, towline_state.verify_result, towline_state.verify_row",
             "DROP TABLE towline_state.ddl_history, towline_state.conflict_total",
             "ALTER TABLE towline_state.conflict DROP COLUMN existing_values",
             "DROP TABLE towline_state.column_type, towline_state.made_object",
             "ALTER TABLE towline_state.piece DROP COLUMN bytes_done",
             "ALTER TABLE towline_state.task ADD COLUMN snapshot text NOT NULL DEFAULT ''",
             "UPDATE towline_state.task t SET snapshot = s.snapshot FROM towline_state.snapshot s "
             "WHERE s.task = t.task",
             "DROP TABLE towline_state.snapshot, towline_state.range",
             "ALTER TABLE towline_state.piece DROP COLUMN snapshot_number, DROP COLUMN key_column, DROP COLUMN key_type, "
             "DROP COLUMN key_type_oid, DROP COLUMN key_collation, DROP COLUMN source_form",
             "UPDATE towline_state.meta SET version = 4")


def test_state_of_version_4_in_the_copy_starts_over(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    killed_with(source, destination, service)
    kill(service)
    destination.script(*DOWNGRADE)
    # What reads the state without running the task takes the old one as it is.
    assert json.loads(service.call("status", "--json", "--destination", service.destination_uri, ends=False,
                                   check=False).stdout or "{}") is not None
    source.execute("UPDATE r.t1 SET v = v + 1; UPDATE r.t5 SET v = v + 1")
    service.start()
    service.wait_for_log("starts again.*an older version")
    service.wait_for_state("streaming")
    finish(service, source, destination)


def test_state_of_version_4_behind_the_copy_goes_on(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, fault="run:before-stream:kill:1")
    with Load(source, 1) as load:
        load.wait_for(20)
        service.start()
        assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
        service.fault = None
        load.stop()
    destination.script(*DOWNGRADE)
    service.start()
    service.wait_for_state("streaming")
    finish(service, source, destination)
    assert "starts again" not in service.output()

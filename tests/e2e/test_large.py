"""Values and rows too large to be sent at once: in steps to the destination, column by column from the source,
equal, within the memory limit; and refused by table, key hash and size where a server has no way.

The short tests lower the limit above which a change goes in steps; the long ones have values as large as the
server takes them. What is compared are hashes that the servers make, as a row of more than 1 GB cannot be read
in one piece.
"""
import json
import pathlib
import re
import signal
import threading
import time

import pytest

from support.compare import assert_equal
from support.waiting import wait_until

STOPPED = 4  # waits for the operator
SMALL_STEPS = ("--statement-bytes-max", "16kB")
MEGABYTE = 1 << 20


def text(name, kilobytes):
    """SQL: a text of its own that does not compress well; with what means something to COPY."""
    return (f"(SELECT string_agg(md5('{name}' || i), CASE i % 7 WHEN 0 THEN E'\\n' WHEN 1 THEN E'\\t' WHEN 2 THEN "
            f"E'\\\\' WHEN 3 THEN E'\\\\.\\r\\n' WHEN 4 THEN 'ü' ELSE '' END ORDER BY i) "
            f"FROM generate_series(1, {kilobytes * 31}) i)")


def data(name, kilobytes):
    return f"convert_to({text(name, kilobytes)}, 'UTF8')"


@pytest.fixture(scope="module")
def destination_cluster(module_clusters):
    """Its log says when a staging table is made."""
    return module_clusters("destination", settings={"log_statement": "ddl"})


def steps(destination):
    """Changes that went in steps since the server started."""
    return len(re.findall(r'CREATE TABLE "(?:pg_temp|towline_state)"\."large_', destination.cluster.log.read_text(errors="replace")))


def assert_nothing_left(destination):
    assert destination.query("SELECT relname FROM pg_class WHERE relname LIKE 'large\\_%'") == []


SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (x text, y text);
CREATE DOMAIN document AS text CHECK (length(VALUE) > 3);
CREATE TABLE keyed (id int PRIMARY KEY, a text NOT NULL CHECK (length(a) > 10), b bytea NOT NULL, c jsonb, n int,
                    length int GENERATED ALWAYS AS (length(a)) STORED);
CREATE TABLE keyed_full (LIKE keyed INCLUDING ALL); ALTER TABLE keyed_full REPLICA IDENTITY FULL;
-- Not for COPY: a value travels as text.
CREATE TABLE moody (id int PRIMARY KEY, m mood[], d document NOT NULL, n int);
CREATE TABLE always (id int PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY, a text);
ALTER TABLE always REPLICA IDENTITY FULL;
CREATE TABLE no_key (id int, a text, j json, t text COLLATE "C", p pair, n int); ALTER TABLE no_key REPLICA IDENTITY FULL;
ALTER TABLE keyed ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
"""
MOODS = "(SELECT array_agg(CASE WHEN md5('{}' || i) < '8' THEN 'sad' ELSE 'happy' END::mood) FROM generate_series(1, 20000) i)"


def test_changes_in_steps(towline_factory, source, destination):
    source.psql(SCHEMA)
    towline = towline_factory(source, destination, arguments=SMALL_STEPS)
    towline.start().wait_for_state("streaming")

    def all_equal(least_steps):
        before, all_equal.seen = all_equal.seen, None
        towline.wait_until_caught_up()
        all_equal.seen = steps(destination)
        assert all_equal.seen - before >= least_steps, f"{all_equal.seen - before} changes went in steps"
        assert_equal(source.uri(), destination.uri())
        assert_nothing_left(destination)
    all_equal.seen = steps(destination)

    rows = [(1, 40, 30), (2, 9, 5), (3, 100, 200)]
    for table in ("keyed", "keyed_full"):
        for key, a, b in rows:
            source.execute(f"INSERT INTO {table} VALUES ({key}, {text(key, a)}, {data(key, b)}, "
                           f"jsonb_build_object('k', {text(key, a)}), 0)")
    for key, kilobytes in ((1, 30), (2, 5)):
        source.execute(f"INSERT INTO moody VALUES ({key}, {MOODS.format(key)}, {text(key, kilobytes)}, 0)")
        source.execute(f"INSERT INTO always VALUES ({key}, DEFAULT, {text(key, kilobytes)})")
    for repetition in (1, 1, 2):
        source.execute(f"INSERT INTO no_key VALUES (1, {text('a', 30)}, to_json({text('j', 20)}), {text(repetition, 10)}, "
                       f"ROW({text('p', 20)}, NULL), 0)")
    source.execute("INSERT INTO no_key VALUES (1, NULL, NULL, '', ROW(NULL, NULL), 0)")
    all_equal(2)  # of moody; the others go by COPY

    # One value, all, none; NULL and empty; keys that change; unchanged ones around.
    for table in ("keyed", "keyed_full"):
        source.script(f"UPDATE {table} SET a = {text('new', 50)} WHERE id = 1",
                      f"UPDATE {table} SET a = {text('both', 20)}, b = {data('both', 20)} WHERE id = 3",
                      f"UPDATE {table} SET c = NULL, b = '' WHERE id = 2", f"UPDATE {table} SET n = n + 1",
                      f"UPDATE {table} SET id = 30, a = {text('moved', 60)} WHERE id = 3",
                      f"UPDATE {table} SET id = 10 WHERE id = 1")
    source.script(f"UPDATE moody SET m = {MOODS.format('new')}, d = {text('d', 3)} WHERE id = 1",
                  f"UPDATE moody SET d = {text('document', 30)}, n = 1", "UPDATE moody SET m = NULL WHERE id = 2",
                  f"UPDATE always SET number = DEFAULT, a = {text('other', 30)} WHERE id = 1",
                  "UPDATE always SET number = DEFAULT WHERE id = 2")
    all_equal(8)

    # Without key: one of the two equal rows; then the row that is left.
    source.script("UPDATE no_key SET n = 1 WHERE ctid = (SELECT min(ctid) FROM no_key)",
                  f"UPDATE no_key SET a = {text('changed', 40)} WHERE n = 1",
                  "DELETE FROM no_key WHERE ctid = (SELECT min(ctid) FROM no_key WHERE n = 0)",
                  f"UPDATE no_key SET p = ROW({text('x', 9)}, {text('y', 9)}), j = NULL WHERE n = 0 AND a IS NOT NULL",
                  "DELETE FROM no_key WHERE n = 1", "DELETE FROM keyed WHERE id = 10", "DELETE FROM keyed_full WHERE id = 2")
    all_equal(5)

    # Several in one transaction, among small ones, and rolled back parts.
    source.psql(f"BEGIN; INSERT INTO keyed VALUES (50, {text(50, 30)}, '', NULL, 0); SAVEPOINT s; "
                f"UPDATE keyed SET a = {text('lost', 30)}; ROLLBACK TO s; UPDATE keyed SET a = {text('kept', 30)}; "
                f"UPDATE keyed SET n = 7; UPDATE moody SET d = {text('kept', 30)}; "
                f"INSERT INTO moody VALUES (9, NULL, {text(9, 17)}, 1); COMMIT;")
    all_equal(3)
    assert towline.stop() == 0


def test_rows_that_were_there_give_way_in_steps(towline_factory, source, destination):
    definition = "CREATE TABLE t (id int PRIMARY KEY, a text, b text)"
    source.execute(definition)
    destination.script(definition, f"INSERT INTO t VALUES (1, {text('old', 30)}, ''), (2, 'old', {text('old', 30)})")
    towline = towline_factory(source, destination, arguments=[*SMALL_STEPS, "--existing", "append"])
    towline.start().wait_for_state("streaming")
    before = steps(destination)
    source.script(f"INSERT INTO t VALUES (1, {text('new', 20)}, {text('b', 20)})",
                  f"INSERT INTO t VALUES (3, {text('three', 20)}, NULL)", f"UPDATE t SET a = {text('upd', 20)} WHERE id = 3",
                  f"INSERT INTO t VALUES (2, NULL, {text('two', 17)})")
    towline.wait_until_caught_up()
    assert steps(destination) - before >= 4
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_killed_between_the_steps(towline_factory, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
    towline = towline_factory(source, destination, arguments=SMALL_STEPS, fault="apply:values-staged:kill:2")
    towline.start().wait_for_state("streaming")
    source.script("INSERT INTO t VALUES (1, 'a', 'b'), (2, 'a', 'b')", f"UPDATE t SET a = {text(1, 30)} WHERE id = 1",
                  f"UPDATE t SET b = {text(2, 30)}")
    assert towline.wait_exit(60) == -signal.SIGKILL, towline.tail()
    assert_nothing_left(destination)
    towline.fault = None
    towline.start().wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_prepared_transactions_do_not_wait_for_each_others_steps(towline_factory, source, destination):
    """What a prepared transaction has made and dropped keeps its name locked until its end."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 3) i")
    towline = towline_factory(source, destination, arguments=[*SMALL_STEPS, "--two-phase", "on"])
    towline.start().wait_for_state("streaming")
    wait_until(lambda: source.value("SELECT bool_or(two_phase AND active) FROM pg_replication_slots "
                                    "WHERE database = current_database()"), 60, "two-phase decoding", explain=towline.tail)
    for number in (1, 2):
        source.psql(f"BEGIN; UPDATE t SET a = {text(number, 30)} WHERE id = {number}; PREPARE TRANSACTION 'p{number}';")
    source.execute(f"UPDATE t SET a = {text(3, 30)} WHERE id = 3")
    towline.wait_until_caught_up(120)
    for command in ("COMMIT PREPARED 'p2'", "ROLLBACK PREPARED 'p1'"):
        source.execute(command)
    towline.wait_until_caught_up(120)
    assert_equal(source.uri(), destination.uri())
    assert destination.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()") == []
    assert towline.stop() == 0


def test_a_change_that_the_destination_has_no_way_to_take_is_refused(towline_factory, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    towline = towline_factory(source, destination, arguments=SMALL_STEPS)
    towline.start().wait_for_state("streaming")
    destination.execute("CREATE INDEX extra ON t (a)")
    source.script("INSERT INTO t VALUES (1, '')", f"UPDATE t SET a = {text('x', 40)}")
    assert towline.wait_exit(60) == STOPPED, towline.tail()
    refusal = towline.output()
    assert re.search(r"UPDATE of 4\d{4} bytes is too large for the destination "
                     r"\(table public\.t, key hash [0-9a-f]{16}, transaction \d+ ending at", refusal), towline.tail()
    assert_nothing_left(destination)
    destination.execute("DROP INDEX extra")
    towline.start().wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


# --- the copy

def hashes(database, table, columns):
    """Each column's hash by a scan of its own: no row is ever put together."""
    return {column: database.query(f"SELECT id, md5({column}::bytea), octet_length({column}) FROM {table} ORDER BY 1")
            if kind == "bytea" else
            database.query(f"SELECT id, md5({column}), octet_length({column}) FROM {table} ORDER BY 1")
            for column, kind in columns.items()}


def assert_same_hashes(source, destination, table, columns):
    assert hashes(source, table, columns) == hashes(destination, table, columns)


@pytest.mark.limit(400)
def test_a_row_that_cannot_be_handed_out_whole_is_copied_by_columns(towline_factory, source, destination):
    """As text, which the regclass brings for the whole table, a bytea of 540 MB has more than 1 GB."""
    megabytes = 540
    source.script("CREATE TABLE t (id int, r regclass, v bytea, n int)",
                  "ALTER TABLE t ALTER v SET COMPRESSION lz4",
                  "INSERT INTO t SELECT i, 'pg_class', repeat('x', i % 1000)::bytea, i FROM generate_series(1, 2000) i",
                  f"INSERT INTO t SELECT 0, NULL, convert_to(repeat(md5('0'), {megabytes << 15}), 'UTF8'), NULL",
                  "INSERT INTO t SELECT i, NULL, NULL, i FROM generate_series(2001, 4000) i")
    towline = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB"],
                              largest_row=megabytes * MEGABYTE)
    towline.start().wait_for_state("streaming", seconds=300)
    assert "a large row is copied column by column" in towline.output()
    towline.wait_until_caught_up()
    assert_same_hashes(source, destination, "t", {"v": "bytea"})
    rest = "SELECT id, r, n, v FROM public.t WHERE id > 0"
    assert_equal(source.uri(), destination.uri(), selects={"public.t": (rest, rest)})
    assert destination.query("SELECT r, n FROM t WHERE id = 0") == [(None, None)]
    assert_nothing_left(destination)
    assert towline.stop() == 0


def test_a_row_with_a_value_that_cannot_be_handed_out_is_refused(towline_factory, source, destination):
    """The rule's expression makes a value of 2 GB of one row."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n int); "
                   "INSERT INTO t SELECT i, 'value', CASE i WHEN 70 THEN 400000000 ELSE 2 END FROM generate_series(1, 100) i")
    towline = towline_factory(source, destination)
    file = pathlib.Path(towline.directory) / "task.yaml"
    file.write_text(json.dumps({"table": {"public.t": {"columns": ["id", {"v": "repeat('value', n)"}, "n"]}}}))
    towline.environment["TOWLINE_CONFIG"] = str(file)
    towline.start()
    assert towline.wait_exit(60) == STOPPED, towline.tail()
    assert re.search(r'table "public"\."t" has a row that is too large to be copied: key hash [0-9a-f]{16}, '
                     r'place \(0,70\), \d+ bytes as stored: column "v": source: ', towline.output()), towline.tail()
    source.execute("UPDATE t SET n = 2")
    towline.start().wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM t WHERE v = 'valuevalue'") == 100
    assert towline.stop() == 0


# --- true sizes

class Watch:
    """Peak memory of a process of the server, by what the kernel has kept."""

    def __init__(self, pid):
        self.pid, self.peak, self.ended = pid, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended:
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{self.pid}/status").read_text())
            except OSError:
                return
            self.peak = max(self.peak, int(found.group(1)) << 10) if found else self.peak
            time.sleep(0.05)


def bytes_of(name, megabytes):
    """Every megabyte another: what is lost, doubled or swapped shows."""
    return (f"(SELECT string_agg(convert_to(repeat(md5('{name}' || i), 32768), 'UTF8'), ''::bytea ORDER BY i) "
            f"FROM generate_series(1, {megabytes}) i)")


def text_of(name, megabytes):
    return f"(SELECT string_agg(repeat(md5('{name}' || i), 32768), '' ORDER BY i) FROM generate_series(1, {megabytes}) i)"


WIDE = {"a": "bytea", "b": "text", "c": "bytea"}
# columns with the megabytes of their values
SHAPES = {
    "bytea of 500 MB": {"a": ("bytea", 500)},
    "text of 900 MB": {"b": ("text", 900)},
    "row of three 400 MB columns": {"a": ("bytea", 400), "b": ("text", 400), "c": ("bytea", 400)},
}
# by which a row is found, and how its values are stored; a FULL old image with 1 GB stored fails at the source
IDENTITIES = {"key, external": "external", "key, compressed": "extended", "full, key": "extended",
              "full, no key": "extended"}


@pytest.mark.long
@pytest.mark.limit(1800)
@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_true_sizes(towline_factory, source, destination, shape, identity):
    columns = SHAPES[shape]
    largest_row = sum(megabytes for _, megabytes in columns.values()) * MEGABYTE
    key = "" if identity == "full, no key" else " PRIMARY KEY"
    source.execute(f"CREATE TABLE t (id int{key}, n int, "
                   + ", ".join(f"{name} {kind} NOT NULL DEFAULT ''" for name, (kind, _) in columns.items()) + ")")
    for name in columns:
        source.execute(f"ALTER TABLE t ALTER {name} SET STORAGE {IDENTITIES[identity]}")

    def fill(key):
        source.execute(f"INSERT INTO t (id, n) VALUES ({key}, 0)")
        for name, (kind, megabytes) in columns.items():
            value = (bytes_of if kind == "bytea" else text_of)(f"{key}{name}", megabytes)
            source.execute(f"UPDATE t SET {name} = {value} WHERE id = {key}")

    def same():
        towline.wait_until_caught_up(900)
        assert source.query("SELECT id, n FROM t ORDER BY 1") == destination.query("SELECT id, n FROM t ORDER BY 1")
        assert_same_hashes(source, destination, "t", {name: kind for name, (kind, _) in columns.items()})

    fill(1)
    if identity.startswith("full"):
        source.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    source.execute("VACUUM t")
    towline = towline_factory(source, destination, largest_row=largest_row)
    began = time.monotonic()
    towline.start().wait_for_state("streaming", seconds=600)
    figures = {"copy s": time.monotonic() - began, "copy, service MiB": towline.peak_memory >> 20}
    # Started again, so that the stream's memory is seen alone.
    assert towline.stop() == 0
    towline.peak_memory = 0
    towline.start().wait_for_state("streaming")
    sender = wait_until(lambda: source.value("SELECT pid FROM pg_stat_replication WHERE application_name LIKE 'towline%'"),
                        60, "the walsender")
    watch = Watch(sender)
    began = time.monotonic()
    fill(2)                                                       # values one by one
    source.execute("INSERT INTO t SELECT 3, 0" + "".join(f", {name}" for name in columns) + " FROM t WHERE id = 2")
    same()
    source.script("UPDATE t SET n = 1 WHERE id = 1",              # unchanged, or an old image of everything
                  "UPDATE t SET id = 30 WHERE id = 3")
    name, (kind, megabytes) = next(iter(columns.items()))
    source.execute(f"UPDATE t SET {name} = {(bytes_of if kind == 'bytea' else text_of)('new', megabytes - 1)} WHERE id = 30")
    same()
    source.execute("DELETE FROM t WHERE id = 30")
    same()
    figures.update({"stream s": time.monotonic() - began, "stream, service MiB": towline.peak_memory >> 20,
                    "walsender MiB": watch.peak >> 20})
    watch.ended = True
    print(f"{shape}, {identity}: " + ", ".join(f"{name} {value:.0f}" for name, value in figures.items()))
    assert_nothing_left(destination)
    assert towline.stop() == 0


@pytest.mark.long
@pytest.mark.limit(900)
def test_large_rows_of_several_tables_at_once_are_copied_within_the_limit(towline_factory, source, destination):
    megabytes = 400
    for table in ("x", "y"):
        source.execute(f"CREATE TABLE {table} (id int, b text); ALTER TABLE {table} ALTER b SET STORAGE EXTERNAL; "
                       f"INSERT INTO {table} SELECT i, {text_of(table, megabytes)} FROM generate_series(1, 2) i")
    towline = towline_factory(source, destination, largest_row=megabytes * MEGABYTE)
    towline.start().wait_for_state("streaming", seconds=600)
    print(f"two tables at once: service MiB {towline.peak_memory >> 20}")
    for table in ("x", "y"):
        assert_same_hashes(source, destination, table, {"b": "text"})
    assert towline.stop() == 0


@pytest.mark.long
@pytest.mark.limit(600)
def test_a_value_whose_form_exceeds_the_limit_is_refused_by_copy_and_stream(towline_factory, source, destination):
    """560 MB of array are 1.1 GB as it is sent."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v int[])")
    row = "INSERT INTO t VALUES (1, array_fill(7, ARRAY[140000000]))"
    towline = towline_factory(source, destination)
    towline.start().wait_for_state("streaming")
    source.execute(row)
    assert towline.wait_exit(120) == STOPPED, towline.tail()
    assert re.search(r"INSERT on relation public\.t, column v, in transaction \d+", towline.output()), towline.tail()
    assert towline.call("drop").returncode == 0
    destination.execute("DROP TABLE t")
    towline.start()
    assert towline.wait_exit(120) == STOPPED, towline.tail()
    assert re.search(r"has a row that is too large to be copied: key hash [0-9a-f]{16}, place \(0,1\), \d+ bytes as stored: "
                     r'column "v"', towline.output()), towline.tail()

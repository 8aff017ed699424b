"""Columns that have another type at the destination: what docs/types.md lists arrives, in the copy and in the
stream, as the source's own `column::type` says; everything else is refused before a row is copied.

All pairs share one run. Each has three tables: the type as a column beside a key, as the key, and in a
table without key under REPLICA IDENTITY FULL. The judge casts at the source, in SQL.
"""
import itertools
import json
import signal

import pytest

from support.cluster import quote_literal
from support.compare import compare
from type_cases import values

INTEGERS = {"int2": values.BUILTIN["int2"], "int4": values.BUILTIN["int4"], "int8": values.BUILTIN["int8"]}
LONG = "x" * 3000 + "\u00fc\\\t\n"
JSON = ["null", "{}", "[]", "{\"b\" :1,  \"a\": 2, \"b\": 3}", "[1e400, -0, 1.0, 1.00, 12345678901234567890.5]",
        "\"\\ud83d\\ude80 \\\\N\"", "{\"\": {\"z\": [null, true, \"" + "y" * 5000 + "\"]}}"]
NO_TEXT = {"char", "money", "aclitem", "int2vector", "oidvector", "cid", "refcursor", "txid_snapshot", "pg_snapshot",
           "text", "varchar", "bpchar"} | {name for name in values.BUILTIN if name.startswith("reg")}
TEXTABLE = sorted(set(values.BUILTIN) - NO_TEXT)
# To text, differing values must differ: the keys of the test are taken from these.
MOOD = "CREATE TYPE mood AS ENUM ('sad', 'it''s', '', 'sch\u00f6n', 'comma,brace}')"
MOODS = ["sad", "it's", "", "sch\u00f6n", "comma,brace}"]

# (type at the source, type at the destination, values)
PAIRS = [
    ("int2", "int4", INTEGERS["int2"]), ("int2", "int8", INTEGERS["int2"]), ("int2", "numeric", INTEGERS["int2"]),
    ("int2", "numeric(7,2)", INTEGERS["int2"]), ("int4", "int8", INTEGERS["int4"]),
    ("int4", "numeric", INTEGERS["int4"]), ("int4", "numeric(12,2)", INTEGERS["int4"]),
    ("int8", "numeric", INTEGERS["int8"]), ("int8", "numeric(19,0)", INTEGERS["int8"]),
    ("float4", "float8", values.BUILTIN["float4"]),
    ("numeric(7,2)", "numeric(9,2)", ["0", "-99999.99", "0.01", "NaN"]),
    ("numeric(7,2)", "numeric", ["0", "-99999.99", "0.01", "NaN"]),
    ("varchar(20)", "text", ["", " ", "a ", "\u00fc", "\\N", "NULL"]),
    ("varchar(20)", "varchar(30)", ["", " ", "a ", "\u00fc", "\\N"]),
    ("varchar(20)", "varchar", ["", " ", "a ", "\u00fc", "\\N"]),
    ("varchar", "text", [*values.TEXTS, LONG]), ("text", "varchar", [*values.TEXTS, LONG]),
    ("char(5)", "text", ["", " ", "a", "ab  ", "\u00fc\\", "  x"]), ("char(5)", "varchar", ["", "a", "ab  ", "  x"]),
    ("bpchar", "text", ["", "a", "ab  ", "  x", LONG]),
    ("json", "jsonb", JSON), ("jsonb", "json", JSON),
    ("mood", "text", MOODS), ("mood", "varchar", MOODS), ("text", "mood", MOODS), ("varchar(20)", "mood", MOODS),
    ("date", "timestamp", ["4714-11-24 BC", "0001-01-01", "294276-12-31", "infinity", "-infinity", "2000-02-29"]),
    ("date", "timestamp(0)", ["4714-11-24 BC", "294276-12-31", "infinity"]),
    ("timestamp(0)", "timestamp(3)", ["epoch", "infinity", "1999-12-31 23:59:59"]),
    ("timestamp(3)", "timestamp", ["epoch", "-infinity", "1999-12-31 23:59:59.999"]),
    ("timestamptz(3)", "timestamptz(6)", ["epoch", "1999-12-31 23:59:59.999+05:45"]),
    ("time(0)", "time(6)", ["00:00:00", "24:00:00", "23:59:59"]),
    ("varbit(9)", "varbit(12)", ["", "1", "101010101"]),
    *[(name, "text", [literal for literal in values.BUILTIN[name] if literal not in values.HEAVY])
      for name in TEXTABLE],
    ("int4[]", "text", ["{}", "{1,NULL}", "[0:1]={3,4}"]), ("text[]", "varchar", ["{}", "{\"a b\",NULL,\"\"}"]),
    ("bool", "varchar", ["true", "false"]), ("inet", "varchar", ["192.168.1.5", "10.0.0.0/8"]),
    ("int4[]", "int8[]", ["{}", "{1,NULL}", "[0:1]={3,4}", "{{1,2},{3,4}}"]), ("int2[]", "numeric[]", ["{}", "{-1}"]),
    ("float4[]", "float8[]", ["{0.1,NaN}", "{}"]), ("date[]", "timestamp[]", ["{infinity}", "{2000-02-29,NULL}"]),
    ("varchar(20)[]", "text[]", ["{}", "{\"a b\",NULL,\"\"}", "{" + LONG[:20].replace("x", "y") + "}"]),
    ("varchar(20)[]", "varchar(30)[]", ["{}", "{a}"]), ("char(5)[]", "text[]", ["{}", "{a,\"  x\"}"]),
    ("json[]", "jsonb[]", ["{}", '{"{\\"a\\": 1}"}']), ("bool[]", "text[]", ["{t,f}"]), ("timestamptz[]", "varchar[]", ["{epoch}"]),
    ("small", "int4", ["1", "-99999", "0"]), ("small", "int8", ["1", "-99999", "0"]), ("smaller", "numeric(12,2)", ["1", "2"]),
    ("smaller", "text", ["1", "-7"]), ("word", "text", ["", "a ", "\\N"]), ("word", "varchar(30)", ["", "a "]),
    ("numbers", "int8[]", ["{}", "{1,NULL}"]), ("feeling", "text", MOODS), ("document", "jsonb", JSON),
    ("int4", "large", ["1", "-99999"]), ("small", "large", ["1", "-99999"]), ("varchar(20)", "phrase", ["", "a "]),
    ("int8", "whole", ["1", "-9223372036854775808"]), ("same", "same", ["1", "-32768"]),
]
# Only on their side; "same" is another one there.
DOMAINS = (["CREATE DOMAIN small AS int CHECK (VALUE > -100000)", "CREATE DOMAIN smaller AS small", "CREATE DOMAIN word AS varchar(20)",
            "CREATE DOMAIN numbers AS int4[]", "CREATE DOMAIN feeling AS mood", "CREATE DOMAIN document AS json",
            "CREATE DOMAIN same AS int2"],
           ["CREATE DOMAIN large AS int8 CHECK (VALUE < 1000000)", "CREATE DOMAIN phrase AS text", "CREATE DOMAIN whole AS numeric",
            "CREATE DOMAIN same AS int8"])
BENEATH = {"large": "int8", "phrase": "text", "whole": "numeric", "same": "int8"}
# Refused: narrower, rounding, padding, depending on a setting, or just not on the list.
REFUSED = [("int8", "int4"), ("int4", "numeric(9,0)"), ("int4", "numeric(12,3)"), ("float8", "float4"), ("int4", "float8"),
           ("numeric", "float8"), ("numeric(7,2)", "numeric(9,3)"), ("numeric", "numeric(20,2)"), ("text", "varchar(20)"),
           ("varchar(20)", "varchar(10)"), ("char(5)", "char(7)"), ("text", "char(5)"), ("text", "int4"), ("text", "jsonb"),
           ("date", "timestamptz"), ("timestamp", "date"), ("timestamp", "timestamptz"), ("timestamp(3)", "timestamp(0)"),
           ("mood", "other_mood"), ("mood", "varchar(40)"), ("int8[]", "int4[]"), ("text[]", "int4[]"), ("mood[]", "text[]"),
           ("money", "text"), ("regclass", "text"),
           ("\"char\"", "text"), ("bool", "int4"), ("uuid", "bytea"), ("int4", "varchar(20)")]


def has_equality(database, type_name):
    return database.value("SELECT EXISTS (SELECT FROM pg_opclass o, pg_type t WHERE t.oid = %s::regtype AND o.opcmethod = 403 "
                          "AND o.opcdefault AND (o.opcintype = t.oid OR t.typname IN ('varchar', 'cidr') OR t.typtype IN ('e', 'r', 'm') "
                          "OR t.typtype = 'd' AND t.typbasetype <> 'json'::regtype "
                          "OR t.typelem NOT IN (0, 'json'::regtype) AND t.typsubscript = 'array_subscript_handler'::regproc))", [type_name])


class Case:
    """One pair's tables: c (beside a key), k (as the key), f (FULL without key)."""

    def __init__(self, number, source_type, destination_type, literals, has_key):
        self.source_type, self.destination_type, self.has_key = source_type, destination_type, has_key
        self.literals = literals
        self.c, self.k, self.f = f"c{number}", f"k{number}", f"f{number}"
        self.tables = [self.c, self.f] + ([self.k] if has_key else [])

    def value(self, number):
        return f"{quote_literal(self.literals[number % len(self.literals)])}::{self.source_type}"

    def create(self, is_source):
        column = self.source_type if is_source else self.destination_type
        yield f"CREATE TABLE {self.c} (id int PRIMARY KEY, n int, v {column})"
        yield f"CREATE TABLE {self.f} (n int, v {column})"
        yield f"ALTER TABLE {self.f} REPLICA IDENTITY FULL"
        if self.has_key:
            yield f"CREATE TABLE {self.k} (k {column} PRIMARY KEY, n int)"

    def fill(self):
        half = len(self.literals) // 2
        for number in range(len(self.literals)):
            yield f"INSERT INTO {self.c} VALUES ({number}, 0, {self.value(number)})"
            yield f"INSERT INTO {self.f} VALUES (0, {self.value(number)}), (0, {self.value(number)})"
        yield f"INSERT INTO {self.c} VALUES (100, 0, NULL), (101, 0, {self.value(0)})"
        yield f"INSERT INTO {self.f} VALUES (0, NULL), (0, NULL)"
        if self.has_key:
            for number in range(half):
                yield f"INSERT INTO {self.k} VALUES ({self.value(number)}, {number}) ON CONFLICT DO NOTHING"

    def live(self):
        count = len(self.literals)
        for number in range(count):
            yield f"INSERT INTO {self.c} VALUES ({200 + number}, 1, {self.value(number)})"
            yield f"UPDATE {self.c} SET v = {self.value(number + 1)} WHERE id = {number}"
            yield f"INSERT INTO {self.f} VALUES (1, {self.value(number)})"
        yield f"UPDATE {self.c} SET n = n + 1"  # a long value stays unsent
        yield f"UPDATE {self.c} SET v = NULL WHERE id = 101"
        yield f"UPDATE {self.c} SET v = {self.value(1)} WHERE id = 100"
        yield f"DELETE FROM {self.c} WHERE id = 0"
        yield f"INSERT INTO {self.c} VALUES (300, 1, NULL)"
        row = f"ctid = (SELECT ctid FROM {self.f} ORDER BY ctid OFFSET %d LIMIT 1)"
        yield f"DELETE FROM {self.f} WHERE " + row % 0
        yield f"UPDATE {self.f} SET n = 7 WHERE " + row % 1
        yield f"UPDATE {self.f} SET v = NULL WHERE " + row % 2
        yield f"UPDATE {self.f} SET v = {self.value(1)}, n = 5 WHERE " + row % (2 * count)
        yield f"DELETE FROM {self.f} WHERE v IS NULL AND n = 0"
        if not self.has_key:
            return
        for number in range(count // 2, count):
            yield f"INSERT INTO {self.k} VALUES ({self.value(number)}, {number}) ON CONFLICT DO NOTHING"
        yield f"UPDATE {self.k} SET n = n + 100"
        row = f"ctid = (SELECT ctid FROM {self.k} ORDER BY n OFFSET %d LIMIT 1)"
        if count > 2:
            yield f"CREATE TEMP TABLE taken ON COMMIT DROP AS SELECT k FROM {self.k} WHERE " + row % 0
            yield f"DELETE FROM {self.k} WHERE " + row % 0
            yield f"UPDATE {self.k} SET k = (SELECT k FROM taken), n = -1 WHERE " + row % 0
            yield "DROP TABLE taken"

    def selects(self):
        beneath = BENEATH.get(self.destination_type, self.destination_type)
        cast = f"::public.{beneath}" if beneath == "mood" else f"::{beneath}"
        for table, column, others in ((self.c, "v", ", id, n"), (self.f, "v", ", n"), (self.k, "k", ", n")):
            if table in self.tables:
                yield f"public.{table}", (f"SELECT {column}{cast}{others} FROM public.{table}",
                                          f"SELECT {column}{others} FROM public.{table}")


def cases(source, destination):
    numbers = itertools.count(1)
    made = []
    for source_type, destination_type, literals in PAIRS:
        has_key = has_equality(source, source_type) and has_equality(destination, destination_type)
        made.append(Case(next(numbers), source_type, destination_type, literals, has_key))
    return made


def judge(source, destination, pairs, binary=True):
    selects = dict(select for case in pairs for select in case.selects())
    for form in ((False, True) if binary else (False,)):
        result = compare(source.uri(), destination.uri(), tables=list(selects), selects=selects, binary=form)
        assert result and len(result.rows) == len(selects), f"{len(result.rows)} tables, {len(selects)} wanted: {result}"


def prepare(source, destination):
    for database, domains in zip((source, destination), DOMAINS):
        database.script(MOOD, *domains)
    pairs = cases(source, destination)
    source.script(*[statement for case in pairs for statement in (*case.create(True), *case.fill())])
    destination.script(*[statement for case in pairs for statement in case.create(False)])
    return pairs


def test_every_listed_pair_arrives_as_the_sources_cast_says(towline, source, destination):
    pairs = prepare(source, destination)
    assert sum(case.has_key for case in pairs) > 50
    towline.start("--existing", "stop").wait_for_state("streaming")
    judge(source, destination, pairs)
    for case in pairs:
        source.execute("; ".join(case.live()))
    towline.wait_until_caught_up()
    judge(source, destination, pairs)
    verified = towline.call("verify", seconds=200)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert towline.stop() == 0


def test_changes_in_steps_and_by_append_are_cast_as_well(towline, source, destination):
    """Large values go to the destination one by one; rows of the destination's own give way by a key that is cast."""
    source.execute(DOMAINS[0][5])
    pairs = [("json", "jsonb", JSON), ("document", "jsonb", JSON), ("bpchar", "text", ["a", "x" * 30000 + "  "]), ("varchar", "text", ["a", "y" * 30000]),
             ("bytea", "text", ["\\x00", "\\x" + "00ff" * 20000]), ("int4", "int8", ["1", "2"])]
    made = [Case(number, *pair, pair[0] == "int4") for number, pair in enumerate(pairs)]
    source.script(*[statement for case in made for statement in (*case.create(True), *case.fill())])
    destination.script(*[statement for case in made for statement in case.create(False)])
    keyed = made[-1]
    destination.script(f"INSERT INTO {keyed.k} VALUES (1, -5), (3000000000, -6)")
    towline.start("--existing", "append", "--statement-bytes-max", "16kB").wait_for_state("streaming")
    assert "kept=2 added=0 left_out=1" in towline.output()
    source.execute(f"UPDATE {keyed.k} SET n = 8 WHERE k = 1")
    for case in made:
        source.execute("; ".join(case.live()))
    big = "(SELECT to_json(string_agg(i::text, ' ')) FROM generate_series(1, 9000) i)"
    source.script(f"UPDATE {made[0].c} SET v = {big}", f"INSERT INTO {made[0].f} VALUES (9, {big}), (9, {big})",
                  f"DELETE FROM {made[0].f} WHERE ctid = (SELECT ctid FROM {made[0].f} WHERE n = 9 LIMIT 1)")
    towline.wait_until_caught_up()
    destination.execute(f"DELETE FROM {keyed.k} WHERE k = 3000000000")
    judge(source, destination, made)
    assert towline.stop() == 0


def test_a_domain_of_the_destination_checks_what_arrives(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 5)")
    destination.script(DOMAINS[1][0], "CREATE TABLE t (id int PRIMARY KEY, v large)")
    towline.start().wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (2, 999999)")
    towline.wait_until_caught_up()  # or both may be in one batch, which is taken back as a whole
    source.execute("INSERT INTO t VALUES (3, 1000000)")
    assert towline.wait_exit(60) == 4, towline.tail()
    assert destination.query("SELECT type, sqlstate FROM towline_state.conflict") == [("check_violation", "23514")]
    assert destination.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    destination.execute("ALTER TABLE t ALTER v TYPE bigint")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert destination.query("SELECT v FROM t WHERE id = 3") == [(1000000,)]
    assert towline.stop() == 0


@pytest.mark.parametrize("made, there, good, bad, code", [
    ("text", "mood", "'sad'", "'happy'", "22P02"),
    ("date", "timestamp", "'2000-01-01'", "'300000-01-01'", "22008"),
    ("json", "jsonb", "'{}'", r"""'"\u0000"'""", "22P05"),
])
def test_a_value_that_cannot_be_cast_is_named(made, there, good, bad, code, towline, source, destination):
    """Loud, in the copy and in the stream, and on again once it is mended."""
    for database in (source, destination):
        database.execute(MOOD)
    source.script(f"CREATE TABLE t (id int PRIMARY KEY, v {made})", f"INSERT INTO t VALUES (1, {good}), (2, {bad})")
    destination.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {there})")
    towline.start()
    assert towline.wait_exit(60) == 3, towline.tail()
    assert '"public"."t"' in towline.output() and "does not take the source's rows" in towline.output()
    source.execute(f"UPDATE t SET v = {good} WHERE id = 2")
    towline.start().wait_for_state("streaming")
    source.execute(f"INSERT INTO t VALUES (3, {bad})")
    assert towline.wait_exit(60) == 4, towline.tail()
    assert "conflict value_refused (table public.t" in towline.output()
    assert destination.query("SELECT type, sqlstate FROM towline_state.conflict") == [("value_refused", code)]
    if made == "text":
        destination.execute("ALTER TYPE mood ADD VALUE 'happy'")
        towline.start().wait_for_state("streaming")
        towline.wait_until_caught_up()
        assert destination.query("SELECT v::text FROM t WHERE id = 3") == [("happy",)]
        assert towline.stop() == 0


def test_a_type_that_changes_later_stops_also_where_it_could_be_cast(towline, source, destination):
    """The source has rewritten its rows; restarting must not hide that those of the destination are the old ones."""
    source.script("CREATE TABLE t (id int PRIMARY KEY, v int, w varchar(5))", "INSERT INTO t VALUES (1, 5, 'a')")
    destination.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text)")
    towline.start().wait_for_state("streaming")
    # Wider than it was: no row has changed.
    source.script("ALTER TABLE t ALTER w TYPE varchar(9)", "INSERT INTO t VALUES (2, 6, 'nine char')")
    towline.wait_until_caught_up()
    source.script("ALTER TABLE t ALTER v TYPE bigint USING v * 1000", "INSERT INTO t VALUES (3, 7000, 'c')")
    assert towline.wait_exit(60) == 3, towline.tail()
    towline.start()
    assert towline.wait_exit(60) == 3, towline.tail()
    assert 'destination table public.t: column "v" has type text' in towline.output()
    destination.execute("ALTER TABLE t ALTER v TYPE bigint USING v::bigint * 1000")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    selects = {"public.t": ("SELECT id, v, w::text FROM public.t", "SELECT id, v, w FROM public.t")}
    result = compare(source.uri(), destination.uri(), selects=selects)
    assert result and result.rows == {"public.t": 3}, str(result)
    assert towline.stop() == 0


def test_casts_of_tables_that_an_interrupted_copy_keeps(towline_factory, source, destination):
    tables = [f"t{number}" for number in range(4)]
    for number, table in enumerate(tables):
        source.script(f"CREATE TABLE {table} (id int PRIMARY KEY, v int)",
                      f"INSERT INTO {table} SELECT i, i FROM generate_series(1, {100 * (number + 1)}) i")
        destination.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v text)")
    towline = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    towline.fault = "copy:table-done:kill:2"
    towline.start()
    assert towline.wait_exit() == -signal.SIGKILL, towline.tail()
    towline.fault = None
    towline.start().wait_for_log("goes on under a new snapshot")
    towline.wait_for_state("streaming")
    source.script(*(f"UPDATE {table} SET v = -v WHERE id < 50; INSERT INTO {table} VALUES (1000, 7)" for table in tables))
    towline.wait_until_caught_up()
    result = compare(source.uri(), destination.uri(), selects={
        f"public.{table}": (f"SELECT id, v::text FROM public.{table}", f"SELECT id, v FROM public.{table}") for table in tables})
    assert result and result.rows["public.t3"] == 401, str(result)
    assert towline.stop() == 0


def test_casts_of_a_stream_without_a_copy(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    destination.script("CREATE TABLE t (id bigint PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, '1')")
    source.query("SELECT pg_create_logical_replication_slot('given', 'towline')")
    towline.start("--stages", "stream", "--slot", "given").wait_for_state("streaming")
    source.script("INSERT INTO t VALUES (2, 2)", "UPDATE t SET v = 3 WHERE id = 1")
    towline.wait_until_caught_up()
    assert destination.query("SELECT * FROM t ORDER BY id") == [(1, "3"), (2, "2")]
    assert towline.stop() == 0
    towline.call("drop", "--yes", check=True)


def tables_finding(towline, *more):
    findings = json.loads(towline.call("check", "--json", *more).stdout)["findings"]
    return next(finding for finding in findings if finding["id"] == "destination.tables")


def test_every_other_pair_is_refused_with_what_mends_it(towline, source, destination):
    for database in (source, destination):
        database.script(MOOD, "CREATE TYPE other_mood AS ENUM ('sad')")
    for number, (made, there) in enumerate(REFUSED):
        source.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, v {made})")
        destination.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, v {there})")
    formatted = {name: source.value("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
                                    "AND attname = 'v'", [f"t{number}"]) for number, (name, _) in enumerate(REFUSED)}
    at_once = 10  # a finding names no more
    for number, (made, there) in enumerate(REFUSED):
        if number % at_once == 0:
            only = [part for i in range(number, min(number + at_once, len(REFUSED))) for part in ("--include", f"public.t{i}")]
            finding = tables_finding(towline, *only)
            assert finding["level"] == "fail", (made, there)
        shown = destination.value("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
                                  "AND attname = 'v'", [f"t{number}"])
        source_type = formatted[made].replace("mood", "public.mood")
        there_type = shown.replace("other_mood", "public.other_mood")
        assert f'"public"."t{number}": column "v" has type {there_type} instead of {source_type}' in finding["found"]
        if "mood" not in made + there:
            assert f'ALTER TABLE "public"."t{number}" ALTER COLUMN "v" TYPE {source_type}' in finding["statement"]
    towline.start("--include", "public.t0")
    assert towline.wait_exit(30) == 3
    assert 'column "v" has type integer instead of bigint' in towline.output()
    # As the finding says.
    destination.execute(tables_finding(towline, "--include", "public.t0")["statement"])
    towline.start("--include", "public.t0").wait_for_state("streaming")
    assert towline.stop() == 0

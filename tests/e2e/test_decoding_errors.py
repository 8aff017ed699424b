"""What the plugin says when a change cannot be decoded: which table, where in the log, whose transaction."""
import json
import re
import subprocess

import psycopg2
import pytest

from support.cluster import as_server_user, server_bin

SECONDS = 120


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source")


def rule(table, **parts):
    return {"table_rules": json.dumps([{"schema": "public", "table": table, **parts}])}


def flat(options):
    return [part for item in options.items() for part in map(str, item)]


def failure(source, options):
    """What the reader is told when the stream fails."""
    chosen = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    reader = subprocess.run(
        [str(server_bin() / "pg_recvlogical"), "-d", source.uri(), "--slot", "e", "--start", "--no-loop",
         "-f", "/dev/null", *chosen],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", timeout=SECONDS, check=False,
        **as_server_user())
    assert reader.returncode != 0
    return reader.stderr


def insert(source, statement):
    """Its xid, and the LSNs that its record lies between."""
    before = source.value("SELECT pg_current_wal_insert_lsn()")
    xid = source.value(f"{statement}; SELECT pg_current_xact_id()::text")
    return int(xid) & 0xFFFFFFFF, before, source.value("SELECT pg_current_wal_insert_lsn()")


def number(lsn):
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


BROKEN_TYPE = """
CREATE TYPE broken;
CREATE FUNCTION broken_in(cstring) RETURNS broken LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION broken_out(broken) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE broken (INPUT = broken_in, OUTPUT = broken_out, LIKE = int4);
CREATE FUNCTION broken_text(broken) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'trigger_out';
CREATE FUNCTION broken_send(broken) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no bytes for this'; END $$;
"""


@pytest.mark.parametrize("what, setup, values, options, mended, expected", [
    ("division", "CREATE TABLE \"T 1\" (id int PRIMARY KEY, n int)", "(7, 0)", rule("T 1", where="10 / n > 1"),
     rule("T 1", where="CASE WHEN n <> 0 THEN 10 / n > 1 END"),
     ["division by zero", 'row filter of table public."T 1": 10 / n > 1', "row with (id) of hash "]),
    ("digits", "CREATE TABLE \"T 1\" (id int PRIMARY KEY, n text)", "(7, 'zz')",
     rule("T 1", columns=["id", {"name": "t", "expression": "decode(n, 'hex')"}]), {},
     ['invalid hexadecimal digit', 'expression of column t of table public."T 1": decode',
      "row with (id) of hash "]),
    ("send", BROKEN_TYPE + "ALTER TYPE broken SET (SEND = broken_send, RECEIVE = NONE);"
     "CREATE TABLE \"T 1\" (id int PRIMARY KEY, n broken)", "(7, '5')", {}, {"exclude_tables": '"T 1"'},
     ["no bytes for this", 'relation public."T 1", column n, in transaction']),
    ("output", BROKEN_TYPE + "CREATE TABLE \"T 1\" (id int PRIMARY KEY, n broken);"
     "UPDATE pg_type SET typoutput = 'broken_text'::regproc WHERE typname = 'broken'", "(7, '5')",
     {"binary": "off"}, {"exclude_tables": '"T 1"'},
     ["cannot display a value of type trigger", 'relation public."T 1", column n, in transaction']),
    # The key's own text cannot be had either; that must not hide what failed.
    ("key", BROKEN_TYPE + "CREATE TABLE \"T 1\" (id broken, n int);"
     "ALTER TABLE \"T 1\" REPLICA IDENTITY FULL;"
     "UPDATE pg_type SET typoutput = 'broken_text'::regproc WHERE typname = 'broken'", "('5', 0)",
     rule("T 1", where="10 / n > 1"), {"exclude_tables": '"T 1"'},
     ["division by zero", 'row filter of table public."T 1": 10 / n > 1']),
], ids=lambda value: value if isinstance(value, str) and value.isalpha() else "")
def test_errors_name_where_they_occurred(source, source_cluster, what, setup, values, options, mended, expected):
    source.execute(setup)
    source.query("SELECT pg_create_logical_replication_slot('e', 'towline')")
    if what == "send":
        # Only a type with both is sent as it is.
        source.execute("UPDATE pg_type SET typreceive = 'int4recv'::regproc WHERE typname = 'broken'")
    xid, first, last = insert(source, f'INSERT INTO "T 1" VALUES {values}')
    log_before = source_cluster.log.stat().st_size
    message = failure(source, options)
    with open(source_cluster.log, encoding="utf-8", errors="replace") as log:
        log.seek(log_before)
        logged = log.read()
    for text in (message, logged):
        for part in [*expected, 'INSERT on relation public."T 1"', f"in transaction {xid}",
                     'slot "e", output plugin "towline", in the change callback']:
            assert part in text, f"{part!r} is not in: {text}"
        lsn = re.search(r"associated LSN ([0-9A-F]+/[0-9A-F]+)", text).group(1)
        assert number(first) <= number(lsn) <= number(last)
    # The slot is where it was, and goes on once the cause is mended.
    source.execute("CREATE TABLE after (id int PRIMARY KEY); INSERT INTO after VALUES (1)")
    changes = source.query("SELECT relation FROM towline.changes('e', options => %s::text[]) WHERE kind = 'insert'",
                           [flat(mended)])
    assert changes[-1] == ("public.after",)
    source.query("SELECT pg_drop_replication_slot('e')")


def test_errors_do_not_fill_the_log(source):
    source.query("SELECT pg_create_logical_replication_slot('e', 'towline')")
    long = "x" * 100_000
    for options in ({"include_tables": long + ",,"}, {long: "on"}, {"binary": long},
                    {"table_rules": json.dumps([{"schema": "s", "table": "t", long: 1}])}):
        with pytest.raises(psycopg2.Error) as caught:
            source.query("SELECT * FROM towline.changes('e', options => %s::text[])", [flat(options)])
        assert "xxx…" in str(caught.value) and len(str(caught.value)) < 5000

"""What only a walsender shows: unlike the SQL functions it has no transaction and no snapshot of its own
while it decodes, so that looking into a catalog at the wrong moment ends the whole server."""
import json
import select
import time

import psycopg2.extras
import pytest

from support.cluster import quote_literal

MARK = "the end of this test"
SECONDS = 60


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB"})


def frames(source, **options):
    """All that a walsender sends up to now."""
    source.execute("SELECT pg_logical_emit_message(false, %s, '')", [MARK])
    source.wait_for("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'w'")
    connection = psycopg2.connect(source.uri(), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    try:
        cursor = connection.cursor()
        texts = ", ".join(f"{name} {quote_literal(value)}" for name, value in options.items())
        cursor.start_replication_expert(f"START_REPLICATION SLOT w LOGICAL 0/0 ({texts})", decode=False)
        received, deadline = [], time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            message = cursor.read_message()
            if message is None:
                select.select([connection], [], [], 1)
                continue
            received.append(message.payload)
            if MARK.encode() in message.payload:
                return received[:-1]
        raise AssertionError(f"the mark has not come, only {len(received)} frames")
    finally:
        connection.close()


def test_the_end_of_a_transaction_names_its_origin(source):
    """Of one that was sent in runs, of a prepared one, and of one that was both."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source.query("SELECT pg_create_logical_replication_slot('w', 'towline', false, true)")
    source.query("SELECT pg_replication_origin_create('upstream')")
    large = "INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series({}, {} + 2999) i"
    source.script(
        "SELECT pg_replication_origin_session_setup('upstream')",
        "BEGIN", large.format(0, 0), "COMMIT",
        "BEGIN", "INSERT INTO t VALUES (-1)", "PREPARE TRANSACTION 'small'", "COMMIT PREPARED 'small'",
        "BEGIN", large.format(10000, 10000), "PREPARE TRANSACTION 'large'", "COMMIT PREPARED 'large'",
        "BEGIN", "INSERT INTO t VALUES (-2)", "PREPARE TRANSACTION 'undone'", "ROLLBACK PREPARED 'undone'")
    source.execute("INSERT INTO t VALUES (-3)")  # of no origin
    kinds = source.query("SELECT kind FROM towline.changes('w', options => '{streaming,on,two_phase,on,messages,off}') "
                         "WHERE detail LIKE '%upstream%'")
    sent = frames(source, streaming="on", two_phase="on")
    assert sum(frame.count(b"upstream") for frame in sent) == len(kinds) >= 5
    source.query("SELECT pg_replication_origin_drop('upstream')")
    # One without a name is foreign all the same.
    assert len(frames(source, streaming="on", two_phase="on")) >= len(sent)


@pytest.mark.parametrize("where, is_sent", [
    ("n > round(2.5)", True), ("n < round(2.5)", False), ("lpad('7', 3) = '  7'", True), ("n = round(n)", False),
    ("round(coalesce(1.4, n)) = 1", True), ("CASE id WHEN 1 THEN round(1.6) ELSE 0 END = 2", True),
    ("n > round(CASE id WHEN 1 THEN 2.5 ELSE n END)", True), ("round(round(2.4) + 0.4) = 2", True),
    ("interval '1 day' + timestamp '2020-01-01' > at", True), ("date '2020-01-01' + interval '1 day' > at", True),
    ("lpad(NULL, 3) IS NULL", True), ("round(NULL) > 1", False), ("(point '(0,0)' <@ path '((0,0),(1,1))') AND id = 1", True),
    ("log(100.0) = 2 AND trunc(n) = 3", True), ("bit_length('ab') = 16", True)])
def test_functions_in_the_language_sql_run_no_query(source, where, is_sent):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, n numeric, at timestamp)")
    source.query("SELECT pg_create_logical_replication_slot('w', 'towline')")
    source.execute("INSERT INTO t VALUES (1, 3.5, '2020-01-01')")
    assert source.value(f"SELECT count(*) FROM t WHERE {where}") == is_sent
    rules = json.dumps([{"schema": "public", "table": "t", "where": where, "operations": ["insert"]}])
    assert source.query("SELECT error FROM towline.check_table_rules(%s)", [rules]) == []
    assert (len(frames(source, table_rules=rules)) > 0) == is_sent


SAMPLES = {"text": "'day'", "numeric": "2.5", "int4": "3", "int8": "4", "int2": "5", "float8": "1.5", "float4": "1.5",
           "timestamp": "'2020-01-01'", "timestamptz": "'2020-01-01 00:00Z'", "date": "'2020-01-02'", "time": "'01:02'",
           "timetz": "'01:02Z'", "interval": "'1 day'", "inet": "'10.0.0.1'", "bit": "'101'", "bytea": "'x'",
           "point": "'(1,1)'", "path": "'((0,0),(2,2))'", "box": "'(0,0),(2,2)'", "circle": "'<(0,0),2>'",
           "polygon": "'((0,0),(2,2))'", "lseg": "'((0,0),(2,2))'", "line": "'{1,2,3}'", "pg_lsn": "'0/10'",
           "bpchar": "'y'", "varchar": "'z'", "uuid": "'00000000-0000-0000-0000-000000000001'"}


def test_every_function_in_the_language_sql(source):
    """With constants for all arguments, and with a column for the first: the same as the server's own result."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, " + ", ".join(f"c_{name} {name}" for name in SAMPLES if name != "bit") + ")")
    source.query("SELECT pg_create_logical_replication_slot('w', 'towline')")
    values = ", ".join(value for name, value in SAMPLES.items() if name != "bit")
    source.execute(f"INSERT INTO t VALUES (1, {values})")
    calls = []
    for name, types in source.query(
            "SELECT proname::text, (SELECT array_agg(typname::text ORDER BY n) FROM unnest(proargtypes) WITH ORDINALITY a(t, n) "
            "JOIN pg_type ON pg_type.oid = t) FROM pg_proc WHERE prolang = 14 AND provolatile = 'i' "
            "AND NOT proretset AND pronargs > 0 AND oid < 10000"):
        if set(types) <= SAMPLES.keys():
            constants = [f"{SAMPLES[kind]}::{kind}" for kind in types]
            calls.append(f'"{name}"({", ".join(constants)})')
            if types[0] != "bit":
                calls.append(f'"{name}"({", ".join([f"c_{types[0]}", *constants[1:]])})')
    assert len(calls) > 40

    def rules(chosen):
        columns = ["id", *({"name": f"v{number}", "expression": call} for number, call in enumerate(chosen))]
        return json.dumps([{"schema": "public", "table": "t", "columns": columns, "operations": ["insert"]}])

    refused = dict(source.query("SELECT item, error FROM towline.check_table_rules(%s)", [rules(calls)]))
    allowed = [call for number, call in enumerate(calls) if f"column v{number}" not in refused]
    assert len(allowed) > 30, refused
    assert frames(source, table_rules=rules(allowed))
    got = source.value("SELECT new FROM towline.changes('w', options => ARRAY['table_rules', %s]) WHERE kind = 'insert'", [rules(allowed)])
    expected = source.query("SELECT " + ", ".join(f"format('%%L', {call})" for call in allowed) + " FROM t", [])[0]
    assert got == "id='1' " + " ".join(f"v{number}={value}" for number, value in enumerate(expected))

"""Settings of server, database and role that shape texts, hostile on both sides and unlike each other, change
no value: neither in copy nor in stream, binary or text.

Read back by sessions that set everything themselves (support/compare.py), as text and in binary.
"""
import pytest

from support.cluster import quote_literal
from support.compare import assert_equal

SERVER = {
    "source": {"datestyle": "SQL, DMY", "extra_float_digits": "-15", "bytea_output": "escape", "lc_monetary": "C.UTF-8",
               "xmlbinary": "hex", "intervalstyle": "sql_standard", "quote_all_identifiers": "on"},
    "destination": {"datestyle": "German, MDY", "extra_float_digits": "-15", "array_nulls": "off",
                    "standard_conforming_strings": "off", "backslash_quote": "off", "intervalstyle": "postgres_verbose"},
}
DATABASE = {
    "source": {"timezone": "America/St_Johns", "xmloption": "document", "client_encoding": "LATIN1", "search_path": "odd, pg_temp",
               "row_security": "off", "default_transaction_read_only": "on", "escape_string_warning": "off"},
    "destination": {"timezone": "Asia/Kathmandu", "xmloption": "document", "client_encoding": "LATIN1", "search_path": "odd, pg_temp",
                    "transform_null_equals": "on", "default_transaction_isolation": "serializable", "check_function_bodies": "on"},
}
ROLE = {
    "source": {"intervalstyle": "iso_8601", "datestyle": "Postgres, DMY", "extra_float_digits": "0", "lc_time": "C"},
    "destination": {"bytea_output": "escape", "intervalstyle": "sql_standard", "default_tablespace": "", "synchronize_seqscans": "on",
                    "lc_messages": "C.UTF-8"},
}
# The test's own statements.
PINNED = ("SET client_encoding = 'UTF8'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET "
          "xmloption = 'content'; SET default_transaction_read_only = off; SET search_path = public; SET extra_float_digits = 3; "
          "SET quote_all_identifiers = off; SET lc_monetary = 'C'")
VALUES = {
    "float8": ["1.7976931348623157e308", "-4.9e-324", "0.1", "3.141592653589793", "-0", "NaN", "-Infinity"],
    "float4": ["3.4028235e38", "1e-45", "0.1", "16777217", "-0", "NaN", "Infinity"],
    "interval": ["-1 y 2 mon -3 d 04:05:06.789012", "1 mon -1 d 00:00:01", "-178000000 y", "-00:00:00.000001", "1 d", "0", "1 y -1 us"],
    "date": ["0044-03-15 BC", "infinity", "-infinity", "2024-02-03", "5874897-12-31", "4713-01-01 BC", "0001-01-01"],
    "timestamp": ["0044-03-15 04:05:06.000001 BC", "infinity", "294276-12-31 23:59:59.999999", "2024-02-03 04:05:06", "-infinity",
                  "4713-01-01 00:00:00 BC", "1900-01-01"],
    "timestamptz": ["0044-03-15 04:05:06.000001+00 BC", "2024-11-03 05:30:00+00", "infinity", "1883-11-18 12:00:00+00", "2000-01-01 00:00+00",
                    "2024-03-10 07:30:00+00", "294276-12-31 23:59:59.999999+00"],
    "timetz": ["24:00:00-15:59:59", "00:00:00+15:59", "01:02:03.000004+05:45", "12:00:00+00", "23:59:59-03:30", "1:00+1", "2:00-2"],
    "money": ["92233720368547758.07", "-92233720368547758.08", "0.01", "-0.01", "0", "1.00", "1000000.5"],
    "bytea": ["\\x", "\\x005c27ff", "\\x5c5c", "\\x22", "\\x0a0d09", "\\xc3a9", "\\x5c783030"],
    "xml": ["<a/>", "text <b>é</b> and more", "<?xml version=\"1.0\" standalone=\"yes\"?><c/>", "", "<!-- -->", "<d>&lt;</d>", "two<e/>"],
    "text": ["back\\slash", "quo'te", "", "NULL", "\\N", "\\.", "日本 é"],
    "text[]": ["{NULL,\"NULL\",\"\\\\\"}", "{}", "{{a},{b}}", "[0:1]={x,NULL}", "{\"\"}", "{null}", "{\"a,b\"}"],
    "daterange": ["[0044-03-15 BC,infinity)", "empty", "(,2024-02-03)", "[2024-02-03,2024-03-02)", "(,)", "[0001-01-01,)", "(-infinity,infinity)"],
    "tstzrange": ["[2024-02-03 04:05:06+00,)", "empty", "(,)", "[2024-11-03 05:30:00+00,2024-11-03 06:30:00+00]", "(,infinity)",
                  "[0044-03-15 BC,)", "(-infinity,)"],
    "regclass": ["pg_catalog.pg_class", "public.as_is", "pg_catalog.pg_type", "public.as_text", "pg_catalog.pg_proc", "pg_catalog.pg_am", "public.as_is"],
    "jsonb": ["0.10", "{\"a\": \"\\\\u00e9\"}", "[1e400]", "null", "\"\"", "{}", "{\"b\": 1.0}"],
}


@pytest.fixture
def hostile(new_cluster):
    made = []
    for side in ("source", "destination"):
        cluster = new_cluster(side, settings=SERVER[side])
        database = cluster.create_database("app")
        if side == "source":
            database.execute("CREATE EXTENSION towline")
        database.script("CREATE ROLE mover SUPERUSER LOGIN REPLICATION",
                        *[f"ALTER ROLE mover SET {key} = {quote_literal(value)}" for key, value in ROLE[side].items()],
                        *[f"ALTER DATABASE app SET {key} = {value if key == 'search_path' else quote_literal(value)}"
                          for key, value in DATABASE[side].items()])
        made.append(database)
    return made


def rows(first):
    """Three rows, each column's values from its `first` on."""
    for number in range(3):
        values = ", ".join(f"{quote(each[(first + number) % len(each)])}::{name}" for name, each in VALUES.items())
        yield f"({first + number}, {values})"


def quote(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def test_settings_change_nothing(towline_factory, hostile):
    source, destination = hostile
    types = {name: f"c{number}" for number, name in enumerate(VALUES)}
    as_is = {name: column for name, column in types.items() if name != "regclass"}  # which makes the other table text
    typed = ", ".join(f"{column} {name}" for name, column in types.items())
    typed_as_is = ", ".join(f"{column} {name}" for name, column in as_is.items())
    chosen = ", ".join(as_is.values())

    def insert(first):
        return (f"INSERT INTO as_text VALUES {', '.join(rows(first))}; "
                f"INSERT INTO as_is SELECT id, {chosen} FROM as_text WHERE id >= {first}; "
                f"INSERT INTO full_key SELECT {chosen} FROM as_text WHERE id >= {first}")

    source.script(PINNED, f"CREATE TABLE as_is (id int PRIMARY KEY, {typed_as_is})", f"CREATE TABLE as_text (id int PRIMARY KEY, {typed})",
                  f"CREATE TABLE full_key ({typed_as_is})", "ALTER TABLE full_key REPLICA IDENTITY FULL",
                  "CREATE TABLE keyed (k timestamptz, i interval, f float8, b bytea, PRIMARY KEY (k, i, f, b))",
                  insert(0), f"INSERT INTO keyed SELECT {types['timestamptz']}, {types['interval']}, {types['float8']}, {types['bytea']} FROM as_text",
                  client_encoding="UTF8")
    service = towline_factory(source.uri(user="mover"), destination.uri(user="mover"))
    service.start()
    service.source_uri, service.destination_uri = source.uri(), destination.uri()
    service.wait_for_state("streaming")
    judge(source, destination)
    others = ", ".join(f"{column} = o.{column}" for column in as_is.values())
    source.script(PINNED, insert(3), insert(6), f"UPDATE as_is t SET {others} FROM as_is o WHERE o.id = (t.id + 1) % 9",
                  f"UPDATE as_text t SET {others} FROM as_text o WHERE o.id = (t.id + 2) % 9",
                  "UPDATE full_key SET c10 = 'changed' WHERE ctid IN ('(0,1)', '(0,5)')", "DELETE FROM full_key WHERE ctid = '(0,3)'",
                  f"INSERT INTO keyed SELECT {types['timestamptz']}, {types['interval']}, {types['float8']}, {types['bytea']} FROM as_text ON CONFLICT DO NOTHING",
                  "UPDATE keyed SET f = f * 1, b = b || '\\x5c' WHERE k > '2000-01-01'", "DELETE FROM keyed WHERE i < '0'",
                  client_encoding="UTF8")
    service.wait_until_caught_up()
    judge(source, destination)
    assert service.stop() == 0


def judge(source, destination):
    assert_equal(source.uri(), destination.uri())
    assert_equal(source.uri(), destination.uri(), binary=True, ignore=["public.as_text"])  # regclass: OIDs

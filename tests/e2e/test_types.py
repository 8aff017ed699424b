"""Every type arrives bit for bit: after the copy, and after rows of it were inserted, changed to another
value, set to NULL and left unsent; as a column, as a key, and in tables without key.

The list of types is the server's own (pg_type): one that type_cases/values.py does not know fails. Text
is compared for every table, the binary form for all but those types whose bytes hold OIDs. Source and
destination have unlike defaults for everything that shapes text, so that nothing is equal by chance.
"""
import itertools
import pathlib

import psycopg2
import pytest

from support.cluster import quote_identifier, quote_literal
from support.shapes import Play, Shape
from support.towline import MEMORY_LIMIT
from type_cases import statements, values

COMMON = (pathlib.Path(__file__).parent / "type_cases" / "common.sql").read_text()
UNLIKE_SETTINGS = {
    "source": {"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "extra_float_digits": "-15",
               "bytea_output": "escape", "timezone": "America/St_Johns", "xmloption": "document",
               "search_path": "pg_temp", "xmlbinary": "hex", "quote_all_identifiers": "on"},
    "destination": {"datestyle": "German, MDY", "intervalstyle": "iso_8601", "extra_float_digits": "0",
                    "bytea_output": "escape", "timezone": "Asia/Kathmandu", "xmloption": "document",
                    "search_path": "pg_temp", "array_nulls": "off", "standard_conforming_strings": "off"},
}
# For the statements of the test itself.
SETTINGS = ("SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; "
            "SET xmloption = 'content'; SET extra_float_digits = 1; SET bytea_output = 'hex';")
TYPES = {**values.BUILTIN, **values.MADE}
TYPMODS = {
    "char(5)": "'ab'", "varchar(7)": "'é'", '"char"[]': "'{a,\"\"}'", "numeric(10,3)": "'NaN'",
    "numeric(5,-2)": "12300", "numeric(3,5)": "0.00123", "bit(9)": "B'101010101'", "varbit(9)": "B'1'",
    "time(3)": "'01:02:03.004'", "timetz(2)": "'01:02:03.05+01'", "timestamp(0)": "'2000-01-01'",
    "timestamptz(6)": "'2000-01-01'", "interval(2)": "'1.23 s'", "interval year to month": "'1 y 2 mon'",
    "interval day to second(3)": "'1 d 2.345'", "float(24)": "'1e-45'", "char(3)[]": "'{a,\"b \"}'",
    "numeric(4,2)[]": "'{1.10,NaN}'", 'varchar(3) COLLATE "C"': "'ß'",
    "text COLLATE types_common.no_case": "'A'",
    "public.geometry(PointZ, 4326)": "'SRID=4326;POINT(1 2 3)'",
}
DOMAINS = {"cardinal_number": "7", "character_data": "'é'", "sql_identifier": "'name'",
           "time_stamp": "'2000-01-01 00:00:00.12+00'", "yes_or_no": "'YES'"}


def shape_name(type_name):
    return "t_" + type_name.replace("types_common.", "made_").replace("public.", "ext_")


def spelling(type_name):
    """Quoted: "char" and char are different types."""
    schema, _, name = type_name.rpartition(".")
    return f"{schema or 'pg_catalog'}.{quote_identifier(name)}"


def type_shape(name, delimiter, length):
    made = statements.Statements(spelling(name), TYPES[name], delimiter, name not in values.NO_BTREE, length,
                                 values.EQUAL.get(name), values.HEAVY)
    single, arrays = name in values.NO_BINARY, name in values.MADE  # array_send writes the element's OID
    text_only = {"columns": (["v"] if single else []) + (["a", "large"] if single or arrays else []),
                 "multiset": (["v"] if single else []) + (["a"] if single or arrays else [])}
    if name not in values.NO_BTREE:
        text_only.update({"key": ["k"] if single else [], "array_key": ["k"] if single or arrays else []})
    return Shape(shape_name(name), made.setup(), made.live(), text_only=text_only, settings=SETTINGS)


def other_shapes(database):
    typmods = ", ".join(f"c{number} {name}" for number, name in enumerate(TYPMODS))
    literals = ", ".join(TYPMODS.values())
    domains = ", ".join(f"{name} information_schema.{name}" for name in DOMAINS)
    yield Shape("typmods", [
        f"CREATE TABLE keyed (id integer PRIMARY KEY, {typmods})",
        f"INSERT INTO keyed VALUES (1, {literals})",
        f"CREATE TABLE multiset ({typmods})", "ALTER TABLE multiset REPLICA IDENTITY FULL",
        f"INSERT INTO multiset VALUES ({literals}), ({literals}), ({literals})",
        f"CREATE TABLE domains (id integer PRIMARY KEY, {domains})",
        f"INSERT INTO domains VALUES (1, {', '.join(DOMAINS.values())})"], [
        f"INSERT INTO keyed VALUES (2, {literals}), (3, {literals}); UPDATE keyed SET c0 = 'é' WHERE id = 1",
        "DELETE FROM multiset WHERE ctid = (SELECT max(ctid) FROM multiset)",
        "UPDATE multiset SET c1 = 'x' WHERE ctid = (SELECT max(ctid) FROM multiset)",
        f"INSERT INTO domains VALUES (2, {', '.join(DOMAINS.values())}); UPDATE domains SET cardinal_number "
        f"= 8"],
        text_only={"keyed": [], "multiset": [], "domains": []}, settings=SETTINGS)
    # Equal for the collation, not identical: exactly the row that was meant changes.
    yield Shape("collations", [
        "CREATE TABLE keyed (k text COLLATE types_common.no_case PRIMARY KEY, n integer)",
        "INSERT INTO keyed VALUES ('Abc', 1), ('b', 2)",
        "CREATE TABLE multiset (v text COLLATE types_common.no_case, n integer)",
        "ALTER TABLE multiset REPLICA IDENTITY FULL",
        "INSERT INTO multiset VALUES ('x', 0), ('X', 0), ('x', 0), ('X', 0)"], [
        "UPDATE keyed SET k = 'aBC' WHERE n = 1; UPDATE keyed SET n = 3 WHERE k = 'B'",
        "DELETE FROM multiset WHERE ctid = (SELECT ctid FROM multiset WHERE v COLLATE \"C\" = 'X' LIMIT 1)",
        "UPDATE multiset SET v = 'X', n = 1 WHERE ctid = (SELECT ctid FROM multiset WHERE v COLLATE \"C\" = "
        "'x' "
        "ORDER BY ctid DESC LIMIT 1)"])
    # Types that take no value: their columns are carried, holding NULL.
    only_null = ", ".join(f"{name} pg_catalog.{name}" for name in values.ONLY_NULL)
    yield Shape("only_null", [f"CREATE TABLE keyed (id integer PRIMARY KEY, {only_null})",
                              "INSERT INTO keyed (id) VALUES (1)"], [
        "INSERT INTO keyed (id) VALUES (2), (3); UPDATE keyed SET id = 4 WHERE id = 1; DELETE FROM keyed "
        "WHERE id = 2"],
        text_only={"keyed": values.ONLY_NULL})
    # Out of line as single values, not as arrays: unsent in an update, of each type that can be long.
    long_values = {
        "text": "repeat('ü\\', 5000)", "varchar": "repeat('x', 9000)", "bpchar": "repeat('x', 9000)::bpchar",
        "bytea": "decode(repeat('00ff27', 5000), 'hex')", "json": "to_json(repeat('x', 9000))",
        "jsonb": "to_jsonb(repeat('x', 9000))", "xml": "('<a>' || repeat('x', 9000) || '</a>')::xml",
        "numeric": "repeat('123456789', 3000)::numeric", "varbit": "repeat('10', 30000)::varbit",
        "path": "('[' || repeat('(1,2.5),', 900) || '(3,4)]')::path",
        "polygon": "('(' || repeat('(1,2.5),', 900) || '(3,4))')::polygon",
        "tsvector": "(SELECT string_agg('word' || i, ' ')::tsvector FROM generate_series(1, 900) i)",
        "jsonpath": "('$' || repeat('.key', 2000))::jsonpath",
        "pg_snapshot": "(SELECT ('1:9999:' || string_agg(i::text, ',' ORDER BY i))::pg_snapshot "
                       "FROM generate_series(1, 900) i)",
        "int4multirange": "(SELECT ('{' || string_agg(format('[%s,%s)', 2 * i, 2 * i + 1), ',') || "
                          "'}')::int4multirange "
                          "FROM generate_series(1, 900) i)",
        "numrange": "numrange(1, repeat('123456789', 3000)::numeric)",
        "types_common.text_only": "repeat('y', 9000)::types_common.text_only",
        "types_common.pair": "ROW(1, repeat('z', 9000))::types_common.pair",
        "public.hstore": "public.hstore('key', repeat('z', 9000))",
        "public.citext": "repeat('Z', 9000)::public.citext",
        "public.ltree": "(SELECT string_agg('label' || i, '.')::public.ltree FROM generate_series(1, 500) i)",
        "public.geometry": "public.ST_MakeLine(ARRAY(SELECT public.ST_Point(i, -i) FROM generate_series(1, "
                           "900) i))",
    }
    columns = [f"c{number}" for number in range(len(long_values))]
    typed = ", ".join(f"{column} {name}" for column, name in zip(columns, long_values))
    long_settings = ["ALTER TABLE {} " + ", ".join(
        f"ALTER {column} SET STORAGE EXTERNAL" for column in columns)]
    text_only = [column for column, name in zip(columns, long_values) if name in values.NO_BINARY]
    setup, live, tables = [], [], []
    for table, key, identity in (("by_default", "id integer PRIMARY KEY", "DEFAULT"),
                                 ("by_full", "id integer", "FULL"),
                                 ("by_index", "id integer CONSTRAINT by_index_id UNIQUE NOT NULL",
                                  "USING INDEX by_index_id")):
        tables.append(table)
        setup += [f"CREATE TABLE {table} ({key}, {typed}, n integer)", long_settings[0].format(table),
                  f"ALTER TABLE {table} REPLICA IDENTITY {identity}",
                  f"INSERT INTO {table} SELECT i, {', '.join(long_values.values())}, 0 FROM "
                  f"generate_series(1, 3) i"]
        live += [f"INSERT INTO {table} SELECT i, {', '.join(long_values.values())}, 0 FROM "
                 f"generate_series(4, 5) i",
                 f"UPDATE {table} SET n = n + 1 WHERE id <> 2",
                 f"UPDATE {table} SET id = id + 10, n = 5 WHERE id < 3",
                 f"UPDATE {table} SET {columns[0]} = 'short' WHERE id = 3",
                 f"UPDATE {table} SET {columns[3]} = NULL WHERE id = 4", f"DELETE FROM {table} WHERE id = 5"]
    yield Shape("long_values", setup, live, text_only={table: text_only for table in tables},
                settings=SETTINGS)


OTHERS = ["typmods", "collations", "only_null", "long_values"]


@pytest.fixture(scope="module")
def base(source_cluster, destination_cluster):
    """A database with the extensions and the made types, as a template."""
    database = source_cluster.create_database("types_base")
    database.execute("; ".join(f"CREATE EXTENSION {name} SCHEMA public" for name in values.EXTENSIONS))
    database.execute("CREATE EXTENSION towline")
    for cluster in (source_cluster, destination_cluster):
        cluster.database().execute('CREATE ROLE "odd role é"')
    database.script(*[statement for statement in COMMON.split(";\n") if statement.strip()])
    return database


def test_every_builtin_type_is_known(base):
    """A type that a new server version brings must not be forgotten here."""
    found = base.query("""
        SELECT t.typname::text FROM pg_type t
         WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm', 'e', 'd')
           AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)""")
    names = {name for name, in found}
    assert names == set(values.BUILTIN) | set(values.EXCLUDED)
    domains = base.query("SELECT typname::text FROM pg_type WHERE typtype = 'd' AND typnamespace = "
                         "'information_schema'::regnamespace")
    assert {name for name, in domains} == set(DOMAINS)
    made = base.query("""SELECT 'types_common.' || t.typname FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                          WHERE t.typnamespace = 'types_common'::regnamespace AND coalesce(c.relkind, 'c') = 'c'
                            AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)""")
    assert {name for name, in made} == {name for name in values.MADE if name.startswith("types_common.")}


def test_excluded_types_take_no_value(base):
    for name in values.EXCLUDED:
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            base.execute(f"SELECT ''::pg_catalog.{name}")


def test_types_without_key_or_binary_form_are_those_of_the_server(base):
    refused = set()
    for name in TYPES:
        try:
            base.execute(f"CREATE TEMP TABLE probe (k {spelling(name)} PRIMARY KEY)")
        except psycopg2.errors.UndefinedObject:
            refused.add(name)
    assert refused == values.NO_BTREE
    without = {name for name in TYPES if base.value("SELECT typsend = 0 FROM pg_type WHERE oid = %s::regtype",
                                                    [spelling(name)])}
    assert without == values.NO_SEND


@pytest.fixture(scope="module")
def verdict(request, base, source_cluster, destination_cluster, session_directory):
    numbers = itertools.count(1)

    def make_database(which):
        cluster = source_cluster if which == "source" else destination_cluster
        template = "TEMPLATE types_base" if which == "source" else ""
        made = cluster.create_database(f"types_{which}_{next(numbers)}", template)
        made.script(*[f"ALTER DATABASE {made.name} SET {key} = {quote_literal(value)}"
                      for key, value in UNLIKE_SETTINGS[which].items()])
        return made

    facts = {name: base.query("SELECT typdelim::text, typlen FROM pg_type WHERE oid = %s::regtype",
                              [spelling(name)])[0]
             for name in TYPES}
    shapes = [type_shape(name, *facts[name]) for name in TYPES] + list(other_shapes(base))
    assert [shape.name for shape in shapes[-len(OTHERS):]] == OTHERS
    play = Play(make_database, session_directory / "types", request.config.getoption("--towline-binary"))
    found = play.run(shapes)
    assert play.peak_memory <= MEMORY_LIMIT or request.config.getoption("--no-memory-limit")
    return found


@pytest.mark.limit(480)
@pytest.mark.parametrize("name", [*TYPES, *OTHERS])
def test_type(verdict, name):
    verdict.check(name if name in OTHERS else shape_name(name))

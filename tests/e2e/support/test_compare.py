"""A comparator that cannot fail is worth nothing: each kind of difference is made once and must be found."""
import pytest

from support import compare as comparing
from support.compare import assert_equal, compare

TABLES = """
CREATE TABLE plain (id int PRIMARY KEY, t text, n numeric, j jsonb, b bytea);
INSERT INTO plain SELECT i, 'row ' || i, i * 1.10, jsonb_build_object('i', i), decode(md5(i::text), 'hex')
  FROM generate_series(1, 100) i;
CREATE TABLE twins (a int, b text);
INSERT INTO twins VALUES (1, NULL), (1, NULL), (2, E'tab\\there'), (3, E'two\\nlines'), (3, '\\N'), (NULL, '');
CREATE SCHEMA "Odd ""Schema";
CREATE TABLE "Odd ""Schema"."select" ("from" int, "A b" text);
INSERT INTO "Odd ""Schema"."select" VALUES (1, 'x');
CREATE TABLE parted (k int, v text) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO parted VALUES (1, 'a'), (2, 'b');
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE floats (x float8, y float4, t timestamptz);
INSERT INTO floats VALUES ('-0', 0.1, '2000-01-01 00:00+02'), ('NaN', 'infinity', 'infinity');
CREATE SEQUENCE counter;
"""


@pytest.fixture(scope="module")
def server(module_clusters):
    return module_clusters("compare")


@pytest.fixture
def pair(server):
    databases = [server.create_database(name) for name in ("a", "b")]
    for database in databases:
        database.execute(TABLES)
    yield databases
    for database in databases:
        database.drop()


def differences(pair, **options):
    return "\n".join(compare(pair[0].uri(), pair[1].uri(), **options).differences)


@pytest.mark.parametrize("binary", [False, True])
def test_equal_databases_are_equal(pair, binary):
    result = assert_equal(pair[0].uri(), pair[1].uri(), binary=binary, sequences=True, definitions=True)
    assert result.rows["public.plain"] == 100
    assert result.rows["public.twins"] == 6
    assert result.rows["public.no_columns"] == 1
    assert result.rows["public.parted_1"] == 1
    assert "public.parted" not in result.rows


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("change,finding", [
    ("DELETE FROM plain WHERE id = 7", "table public.plain: 1 rows only at the source, 0 only"),
    ("INSERT INTO plain VALUES (101)", "table public.plain: 0 rows only at the source, 1 only"),
    ("UPDATE plain SET t = 'other' WHERE id = 7", "table public.plain: 1 rows only at the source, 1 only"),
    ("UPDATE plain SET t = NULL WHERE id = 7", "table public.plain: 1"),
    ("UPDATE plain SET n = 7.7 WHERE id = 7", "table public.plain: 1"),
    ("UPDATE plain SET b = b || '\\x00' WHERE id = 100", "table public.plain: 1"),
    ("INSERT INTO twins VALUES (1, NULL)", "table public.twins: 0 rows only at the source, 1 only"),
    ("DELETE FROM twins WHERE ctid = '(0,1)'", "table public.twins: 1 rows only at the source, 0 only"),
    ("UPDATE twins SET b = NULL WHERE a IS NULL", "table public.twins: 1"),
    ("UPDATE twins SET b = NULL WHERE b = '\\N'", "table public.twins: 1"),
    ("UPDATE \"Odd \"\"Schema\".\"select\" SET \"A b\" = 'X'", "table Odd \"Schema.select: 1"),
    ("UPDATE parted SET v = 'c' WHERE k = 2", "table public.parted_2: 1"),
    ("INSERT INTO no_columns DEFAULT VALUES", "table public.no_columns: 0 rows only at the source, 1 only"),
    ("UPDATE floats SET x = 0 WHERE y < 1", "table public.floats: 1"),
    ("UPDATE floats SET y = 0.10000001 WHERE y < 1", "table public.floats: 1"),
    ("UPDATE floats SET t = '2000-01-01 00:00:00.000001+02' WHERE y < 1", "table public.floats: 1"),
    ("TRUNCATE plain", "table public.plain: 100"),
])
def test_a_changed_row_is_found(pair, change, finding, binary):
    pair[1].execute(change)
    assert finding in differences(pair, binary=binary)
    with pytest.raises(AssertionError, match="the databases differ"):
        assert_equal(pair[0].uri(), pair[1].uri(), binary=binary)


@pytest.mark.parametrize("change,finding", [
    ("DROP TABLE plain", "table public.plain: missing at the destination"),
    ("CREATE TABLE more ()", "table public.more: only at the destination"),
    ("ALTER TABLE plain ADD COLUMN c int", "table public.plain: columns differ"),
    ("ALTER TABLE plain ALTER id TYPE bigint", "table public.plain: columns differ"),
    ("DROP TABLE parted_2", "table public.parted_2: missing at the destination"),
])
def test_another_shape_is_found(pair, change, finding):
    pair[1].execute(change)
    assert finding in differences(pair)


@pytest.mark.parametrize("change,finding", [
    ("SELECT nextval('counter')", "sequence public.counter"),
    ("CREATE INDEX ON plain (t)", "only at the destination: index public.plain_t_idx"),
    ("ALTER TABLE plain ADD CHECK (id > 0)", "only at the destination: constraint public.plain_id_check"),
    ("CREATE VIEW v AS SELECT 1", "only at the destination: view public.v"),
    ("ALTER TABLE plain ALTER t SET DEFAULT 'x'", "only at the destination: default public.plain.t"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "only at the destination: function public.f()"),
])
def test_sequences_and_definitions_are_compared_when_asked(pair, change, finding):
    pair[1].execute(change)
    assert differences(pair) == ""
    assert finding.replace("public.", "") in differences(pair, sequences=True, definitions=True).replace("public.", "")


def test_roots_compare_what_is_partitioned_otherwise(pair):
    pair[1].execute("DROP TABLE parted_2; CREATE TABLE parted_3 PARTITION OF parted FOR VALUES IN (2, 3); "
                    "INSERT INTO parted VALUES (2, 'b')")
    assert differences(pair) != ""
    assert differences(pair, roots=True) == ""
    pair[1].execute("UPDATE parted SET v = 'z' WHERE k = 2")
    assert "table public.parted: 1 rows" in differences(pair, roots=True)


def test_what_is_ignored_or_not_asked_for_does_not_count(pair):
    pair[1].execute("DELETE FROM plain; INSERT INTO twins VALUES (5)")
    assert differences(pair, ignore=["public.plain", "*.twins"]) == ""
    assert differences(pair, tables=["public.parted_?"]) == ""
    assert "not at the source" in differences(pair, tables=["public.nothing"])


def test_names_and_columns_can_differ(pair):
    pair[1].execute("ALTER TABLE plain RENAME TO other; ALTER TABLE other DROP COLUMN j")
    options = {"names": {"public.plain": "public.other"}, "columns": {"public.plain": ["id", "t"]}}
    assert differences(pair, **options) == ""
    pair[1].execute("UPDATE other SET t = 'x' WHERE id = 1")
    assert "table public.plain: 1" in differences(pair, **options)


def test_nothing_compared_is_not_equality(server):
    empty = server.create_database("empty")
    with pytest.raises(AssertionError, match="no table was compared"):
        assert_equal(empty.uri(), empty.uri())
    empty.drop()


def test_many_and_long_rows_go_through_files(pair, monkeypatch):
    monkeypatch.setattr(comparing, "MEMORY_BYTES", 10000)
    for database in pair:
        database.execute("INSERT INTO twins SELECT i % 777, 'x' || i % 1000 FROM generate_series(1, 20000) i")
        database.execute("INSERT INTO plain (id, t) VALUES (1000, repeat('long', 100000))")
    assert differences(pair) == ""
    pair[1].execute("DELETE FROM twins WHERE ctid = (SELECT max(ctid) FROM twins)")
    pair[1].execute("UPDATE plain SET t = t || '.' WHERE id = 1000")
    found = differences(pair)
    assert "table public.twins: 1 rows only at the source, 0 only" in found
    assert "table public.plain: 1 rows only at the source, 1 only" in found


def test_selects_stand_for_the_table(pair):
    pair[1].execute("DELETE FROM plain WHERE id > 50; UPDATE plain SET t = upper(t); ALTER TABLE plain ADD extra int")
    selects = {"public.plain": ("SELECT id, upper(t) FROM public.plain WHERE id <= 50", "SELECT id, t FROM public.plain")}
    result = assert_equal(pair[0].uri(), pair[1].uri(), selects=selects)
    assert result.rows["public.plain"] == 50 and result.rows["public.twins"] == 6
    pair[1].execute("UPDATE plain SET t = 'row 7' WHERE id = 7")
    assert "table public.plain: 1 rows only at the source, 1 only" in differences(pair, selects=selects)
    assert "table public.plain: not among those" in differences(pair, selects=selects, ignore=["public.plain"])

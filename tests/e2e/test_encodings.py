"""Databases of unlike encodings: what the source's texts say arrives, in names and in values of every type
that holds text, by copy and by stream; what the destination's encoding lacks is refused, by name.

The judge is the comparator (support/compare.py), whose sessions are in UTF-8 on both sides, and where a
side is SQL_ASCII the stored bytes.
"""
import json

import pytest

from support.compare import assert_equal

TEXTS = {"LATIN1": ("é", "üß"), "WIN1252": ("€", "Œü"), "EUC_JP": ("日本", "語"), "UTF8": ("日é", "😀")}


def make(cluster, name, encoding):
    return cluster.create_database(name, f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")


@pytest.fixture(scope="module")
def destination_cluster(module_clusters):
    return module_clusters("destination", settings={"max_replication_slots": 200})  # origins outlive databases


@pytest.fixture
def pair(request, source_cluster, destination_cluster):
    made = []

    def make_pair(source, destination):
        request.config.encoding_number = number = getattr(request.config, "encoding_number", 0) + 1
        made.extend([make(source_cluster, f"enc{number}_source", source),
                     make(destination_cluster, f"enc{number}_destination", destination)])
        made[-2].execute("CREATE EXTENSION towline")
        for database in made[-2:]:  # psycopg2 takes the session's for the test's own texts
            database.execute(f"ALTER DATABASE {database.name} SET client_encoding = 'UTF8'")
        return made[-2:]
    yield make_pair
    for database in made:
        database.drop()


def column_types(a, b):
    """Type → a value; `a` and `b` are texts that the source's encoding has."""
    return {
        "text": f"'{a}\\{b}'", "varchar(9)": f"'{b}'", "char(5)": f"'{a}'", "name": f"'n{a}'", "json": f"""'{{"{a}": "{b}"}}'""",
        "jsonb": f"""'{{"z{b}": 1, "{a}": ["{b}"], "y": null}}'""", "jsonpath": f"""'$."{a}"'""",
        f'"s{a}"."k{b}"': f"'{b}'", f'"s{a}"."k{b}"[]': f"'{{{b},x}}'", f'"s{a}"."p{a}"': f"ROW(1, '{b}')",
        f'"s{a}"."d{a}"': f"'{a}'", "text[]": f"""'{{"{a} ",NULL,{b}}}'""", "name[]": f"'{{{a}}}'",
        "tsvector": f"'z {b} {a} {a}{b} a'", "tsquery": f"""'"{a}" & !"{b}"'""",
        "xml": f"'<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><x y=\"{a}\">{b}</x>'",
        "public.hstore": f"'{b}=>1, {a}=>{b}, zz=>NULL'", "public.citext": f"'{a}'", "bytea": "'\\xe9ff00'",
    }


def fill(source, a, b):
    types = column_types(a, b)
    columns = ", ".join(f'"{a}{number}" {name}' for number, name in enumerate(types))
    values = ", ".join(types.values())
    source.script(
        "CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION citext SCHEMA public", f'CREATE SCHEMA "s{a}"',
        f"""CREATE TYPE "s{a}"."k{b}" AS ENUM ('x', '{b}', '{a}')""", f'CREATE TYPE "s{a}"."p{a}" AS ("{a}" int, t text)',
        f"""CREATE DOMAIN "s{a}"."d{a}" AS text CHECK (VALUE <> 'no{b}')""",
        f'CREATE TABLE "s{a}"."t{b}" ("i{a}" int PRIMARY KEY, {columns})',
        f"""COMMENT ON TABLE "s{a}"."t{b}" IS 'about {a}'""",
        f'INSERT INTO "s{a}"."t{b}" VALUES (1, {values}), (2, {values}), (3, {values})',
        # Basic types only: in binary for every pair.
        f"""CREATE TABLE "s{a}".basic (i int PRIMARY KEY, c "char", n name, t text, j json)""",
        f"""INSERT INTO "s{a}".basic SELECT i, (-23)::"char", '{a}', '{b}', '"{a}"' FROM generate_series(1, 3) i""",
        # Copied as text, as regclass is.
        f"""CREATE TABLE "s{a}".as_text (k text DEFAULT '{b}' PRIMARY KEY, r regclass, v "s{a}"."k{b}", n name, x xml)""",
        f"""INSERT INTO "s{a}".as_text SELECT '{a}' || i, '"s{a}"."t{b}"', '{a}', '{b}', '<{a}/>' FROM generate_series(1, 3) i""",
        f"""CREATE TABLE "s{a}".full_key (t text, j json)""", f'ALTER TABLE "s{a}".full_key REPLICA IDENTITY FULL',
        f"""INSERT INTO "s{a}".full_key VALUES ('{a}', '"{b}"'), ('{a}', '"{b}"'), ('{b}', NULL)""")
    return values


def change(source, a, b, values):
    source.script(
        f'INSERT INTO "s{a}"."t{b}" VALUES (4, {values}), (5, {values})',
        f"""UPDATE "s{a}"."t{b}" SET "{a}0" = '{b}{b}', "{a}13" = 'b {a} c{b}' WHERE "i{a}" = 1""",
        f'UPDATE "s{a}"."t{b}" SET "i{a}" = 9 WHERE "i{a}" = 2', f'DELETE FROM "s{a}"."t{b}" WHERE "i{a}" = 3',
        f"""UPDATE "s{a}".as_text SET v = '{b}', k = '{b}{b}' WHERE k = '{a}1'; INSERT INTO "s{a}".as_text (r) VALUES ('"s{a}".full_key')""",
        f"""UPDATE "s{a}".basic SET t = '{a}{b}', c = (-128)::"char" WHERE i = 2; INSERT INTO "s{a}".basic VALUES (4, (-1)::"char", '{b}')""",
        f"""DELETE FROM "s{a}".as_text WHERE k = '{a}2'""", f"""UPDATE "s{a}".full_key SET t = '{b}' WHERE ctid = '(0,2)'""",
        f"""DELETE FROM "s{a}".full_key WHERE t = '{b}' AND j IS NULL""")


@pytest.mark.parametrize("here, there", [
    ("LATIN1", "UTF8"), ("LATIN1", "LATIN1"), ("LATIN1", "WIN1252"), ("EUC_JP", "UTF8"),
    ("EUC_JP", "EUC_JP"), ("UTF8", "EUC_JP")])
def test_texts_arrive(towline_factory, pair, here, there):
    source, destination = pair(here, there)
    a, b = TEXTS[there if here == "UTF8" else here]
    values = fill(source, a, b)
    service = towline_factory(source, destination)
    done = service.call("check", "--json")
    levels = {finding["id"]: finding["level"] for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0
    assert levels["source.encoding"] == ("warn" if here == "EUC_JP" else "pass")
    assert levels["destination.encoding"] == ("pass" if there in ("UTF8", here) else "warn")
    assert service.call("init", check=True).stdout
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    judge(source, destination, a, b)
    change(source, a, b, values)
    service.wait_until_caught_up()
    judge(source, destination, a, b)
    assert destination.value(f"""SELECT obj_description('"s{a}"."t{b}"'::regclass)""") == f"about {a}"
    assert service.stop() == 0


def judge(source, destination, a, b):
    """The comparator reads text in UTF-8, which a "char" above 127 is not: that one by its byte."""
    names = list(column_types(a, b))
    ordered = [names.index("tsvector"), names.index("public.hstore")]  # by the bytes of the database's encoding
    assert_equal(source.uri(), destination.uri(), definitions=True, columns={
        f"s{a}.basic": ["i", "n", "t", "j"],
        f"s{a}.t{b}": [f"i{a}"] + [f"{a}{number}" for number in range(len(names)) if number not in ordered]})
    lexemes, pairs = (f'"{a}{number}"' for number in ordered)
    sql = f"""SELECT "i{a}", tsvector_to_array({lexemes}), public.hstore_to_matrix({pairs})::text[], {lexemes}::text FROM "s{a}"."t{b}" ORDER BY 1"""
    sides = [[(key, set(words), {tuple(pair) for pair in matrix}) for key, words, matrix, _ in side.query(sql)]
             for side in (source, destination)]
    assert sides[0] == sides[1] and len(sides[0]) > 2
    bytes_sql = f"""SELECT i, encode(charsend(c), 'hex') FROM "s{a}".basic ORDER BY 1"""
    found = destination.query(bytes_sql)
    assert found == source.query(bytes_sql) and found[0][1] == "e9"
    # What text shows as equal must be in order as well.
    assert destination.value(f"""SELECT count(*) FROM "s{a}"."t{b}" WHERE "{a}13" @@ ('z & ' || quote_literal('{a}'))::tsquery""") > 0


def test_filters_name_texts_of_the_source(towline_factory, pair, tmp_path):
    source, destination = pair("LATIN1", "UTF8")
    source.script('CREATE TABLE "tü" (id int PRIMARY KEY, "ö" text)', 'ALTER TABLE "tü" REPLICA IDENTITY FULL',
                  """INSERT INTO "tü" VALUES (1, 'é'), (2, 'e'), (3, 'é')""", "CREATE TABLE other (id int)")
    config = tmp_path / "t.yaml"
    config.write_text("""tables: {include: ['public."tü"']}
table: {'public.tü': {where: '"ö" <> ''e''', columns: [id, {"ö": '"ö" || ''ß'''}]}}
""", encoding="utf-8")
    service = towline_factory(source, destination, arguments=["--config", str(config)])
    service.start().wait_for_state("streaming")
    source.script("""INSERT INTO "tü" VALUES (4, 'ü'), (5, 'e')""", """UPDATE "tü" SET "ö" = 'à' WHERE id = 2""",
                  """UPDATE "tü" SET "ö" = 'e' WHERE id = 1""")
    service.wait_until_caught_up()
    assert destination.query('SELECT * FROM "tü" ORDER BY 1') == [(2, "àß"), (3, "éß"), (4, "üß")]
    assert service.stop() == 0


@pytest.mark.parametrize("phase", ["copy", "stream"])
def test_a_character_that_the_destination_lacks_stops_by_name(towline_factory, pair, phase):
    source, destination = pair("UTF8", "LATIN1")
    source.script("CREATE TABLE shop (id int PRIMARY KEY, v text)", "INSERT INTO shop VALUES (1, 'é')")
    service = towline_factory(source, destination)
    if phase == "copy":
        source.execute("INSERT INTO shop VALUES (2, '日')")
        service.start()
    else:
        service.start().wait_for_state("streaming")
        source.execute("INSERT INTO shop VALUES (2, '日')")
    assert service.wait_exit(60) in (3, 4, 5)
    error = "\n".join(line for line in service.output().splitlines() if "error" in line)
    assert ('"public"."shop"' in error or "public.shop, key hash" in error) and "has no equivalent in encoding" in error, error
    assert destination.query("SELECT id FROM shop WHERE id = 2") == []
    # Mended at the destination's end of it: the row is not lost.
    if phase == "copy":
        source.execute("UPDATE shop SET v = 'ß' WHERE id = 2")
        service.start().wait_for_state("streaming")
        service.wait_until_caught_up()
        assert_equal(source.uri(), destination.uri())
        assert service.stop() == 0


def test_text_copies_refuse_what_text_would_change(towline_factory, pair):
    """A name is cut by whoever reads it as text; "char" is a byte that no encoding converts."""
    source, destination = pair("LATIN1", "UTF8")
    source.script("CREATE TABLE long_names (id int PRIMARY KEY, n name, r regclass)",
                  "INSERT INTO long_names VALUES (1, repeat('é', 40), NULL)")
    service = towline_factory(source, destination).start()
    assert service.wait_exit(60) in (3, 4, 5)
    assert '"public"."long_names"' in service.output() and "would be changed on its way" in service.output()
    source.script("UPDATE long_names SET n = 'é'", 'CREATE TABLE bytes (id int PRIMARY KEY, c "char", r regclass)',
                  """INSERT INTO bytes VALUES (1, '-23'::int::"char", NULL)""")
    service.start()
    assert service.wait_exit(60) in (3, 4, 5)
    assert '"public"."bytes"' in service.output() and "would be changed on its way" in service.output()
    source.execute("UPDATE bytes SET c = 'x'")
    service.start().wait_for_state("streaming")
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_sql_ascii_passes_bytes_to_its_like_only(towline_factory, pair, destination_cluster):
    source, destination = pair("SQL_ASCII", "SQL_ASCII")
    source.script(r"CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT E'\xe9', x xml, tv tsvector, CHECK (v <> E'no\xff'))",
                  r"INSERT INTO t VALUES (1, E'\xe9', '<a>é</a>', E'\xff b'), (2, E'\xff', '<b/>', NULL)",
                  r"DO $$ BEGIN EXECUTE E'COMMENT ON TABLE t IS ''bytes \xe9'''; END $$")
    utf8 = make(destination_cluster, f"{destination.name}_utf8", "UTF8")
    done = towline_factory(source, utf8).call("check", "--json")
    failed = [finding["id"] for finding in json.loads(done.stdout)["findings"] if finding["level"] == "fail"]
    assert failed == ["source.encoding"] and done.returncode == 1
    refused = towline_factory(source, utf8).start()
    assert refused.wait_exit(60) == 3
    utf8.drop()
    service = towline_factory(source, destination)
    service.start().wait_for_state("streaming")
    source.script(r"INSERT INTO t VALUES (3, E'x\xfe', '<c/>', E'\xfe a')", r"INSERT INTO t (id) VALUES (4)", r"UPDATE t SET x = '<d>é</d>' WHERE id = 2")
    service.wait_until_caught_up()
    # As stored: xml's output leaves out what its binary form would have added.
    stored = "SELECT id, encode(convert_to(concat_ws('|', v, x::text, tv), 'SQL_ASCII'), 'hex') FROM t ORDER BY 1"
    assert destination.query(stored) == source.query(stored)
    about = "SELECT encode(convert_to(obj_description('t'::regclass), 'SQL_ASCII'), 'hex')"
    assert destination.value(about) == source.value(about) is not None
    assert service.stop() == 0


def test_a_source_of_another_encoding_fills_sql_ascii_with_utf8(towline_factory, pair):
    source, destination = pair("LATIN1", "SQL_ASCII")
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'é')")
    service = towline_factory(source, destination)
    done = service.call("check")
    assert done.returncode == 0 and "text arrives as UTF-8 bytes" in done.stdout
    service.start().wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (2, 'ü')")
    service.wait_until_caught_up()
    assert destination.query("SELECT encode(convert_to(v, 'SQL_ASCII'), 'hex') FROM t ORDER BY id") == [("c3a9",), ("c3bc",)]
    assert service.stop() == 0

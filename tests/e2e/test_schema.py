"""The schema arrives as it is: pg_dump of both sides is compared, by the server's own program, as text."""
import difflib
import pathlib
import re
import subprocess

import pytest

from support.cluster import server_bin
from support.compare import assert_equal

CASES = pathlib.Path(__file__).parent / "schema_cases"

# What stays behind on purpose: publications, subscriptions, our own schemas and our extension.
LEFT_OUT = re.compile(r"(CREATE|ALTER|DROP) (PUBLICATION|SUBSCRIPTION) |(CREATE|COMMENT ON) EXTENSION (IF NOT EXISTS )?towline\b|"
                      r"CREATE SCHEMA towline;")


def dump(database, *more):
    """Statements of pg_dump --schema-only, in its order, one string each."""
    done = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--exclude-schema=towline_state",
                           *(more or ["--no-owner", "--no-privileges"]), "-d", database.uri()],
                          check=True, text=True, stdout=subprocess.PIPE)
    text = re.sub(r"^(\\(un)?restrict .*|--\n-- PostgreSQL database dump complete\n--)\n", "", done.stdout, flags=re.MULTILINE)
    entries = re.split(r"^--\n-- Name: .*\n--\n", text, flags=re.MULTILINE)
    return [entry.strip() for entry in entries[1:] if not LEFT_OUT.match(entry.strip())]


def assert_same_schema(source, destination, *more, without=()):
    """without: beginnings of statements of the source that are left out."""
    expected = [entry for entry in dump(source, *more) if not entry.startswith(tuple(without))]
    found = dump(destination, *more)
    assert len(expected) > 1
    difference = "\n".join(difflib.unified_diff("\n".join(expected).splitlines(), "\n".join(found).splitlines(),
                                                "source", "destination", lineterm=""))
    assert not difference, difference


def load(database, name):
    database.psql((CASES / name).read_text())


@pytest.fixture
def zoo(source):
    load(source, "zoo.sql")
    yield source
    source.script("ALTER SUBSCRIPTION zoo_subscription SET (slot_name = NONE)", "DROP SUBSCRIPTION zoo_subscription")


# What pg_dump calls the kinds of objects; the zoo has one of each.
KINDS = """ACCESS METHOD, AGGREGATE, CAST, CHECK CONSTRAINT, COLLATION, COMMENT, CONSTRAINT, CONVERSION, DEFAULT, DOMAIN,
EVENT TRIGGER, EXTENSION, FK CONSTRAINT, FOREIGN DATA WRAPPER, FOREIGN TABLE, FUNCTION, INDEX, INDEX ATTACH,
MATERIALIZED VIEW, OPERATOR, OPERATOR CLASS, OPERATOR FAMILY, POLICY, PROCEDURAL LANGUAGE, PROCEDURE, PUBLICATION,
PUBLICATION TABLE, PUBLICATION TABLES IN SCHEMA, ROW SECURITY, RULE, SCHEMA, SEQUENCE, SEQUENCE OWNED BY, SERVER,
SHELL TYPE, STATISTICS, SUBSCRIPTION, TABLE, TABLE ATTACH, TEXT SEARCH CONFIGURATION, TEXT SEARCH DICTIONARY,
TEXT SEARCH PARSER, TEXT SEARCH TEMPLATE, TRANSFORM, TRIGGER, TYPE, USER MAPPING, VIEW"""


def kinds(database):
    done = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--exclude-schema=towline*", "-d", database.uri()],
                          check=True, text=True, stdout=subprocess.PIPE)
    return set(re.findall(r"^-- Name: .*; Type: (.*); Schema: ", done.stdout, flags=re.MULTILINE))


def test_every_kind_of_object_arrives(towline, zoo, destination):
    towline.start().wait_for_state("streaming", seconds=60)
    zoo.execute("UPDATE zoo.animal SET feeling = 'sad' WHERE tag < 9; "
                "INSERT INTO zoo.by_range (at, amount) VALUES ('2025-03-03', 3)")
    towline.wait_until_caught_up()
    assert_same_schema(zoo, destination)
    assert_equal(zoo.uri(), destination.uri())
    assert kinds(zoo) == set(re.split(r",\s+", KINDS))
    left_out = {"PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "SUBSCRIPTION"}
    assert kinds(zoo) - kinds(destination) == left_out
    assert not destination.query("SELECT 1 FROM pg_publication") and not destination.query("SELECT 1 FROM pg_subscription")
    assert towline.stop() == 0


# --- owners and rights

ROLES = ["rentals_owner", "rentals_clerk", "rentals_auditor"]


@pytest.fixture
def rentals(source, source_cluster, destination_cluster):
    for cluster in (source_cluster, destination_cluster):
        for role in ROLES:
            if not cluster.database().query("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
                cluster.database().execute(f"CREATE ROLE {role}")
    load(source, "rentals.sql")
    yield source


def test_schema_of_an_application_arrives(towline, rentals, destination):
    towline.start().wait_for_state("streaming", seconds=60)
    rentals.execute("UPDATE shop.film SET title = title || '!' WHERE film_id < 9; DELETE FROM shop.payment WHERE amount = 1")
    towline.wait_until_caught_up()
    assert_same_schema(rentals, destination)
    assert_equal(rentals.uri(), destination.uri())
    assert destination.value("SELECT count(*) FROM shop.sales") > 1
    # Neither owners nor rights were asked for.
    assert destination.query("SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'shop'") == [("postgres",)]
    assert destination.query("SELECT 1 FROM pg_class WHERE relacl IS NOT NULL AND relnamespace = 'shop'::regnamespace") == []
    assert towline.stop() == 0


def test_owners_and_rights_come_when_asked_for(towline, rentals, destination):
    towline.start("--owners", "on", "--privileges", "on").wait_for_state("streaming", seconds=60)
    assert_same_schema(rentals, destination, "--exclude-schema=towline")
    assert destination.value("SELECT tableowner::text FROM pg_tables WHERE tablename = 'film'") == "rentals_owner"
    assert towline.stop() == 0


def test_roles_that_are_missing_are_named_and_left_out(towline, rentals, destination, destination_cluster):
    destination_cluster.database().execute("DROP ROLE rentals_auditor")
    towline.start("--owners", "on", "--privileges", "on").wait_for_state("streaming", seconds=60)
    warnings = re.findall(r'a role of the source does not exist at the destination.*role="(\w+)"', towline.output())
    assert warnings == ["rentals_auditor"]
    assert destination.value("SELECT has_table_privilege('rentals_clerk', 'shop.payment', 'INSERT')")
    expected = [entry for entry in dump(rentals, "--exclude-schema=towline") if "rentals_auditor" not in entry]
    found = [entry for entry in dump(destination, "--exclude-schema=towline")]
    assert "rentals_auditor" not in str(found) and len(expected) > 60
    # An entry of rights holds several statements: those of the other roles are there.
    assert [entry for entry in found if entry in expected] == expected
    assert towline.stop() == 0


def test_owner_that_is_missing_leaves_objects_to_the_copying_role(towline_factory, source, destination):
    source.script("CREATE ROLE only_there", "CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE t OWNER TO only_there")
    towline = towline_factory(source, destination, arguments=["--owners", "on"])
    towline.start().wait_for_state("streaming")
    assert 'role="only_there"' in towline.output()
    assert destination.value("SELECT tableowner::text FROM pg_tables WHERE tablename = 't'") == "postgres"
    assert towline.stop() == 0
    source.script("DROP OWNED BY only_there", "DROP ROLE only_there")


def test_policy_for_a_missing_role_stops(towline, source, destination):
    """Left out, it would change who sees what."""
    source.script("CREATE ROLE only_there", "CREATE TABLE t (id int PRIMARY KEY)", "CREATE POLICY p ON t TO only_there USING (true)")
    towline.start()
    assert towline.wait_exit() == 3
    assert 'CREATE POLICY "p" ON "public"."t" TO "only_there"' in towline.output()
    source.script("DROP OWNED BY only_there", "DROP ROLE only_there")


# --- a part of the tables

def test_what_needs_an_unselected_table_is_left_out_by_the_catalog_and_said(towline, source, destination):
    source.psql("""
        CREATE TABLE gone (id serial PRIMARY KEY, v text);
        CREATE TABLE kept (id int PRIMARY KEY DEFAULT nextval('gone_id_seq'), gone int REFERENCES gone, v text);
        COMMENT ON TABLE kept IS 'kept';
        CREATE TABLE gone_too (id serial PRIMARY KEY, kept int REFERENCES kept);
        CREATE VIEW v1 AS SELECT * FROM gone; CREATE VIEW v2 AS SELECT id FROM v1; CREATE VIEW v3 AS SELECT id FROM kept;
        COMMENT ON VIEW v2 IS 'gone'; COMMENT ON VIEW v3 IS 'kept';
        CREATE MATERIALIZED VIEW m1 AS SELECT count(*) FROM v2; CREATE MATERIALIZED VIEW m2 AS SELECT count(*) FROM v3;
        CREATE FUNCTION takes(gone) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM v1; END;
        CREATE FUNCTION by_text() RETURNS bigint LANGUAGE sql AS 'SELECT 2::bigint';
        CREATE FUNCTION check_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER from_gone AFTER INSERT ON gone EXECUTE FUNCTION check_it();
        CREATE CONSTRAINT TRIGGER of_kept AFTER INSERT ON kept FROM gone FOR EACH ROW EXECUTE FUNCTION check_it();
        CREATE TRIGGER plain AFTER INSERT ON kept EXECUTE FUNCTION check_it();
        CREATE RULE to_gone AS ON UPDATE TO v3 DO INSTEAD INSERT INTO gone VALUES (1);
        CREATE POLICY by_gone ON kept USING (EXISTS (SELECT 1 FROM gone)); CREATE POLICY by_kept ON kept USING (id > 0);
        COMMENT ON CONSTRAINT kept_gone_fkey ON kept IS 'gone'; COMMENT ON POLICY by_gone ON kept IS 'gone';
        CREATE AGGREGATE counted(gone) (sfunc = int8inc_any, stype = int8);
        CREATE TYPE holder AS (g gone); CREATE DOMAIN of_holder AS holder;
        CREATE TABLE family (k int, v int) PARTITION BY LIST (k); CREATE INDEX family_v ON family (v);
        CREATE TABLE family_1 PARTITION OF family FOR VALUES IN (1);
        INSERT INTO gone (v) VALUES ('x'); INSERT INTO kept VALUES (1, 1, 'x'); INSERT INTO family VALUES (1, 1);
        """.replace("CREATE AGGREGATE counted(gone) (sfunc = int8inc_any, stype = int8);", ""))
    towline.start("--exclude", "gone*", "--include", "kept", "--include", "family_1").wait_for_state("streaming")
    source.execute("INSERT INTO kept VALUES (2, 1); INSERT INTO gone (v) VALUES ('y'); INSERT INTO family VALUES (1, 2)")
    towline.wait_until_caught_up()
    left_out = dict(re.findall(r"left out, because it needs something that is not selected object=\"?(.*?)\"? needs=\"?(.*?)\"?\n",
                               towline.output()))
    assert left_out == {
        "SEQUENCE public.gone_too_id_seq": "table public.gone_too",
        "VIEW public.v1": "table public.gone", "VIEW public.v2": "view public.v1", "MATERIALIZED VIEW public.m1": "view public.v2",
        'FUNCTION public.takes("public"."gone")': "type public.gone", "FUNCTION public.atomic()": "view public.v1",
        "TYPE public.holder": "type public.gone", "DOMAIN public.of_holder": "type public.holder",
        "FK CONSTRAINT public.kept kept_gone_fkey": "table public.gone", "TRIGGER public.kept of_kept": "table public.gone",
        "RULE public.v3 to_gone": "table public.gone", "POLICY public.kept by_gone": "table public.gone",
        "TABLE ATTACH public.family_1": "", "INDEX ATTACH public.family_1_v_idx": ""}
    found = "\n".join(dump(destination))
    for name in ("v3", "m2", "by_text", "check_it", "by_kept", "gone_id_seq", "plain", "family_1_v_idx"):
        assert name in found
    assert "IS 'gone'" not in found and found.count("IS 'kept'") == 2
    assert_equal(source.uri(), destination.uri(), tables=["public.kept", "public.family_1"])
    assert towline.stop() == 0


@pytest.mark.parametrize("statement, error", [
    ("CREATE TABLE kept (id int PRIMARY KEY, g gone)", 'CREATE TABLE "public"."kept" .*type "public.gone" does not exist'),
    # Not by the catalog: the function names the table in a string.
    ("CREATE TABLE kept (id int PRIMARY KEY); CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS "
     "'BEGIN RETURN (SELECT count(*) FROM public.gone); END'; CREATE MATERIALIZED VIEW m AS SELECT f()",
     'REFRESH MATERIALIZED VIEW "public"."m": .*relation "public.gone" does not exist')], ids=["type", "by text"])
def test_what_fails_for_want_of_an_unselected_table_stops(towline, source, destination, statement, error):
    source.execute("CREATE TABLE gone (id int PRIMARY KEY)")
    source.execute(statement)
    towline.start("--include", "kept")
    assert towline.wait_exit() == 3
    assert re.search(error, towline.output()) and "is not selected, select that as well" in towline.output()


def test_undefined_object_that_has_nothing_to_do_with_the_selection_stops(towline, source, destination):
    """It was left out with a warning as soon as not all tables were selected."""
    source.script("CREATE TABLE kept (id int PRIMARY KEY, v text)", "CREATE TABLE gone (id int)",
                  "CREATE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'",
                  "CREATE INDEX kept_f ON kept (f(v))", "INSERT INTO kept VALUES (1, 'x')")
    destination.script("CREATE TABLE kept (id int PRIMARY KEY, v text)",
                       # As if its making had failed: the body reads what is not there.
                       "CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN missing_function($1); END'")
    towline.start("--include", "kept")
    assert towline.wait_exit() == 3
    assert re.search(r'schema statement failed: CREATE INDEX "kept_f" .*missing_function', towline.output())


# --- modes and the program

def test_schema_only_makes_the_schema_and_leaves_nothing_behind(towline, zoo, destination, source_cluster):
    # A row that a NOT VALID constraint lets be would not be taken by a table that has it.
    zoo.execute("UPDATE zoo.animal SET tag = 1000 WHERE tag = 13")
    towline.start("--schema", "only")
    assert towline.wait_exit(60) == 0, towline.tail()
    assert_same_schema(zoo, destination)
    assert destination.value("SELECT count(*) FROM zoo.hen") == 0
    assert zoo.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [zoo.name]) == []
    # Again, and then with rows.
    towline.start("--schema", "only")
    assert towline.wait_exit(60) == 0, towline.tail()
    towline.start().wait_for_state("streaming", seconds=60)
    towline.wait_until_caught_up()
    assert_same_schema(zoo, destination)
    assert_equal(zoo.uri(), destination.uri())
    assert towline.stop() == 0
    towline.start("--schema", "only")
    assert towline.wait_exit() == 2 and "has begun to copy rows" in towline.output()


def test_schema_only_that_was_killed_starts_again(towline_factory, rentals, destination):
    towline = towline_factory(rentals, destination, fault="copy:schema-stored:kill")
    towline.start("--schema", "only")
    assert towline.wait_exit() != 0
    # The next start wants rows: nothing of the first counts as copied.
    towline.fault = None
    towline.start().wait_for_state("streaming", seconds=60)
    assert_same_schema(rentals, destination)
    assert_equal(rentals.uri(), destination.uri())
    assert towline.stop() == 0


def test_schema_skip_makes_nothing_and_needs_the_tables(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE INDEX t_v ON t (v)", "INSERT INTO t VALUES (1, 'x')")
    arguments = ["--schema", "skip", "--pg-dump", "/nonexistent/pg_dump"]
    towline.start(*arguments)
    assert towline.wait_exit() == 3 and "t" in towline.output()
    assert destination.value("SELECT to_regclass('t') IS NULL")
    destination.execute("CREATE TABLE t (v text, id int PRIMARY KEY)")
    towline.start(*arguments).wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (2, 'y')")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), columns={"public.t": ["id", "v"]})
    assert destination.value("SELECT to_regclass('t_v') IS NULL")
    assert towline.stop() == 0


def test_pg_dump_is_taken_as_configured_and_an_older_one_refused(towline_factory, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    towline = towline_factory(source, destination)
    old, good = towline.directory / "pg_dump_old", towline.directory / "pg_dump_good"
    old.write_text('#!/bin/sh\necho "pg_dump (PostgreSQL) 12.22"\n')
    good.write_text(f'#!/bin/sh\necho "$@" >> {towline.directory}/asked\nexec {server_bin()}/pg_dump "$@"\n')
    for program in (old, good):
        program.chmod(0o755)
    file = towline.directory / "task.yaml"
    file.write_text(f"pg_dump: {old}\n")
    towline.start("--config", str(file))
    assert towline.wait_exit() == 3
    assert f"Found: {old} (version 12)" in towline.output() and "no pg_dump of version 15 or newer" in towline.output()
    assert "--pg-dump" in towline.output()
    # The environment counts more than the file.
    towline.environment["TOWLINE_PG_DUMP"] = str(good)
    towline.start("--config", str(file)).wait_for_state("streaming")
    assert "--schema-only" in (towline.directory / "asked").read_text()
    assert towline.stop() == 0


def test_statement_that_fails_is_named_with_its_object(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'x')",
                  "CREATE VIEW of_t AS SELECT v FROM t")
    destination.script("CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$",
                       "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION refuse()",
                       "ALTER EVENT TRIGGER refuse ENABLE ALWAYS")
    towline.start()
    assert towline.wait_exit() == 3, towline.tail()
    assert re.search(r'schema statement failed: CREATE VIEW "public"."of_t" AS SELECT .*not here', towline.output())
    # Mended, the same command goes on.
    destination.execute("DROP EVENT TRIGGER refuse; DROP FUNCTION refuse()")
    towline.start().wait_for_state("streaming")
    assert_same_schema(source, destination)
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0

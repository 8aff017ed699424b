"""on_ddl_error: park. What cannot be carried is recorded, its tables leave the stream, and the rest goes on (docs/ddl.md)."""
import signal
from contextlib import closing

import psycopg2
import pytest

from support.compare import assert_equal, compare

PARK = ("--ddl", "apply", "--on-ddl-error", "park")


@pytest.fixture
def captured(source):
    source.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()",
                  *(f"CREATE TABLE {table} (id int PRIMARY KEY, v int)" for table in ("a", "b", "c")),
                  *(f"INSERT INTO {table} SELECT i, i FROM generate_series(1, 50) i" for table in ("a", "b", "c")))
    return source


def parked(destination):
    return [name for name, in destination.query("SELECT table_name FROM towline_state.piece WHERE state = 'parked' ORDER BY 1")]


def fates(destination):
    return destination.query("SELECT tag, fate FROM towline_state.ddl_history ORDER BY number")


DEFINITIONS = """
SELECT 'relation', relname, relkind::text, COALESCE((SELECT seqincrement FROM pg_sequence WHERE seqrelid = c.oid), 0)::text FROM pg_class c WHERE relnamespace IN ({0})
UNION ALL SELECT 'column', c.relname, attname, format_type(atttypid, atttypmod) FROM pg_attribute a JOIN pg_class c ON attrelid = c.oid
    WHERE relnamespace IN ({0}) AND attnum > 0 AND relkind = 'r'
UNION ALL SELECT 'type', typname, COALESCE(typdefault, ''), (SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
    FROM pg_type t WHERE typnamespace IN ({0})
UNION ALL SELECT 'function', proname, proisstrict::text, pronamespace::regnamespace::text FROM pg_proc WHERE pronamespace IN ({0})
UNION ALL SELECT 'rights', proname, COALESCE(proacl::text, ''), '' FROM pg_proc WHERE pronamespace IN ({0})
UNION ALL SELECT 'comment', proname, description, '' FROM pg_proc p JOIN pg_description ON objoid = p.oid AND classoid = 'pg_proc'::regclass WHERE pronamespace IN ({0})
UNION ALL SELECT 'operator', oprname, oprright::regtype::text, oprcode::text FROM pg_operator WHERE oprnamespace IN ({0})
UNION ALL SELECT 'collation', collname, '', '' FROM pg_collation WHERE collnamespace IN ({0})
UNION ALL SELECT 'statistics', stxname, '', '' FROM pg_statistic_ext WHERE stxnamespace IN ({0})
UNION ALL SELECT 'trigger', tgname, relname, '' FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal AND relnamespace IN ({0})
UNION ALL SELECT 'rule', rulename, relname, '' FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class WHERE relnamespace IN ({0})
UNION ALL SELECT 'policy', polname, relname, '' FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relnamespace IN ({0})
ORDER BY 1, 2, 3, 4"""


def definitions(database, *schemas):
    return database.query(DEFINITIONS.format(", ".join(f"'{schema}'::regnamespace" for schema in schemas)))


def others_equal(towline, source, destination, *tables):
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=[f"public.{table}" for table in tables])


def test_a_refused_change_takes_its_table_out_and_the_rest_of_the_transaction_goes_on(towline, captured, destination):
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("ALTER TABLE a ADD COLUMN w int")
    captured.execute("UPDATE b SET v = 7; UPDATE a SET v = 1; ALTER TABLE a ADD COLUMN w int DEFAULT 3; UPDATE a SET v = 2;"
                     "UPDATE c SET v = 7; CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1)")
    others_equal(towline, captured, destination, "b", "c", "d")
    assert parked(destination) == ["a"]
    # What came before the change is there, what came behind it is not.
    assert destination.query("SELECT DISTINCT v, w FROM a") == [(1, None)]
    assert fates(destination) == [("ALTER TABLE", "parked"), ("CREATE TABLE", "applied")]
    status = towline.status()
    assert (status["parked_total"], status["parked"]) == (1, [{"schema": "public", "table": "a"}])
    listed = towline.call("ddl", "list", "--destination", towline.destination_uri, ends=False).stdout
    assert "parked" in listed and "42701" in listed and "ADD COLUMN w" in listed, listed
    # Under another name and with another column it is parked still, also after a restart; TRUNCATE empties the others only.
    captured.execute("ALTER TABLE a RENAME TO a2; INSERT INTO a2 VALUES (100, 100)")
    captured.execute("TRUNCATE a2, c; INSERT INTO c VALUES (1, 1)")
    others_equal(towline, captured, destination, "b", "c", "d")
    assert parked(destination) == ["a2"]
    assert towline.stop() == 0
    towline.start("--ddl", "apply")
    captured.execute("INSERT INTO a2 VALUES (101); UPDATE b SET v = 8; ALTER TABLE a2 ALTER COLUMN v TYPE text USING v::text || random()")
    captured.execute("INSERT INTO a2 VALUES (102); UPDATE b SET v = 9")
    others_equal(towline, captured, destination, "b", "c", "d")
    assert destination.value("SELECT count(*) FROM a2") == 50
    # When it is gone its name is free.
    captured.execute("DROP TABLE a2; CREATE TABLE a2 (id int PRIMARY KEY, x text); INSERT INTO a2 VALUES (1, 'new')")
    others_equal(towline, captured, destination, "a2", "b", "c", "d")
    assert parked(destination) == [] and towline.status()["parked_total"] == 0
    assert towline.stop() == 0


def test_a_long_history_keeps_what_is_not_as_at_the_source(towline, captured, destination):
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("CREATE TABLE i (x int)")
    captured.execute("CREATE INDEX i ON a (v)")
    towline.wait_until_caught_up()
    destination.execute("INSERT INTO towline_state.ddl_history (task, end_lsn, ordinal, xid, tag, kind, statement, search_path, role, objects, fate, reason)"
                        "SELECT task, end_lsn, 1 + n, xid, tag, kind, statement, search_path, role, objects, 'applied', reason"
                        "  FROM towline_state.ddl_history, generate_series(1, 10050) n")
    destination.execute("ALTER TABLE towline_state.ddl_history ALTER COLUMN number RESTART WITH 10239")
    captured.execute("CREATE INDEX j ON a (v); CREATE INDEX k ON a (v)")
    towline.wait_until_caught_up()
    assert destination.query("SELECT fate, count(*) FROM towline_state.ddl_history GROUP BY 1 ORDER BY 1") == [("applied", 10000), ("parked", 1)]
    assert towline.stop() == 0


# Each is refused by the destination as the test has prepared it, with what it leaves parked.
REFUSED = (
    ("CREATE TABLE IF NOT EXISTS taken (id int PRIMARY KEY, v text); INSERT INTO taken VALUES (1, 'x')", ["taken"]),
    ("CREATE TABLE IF NOT EXISTS taken_as AS SELECT id FROM b; INSERT INTO taken_as VALUES (500)", ["taken_as"]),
    ("ALTER TABLE a ALTER COLUMN v TYPE numeric USING refused(v)", ["a"]),
    ("CREATE INDEX taken_index ON b (v)", []),
    ("CREATE FUNCTION taken_function() RETURNS text LANGUAGE sql AS 'SELECT 1::text'", []),
    ("DROP TABLE stays", []),
    # It changes no row of the table.
    ("CREATE TRIGGER fires AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();"
     "ALTER TABLE a ENABLE ALWAYS TRIGGER fires", []),
)


@pytest.mark.parametrize("change, left", REFUSED, ids=[" ".join(change.split()[:4]) for change, _ in REFUSED])
def test_refused(towline, captured, destination, change, left):
    captured.execute("CREATE FUNCTION refused(int) RETURNS numeric LANGUAGE sql AS 'SELECT $1 + 0.5'; CREATE TABLE stays (id int PRIMARY KEY)")
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("CREATE TABLE taken (x int); CREATE TABLE taken_as (x int); CREATE TABLE taken_index (x int);"
                        "CREATE FUNCTION taken_function() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION refused(int);"
                        "CREATE VIEW holds AS SELECT * FROM stays")
    captured.execute(f"UPDATE b SET v = 70; {change}; UPDATE c SET v = 70")
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == left
    assert [fate for _, fate in fates(destination) if fate != "applied"] == ["parked"]
    assert destination.value("SELECT count(*) FROM a") == 50
    assert destination.value("SELECT to_regclass('stays') IS NOT NULL")
    assert towline.stop() == 0


def test_refused_where_a_selection_is_asked_about(towline, captured, destination):
    """It is asked at the destination, in the transaction that the refusal has aborted."""
    towline.start(*PARK, "--exclude", "public.none_*").wait_for_state("streaming")
    destination.execute("ALTER TABLE a ADD COLUMN w int")
    captured.execute("UPDATE b SET v = 70; ALTER TABLE a ADD COLUMN w int; UPDATE c SET v = 70")
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == ["a"]
    assert fates(destination) == [("ALTER TABLE", "parked")]
    assert towline.stop() == 0


def test_a_name_means_no_table_of_another_schema(towline, captured, destination):
    """The source's `t` is in `one`; where that one was never made the name would be the other's."""
    captured.execute("CREATE SCHEMA one; CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("CREATE TABLE one.t ()")
    captured.execute("SET search_path = one, public; CREATE TABLE t (id int PRIMARY KEY)")
    towline.wait_until_caught_up()
    destination.execute("DROP TABLE one.t")
    for change in ("ALTER TABLE t ADD COLUMN v int DEFAULT 3", "CREATE INDEX ON t (v)", "ALTER TABLE t RENAME TO u", "DROP TABLE u"):
        captured.execute(f"SET search_path = one, public; {change}; INSERT INTO public.t SELECT max(id) + 1 FROM public.t")
    others_equal(towline, captured, destination, "a", "t")
    assert [fate for _, fate in fates(destination)] == ["parked"] * 4 + ["applied"]
    assert parked(destination) == []
    assert towline.stop() == 0


def test_a_dropped_name_means_nothing_of_another_schema(towline, captured, destination):
    captured.execute("CREATE SCHEMA one; CREATE VIEW w AS SELECT 1 AS n; CREATE VIEW one.w AS SELECT 2 AS n; CREATE TYPE ty AS (n int);"
                     "CREATE TYPE one.ty AS (n int); CREATE TABLE typed (id int PRIMARY KEY, v public.ty); INSERT INTO typed VALUES (1, '(3)')")
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("DROP VIEW one.w; DROP TYPE one.ty")
    captured.execute("SET search_path = one, public; DROP VIEW w; DROP TYPE ty CASCADE; INSERT INTO typed VALUES (2, '(4)')")
    others_equal(towline, captured, destination, "a", "typed")
    assert destination.query("SELECT n FROM w") == [(1,)]
    assert [fate for _, fate in fates(destination)] == ["applied"] * 2
    assert towline.stop() == 0


# In each of two schemas, of which `one` is earlier in the path. What the commands name is in `one`.
NAMED = """CREATE TABLE {0}.of (id int PRIMARY KEY); CREATE VIEW {0}.w AS SELECT 1 AS n; CREATE VIEW {0}.gone AS SELECT 1 AS n; CREATE TYPE {0}.ty AS ENUM ('a');
CREATE DOMAIN {0}.d AS int; CREATE SEQUENCE {0}.q; CREATE OPERATOR {0}.## (FUNCTION = int4abs, RIGHTARG = int); CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION {0}.g() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE {0}.p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE {0}.agg(int) (SFUNC = int4pl, STYPE = int); CREATE COLLATION {0}.c FROM "C"; CREATE INDEX i ON {0}.of (id);
CREATE TRIGGER fires BEFORE INSERT ON {0}.of FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE RULE ru AS ON DELETE TO {0}.of DO ALSO NOTHING; CREATE POLICY po ON {0}.of; CREATE STATISTICS {0}.st ON (id + 1) FROM {0}.of"""
RENAMED = ("ALTER VIEW w RENAME TO w2", "ALTER TYPE ty ADD VALUE 'b'", "ALTER TYPE ty RENAME TO ty2", "ALTER DOMAIN d SET DEFAULT 3",
           "ALTER SEQUENCE q INCREMENT 7", "ALTER FUNCTION f(int) STRICT", "COMMENT ON FUNCTION f(int) IS 'mine'", "REVOKE EXECUTE ON FUNCTION f(int), g() FROM PUBLIC",
           "ALTER OPERATOR ## (NONE, int) SET SCHEMA two", "ALTER FUNCTION U&\"\\0067\"() SET SCHEMA two", "ALTER PROCEDURE p() RENAME TO p2",
           "ALTER ROUTINE p2() RENAME TO p3", "ALTER AGGREGATE agg(int) RENAME TO agg2", "ALTER COLLATION c RENAME TO c2", "ALTER INDEX i RENAME TO i2",
           "ALTER TRIGGER fires ON of RENAME TO fires2", "ALTER RULE ru ON of RENAME TO ru2", "ALTER POLICY po ON of RENAME TO po2",
           "ALTER STATISTICS st RENAME TO st2", "ALTER VIEW IF EXISTS gone SET SCHEMA two")
DROPPED = ("DROP TRIGGER fires ON of", "DROP RULE ru ON of", "DROP POLICY po ON of", "DROP STATISTICS st", "DROP INDEX i", "DROP VIEW w, gone", "DROP OPERATOR ## (NONE, int)",
           "DROP FUNCTION f", "DROP ROUTINE g, p", "DROP AGGREGATE agg(int)", "DROP TYPE ty", "DROP DOMAIN d", "DROP SEQUENCE q", "DROP COLLATION c")


@pytest.mark.parametrize("changes", (RENAMED, DROPPED), ids=("alter", "drop"))
@pytest.mark.parametrize("stands", (False, True), ids=("missing", "shadowed"))
def test_names_mean_what_they_mean_at_the_source(towline, captured, destination, changes, stands):
    """Of two objects of one name: the source's is not here, or here alone another stands before it in the path."""
    captured.execute("CREATE SCHEMA one; CREATE SCHEMA two;" + NAMED.format("public") + ("" if stands else ";" + NAMED.format("one")))
    towline.start(*PARK, "--ddl", "grant=apply").wait_for_state("streaming")
    if stands:
        destination.execute(NAMED.format("one"))
        others = definitions(destination, "one")
    else:
        destination.execute("DROP SCHEMA one CASCADE; CREATE SCHEMA one")
        others = definitions(destination, "public")
    captured.script("SET search_path = one, public", *changes, "INSERT INTO public.a VALUES (100)")
    others_equal(towline, captured, destination, "a")
    done = [fate for _, fate in fates(destination)]
    assert len(done) == len(changes)
    if stands:
        assert set(done) == {"applied"}
        assert definitions(destination, "one") == others
        assert definitions(destination, "public", "two") == definitions(captured, "public", "two")
    else:
        assert set(done) == {"applied" if changes is DROPPED else "parked"}
        assert definitions(destination, "public") == others
    assert towline.stop() == 0


def test_tables_mean_what_they_mean_at_the_source(towline, captured, destination):
    """Here another table stands before the source's in the path."""
    captured.execute("CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE t (id int PRIMARY KEY, v text);"
                     "INSERT INTO t SELECT i, i FROM generate_series(1, 50) i;"
                     "CREATE TABLE above (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part (id int PRIMARY KEY)")
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("CREATE TABLE one.t (id int PRIMARY KEY, v text); CREATE TABLE one.u (id int); INSERT INTO one.t VALUES (1, 'mine');"
                        "CREATE TABLE one.above (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE one.part (id int PRIMARY KEY, mine int)")
    others = definitions(destination, "one")
    captured.script("SET search_path = one, public", "ALTER TABLE t ADD COLUMN w int DEFAULT 3", "CREATE INDEX t_w ON t (w)",
                    "ALTER TABLE t ALTER COLUMN v TYPE float8 USING random()", "ALTER TABLE IF EXISTS ONLY t ADD COLUMN r float8 DEFAULT random()",
                    "CREATE STATISTICS public.both ON w, v FROM t", "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (100)",
                    "ALTER TABLE u SET SCHEMA two", "INSERT INTO two.u VALUES (101)",
                    "CREATE TABLE public.below PARTITION OF above FOR VALUES FROM (0) TO (10); INSERT INTO above VALUES (1)",
                    "ALTER TABLE above ATTACH PARTITION part FOR VALUES FROM (10) TO (20); INSERT INTO above VALUES (11)",
                    # The partition is called as the table above.
                    "SET search_path = two, one, public", "CREATE TABLE above PARTITION OF above FOR VALUES FROM (20) TO (30)", "INSERT INTO two.above VALUES (21)",
                    "CREATE TABLE public.t (id int PRIMARY KEY)",
                    "CREATE SCHEMA three CREATE TABLE liked (LIKE part) CREATE TABLE part (LIKE liked) CREATE TABLE again (LIKE part)"
                    " CREATE TABLE t (id int PRIMARY KEY REFERENCES t)")
    with closing(captured.connect()) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT FROM above")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            captured.script("SET search_path = one, public", "SET statement_timeout = '1s'", "ALTER TABLE above DETACH PARTITION part CONCURRENTLY")
    captured.script("SET search_path = one, public", "ALTER TABLE above DETACH PARTITION part FINALIZE", "CREATE TABLE public.heir () INHERITS (part)", "ALTER TABLE heir NO INHERIT part",
                    "ALTER TABLE heir INHERIT part", "CREATE TABLE public.alike (LIKE part INCLUDING ALL)",
                    "CREATE TABLE public.refers (id int PRIMARY KEY REFERENCES part, other int REFERENCES refers)")
    towline.wait_until_caught_up()
    assert_equal(captured.uri(), destination.uri(), tables=["two.u", "public.below", "public.part", "public.alike", "two.above"])
    assert destination.query("SELECT conname, confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'refers'::regclass AND contype = 'f' ORDER BY 1") == [
        ("refers_id_fkey", "part"), ("refers_other_fkey", "refers")]
    assert destination.value("SELECT confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'three.t'::regclass AND contype = 'f'") == "three.t"
    assert definitions(destination, "public", "two", "three") == definitions(captured, "public", "two", "three")
    assert {fate for _, fate in fates(destination)} == {"applied"}
    assert definitions(destination, "one") == others and destination.query("TABLE one.t") == [(1, "mine")]
    assert towline.stop() == 0


def test_routines_and_their_arguments_mean_what_they_mean_at_the_source(towline, captured, destination):
    """Here `ty` and `g` of another schema stand before the source's in the path, and `f` takes either type."""
    routines = "CREATE FUNCTION public.f({0}.ty) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION {1}.g() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    captured.execute("CREATE SCHEMA one; CREATE SCHEMA two; CREATE TYPE ty AS (n int);" + routines.format("public", "two"))
    towline.start(*PARK, "--ddl", "grant=apply").wait_for_state("streaming")
    destination.execute("CREATE TYPE one.ty AS (n int);" + routines.format("one", "one"))
    captured.script("SET search_path = one, two, public", "REVOKE EXECUTE ON FUNCTION f(ty), g() FROM PUBLIC", "ALTER FUNCTION f(ty) STRICT",
                    "ALTER ROUTINE f(ty) RENAME TO h", "ALTER FUNCTION h(ty) SET SCHEMA two", "ALTER FUNCTION h COST 7", "INSERT INTO public.a VALUES (100)")
    others_equal(towline, captured, destination, "a")
    assert fates(destination) == [("REVOKE", "applied"), ("ALTER FUNCTION", "applied"), ("ALTER ROUTINE", "applied")] + [("ALTER FUNCTION", "applied")] * 2
    assert definitions(destination, "two") == definitions(captured, "two")
    assert destination.query("SELECT proisstrict, procost, proacl IS NULL FROM pg_proc WHERE oid IN ('f(one.ty)'::regprocedure, 'one.g'::regproc)") == [
        (False, 100, True)] * 2
    assert destination.query("SELECT proargtypes[0]::regtype::text, proisstrict, procost FROM pg_proc WHERE oid = 'two.h'::regproc") == [("ty", True, 7)]
    assert towline.stop() == 0


# What the commands mention; at the source it is in `public` only.
MENTIONED = """CREATE TYPE {0}.ty AS ENUM ('a'); CREATE DOMAIN {0}.d AS int; CREATE TABLE {0}.of (id int PRIMARY KEY);
CREATE FUNCTION {0}.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION {0}.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"""
MENTIONING = ("CREATE VIEW public.seen AS SELECT id FROM of", "CREATE FUNCTION public.takes(ty) RETURNS int LANGUAGE sql AS 'SELECT 1'",
              "CREATE INDEX ON public.b (f(id))", "CREATE TRIGGER fires BEFORE INSERT ON public.b FOR EACH ROW EXECUTE FUNCTION tf()",
              "CREATE POLICY po ON public.b USING (EXISTS (SELECT FROM of))", "CREATE DOMAIN public.of_f AS int CHECK (f(VALUE) > 0)",
              "CREATE OPERATOR public.### (FUNCTION = f, RIGHTARG = int)", "CREATE TYPE public.made AS (v ty)",
              "CREATE TABLE public.typed (id int PRIMARY KEY, v ty[])", "ALTER TABLE public.a ADD COLUMN w d DEFAULT 3",
              "ALTER TABLE public.c ALTER COLUMN v TYPE ty USING 'a'", "CREATE MATERIALIZED VIEW public.kept AS SELECT id FROM of")


@pytest.mark.parametrize("is_shadowed", (True, False), ids=("shadowed", "equal"))
def test_what_a_command_mentions_is_the_sources(towline, captured, destination, is_shadowed):
    """Here another object of each name may stand before the source's in the path."""
    captured.execute("CREATE TABLE above (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE SCHEMA one;" + MENTIONED.format("public"))
    towline.start(*PARK).wait_for_state("streaming")
    if is_shadowed:
        destination.execute(MENTIONED.format("one"))
        # What a new partition gets of the table above, which is the destination's own here, is no name.
        destination.execute("CREATE TRIGGER own BEFORE INSERT ON above FOR EACH ROW EXECUTE FUNCTION one.tf()")
    captured.script("SET search_path = one, public", *MENTIONING, "CREATE TABLE public.below PARTITION OF public.above DEFAULT", "INSERT INTO typed VALUES (1, '{a}'); INSERT INTO public.b VALUES (100, 1)")
    others_equal(towline, captured, destination, "b", *(() if is_shadowed else ("a", "c", "typed")))
    assert [fate for _, fate in fates(destination)] == ["parked" if is_shadowed else "applied"] * len(MENTIONING) + ["applied"]
    assert parked(destination) == (["a", "c", "typed"] if is_shadowed else [])
    if is_shadowed:
        reasons = {reason for reason, in destination.query("SELECT DISTINCT reason FROM towline_state.ddl_history")}
        assert "a name in it means one.ty at the destination, and that of schema \"public\" at the source" in reasons, reasons
        assert destination.value("SELECT count(*) FROM c") == 50
    else:
        assert definitions(destination, "public") == definitions(captured, "public")
    assert towline.stop() == 0


def test_what_is_made_is_made_in_no_other_schema(towline, captured, destination):
    towline.start(*PARK).wait_for_state("streaming")
    captured.execute("CREATE SCHEMA one")
    towline.wait_until_caught_up()
    destination.execute("DROP SCHEMA one")
    captured.script("SET search_path = one, public", "CREATE TABLE made (id int PRIMARY KEY); INSERT INTO made VALUES (1)", "CREATE VIEW w AS SELECT 1 AS n",
                    "CREATE TABLE made_as AS SELECT 1 AS id", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TYPE ty AS ENUM ('a')",
                    "CREATE TABLE public.here (id int PRIMARY KEY); INSERT INTO here VALUES (1)")
    others_equal(towline, captured, destination, "a", "here")
    assert [fate for _, fate in fates(destination)] == ["applied"] + ["parked"] * 5 + ["applied"]
    assert definitions(destination, "public") == definitions(captured, "public")
    assert destination.query("SELECT DISTINCT reason FROM towline_state.ddl_history WHERE fate = 'parked'") == [('schema "one" is not at the destination',)]
    assert parked(destination) == ["made", "made_as"]
    assert towline.stop() == 0


# What each takes of table `loses` at the source.
TAKING = ("CREATE TYPE taken AS ENUM ('x'); ALTER TABLE loses ADD COLUMN c taken DEFAULT 'x' | DROP TYPE taken CASCADE",
          "CREATE FUNCTION taken(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
          "ALTER TABLE loses ADD COLUMN c int GENERATED ALWAYS AS (taken(id)) STORED | DROP FUNCTION taken CASCADE",
          "CREATE SCHEMA taken; CREATE DOMAIN taken.d AS int; ALTER TABLE loses ADD COLUMN c taken.d | DROP SCHEMA taken CASCADE")


@pytest.mark.parametrize("case", TAKING, ids=("type", "function", "schema"))
def test_a_cascade_that_is_refused_parks_the_tables_that_lose_columns(towline, captured, destination, case):
    prepare, drop = case.split(" | ")
    captured.execute(f"CREATE TABLE loses (id int PRIMARY KEY); {prepare}; INSERT INTO loses SELECT i FROM generate_series(1, 20) i")
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("CREATE FUNCTION refuses() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$;"
                        "CREATE EVENT TRIGGER refuses ON ddl_command_start WHEN TAG IN ('DROP TYPE', 'DROP FUNCTION', 'DROP SCHEMA') EXECUTE FUNCTION refuses(); ALTER EVENT TRIGGER refuses ENABLE ALWAYS")
    captured.execute(f"{drop}; INSERT INTO loses VALUES (100); UPDATE b SET v = 5")
    others_equal(towline, captured, destination, "a", "b", "c")
    assert parked(destination) == ["loses"]
    assert destination.query("SELECT count(*), count(c) FROM loses") in ([(20, 20)], [(20, 0)])
    assert [fate for _, fate in fates(destination)] == ["parked"]
    assert towline.stop() == 0


def test_create_table_as_that_makes_nothing_leaves_no_row_out(towline, captured, destination):
    towline.start(*PARK, "--ddl", "table=ignore").wait_for_state("streaming")
    captured.execute("CREATE TABLE IF NOT EXISTS a AS SELECT 1 AS n; INSERT INTO a VALUES (99, 99)")
    others_equal(towline, captured, destination, "a", "b")
    assert towline.stop() == 0


def test_what_waits_for_the_operator_still_waits(towline, captured, destination):
    towline.start(*PARK, "--ddl", "drop_table=hold").wait_for_state("streaming")
    captured.execute("DROP TABLE a")
    assert towline.wait_exit() == 4
    assert "held: DROP TABLE" in towline.output()
    # And of what the source could not capture it is not known which tables it is about.
    destination.execute("UPDATE towline_state.ddl_history SET decision = 'approve'")
    captured.execute("REVOKE EXECUTE ON FUNCTION pg_event_trigger_ddl_commands() FROM PUBLIC;"
                     "CREATE ROLE park_nobody; GRANT CREATE ON SCHEMA public TO park_nobody")
    try:
        captured.execute("SET ROLE park_nobody; CREATE TABLE unseen (id int)")
    finally:
        captured.execute("GRANT EXECUTE ON FUNCTION pg_event_trigger_ddl_commands() TO PUBLIC; DROP OWNED BY park_nobody;"
                         "DROP ROLE park_nobody")
    towline.start(*PARK)
    assert towline.wait_exit() == 4
    assert "the source could not capture it" in towline.output()


def test_killed_when_it_has_parked(towline, captured, destination):
    towline.fault = "apply:after-ddl:kill:1"
    destination_only = "ALTER TABLE a ADD COLUMN w int"
    towline.start(*PARK)
    towline.wait_for_state("streaming")
    destination.execute(destination_only)
    captured.execute("UPDATE b SET v = 7; ALTER TABLE a ADD COLUMN w int DEFAULT 3; UPDATE a SET v = 2; UPDATE c SET v = 7")
    assert towline.wait_exit(60) == -signal.SIGKILL, towline.tail()
    assert parked(destination) == []
    towline.fault = None
    towline.start(*PARK)
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == ["a"]
    assert not compare(captured.uri(), destination.uri(), tables=["public.a"])
    assert towline.stop() == 0


def test_a_conflict_parks_a_table_whose_schema_is_followed(towline, captured, destination):
    towline.start("--ddl", "apply", "--on-failure", "park").wait_for_state("streaming")
    destination.execute("ALTER TABLE a ADD CONSTRAINT small CHECK (v < 100)")
    captured.execute("UPDATE b SET v = 5; UPDATE a SET v = 500 WHERE id = 7; UPDATE c SET v = 5")
    towline.wait_for_log('table "public"."a" is parked, as on_failure says')
    captured.execute("ALTER TABLE a ADD COLUMN w int DEFAULT 3; ALTER TABLE a RENAME TO z; UPDATE z SET v = 1; ALTER TABLE b ADD COLUMN w int DEFAULT 4")
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == ["z"]
    # Its schema goes along, its rows do not.
    assert destination.query("SELECT DISTINCT w, v = id FROM z") == [(3, True)]
    assert towline.stop() == 0


def test_a_rewrite_that_would_lose_what_only_the_destination_has(towline, captured, destination):
    towline.start("--ddl", "apply").wait_for_state("streaming")
    destination.execute("ALTER TABLE a ADD COLUMN mine int DEFAULT 9")
    captured.execute("ALTER TABLE a ALTER COLUMN v TYPE text USING v || 'x'")
    assert towline.wait_exit() == 4
    assert destination.query("SELECT fate, reason ~ 'which the source does not send' FROM towline_state.ddl_history") == [("held", True)]
    towline.start(*PARK)
    captured.execute("UPDATE b SET v = 5")
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == ["a"]
    assert destination.query("SELECT count(*), min(mine) FROM a") == [(50, 9)]
    assert towline.stop() == 0


@pytest.mark.parametrize("options", (PARK, ("--ddl", "apply", "--on-failure", "park")), ids=("ddl_error", "failure"))
def test_rewritten_rows_that_the_destination_refuses_park_their_table(towline, captured, destination, options):
    """The command itself could be run: the table was emptied, and what came then does not fit."""
    towline.start(*options).wait_for_state("streaming")
    destination.execute("ALTER TABLE a ADD CONSTRAINT small CHECK (v < 100)")
    captured.execute("UPDATE b SET v = 5; UPDATE a SET v = 2; ALTER TABLE a ALTER COLUMN v TYPE bigint USING v * 1000;"
                     "UPDATE a SET v = 3; UPDATE c SET v = 5; CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1)")
    others_equal(towline, captured, destination, "b", "c", "d")
    assert parked(destination) == ["a"]
    assert "cannot take the rows that a schema change gives it, and is parked, as on_ddl_error" in towline.output()
    # Nothing is lost of what it had before.
    assert destination.query("SELECT count(*), min(v), max(v) FROM a") == [(50, 1, 50)]
    captured.execute("ALTER TABLE a ALTER COLUMN v TYPE int; INSERT INTO a VALUES (100, 100); UPDATE b SET v = 6")
    others_equal(towline, captured, destination, "b", "c", "d")
    assert parked(destination) == ["a"]
    assert towline.stop() == 0


def test_a_type_whose_tables_cannot_be_rewritten_parks_them(towline, captured, destination):
    """The command names the type alone."""
    captured.execute("CREATE TYPE shape AS (id int, v int); CREATE TABLE typed OF shape (PRIMARY KEY (id)); INSERT INTO typed VALUES (1, 1)")
    towline.start(*PARK).wait_for_state("streaming")
    destination.execute("CREATE VIEW looks AS SELECT v FROM typed")
    captured.execute("UPDATE b SET v = 5; ALTER TYPE shape ALTER ATTRIBUTE v TYPE text CASCADE; INSERT INTO typed VALUES (2, '2'); UPDATE c SET v = 5")
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == ["typed"]
    assert destination.query("SELECT id, v FROM typed") == [(1, 1)]
    assert towline.stop() == 0


# Found by the server's own regression suite.
UNFIT = (
    ("CREATE TABLE bare (id int, v int); INSERT INTO bare VALUES (1, 1); UPDATE bare SET v = 2", "bare", "arrived without identity"),
    ("CREATE TABLE defaulted (id int DEFAULT 1); CREATE TABLE odd AS SELECT adnum, adbin FROM pg_attrdef", "odd", "cannot accept a value of type pg_node_tree"),
)


@pytest.mark.parametrize("change, table, why", UNFIT, ids=[table for _, table, _ in UNFIT])
def test_rows_that_cannot_be_written_park_their_table(towline, captured, destination, change, table, why):
    towline.start(*PARK, "--on-failure", "park").wait_for_state("streaming")
    captured.script(*change.split("; "), "UPDATE b SET v = 5")
    towline.wait_for_log(f'table "public"."{table}" is parked.*{why}')
    others_equal(towline, captured, destination, "b", "c")
    assert parked(destination) == [table]
    assert towline.stop() == 0

"""Schema changes of the source arrive by themselves, at their place among the rows (docs/ddl.md)."""
import threading

import psycopg2
import pytest

from support.schema_changes import APPLY, captured, equal, history  # noqa: F401 (a fixture)
from support.waiting import wait_until


class Writer:
    """Inserts, updates and deletes in `t` from several sessions until it is left."""

    def __init__(self, source, sessions=2):
        self.source, self.stopping, self.failures, self.done = source, threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(sessions)]

    def run(self, session):
        connection = self.source.connect()
        with connection.cursor() as cursor:
            number = 1_000_000 * (session + 1)
            while not self.stopping.wait(0.002):
                number += 1
                try:
                    cursor.execute("INSERT INTO t (id) VALUES (%s)", [number])
                    if number % 3 == 0:
                        cursor.execute("UPDATE t SET id = -id WHERE id = %s", [number - 1])
                    if number % 5 == 0:
                        cursor.execute("DELETE FROM t WHERE id = %s", [number - 3])
                    self.done += 1
                except psycopg2.extensions.TransactionRollbackError:
                    continue  # a deadlock with a change, of which the server has ended this one
                except psycopg2.Error as error:
                    self.failures.append(error)
                    return
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def more(self, count=60):
        enough = self.done + count
        wait_until(lambda: self.done >= enough or self.failures, 60, "the load to go on")
        assert not self.failures, self.failures

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.failures, self.failures


# What is done to a table under load. Each is one string: several statements are one transaction. One that writes rows before it
# alters their table locks the table first: a writer that waits for such a row would hold what ALTER TABLE waits for.
CHANGES = (
    "ALTER TABLE t ADD COLUMN a int DEFAULT 7",
    "ALTER TABLE t ADD COLUMN at timestamptz DEFAULT now(), ADD COLUMN plain text",
    "ALTER TABLE t ADD COLUMN chance float8 DEFAULT random()",
    "CREATE INDEX t_v ON t (v)",
    "ALTER TABLE t RENAME COLUMN a TO aa",
    "LOCK TABLE t IN EXCLUSIVE MODE; UPDATE t SET aa = 1 WHERE id % 7 = 0; ALTER TABLE t ADD COLUMN mid int; UPDATE t SET mid = 2 WHERE id % 11 = 0;"
    "ALTER TABLE t DROP COLUMN plain; INSERT INTO t (id, mid) VALUES (-5, 5); ALTER TABLE t RENAME mid TO middle;"
    "UPDATE t SET middle = 3 WHERE id = -5",
    "ALTER TABLE t ALTER COLUMN n TYPE bigint",
    "ALTER TABLE t ALTER COLUMN n TYPE text USING 'n' || n || random()",
    "CREATE TABLE u (id serial PRIMARY KEY, t_id int, made timestamptz DEFAULT clock_timestamp());"
    "INSERT INTO u (t_id) SELECT id FROM t LIMIT 20",
    "CREATE TABLE copied AS SELECT id, v FROM t WHERE id < 100",
    "ALTER TABLE copied REPLICA IDENTITY FULL; UPDATE copied SET v = 'x' WHERE id < 10; DELETE FROM copied WHERE id > 90",
    "CREATE UNIQUE INDEX u_t ON u (t_id)",
    "ALTER TABLE u RENAME TO renamed; INSERT INTO renamed (t_id) VALUES (-77)",
    "CREATE VIEW w AS SELECT id, v FROM t; COMMENT ON TABLE t IS 'the table'; COMMENT ON COLUMN t.v IS 'its value'",
    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1'",
    "CREATE TYPE mood AS ENUM ('sad', 'glad'); ALTER TABLE t ADD COLUMN m mood; UPDATE t SET m = 'glad' WHERE id < 5",
    "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'glad'",
    "UPDATE t SET m = 'so so' WHERE id = 3",
    "CREATE SCHEMA app CREATE TABLE inside (id int PRIMARY KEY) CREATE VIEW seen AS SELECT * FROM inside",
    "INSERT INTO app.inside VALUES (1)",
    "CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');"
    "INSERT INTO parts SELECT i, '2026-02-01' FROM generate_series(1, 50) i;"
    "ALTER TABLE parts ADD COLUMN made timestamptz DEFAULT now()",
    "ALTER TABLE parts ADD COLUMN r float8 DEFAULT random()",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM copied; REFRESH MATERIALIZED VIEW counted",
    "CREATE EXTENSION hstore; ALTER TABLE t ADD COLUMN h hstore DEFAULT 'a=>1'",
    "DO $$ BEGIN FOR n IN 1..3 LOOP EXECUTE format('CREATE TABLE made_%s (id int PRIMARY KEY)', n);"
    "EXECUTE format('INSERT INTO made_%s VALUES (1)', n); END LOOP; END $$",
    "SET session_replication_role = replica; ALTER TABLE made_1 ADD COLUMN x int DEFAULT 4",
    "ALTER TABLE t ADD CONSTRAINT positive CHECK (aa > -1) NOT VALID; ALTER TABLE t ALTER COLUMN aa SET NOT NULL",
    "DROP VIEW w; DROP FUNCTION f(int); DROP INDEX t_v; DROP TABLE copied CASCADE; DROP TABLE made_2, made_3",
    "CREATE TABLE copied (id int PRIMARY KEY, again text); INSERT INTO copied VALUES (1, 'new')",
    "SET search_path = app; CREATE TABLE in_app (id int PRIMARY KEY); INSERT INTO in_app VALUES (1); DROP TABLE inside CASCADE",
    "SET DateStyle = 'SQL, DMY'; ALTER TABLE t ADD COLUMN d date DEFAULT '3/4/2026'",
    "CREATE TABLE family (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE member (id int PRIMARY KEY, v text);"
    "INSERT INTO member VALUES (1, 'one'); ALTER TABLE family ATTACH PARTITION member FOR VALUES FROM (0) TO (10);"
    "INSERT INTO family VALUES (2, 'two'); ALTER TABLE family ADD COLUMN w int DEFAULT 5; UPDATE family SET w = 6 WHERE id = 1",
    "ALTER TABLE family DETACH PARTITION member; INSERT INTO member VALUES (100, 'out', 1)",
    "CREATE TABLE parent (id int, v text, w int); ALTER TABLE member INHERIT parent; ALTER TABLE parent ADD COLUMN x int DEFAULT 3;"
    "UPDATE parent SET x = 4 WHERE id = 2; ALTER TABLE member NO INHERIT parent; ALTER TABLE parent DROP COLUMN x;"
    "INSERT INTO member (id, x) VALUES (101, 8)",
    "CREATE TYPE shape AS (id int, v text); CREATE TABLE shaped (id int PRIMARY KEY, v text); ALTER TABLE shaped OF shape;"
    "INSERT INTO shaped VALUES (1, 'x'); ALTER TABLE shaped NOT OF; ALTER TABLE shaped ADD COLUMN w int DEFAULT 3",
    "ALTER TABLE renamed SET UNLOGGED",
    "ALTER TABLE renamed SET LOGGED; INSERT INTO renamed (t_id) VALUES (-79)",
    "CREATE SCHEMA old; CREATE TABLE old.t (id int PRIMARY KEY, v text); INSERT INTO old.t VALUES (1, 'old')",
    "ALTER SCHEMA old RENAME TO young; INSERT INTO young.t VALUES (2, 'young')",
    "SELECT id, (SELECT 'into ' || v) AS v INTO TABLE chosen FROM t WHERE id BETWEEN 10 AND 40 ORDER BY id",
    "ALTER TABLE chosen SET TABLESPACE pg_default; CREATE TABLE spaced (id int PRIMARY KEY USING INDEX TABLESPACE pg_default) TABLESPACE pg_default",
    "CREATE TABLE numbered (id int NOT NULL, n int); ALTER TABLE numbered ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;"
    "ALTER TABLE numbered ADD COLUMN s serial PRIMARY KEY; INSERT INTO numbered (n) VALUES (1), (2)",
    "CREATE TABLE moments (at timestamptz) PARTITION BY RANGE (at);"
    "CREATE TABLE moments_1 PARTITION OF moments FOR VALUES FROM (clock_timestamp()) TO (MAXVALUE); INSERT INTO moments VALUES (clock_timestamp())",
    # What is computed is sent as it is, however the session prints it.
    "SET extra_float_digits = -3; SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'; SET quote_all_identifiers = on;"
    "CREATE TABLE ratios (r float8, at timestamptz) PARTITION BY RANGE (r, at);"
    "CREATE TABLE ratios_1 PARTITION OF ratios FOR VALUES FROM (1.0 / 3.0::float8, '3.4.2026') TO (2.0 / 3.0::float8, clock_timestamp());"
    "ALTER TABLE t ADD COLUMN third float8 DEFAULT extract(epoch FROM now())::float8 / 3, ADD COLUMN age interval DEFAULT age(now(), '2.3.2001'),"
    "ADD COLUMN bytes bytea DEFAULT decode(to_char(now(), 'US'), 'escape'), ADD COLUMN type regtype DEFAULT CASE WHEN now() IS NULL THEN 0::regtype ELSE 'mood' END",
    # What the query reads is at the source only.
    "CREATE TEMP TABLE passing AS SELECT id, v COLLATE \"C\" AS v, 1.5::numeric(5,2) AS n FROM t WHERE id < 20; CREATE RULE r AS ON DELETE TO passing DO NOTHING;"
    "CREATE TABLE kept (a, \"B b\") WITH (fillfactor = 70) AS SELECT * FROM passing; SELECT id INTO TABLE kept_too FROM passing;"
    "PREPARE chosen_rows AS SELECT id, v FROM passing; CREATE TABLE executed (\"Id\") AS EXECUTE chosen_rows; DROP RULE r ON passing; DROP TABLE passing",
    "CREATE TEMP TABLE passing (id int); CREATE FUNCTION of_passing(passing) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE DOMAIN passings AS passing[]",
    # The rows that refer to the table's must find theirs while its key is altered.
    "CREATE TABLE pointed (id int PRIMARY KEY, v float8); CREATE TABLE pointing (id int PRIMARY KEY REFERENCES pointed);"
    "INSERT INTO pointed SELECT i, i FROM generate_series(1, 40) i; INSERT INTO pointing SELECT 2 * i FROM generate_series(1, 20) i",
    "ALTER TABLE pointed ALTER COLUMN id TYPE bigint, ALTER COLUMN v TYPE float4 USING random()",
    "INSERT INTO pointed VALUES (3000000000, 1); ALTER TABLE pointing ALTER COLUMN id TYPE bigint; INSERT INTO pointing VALUES (3000000000)",
    "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE other_heap (id int PRIMARY KEY) USING heap2;"
    "CREATE MATERIALIZED VIEW heaped USING heap2 AS SELECT id FROM pointed",
    "CREATE SCHEMA AUTHORIZATION CURRENT_ROLE CREATE TABLE inside (id int PRIMARY KEY); CREATE SCHEMA named AUTHORIZATION CURRENT_ROLE",
    "SELECT lo_create(4711); COMMENT ON LARGE OBJECT 4711 IS 'x'; SELECT lo_unlink(4711)",
    "CREATE ROLE ddl_owner; CREATE SCHEMA owned AUTHORIZATION ddl_owner; SET ROLE ddl_owner;"
    "CREATE TABLE owned.o (id serial PRIMARY KEY); CREATE TYPE owned.kind AS ENUM ('a'); CREATE VIEW owned.w AS SELECT id, 'a'::owned.kind AS kind FROM owned.o;"
    "CREATE FUNCTION owned.f(owned.kind) RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE; DROP OWNED BY ddl_owner; DROP ROLE ddl_owner",
    "BEGIN; DROP TABLE t; ROLLBACK",
    "SAVEPOINT s; ALTER TABLE t ADD COLUMN gone int; INSERT INTO t (id, gone) VALUES (-6, 1); ROLLBACK TO s;"
    "INSERT INTO t (id) VALUES (-7)",
)
ALONE = ("CREATE INDEX CONCURRENTLY t_aa ON t (aa)", "DROP INDEX CONCURRENTLY t_aa",
         "CREATE UNIQUE INDEX CONCURRENTLY t_d ON t (id, d)", "ALTER MATERIALIZED VIEW heaped SET ACCESS METHOD heap")


def run_changes(source, writer=None, after=lambda number: None):
    for number, change in enumerate((*CHANGES, *ALONE)):
        if change in ALONE or change.startswith("BEGIN"):
            source.script(*change.split("; ")) if change.startswith("BEGIN") else source.execute(change)
        else:
            connection = source.connect(autocommit=False)
            with connection.cursor() as cursor:
                cursor.execute(change)
            connection.commit()
            connection.close()
        after(number)
        if writer is not None:
            writer.more(20)


@pytest.mark.limit(600)
def test_changes_under_load_arrive_in_order(towline, captured, destination):
    towline.start(*APPLY).wait_for_state("streaming")
    with Writer(captured) as writer:
        run_changes(captured, writer)
    equal(towline, captured, destination, definitions=True)
    fates = history(destination)
    assert len(fates) > len(CHANGES) and {fate for _, fate in fates} == {"applied", "ignored"}, fates
    assert history(destination, "statement", "fate", "reason").count(
        ("ALTER TABLE chosen SET TABLESPACE pg_default", "ignored", "tablespaces are each server's own")) == 1
    assert towline.stop() == 0
    # What the stream has brought is known after a restart, tables that were renamed or made anew too.
    towline.start(*APPLY)
    captured.execute("INSERT INTO young.t VALUES (3); INSERT INTO renamed (t_id) VALUES (-78); INSERT INTO copied VALUES (2, 'two'); INSERT INTO t (id) VALUES (-8)")
    equal(towline, captured, destination, definitions=True)
    assert towline.stop() == 0


@pytest.mark.limit(600)
def test_kill_between_commands_and_rows(towline_factory, captured, destination):
    service = towline_factory(captured, destination, fault="apply:after-ddl:kill:1")
    service.start(*APPLY)
    passage = 1

    def again(_number=None):
        """It dies at each command once, and starts to die at the next."""
        nonlocal passage
        if service.is_running and service.state() in ("streaming", "catching_up", None, "checking"):
            return
        if not service.is_running:
            passage += 1
            service.fault = f"apply:after-ddl:kill:{passage % 4 + 1}"
            service.start(*APPLY)

    def dies():
        """After so many commands more it does at any of its passages."""
        captured.script(*(f"COMMENT ON TABLE t IS '{number}'" for number in range(4)))
        wait_until(lambda: not service.is_running, 60, "it to die once more", explain=service.tail)
    service.wait_for_state("streaming")
    run_changes(captured, after=again)
    dies()
    while passage <= 3:  # a slow one is behind, and was not there to die in time
        again()
        dies()
    service.fault = None
    service.start(*APPLY)
    equal(service, captured, destination, definitions=True)
    assert service.stop() == 0


def test_only_selected_tables(towline, captured, destination):
    captured.execute("CREATE TABLE other (id int PRIMARY KEY)")
    arguments = (*APPLY, "--include", "public.t*")
    towline.start(*arguments).wait_for_state("streaming")
    captured.execute("ALTER TABLE t ADD COLUMN a int; ALTER TABLE other ADD COLUMN a int; CREATE VIEW w AS SELECT * FROM t;"
                     "CREATE INDEX t_v ON t (v); CREATE INDEX other_a ON other (a)")
    captured.execute("CREATE TABLE t2 (id int PRIMARY KEY); INSERT INTO t2 VALUES (1); CREATE TABLE more (id int)")
    captured.execute("GRANT SELECT ON t TO PUBLIC; INSERT INTO t (id, a) VALUES (-1, 1)")
    towline.wait_until_caught_up()
    assert history(destination, "objects", "fate") == [
        ("table public.t", "applied"), ("table public.other", "ignored"), ("view public.w", "ignored"),
        ("index public.t_v", "applied"), ("index public.other_a", "ignored"),
        ("table public.t2, index public.t2_pkey", "applied"), ("table public.more", "ignored"), ("TABLE ", "ignored")]
    assert destination.value("SELECT to_regclass('other') IS NULL AND to_regclass('more') IS NULL AND to_regclass('w') IS NULL")
    for table in ("t", "t2"):
        assert captured.query(f"SELECT * FROM {table} ORDER BY 1") == destination.query(f"SELECT * FROM {table} ORDER BY 1")
    assert towline.stop() == 0


def test_nothing_forges_a_command(towline, captured, destination):
    captured.execute("CREATE ROLE ddl_forger LOGIN; GRANT CREATE ON SCHEMA public TO ddl_forger")
    try:
        towline.start(*APPLY).wait_for_state("streaming")
        forger = captured.connect(user="ddl_forger")
        with forger.cursor() as cursor:
            cursor.execute("SELECT pg_logical_emit_message(true, 'towline.ddl', 'DROP TABLE t')")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("INSERT INTO towline.ddl_log VALUES ('x')")
            cursor.execute("CREATE TABLE ddl_log (entry bytea); ALTER TABLE ddl_log REPLICA IDENTITY FULL;"
                           "INSERT INTO ddl_log VALUES ('DROP TABLE t'); DELETE FROM ddl_log")
        forger.close()
        equal(towline, captured, destination)
        assert [tag for tag, _ in history(destination)] == ["CREATE TABLE", "ALTER TABLE"]
        assert towline.stop() == 0
    finally:
        captured.execute("DROP OWNED BY ddl_forger; DROP ROLE ddl_forger")


def test_capture_must_be_on(towline, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    done = towline.call("check", *APPLY, "--json")
    assert done.returncode == 1 and '"source.ddl_capture"' in done.stdout
    towline.start(*APPLY)
    assert towline.wait_exit() == 3
    assert "does not capture its schema changes" in towline.output()
    source.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()")
    towline.start(*APPLY).wait_for_state("streaming")
    assert towline.stop() == 0
    source.execute("ALTER EVENT TRIGGER towline_ddl_sql_drop DISABLE")
    towline.start(*APPLY)
    assert towline.wait_exit() == 3
    # Without the option nothing is asked for: a change of columns stops at its first row, as ever.
    source.execute("SELECT towline.enable_ddl()")
    towline.start().wait_for_state("streaming")
    source.execute("ALTER TABLE t ADD COLUMN v text")
    source.execute("INSERT INTO t VALUES (1, 'x')")
    assert towline.wait_exit() == 3
    assert 'column "v" is missing' in towline.output()
    assert '"destination.ddl_role"' in towline.call("check", *APPLY, "--json").stdout


@pytest.mark.limit(300)
def test_large_transactions_in_progress_hold_commands(towline, captured, destination):
    captured.execute(f"ALTER DATABASE {captured.name} SET logical_decoding_work_mem = '64kB'")
    towline.start(*APPLY, "--batch-bytes-max", "64kB").wait_for_state("streaming")
    first, second = captured.connect(autocommit=False), captured.connect(autocommit=False)
    one, two = first.cursor(), second.cursor()
    fill = "INSERT INTO {0} SELECT i, repeat(md5(i::text), 3) FROM generate_series({1}, {1} + 3000) i"
    two.execute("CREATE TABLE late (id int PRIMARY KEY, v text)")
    one.execute(fill.format("t", 10_000) + "; ALTER TABLE t ADD COLUMN a timestamptz DEFAULT now();" + fill.format("t", 20_000))
    two.execute(fill.format("late", 1))
    one.execute("SAVEPOINT s; ALTER TABLE t DROP COLUMN v;")
    one.execute("INSERT INTO t SELECT i FROM generate_series(30000, 33000) i; ROLLBACK TO s;")
    two.execute("ALTER TABLE late ADD COLUMN r float8 DEFAULT random();" + fill.format("late", 10_000))
    one.execute("ALTER TABLE t RENAME n TO nn; ALTER TABLE t ALTER nn TYPE text USING nn || 'x' || random();" + fill.format("t", 40_000))
    second.commit()
    first.commit()
    equal(towline, captured, destination, definitions=True)
    assert [tag for tag, _ in history(destination)] == ["CREATE TABLE", "ALTER TABLE", "ALTER TABLE", "ALTER TABLE", "ALTER TABLE"]
    assert destination.value("SELECT count(*) FROM t") > 9000
    first.close()
    second.close()
    assert towline.stop() == 0


@pytest.mark.limit(300)
def test_changes_pass_through_a_cascade(towline_factory, captured, destination, destination_cluster):
    third = destination_cluster.create_database("third")
    first = towline_factory(captured, destination, task="first")
    first.start(*APPLY).wait_for_state("streaming")
    destination.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()")
    second = towline_factory(destination, third, task="second")
    second.start(*APPLY, "--exclude", "towline_state.*").wait_for_state("streaming")
    captured.execute("ALTER TABLE t ADD COLUMN r float8 DEFAULT random(); CREATE TABLE c (id int PRIMARY KEY);"
                     "INSERT INTO c VALUES (1); ALTER TABLE t ADD COLUMN a timestamptz DEFAULT now()")
    captured.execute("ALTER TABLE c ADD v text; INSERT INTO c VALUES (2, 'x'); UPDATE t SET v = 'y' WHERE id = 3")
    equal(first, captured, destination)
    second.wait_until_caught_up()
    for table in ("t", "c"):
        rows = captured.query(f"SELECT * FROM {table} ORDER BY 1")
        assert rows == third.query(f"SELECT * FROM {table} ORDER BY 1")
    assert second.stop() == 0
    assert first.stop() == 0



DEFAULTS = (
    "ALTER TABLE t ADD COLUMN at timestamptz DEFAULT now()",
    "UPDATE t SET at = '2000-01-01' WHERE id < 100",
    # It is there: nothing is done, and the rows keep their values.
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS at timestamptz DEFAULT now()",
    # What old rows get is not the default that is left.
    "ALTER TABLE t ADD COLUMN first timestamptz DEFAULT now(), ALTER COLUMN first SET DEFAULT '2001-01-01'",
    # A comment that would swallow what is put behind it.
    "CREATE TABLE c AS SELECT id, v FROM t WHERE id < 50 -- with data",
    # Another column under the same name.
    "ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN n text DEFAULT 'again'",
    "UPDATE t SET n = 'x' WHERE id < 9",
)


def test_rows_that_are_there_keep_what_they_have(towline, captured, destination):
    towline.start(*APPLY).wait_for_state("streaming")
    for change in DEFAULTS:
        captured.execute(change)
    equal(towline, captured, destination, definitions=True)
    assert destination.value("SELECT count(*) FROM c") == 49
    assert towline.stop() == 0


READ_ANEW = (
    "ALTER TABLE t ADD COLUMN at timestamptz DEFAULT 'now'",
    "ALTER TABLE t ADD COLUMN rounded timestamp(0) DEFAULT 'now', ADD COLUMN day date DEFAULT 'yesterday', ADD COLUMN clock time DEFAULT 'now'",
    "CREATE DOMAIN moment AS timestamptz DEFAULT 'now'; ALTER TABLE t ADD COLUMN of_domain moment",
    "ALTER TABLE t ADD COLUMN several timestamptz[] DEFAULT '{now,today}', ADD COLUMN since tstzrange DEFAULT '[now,)'",
    "ALTER TABLE t ADD COLUMN price money DEFAULT '12.50'",
    # Compared as it is, also where the type has no equality.
    "ALTER TABLE t ADD COLUMN doc json DEFAULT json_build_object('at', now())",
)


def test_constants_that_each_server_reads_for_itself(towline, captured, destination):
    """The default is a constant as soon as the command is parsed, so each server has its own; the rows have the source's."""
    towline.start(*APPLY).wait_for_state("streaming")
    for change in READ_ANEW:
        captured.execute(change)
    equal(towline, captured, destination)
    assert towline.stop() == 0


def test_a_role_that_is_dropped_while_its_session_goes_on(towline, captured, destination):
    """The server must live, and so must the stream."""
    captured.execute("CREATE ROLE leaving SUPERUSER LOGIN")
    towline.start(*APPLY).wait_for_state("streaming")
    with captured.connect(user="leaving") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        captured.execute("DROP ROLE leaving")
        with pytest.raises(psycopg2.Error):
            cursor.execute("CREATE TABLE y AS SELECT 1 AS id")
    captured.execute("INSERT INTO t (id) VALUES (-1)")
    equal(towline, captured, destination)
    assert towline.stop() == 0

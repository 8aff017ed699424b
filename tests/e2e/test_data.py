"""Rows and tables of every shape arrive exactly: data_cases/ holds them. All shapes run twice: with the
limits as they are, and with limits so small that nearly every transaction passes in parts and every
table is copied in pieces; the result must not depend on it (I9). The small run also has awkward names
of databases, and roles whose settings would end long statements (A16).
"""
import itertools

import pytest

from data_cases import names, rows, tables
from support.cluster import quote_identifier
from support.compare import assert_equal
from support.shapes import Play
from support.towline import MEMORY_LIMIT

SHAPES = [*rows.shapes(), *tables.shapes(), *names.shapes()]
SMALL = ["--batch-rows-max", "3", "--batch-bytes-max", "4kB", "--queue-bytes-max", "64kB",
         "--copy-part-bytes", "8kB", "--copy-workers", "3"]


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    # Little memory for decoding: transactions of a few hundred rows are spilled to disk.
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB"})


@pytest.fixture(scope="module")
def play(request, source_cluster, destination_cluster, session_directory):
    numbers = itertools.count(1)
    verdicts = {}

    def run(limits):
        if limits in verdicts:
            return verdicts[limits]

        def make_database(which):
            cluster = source_cluster if which == "source" else destination_cluster
            name = f"data_{which}_{next(numbers)}" + (" 'Q\"u ö;" if limits == "small" else "")
            database = cluster.create_database(name)
            if which == "source":
                database.execute("CREATE EXTENSION towline")
            return database

        players = Play(make_database, session_directory / f"data-{limits}",
                       request.config.getoption("--towline-binary"),
                       arguments=SMALL if limits == "small" else [])
        verdicts[limits] = players.run(SHAPES)
        assert players.peak_memory <= MEMORY_LIMIT or request.config.getoption("--no-memory-limit")
        return verdicts[limits]
    return run


@pytest.mark.limit(400)
@pytest.mark.parametrize("limits", ["default", "small"])
@pytest.mark.parametrize("name", [shape.name for shape in SHAPES])
def test_shape(play, name, limits):
    play(limits).check(name)


def test_everything_else_of_a_database_is_copied(towline, source, destination):
    """Views, functions, sequences, indexes and the like; as they were at the copy."""
    source.script(
        "CREATE SCHEMA app; CREATE SCHEMA empty_schema; SET search_path = app",
        "CREATE TYPE app.kind AS ENUM ('a', 'b'); CREATE DOMAIN app.short AS text CHECK (length(VALUE) < 10)",
        "CREATE SEQUENCE app.plain START 5 INCREMENT 3 CYCLE MAXVALUE 100; SELECT nextval('app.plain')",
        "CREATE SEQUENCE app.untouched; CREATE SEQUENCE app.down INCREMENT -1; SELECT nextval('app.down'), "
        "nextval('app.down')",
        "CREATE TABLE app.t (id serial PRIMARY KEY, k app.kind DEFAULT 'a', s app.short, n int GENERATED "
        "ALWAYS AS IDENTITY, "
        "CHECK (n > 0))",
        "INSERT INTO app.t (s) SELECT 'v' || i FROM generate_series(1, 100) i",
        "CREATE INDEX ON app.t (lower(s)) WHERE n > 5; CREATE UNIQUE INDEX one ON app.t (n) INCLUDE (k)",
        "CREATE STATISTICS app.both ON k, n FROM app.t",
        "CREATE FUNCTION app.double(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2'",
        "CREATE VIEW app.v AS SELECT id, app.double(n) FROM app.t; CREATE VIEW app.w AS SELECT * FROM app.v",
        "CREATE MATERIALIZED VIEW app.filled AS SELECT k, count(*) FROM app.t GROUP BY k",
        "CREATE UNIQUE INDEX ON app.filled (k); CREATE MATERIALIZED VIEW app.unfilled AS SELECT 1 AS one "
        "WITH NO DATA",
        "CREATE TABLE app.child (id int PRIMARY KEY, t int REFERENCES app.t, late int, CONSTRAINT unchecked "
        "FOREIGN KEY (late) REFERENCES app.t NOT VALID)",
        "CREATE AGGREGATE app.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')",
        "CREATE FUNCTION app.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER tg AFTER INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.nothing()",
        "ALTER TABLE app.t DISABLE TRIGGER tg; COMMENT ON TABLE app.t IS 'a; comment -- with '' marks'",
        "CREATE POLICY own ON app.t USING (true); ALTER TABLE app.t ENABLE ROW LEVEL SECURITY",
        "CREATE PROCEDURE app.p() LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True, sequences=True)
    source.execute("INSERT INTO app.t (s) VALUES ('later'); REFRESH MATERIALIZED VIEW app.filled")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True, ignore=["app.filled"])
    assert destination.value("SELECT count(*) FROM app.filled") == 1
    assert destination.value("SELECT obj_description('app.t'::regclass)") == "a; comment -- with ' marks"
    assert destination.value("SELECT relrowsecurity FROM pg_class WHERE oid = 'app.t'::regclass")
    assert towline.stop() == 0


def test_empty_database_is_copied(towline, source, destination):
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert source.query("SELECT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', "
                        "'information_schema', 'towline')") == []
    assert destination.query("SELECT schemaname::text FROM pg_tables WHERE schemaname NOT IN "
                             "('pg_catalog', 'information_schema', 'towline_state')") == []
    assert destination.value("SELECT count(*) FROM pg_extension WHERE extname = 'towline'") == 0
    assert towline.stop() == 0


def test_bytes_of_sql_ascii_databases_arrive_as_they_are(towline_factory, source_cluster,
                                                         destination_cluster):
    """Nobody knows what they mean; so they must not be taken for UTF-8 on the way."""
    options = "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
    source = source_cluster.create_database("data_ascii", options)
    destination = destination_cluster.create_database("data_ascii", options)
    source.script("CREATE EXTENSION towline", "CREATE TABLE t (id int PRIMARY KEY, v text)",
                  r"INSERT INTO t VALUES (1, 'ascii'), (2, E'caf\xe9'), (3, E'\xc3\xa9'), (4, E'\xff')",
                  "CREATE TABLE f (v text)", "ALTER TABLE f REPLICA IDENTITY FULL",
                  r"INSERT INTO f VALUES (E'\xe9'), (E'\xe9'), (E'\xea')")
    towline = towline_factory(source, destination)
    towline.start().wait_for_state("streaming")
    source.script(r"INSERT INTO t VALUES (5, E'x\xfe')", r"UPDATE t SET v = E'y\xfd' WHERE id = 1",
                  "DELETE FROM f WHERE ctid = (SELECT min(ctid) FROM f)", "DELETE FROM t WHERE id = 4")
    towline.wait_until_caught_up()
    # Not by the comparator: its sessions are in UTF-8.
    for table in ("t", "f"):
        rows = f"SELECT encode(convert_to({table}::text, 'SQL_ASCII'), 'hex') FROM {table} ORDER BY 1"
        assert source.query(rows) == destination.query(rows)
    assert destination.value("SELECT count(*) FROM t") == 4 and destination.value("SELECT count(*) FROM f") == 2
    assert towline.stop() == 0


def mover(cluster, database, name, settings):
    """A role without superuser, with defaults that would kill a copy that took them as they come."""
    cluster.database().execute(f"CREATE ROLE {name} LOGIN")
    cluster.database().script(*[f"ALTER ROLE {name} SET {setting} = {value}" for setting,
                                value in settings.items()])
    return database.uri(user=name)


def test_roles_need_no_superuser_and_their_settings_do_no_harm(towline_factory, source, destination):
    hostile = {"statement_timeout": "'50ms'", "lock_timeout": "'1ms'",
               "idle_in_transaction_session_timeout": "'50ms'",
               "idle_session_timeout": "'200ms'", "default_transaction_isolation": "'serializable'",
               "row_security": "on",
               "search_path": "''", "timezone": "'Asia/Kathmandu'", "datestyle": "'German'",
               "work_mem": "'64kB'",
               "check_function_bodies": "on", "synchronous_commit": "off", "client_min_messages": "error"}
    source.script(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, v text)",
        "INSERT INTO t SELECT i, now() - i * interval '1 h', repeat('x', 1000) FROM generate_series(1, "
        "20000) i",
        "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO child SELECT i, i FROM "
        "generate_series(1, 100) i")
    source_role = f"mover_{source.name}"
    source_uri = mover(source.cluster, source, source_role,
                       {**hostile, "default_transaction_read_only": "on"})
    source.script(f"ALTER ROLE {source_role} REPLICATION",
                  f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {source_role}")
    destination_role = f"mover_{destination.name}"
    destination_uri = mover(destination.cluster, destination, destination_role,
                            {**hostile, "default_transaction_read_only": "on"})
    destination.script(f"GRANT CREATE ON DATABASE {quote_identifier(destination.name)} TO {destination_role}",
                       f"GRANT CREATE ON SCHEMA public TO {destination_role}",
                       f"GRANT SET ON PARAMETER session_replication_role TO {destination_role}")
    towline = towline_factory(source_uri, destination_uri)
    towline.start()
    # What the test itself asks is not asked as those roles.
    towline.source_uri, towline.destination_uri = source.uri(), destination.uri()
    towline.wait_for_state("streaming")
    source.script("UPDATE t SET v = 'changed' WHERE id % 2 = 0", "DELETE FROM child WHERE id < 50",
                  "DELETE FROM t WHERE id < 40")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True)
    assert towline.stop() == 0

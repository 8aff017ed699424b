"""`towline grants`: its two scripts, executed by an administrator as they stand, are all that a role needs for a
whole task: check, copy, stream, a restart, the end. Nothing else is given to it, not even CREATE on the database."""
import re

import psycopg2
import pytest

from support.cluster import quote_identifier
from support.compare import assert_equal

ROLE = "Mover \"x\""
# A finding that is no pass and speaks of a right.
MISSED = "(warn|fail) +[a-z]+[.](.*privileges|replication_origin|create_.*|replication_role.*)"
SCHEMA = (
    "CREATE SCHEMA sales", "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE INDEX t_v ON t (v)",
    "CREATE TABLE sales.orders (id serial PRIMARY KEY, t int REFERENCES t, v text)",
    "CREATE TABLE sales.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE sales.parted_1 PARTITION OF sales.parted FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE sales.parted_2 PARTITION OF sales.parted DEFAULT",
    "CREATE TABLE \"Odd name\" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)",
    "CREATE SEQUENCE sales.alone", "CREATE MATERIALIZED VIEW sales.sums AS SELECT count(*) FROM t",
    "CREATE VIEW v AS SELECT * FROM t", "COMMENT ON SCHEMA sales IS 'ours'",
    "CREATE FUNCTION sales.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
    "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 300) i",
    "INSERT INTO sales.orders (t, v) SELECT i, 'o' FROM generate_series(1, 200) i",
    "INSERT INTO sales.parted SELECT i, 'p' FROM generate_series(1, 200) i",
    "INSERT INTO \"Odd name\" (v) SELECT 'x' FROM generate_series(1, 20)", "SELECT nextval('sales.alone')")
WORK = ("UPDATE t SET v = 'u' WHERE id < 20", "DELETE FROM sales.orders WHERE id < 5",
        "INSERT INTO sales.orders (t, v) VALUES (7, 'n')", "UPDATE sales.parted SET id = id + 1000 WHERE id = 50",
        "INSERT INTO \"Odd name\" (v) VALUES ('y')", "SELECT nextval('sales.alone')")


@pytest.fixture
def role(source, destination):
    """A role without any right at either server, gone afterwards."""
    name = quote_identifier(ROLE)

    def remove():
        for database in (source, destination):
            if database.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", [ROLE]):
                database.execute(f"DROP OWNED BY {name} CASCADE")
                for line in ("REVOKE ALL ON PARAMETER session_replication_role FROM " + name,):
                    if database.value("SELECT current_setting('server_version_num')::int >= 150000"):
                        database.execute(line)
                database.execute(f"DROP ROLE {name}")
    remove()
    for database in (source, destination):
        database.execute(f"REVOKE ALL ON DATABASE {database.name} FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield ROLE
    # What the copy has made belongs to the role.
    remove()


def scripts(towline, *arguments):
    done = towline.call("grants", "--role", ROLE, *arguments, check=True)
    left, right = done.stdout.split("-- At the destination")
    assert left.startswith("-- At the source")
    return left, "-- At the destination" + right


def prepare(towline_factory, source, destination, *arguments):
    """Executes both scripts; gives the service that runs as the role."""
    for database, script in zip((source, destination), scripts(towline_factory(source, destination), *arguments)):
        database.psql(script)
    towline = towline_factory(source.uri(user=ROLE), destination.uri(user=ROLE), arguments=arguments)
    done = towline.call("check", *arguments)
    assert done.returncode == 0, done.stdout
    assert not re.search(MISSED, done.stdout), done.stdout
    return towline


def whole_task(towline, source, destination, **options):
    towline.start()
    towline.source_uri, towline.destination_uri = source.uri(), destination.uri()
    towline.wait_for_state("streaming")
    source.script(*WORK)
    source.execute("TRUNCATE sales.parted")
    source.execute("INSERT INTO sales.parted VALUES (1, 'again')")
    towline.wait_until_caught_up()
    assert towline.stop() == 0
    source.script(*WORK)
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    # An orderly stop sets the sequences.
    assert towline.stop() == 0
    # Materialized views are refreshed once, after the copy.
    assert_equal(source.uri(), destination.uri(), ignore=["sales.sums"], **options)
    assert destination.value("SELECT last_value >= 3 FROM sales.alone")
    output = towline.output(all_runs=True)
    assert "permission denied" not in output and "no right to" not in output.replace(
        "no right to run a statement at the destination; left out statement=COMMENT ON", ""), output
    towline.source_uri, towline.destination_uri = source.uri(user=ROLE), destination.uri(user=ROLE)
    towline.call("drop", "--yes", check=True)
    assert source.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name]) == []
    assert destination.value("SELECT to_regclass('towline_state.task') IS NULL")


def test_whole_task_with_the_schema(towline_factory, source, destination, role):
    source.script(*SCHEMA, "CREATE EXTENSION citext SCHEMA sales")
    towline = prepare(towline_factory, source, destination)
    assert not destination.value("SELECT has_database_privilege(%s, current_database(), 'CREATE')", [ROLE])
    assert not destination.value("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [ROLE]) or \
        destination.value("SELECT current_setting('server_version_num')::int < 150000")
    whole_task(towline, source, destination)


def test_whole_task_into_tables_that_somebody_else_made(towline_factory, source, destination, role):
    source.script(*SCHEMA)
    # By a copy of the schema as the administrator.
    admin = towline_factory(source, destination, task="admin")
    admin.start("--stages", "schema")
    assert admin.wait_exit() == 0, admin.tail()
    admin.call("drop", "--yes", check=True)
    towline = prepare(towline_factory, source, destination, "--stages", "copy,stream")
    assert destination.value("SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = relowner WHERE rolname = %s",
                             [ROLE]) == 0
    whole_task(towline, source, destination)


def test_a_copy_without_a_stream_needs_no_replication(towline_factory, source, destination, role):
    source.script(*SCHEMA)
    towline = prepare(towline_factory, source, destination, "--stages", "schema,copy", "--exclude", "sales.orders")
    assert not source.value("SELECT rolreplication FROM pg_roles WHERE rolname = %s", [ROLE])
    assert not source.value("SELECT has_table_privilege(%s, 'sales.orders', 'SELECT')", [ROLE])
    towline.start()
    assert towline.wait_exit() == 0, towline.tail()
    assert_equal(source.uri(), destination.uri(), tables=["public.t", "sales.parted", "public.Odd name"])


def test_no_grant_is_needless(towline_factory, source, destination, role):
    """Each GRANT that is taken back is missed by the check."""
    source.script("CREATE SCHEMA sales", "CREATE TABLE sales.t (id serial PRIMARY KEY, v text)")
    destination.script("CREATE SCHEMA sales", "CREATE TABLE sales.t (id serial PRIMARY KEY, v text)")
    left, right = scripts(towline_factory(source, destination), "--stages", "copy,stream")
    towline = prepare(towline_factory, source, destination, "--stages", "copy,stream")
    for database, script in ((source, left), (destination, right)):
        for grant in re.findall(r"^GRANT .*;$", script, re.M):
            # A role that may connect may do so by PUBLIC as a rule; not here.
            database.execute(re.sub(r" TO (\"(?:[^\"]|\"\")+\");$", r" FROM \1", grant.replace("GRANT ", "REVOKE ", 1)))
            if database is destination and "ON SEQUENCE" in grant:
                # No check asks for it; sequences are set at a stop.
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    database.execute(f"SET ROLE {quote_identifier(ROLE)}; SELECT setval('sales.t_id_seq', 5)")
                database.execute(grant)
                continue
            done = towline.call("check", "--stages", "copy,stream")
            missed = done.returncode != 0 or re.search(MISSED, done.stdout)
            assert missed, (grant, done.stdout)
            database.execute(grant)
    assert towline.call("check", "--stages", "copy,stream").returncode == 0


def test_row_security_and_owners(towline_factory, source, destination, role):
    source.script("DROP ROLE IF EXISTS keeper", "CREATE ROLE keeper", "CREATE TABLE t (id int PRIMARY KEY)",
                  "GRANT CREATE ON SCHEMA public TO keeper", "ALTER TABLE t OWNER TO keeper",
                  "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                  "INSERT INTO t SELECT generate_series(1, 50)")
    destination.script("DROP ROLE IF EXISTS keeper", "CREATE ROLE keeper", "GRANT CREATE ON SCHEMA public TO keeper")
    try:
        towline = prepare(towline_factory, source, destination, "--owners", "on")
        towline.start()
        towline.source_uri, towline.destination_uri = source.uri(), destination.uri()
        towline.wait_for_state("streaming")
        source.execute("INSERT INTO t VALUES (100)")
        towline.wait_until_caught_up()
        assert_equal(source.uri(), destination.uri())
        assert destination.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'") == "keeper"
        assert towline.stop() == 0
    finally:
        for database in (source, destination):
            database.script("DROP OWNED BY keeper CASCADE", "DROP ROLE keeper")

"""`towline grants`: its two scripts, executed by an administrator as they stand, are all that a role needs for a
whole task: check, copy, stream, a restart, the end. Nothing else is given to it, not even CREATE on the database,
unless schema changes need it."""
import json
import re

import pytest

from support.cluster import quote_identifier
from support.compare import assert_equal

ROLE = "Mover \"x\""
# A finding that is no pass and speaks of a right.
MISSED = "(warn|fail) +[a-z]+[.](.*privileges|sequences|replication_origin|create_.*|replication_role.*|table_owners)"
SCHEMA = (
    "CREATE SCHEMA sales", "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE INDEX t_v ON t (v)",
    "CREATE TABLE sales.orders (id serial PRIMARY KEY, t int REFERENCES t, v text)",
    "CREATE TABLE sales.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE sales.parted_1 PARTITION OF sales.parted FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE sales.parted_2 PARTITION OF sales.parted DEFAULT",
    "CREATE TABLE \"Odd name\" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)",
    "CREATE SEQUENCE sales.alone", "CREATE MATERIALIZED VIEW sales.sums AS SELECT count(*) FROM t",
    "CREATE VIEW v AS SELECT * FROM t", "COMMENT ON SCHEMA sales IS 'ours'",
    "CREATE FUNCTION sales.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1'", "CREATE TYPE sales.mood AS ENUM ('old')",
    "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 300) i",
    "INSERT INTO sales.orders (t, v) SELECT i, 'o' FROM generate_series(1, 200) i",
    "INSERT INTO sales.parted SELECT i, 'p' FROM generate_series(1, 200) i",
    "INSERT INTO \"Odd name\" (v) SELECT 'x' FROM generate_series(1, 20)", "SELECT nextval('sales.alone')")
WORK = ("UPDATE t SET v = 'u' WHERE id < 20", "DELETE FROM sales.orders WHERE id < 5",
        "INSERT INTO sales.orders (t, v) VALUES (7, 'n')", "UPDATE sales.parted SET id = id + 1000 WHERE id = 50",
        "INSERT INTO \"Odd name\" (v) VALUES ('y')", "SELECT nextval('sales.alone')")

# Of each kind, on what was there and what was not; t is rewritten, and sales.orders refers to it.
APPLY = ("--ddl", "apply")
CHANGES = (
    "CREATE SCHEMA more", "CREATE EXTENSION citext SCHEMA more",
    "CREATE TABLE later (id serial PRIMARY KEY, v more.citext)", "CREATE TABLE more.still (id int PRIMARY KEY REFERENCES later)",
    "INSERT INTO later (v) SELECT 'l' || i FROM generate_series(1, 20) i", "INSERT INTO more.still VALUES (1), (2)",
    "ALTER TABLE t ADD COLUMN n float8 DEFAULT random()", "ALTER TABLE sales.orders ADD COLUMN w text DEFAULT 'w'",
    "ALTER TABLE sales.parted ADD COLUMN w int", "INSERT INTO sales.parted VALUES (60, 'p', 1) ON CONFLICT (id) DO UPDATE SET w = 1",
    "CREATE INDEX orders_v ON sales.orders (v)", "DROP INDEX t_v", "DROP TABLE \"Odd name\"",
    "COMMENT ON TABLE t IS 'changed'", "CREATE TRIGGER twice BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION "
    "suppress_redundant_updates_trigger()", "CREATE VIEW sales.w AS SELECT id FROM later",
    "ALTER VIEW v RENAME COLUMN v TO v2", "ALTER FUNCTION sales.f(int) STABLE", "ALTER SEQUENCE sales.alone CACHE 2",
    "ALTER TYPE sales.mood ADD VALUE 'new'", "REFRESH MATERIALIZED VIEW sales.sums", "COMMENT ON SCHEMA sales IS 'changed'",
    "UPDATE t SET v = 'x' WHERE id < 5")


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


def change_schema(towline, source, destination, arguments):
    """A run with schema changes, from its start to an orderly end."""
    as_role = towline.source_uri, towline.destination_uri
    towline.start()
    towline.source_uri, towline.destination_uri = source.uri(), destination.uri()
    towline.wait_for_state("streaming")
    source.script(*CHANGES)
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), ignore=["sales.sums"], definitions=True)
    refused = destination.query("SELECT tag, fate, reason FROM towline_state.ddl_history WHERE fate <> 'applied'")
    assert refused == []
    assert destination.value("SELECT count(DISTINCT tag) FROM towline_state.ddl_history") >= 14
    assert towline.stop() == 0
    # What has come since may be read at the source as well.
    assert destination.value("SELECT last_value FROM later_id_seq") == 20
    towline.source_uri, towline.destination_uri = as_role
    done = towline.call("check", *arguments)
    assert done.returncode == 0 and not re.search(MISSED, done.stdout), done.stdout
    towline.call("drop", "--yes", check=True)


def test_schema_changes_of_what_the_task_has_made(towline_factory, source, destination, role):
    source.script(*SCHEMA)
    towline = prepare(towline_factory, source, destination, *APPLY)
    # The script of a source that captures may be executed again.
    left, right = scripts(towline_factory(source, destination), *APPLY)
    assert "captured already" in left and "enable_ddl" not in left and "OWNER TO" not in right
    source.psql(left)
    assert "enable_ddl" not in "".join(scripts(towline_factory(source, destination)))
    change_schema(towline, source, destination, APPLY)


def test_schema_changes_of_tables_that_belong_to_others(towline_factory, source, destination, role):
    source.script(*SCHEMA)
    admin = towline_factory(source, destination, task="admin")
    admin.start("--stages", "schema")
    assert admin.wait_exit() == 0, admin.tail()
    admin.call("drop", "--yes", check=True)
    destination.script("DROP ROLE IF EXISTS keeper", "CREATE ROLE keeper", "ALTER TABLE t OWNER TO keeper")
    arguments = ("--stages", "copy,stream", *APPLY)
    mover = quote_identifier(ROLE)
    try:
        is_superuser = destination.value("SELECT current_setting('server_version_num')::int < 150000")
        right = scripts(towline_factory(source, destination), *arguments)[1]
        ours = set(re.findall(r"^ALTER (.+) OWNER TO", right, re.M))
        assert ours == (set() if is_superuser else {
            "TABLE public.t", "TABLE sales.orders", "TABLE sales.parted", "TABLE sales.parted_1", "TABLE sales.parted_2",
            "TABLE public.\"Odd name\"", "SCHEMA sales", "SEQUENCE sales.alone", "VIEW public.v", "MATERIALIZED VIEW sales.sums",
            "TYPE sales.mood", "ROUTINE sales.f(integer)"}), right
        # Without views and the like, which belong to no selected table; and without anything that is ignored.
        right = scripts(towline_factory(source, destination), *arguments, "--include", "t")[1]
        assert re.findall(r"^ALTER .* OWNER TO", right, re.M) == ([] if is_superuser else [
            "ALTER TABLE public.t OWNER TO", "ALTER TYPE sales.mood OWNER TO"])
        assert is_superuser or f'To leave "keeper" what it owns, instead: GRANT "keeper" TO {mover};' in right
        right = scripts(towline_factory(source, destination), *arguments[:2], "--ddl", "ignore")[1]
        assert "OWNER TO" not in right and "CREATE ON" not in right
        towline = prepare(towline_factory, source, destination, *arguments)
        if not is_superuser:
            destination.script("ALTER TABLE t OWNER TO keeper", "ALTER TABLE sales.orders OWNER TO keeper",
                               f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t, sales.orders TO {mover}",
                               f"GRANT SELECT, UPDATE ON SEQUENCE sales.orders_id_seq TO {mover}")
            done = towline.call("check", *arguments, "--json")
            finding, = [found for found in json.loads(done.stdout)["findings"] if found["id"] == "destination.table_owners"]
            assert done.returncode == 1 and finding["level"] == "fail", done.stdout
            assert finding["found"] == f"role {mover} may not alter 2 tables: public.t, sales.orders"
            assert finding["statement"] == (f"ALTER TABLE public.t OWNER TO {mover};\n"
                                            f"ALTER TABLE sales.orders OWNER TO {mover};")
            for more in ((*APPLY, "--accept", finding["id"]), ("--ddl", "ignore")):
                done = towline.call("check", *arguments[:2], *more)
                assert done.returncode == 0, done.stdout
            destination.execute(f"GRANT keeper TO {mover}")
            assert towline.call("check", *arguments).returncode == 0
            destination.execute(f"REVOKE keeper FROM {mover}")
            destination.execute(finding["statement"])
        change_schema(towline, source, destination, arguments)
    finally:
        destination.script("DROP OWNED BY keeper CASCADE", "DROP ROLE keeper")


def test_large_objects_and_tables_of_extensions(towline_factory, source, destination, role, probe_extension):
    source.script(f"CREATE EXTENSION {probe_extension}", "ALTER TABLE by_value REPLICA IDENTITY FULL",
                  "SELECT lo_from_bytea(4711, 'abc')", "INSERT INTO system VALUES (200, 'mine')", "INSERT INTO job VALUES (1)")
    arguments = ("--extension-tables", "on")
    assert "LARGE OBJECT" not in scripts(towline_factory(source, destination), "--large-objects", "off")[0]
    towline = prepare(towline_factory, source, destination, *arguments)
    towline.start()
    towline.source_uri, towline.destination_uri = source.uri(), destination.uri()
    towline.wait_for_state("streaming")
    source.script("UPDATE system SET v = 'u' WHERE id = 200", "DELETE FROM job", "INSERT INTO job VALUES (2)")
    towline.wait_until_caught_up()
    assert destination.query("SELECT id, v FROM system WHERE id > 100") == [(200, "u")]
    assert destination.query("SELECT id FROM job") == [(2,)]
    assert bytes(destination.value("SELECT lo_get(4711)")) == b"abc"
    assert towline.stop() == 0


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

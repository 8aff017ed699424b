"""`towline init` turns two servers as they come from the package into a pair that a role without superuser
copies between: its output goes through psql as it stands, or --execute does it itself."""
import re

import pytest

from support.cluster import TRUST, known_settings, quote_identifier
from support.compare import assert_equal
from test_errors import restart_keeping_alter_system

ROLE = "Mover \"x\""
RAW = {"wal_level": "replica", "max_replication_slots": 10, "max_wal_senders": 10}
# Nobody but the administrator gets in.
CLOSED = ("local all all trust", "host all postgres 127.0.0.1/32 trust")


@pytest.fixture
def raw_pair(new_cluster):
    settings = dict(RAW)
    if "output_plugin_libraries" in known_settings():
        settings["output_plugin_libraries"] = "pgoutput, test_decoding"
    source = new_cluster("source", settings=settings, hba=CLOSED).create_database("shop")
    destination = new_cluster("destination", hba=CLOSED).create_database("copy")
    source.script("CREATE SCHEMA sales", "CREATE TABLE sales.orders (id serial PRIMARY KEY, v text)",
                  "CREATE TABLE t (id int PRIMARY KEY)",
                  "INSERT INTO sales.orders (v) SELECT 'x' FROM generate_series(1, 100)",
                  "CREATE EXTENSION citext; CREATE EXTENSION file_fdw; CREATE EXTENSION cube SCHEMA sales", "CREATE TABLE loose (v citext)")
    return source, destination


def halves(text):
    """The two scripts: what belongs to the source and what to the destination."""
    left, right = text[text.index("-- At the source"):].split("-- At the destination")
    return left, "-- At the destination" + right


def let_in(database, script):
    """Does with pg_hba.conf what the script says."""
    line = re.search(r"^-- pg_hba\.conf.*\n--   (.*)$", script, re.M).group(1)
    assert line.startswith("host  ") and ROLE.replace('"', '""') in line and "127.0.0.1/32" in line
    database.cluster.set_hba([*TRUST[:1], line, "host all postgres 127.0.0.1/32 trust"])


def finish(source, destination, scripts, towline_factory):
    for database, script in zip((source, destination), scripts):
        let_in(database, script)
        database.execute(f"ALTER ROLE {quote_identifier(ROLE)} PASSWORD 'secret'")
    towline = towline_factory(source.uri(user=ROLE, password="secret"),
                              destination.uri(user=ROLE, password="secret"))
    done = towline.call("check")
    assert done.returncode == 0 and "warn  source.sequence_privileges" not in done.stdout, done.stdout
    towline.start()
    towline.source_uri, towline.destination_uri = source.uri(), destination.uri()
    towline.wait_for_state("streaming")
    source.execute("INSERT INTO sales.orders (v) VALUES ('later')")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), sequences=False)
    assert towline.stop() == 0


def test_its_output_goes_through_psql(towline_factory, raw_pair):
    source, destination = raw_pair
    admin = towline_factory(source, destination)
    done = admin.call("init", "--role", ROLE)
    assert done.returncode == 1, done.stdout + done.stderr
    scripts = halves(done.stdout)
    for script in scripts:
        assert f"there is no role {quote_identifier(ROLE)}" in script, script
    assert "ALTER SYSTEM SET wal_level = 'logical';" in scripts[0] and "-- Then restart this server." in scripts[0]
    assert 'REPLICA IDENTITY FULL' in scripts[0] and not re.search(r"^ALTER TABLE", scripts[0],
                                                            re.M), "not by itself"
    assert "-- Then restart" not in scripts[1]
    for database, script in zip((source, destination), scripts):
        database.psql(script)
    restart_keeping_alter_system(source.cluster)
    again = admin.call("init", "--role", ROLE)
    assert again.returncode == 0, again.stdout
    assert not [line for line in again.stdout.splitlines() if line and
                not line.startswith("--")], again.stdout
    finish(source, destination, scripts, towline_factory)


def test_execute_does_it(towline_factory, raw_pair):
    source, destination = raw_pair
    admin = towline_factory(source, destination)
    done = admin.call("init", "--role", ROLE, "--execute")
    # The restart is left.
    assert done.returncode == 1 and "wal_level" in done.stdout.split("What is left")[1], done.stdout + done.stderr
    assert "not done" not in done.stdout
    restart_keeping_alter_system(source.cluster)
    again = admin.call("init", "--role", ROLE)
    assert again.returncode == 0, again.stdout
    finish(source, destination, halves(again.stdout), towline_factory)


def test_prepared_servers_need_nothing(towline, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    done = towline.call("init")
    assert done.returncode == 0 and done.stdout.count("-- nothing is missing") == 1, done.stdout

"""Checks of what two servers are, by servers that are so, or that say so: versions, limits, TLS, roles. What mends is
done, and the check seen to pass.
"""
import json
import os
import subprocess

import pytest

from support import cluster as clusters
from support.proxy import Proxy
from test_checks import check, levels, own_address
from test_errors import restart_keeping_alter_system


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"max_slot_wal_keep_size": "1GB"})


@pytest.fixture
def pretend(source, destination):
    """pretend("source", 12): the service is told by that server that it is of another version."""
    proxies = {"source": Proxy(source.cluster.port), "destination": Proxy(destination.cluster.port)}

    def uris(**majors):
        for side, major in majors.items():
            proxies[side].pretend_version(major)
        return proxies["source"].uri(source.uri()), proxies["destination"].uri(destination.uri())
    yield uris
    for proxy in proxies.values():
        proxy.close()


def major_of(database):
    return int(database.value("SHOW server_version_num")) // 10000


def test_versions_that_are_too_old(towline, pretend, source):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    towline.command_uris = pretend(source=12)
    finding = check(towline)["source.version"]
    assert finding["level"] == "fail" and finding["found"].startswith("version 12.")
    assert finding["mend"] == "Upgrade the source to version 13 or later."
    towline.start()
    assert towline.wait_exit(30) == 3 and "version 12." in towline.output()
    towline.command_uris = pretend(source=major_of(source), destination=12)
    found = check(towline)
    assert found["source.version"]["level"] == "pass"
    assert found["destination.version"]["level"] == "fail" and found["destination.version"]["found"].startswith("version 12.")
    # Older than the source, which only its schema can tell to be too old.
    towline.command_uris = pretend(source=major_of(source) + 1, destination=major_of(source))
    finding = check(towline)["destination.version"]
    assert finding["level"] == "warn"
    assert finding["found"].endswith(f"older than the source's version {major_of(source) + 1}")
    towline.command_uris = None
    assert levels(check(towline)) == {}


def test_options_that_the_source_is_too_old_for(towline, pretend):
    towline.command_uris = pretend(source=14)
    found = check(towline, "--two-phase", "on", "--compression", "zstd")
    assert found["source.two_phase"]["level"] == "fail" and found["source.two_phase"]["found"].startswith(
        "two_phase is on, version 14.")
    assert found["source.compression"]["level"] == "fail"
    assert found["source.compression"]["found"] == "compression is zstd, the server is built without it"
    found = check(towline, "--two-phase", "off", "--compression", "none")
    assert "source.two_phase" not in found and "source.compression" not in found
    towline.command_uris = None
    found = check(towline, "--two-phase", "on")
    assert found["source.two_phase"]["level"] == "pass"


def test_a_replication_connection_that_is_refused(towline_factory, source, destination):
    """As a connection pooler does, which lets ordinary sessions in."""
    with Proxy(source.cluster.port) as pooler:
        service = towline_factory(source, destination)
        service.command_uris = pooler.uri(source.uri()), destination.uri()
        pooler.answer(b"\0replication\0", "08P01", "unsupported startup parameter: replication")
        done = service.call("check", "--json")
        finding, = [one for one in json.loads(done.stdout)["findings"] if one["id"] == "source.replication_connection"]
        assert finding["level"] == "fail" and "unsupported startup parameter: replication" in finding["found"], finding
        assert finding["mend"].startswith("As the server's message says")
        assert done.returncode == 3
    service.command_uris = None
    assert check(service)["source.replication_connection"]["level"] == "pass"


def test_a_role_without_a_connection_left(towline_factory, source, destination):
    role = f"limited_{source.name}"
    source.script(f"CREATE ROLE {role} LOGIN REPLICATION CONNECTION LIMIT 0")
    service = towline_factory(source.uri(user=role), destination)
    done = service.call("check", "--json")
    finding = json.loads(done.stdout)["findings"][0]
    assert done.returncode == 3 and finding["id"] == "source.connection"
    assert f'too many connections for role "{role}"' in finding["found"] and "CONNECTION LIMIT" in finding["mend"]
    source.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
    assert check(service)["source.connection"]["level"] == "pass"


def test_statements_for_settings_mend_them(towline_factory, new_cluster, destination):
    """All at once, each by what the finding says is needed."""
    low = {"wal_sender_timeout": "3s", "logical_decoding_work_mem": "64kB", "max_connections": 7, "max_wal_senders": 2,
           "superuser_reserved_connections": 0, "max_replication_slots": 3, "max_prepared_transactions": 0, "max_slot_wal_keep_size": "1MB"}
    source_cluster, destination_cluster = (new_cluster(name, settings=low) for name in ("source", "destination"))
    source, target = source_cluster.create_database("app"), destination_cluster.create_database("app")
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)",
                  "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n")
    # An origin that is there already.
    target.query("SELECT pg_replication_origin_create('other')")
    service = towline_factory(source, target)
    slow = ("--two-phase", "on", "--copy-rate-max", "8kB")
    found = check(service, *slow)
    expected = {"source.wal_sender_timeout": "reload", "source.logical_decoding_work_mem": "reload",
                "source.connections_free": "restart", "capacity.wal_kept": "reload", "destination.two_phase": "restart",
                "destination.connections_free": "restart", "destination.replication_origin": "restart"}
    assert levels(found) == {**dict.fromkeys(expected, "warn"), "destination.two_phase": "fail"}, found
    for name, needs in expected.items():
        assert found[name]["needs"] == needs, found[name]
        (source if found[name]["where"] == "source" else target).execute(found[name]["statement"])
    for cluster in (source_cluster, destination_cluster):
        restart_keeping_alter_system(cluster)
    assert levels(check(service, *slow)) == {}


def test_a_setting_of_the_database_or_role_is_mended_there(towline, source):
    """ALTER SYSTEM would change nothing that our sessions see."""
    name = clusters.quote_identifier(source.name)
    for altered in (f"DATABASE {name}", "ROLE \"postgres\"", f"ROLE \"postgres\" IN DATABASE {name}"):
        source.script(f"ALTER {altered} SET wal_sender_timeout = '3s'")
        try:
            finding = check(towline)["source.wal_sender_timeout"]
            assert finding["statement"] == f"ALTER {altered} SET wal_sender_timeout = '60s';"
            assert finding["needs"] == "nothing"
            source.execute(finding["statement"])
            assert check(towline)["source.wal_sender_timeout"]["level"] == "pass"
        finally:
            source.execute(f"ALTER {altered} RESET wal_sender_timeout")


def test_a_stream_that_would_be_a_synchronous_standby(towline_factory, new_cluster, destination):
    """The source's commits would wait for the destination, and a range of the copy for the commits."""
    cluster = new_cluster("source", settings={"max_slot_wal_keep_size": "1GB"})
    source = cluster.create_database("app")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    service = towline_factory(source, destination, task="mine")

    def find(setting):
        source.script(f"ALTER SYSTEM SET synchronous_standby_names = {clusters.quote_literal(setting)}")
        cluster.reload()
        return check(service)["source.synchronous_standby_names"]
    assert find("")["level"] == "pass"
    assert find("FIRST 1 (one, two)")["found"] == "synchronous_standby_names does not name us: FIRST 1 (one, two)"
    assert find('ANY 1 (one, "TOWLINE_mine src stream")')["level"] == "fail"
    finding = find("FIRST 1 (*)")
    assert finding["level"] == "fail" and not finding["statement"]
    assert finding["mend"].startswith("ALTER SYSTEM SET synchronous_standby_names to the names")
    service.start()
    assert service.wait_exit(30) == 3 and "would count as a synchronous standby" in service.output()
    find("")
    service.start().wait_for_state("streaming")
    # Set while it streams, it is as the finding says; and with a standby there the mend is exact.
    find("*")
    service.wait_for_log("counts our stream among its synchronous standbys")
    assert source.value("SELECT sync_state FROM pg_stat_replication") == "sync"
    follower = new_cluster("follower", start=False)
    follower.follow(cluster)
    follower.settings["primary_conninfo"] += " application_name='good \"one'"
    follower.start()
    source.wait_for("SELECT count(*) = 2 FROM pg_stat_replication WHERE state = 'streaming'")
    finding = find("ANY 1 (*)")
    statement = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (\"good \"\"one\")';"
    assert statement in finding["mend"], finding
    source.execute(statement)
    cluster.reload()
    assert check(service)["source.synchronous_standby_names"]["level"] == "pass"
    assert source.query("SELECT application_name, sync_state FROM pg_stat_replication ORDER BY 1") == [
        ('good "one', "quorum"), ("towline_mine src stream", "async")]
    assert service.stop() == 0


def make_certificate(cluster):
    key, certificate = cluster.directory / "key", cluster.directory / "certificate"
    subprocess.run(["openssl", "req", "-new", "-x509", "-nodes", "-days", "2", "-subj", "/CN=towline", "-keyout", str(key),
                    "-out", str(certificate)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for file, name in ((key, "server.key"), (certificate, "server.crt")):
        cluster.write_file(cluster.data / name, file.read_bytes())
        os.chmod(cluster.data / name, 0o600)


def test_networks_without_tls(towline_factory, new_cluster):
    address = own_address()
    if address is None:
        pytest.skip("this host has no address beside the loopback's")
    databases = []
    for name in ("source", "destination"):
        made = new_cluster(name, hba=(*clusters.TRUST, "host all all samenet trust"), settings={
            "listen_addresses": "*", "max_slot_wal_keep_size": "1GB"})
        make_certificate(made)
        databases.append(made.create_database("app"))
    databases[0].execute("CREATE TABLE t (id int PRIMARY KEY)")
    service = towline_factory(*(database.uri(host=address) for database in databases))
    found = check(service)
    assert levels(found) == {"source.tls": "warn", "destination.tls": "warn"}
    for side in ("source", "destination"):
        assert found[f"{side}.tls"]["found"] == f"connected over the network, from {address}, without TLS"
        assert "sslmode=verify-full (or require)" in found[f"{side}.tls"]["mend"] and "ssl = on" in found[f"{side}.tls"]["mend"]
    for database in databases:
        database.cluster.configure(ssl="on")
    service = towline_factory(*(database.uri(host=address, sslmode="require") for database in databases))
    found = check(service)
    assert levels(found) == {}
    assert found["source.tls"]["found"] == found["destination.tls"]["found"] == "the connection uses TLS"


def test_a_skipped_schema_needs_its_tables(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE gone (id int PRIMARY KEY)",
                  "CREATE EXTENSION hstore", "CREATE TABLE kept (id int PRIMARY KEY, h hstore)")
    destination.script("CREATE EXTENSION hstore", "CREATE TABLE kept (id int PRIMARY KEY, h hstore)")
    found = check(towline, "--schema", "skip")
    assert levels(found) == {"destination.tables": "fail"}
    finding = found["destination.tables"]
    assert finding["found"] == 'schema is skip, and 2 tables missing: "public"."gone", "public"."t"'
    assert finding["mend"] == "Create them, with all that belongs to them, or set schema: copy."
    assert "destination.create_tables" not in found and "source.pg_dump" not in found
    towline.start("--schema", "skip")
    assert towline.wait_exit(30) == 3 and finding["found"] in towline.output()
    # Both ways of mending it.
    assert levels(check(towline)) == {}
    destination.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE gone (id int PRIMARY KEY)")
    assert levels(check(towline, "--schema", "skip")) == {}


def test_a_table_of_another_nature_at_the_destination(towline, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, twice int)")
    destination.execute("CREATE UNLOGGED TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    finding = check(towline)["destination.tables"]
    assert finding["level"] == "fail" and "is unlogged" in finding["found"]
    assert 'column "twice" is generated, at the source it is not' in finding["found"]
    assert finding["statement"].splitlines() == ['ALTER TABLE "public"."t" ALTER COLUMN "twice" DROP EXPRESSION;',
                                                 'ALTER TABLE "public"."t" SET LOGGED;']
    destination.script(*finding["statement"].splitlines())
    assert levels(check(towline)) == {}

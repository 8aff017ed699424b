"""The whole way once between servers of different versions, each as source and as destination.

TOWLINE_MATRIX holds `version=directory of its programs`, parted by blanks; `./dev test matrix` sets it.
Besides those there is the usual server. pg_dump is the source's own.
"""
import json
import os
import pathlib
import re
import subprocess

import pytest

from support.cluster import server_bin
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload
from support.workload_tables import SHAPES
import test_decoding_equal as decoding_equal
import test_two_phase as two_phase

# One row of many types, as the oldest server knows them.
TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE TYPE pair AS (a int, b mood);
CREATE DOMAIN few AS int[] CHECK (cardinality(VALUE) < 5);
CREATE TABLE types (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b bool, c "char", i2 int2, f4 float4, f8 float8,
    n numeric(30, 5), t text, v varchar(9), bp char(5), by bytea, d date, ti time, ttz timetz, ts timestamp, tstz timestamptz,
    iv interval, m money, u uuid, j json, jb jsonb, jp jsonpath, x xml, i inet, mac macaddr8, bi bit(3), p point, po polygon,
    r int4range, tr tstzrange, tv tsvector, tq tsquery, l pg_lsn, s txid_snapshot, rc regclass, mo mood, pa pair, ai int[],
    at text[], am mood[], ap pair[], few few, sum int GENERATED ALWAYS AS (i2 + 1) STORED);
"""
ROW = """INSERT INTO types (b, c, i2, f4, f8, n, t, v, bp, by, d, ti, ttz, ts, tstz, iv, m, u, j, jb, jp, x, i, mac, bi, p, po,
    r, tr, tv, tq, l, s, rc, mo, pa, ai, at, am, ap, few)
VALUES (true, 'x', %(n)s, 1.1, '-0', 12345678901234567890.12345, 'tëxt %(n)s', 'v', 'bp', '\\x00ff', '4713-01-01 BC', '24:00',
    '12:00-15:59', 'infinity', '2020-02-29 12:00:00.000001+00', '-1 year 2 days 0.000001 s', -12.34,
    '00112233-4455-6677-8899-aabbccddeeff', '{"b": 1,"a":2}', '{"b":1e2,"a":[null]}', '$.a[*] ? (@ > 1)', '<a>ü</a>', '::1/64',
    '08:00:2b:01:02:03:04:05', '101', '(1e300,-0)', '((0,0),(1,1))', '[1,5)', '["2000-01-01 00:00+00",)', 'a:1A b:2', 'a & !b',
    'FF/10000001', '10:20:10,14', 'pg_class', 'it''s ok', '(1,sad)', '[2:3]={7,NULL}', '{"a,b","",NULL}', '{sad,"it''s ok"}',
    '{"(1,sad)"}', '{1,2}')"""


def versions():
    text = os.environ.get("TOWLINE_MATRIX")
    if not text:
        return {}
    found = {int(version): pathlib.Path(programs) for version, programs in
             (part.split("=", 1) for part in text.split())}
    usual = subprocess.run([server_bin() / "postgres", "--version"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
    found.setdefault(int(re.search(r"\) (\d+)", usual).group(1)), server_bin())
    return dict(sorted(found.items()))


VERSIONS = versions()


def pairs():
    """Every other version to and from the usual one, and the oldest and newest to each other."""
    usual = next((version for version, programs in VERSIONS.items() if programs == server_bin()), None)
    others = [version for version in VERSIONS if version != usual]
    both = [(usual, other) for other in others] + [(min(VERSIONS, default=0), max(VERSIONS, default=0))]
    return [pair for one, other in dict.fromkeys(both) if one != other for pair in ((one, other), (other, one))]


@pytest.fixture(scope="module")
def cluster_of(module_clusters):
    """cluster_of(version, which): a server for the whole module."""
    made = {}

    def get(version, which):
        if (version, which) not in made:
            # Large transactions are sent in progress.
            made[version, which] = module_clusters(f"pg{version}{which}", programs=VERSIONS[version],
                                                   settings={"logical_decoding_work_mem": "64kB"})
        return made[version, which]
    return get


def make_service(cluster_of, towline_factory, source_version, destination_version, number=[0], **options):
    number[0] += 1
    source = cluster_of(source_version, "s").create_database(f"src{number[0]}")
    source.execute("CREATE EXTENSION towline")
    destination = cluster_of(destination_version, "d").create_database(f"dst{number[0]}")
    pg_dump = str(VERSIONS[source_version] / "pg_dump")
    return source, destination, towline_factory(source, destination, environment={"TOWLINE_PG_DUMP": pg_dump}, **options)


def test_versions_are_given():
    assert VERSIONS, "TOWLINE_MATRIX is not set: run ./dev test matrix"
    for version, programs in VERSIONS.items():
        text = subprocess.run([programs / "postgres", "--version"], check=True, text=True, stdout=subprocess.PIPE).stdout
        assert f") {version}" in text, f"{programs} is not version {version}: {text}"


@pytest.mark.skipif(13 not in VERSIONS, reason="the version that cannot compress is not there")
def test_compression_that_the_source_lacks_is_found(cluster_of, towline_factory):
    _, _, towline = make_service(cluster_of, towline_factory, 13, 13)
    checked = towline.call("check", "--compression", "lz4")
    assert checked.returncode == 1
    assert "compression is lz4, the server is built without it" in checked.stdout


def check_verify(towline, destination):
    """`verify` says of this pair what the tests' own comparison has said, and sees what is planted."""
    compared = towline.call("verify", "--json")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    destination.script("UPDATE types SET t = t || ' ' WHERE i2 = 0", "DELETE FROM large WHERE id = 17",
                       "UPDATE large SET v = 'x' WHERE id = 18", "INSERT INTO large VALUES (-1, '')")
    compared = towline.call("verify", "--json")
    assert compared.returncode == 1, compared.stdout + compared.stderr
    found = {(table["table"], row["kind"], row["key"], *row["columns"])
             for table in json.loads(compared.stdout)["tables"] for row in table["rows"]}
    assert found == {("types", "different", "(1)", "t"), ("large", "missing", "(17)"),
                     ("large", "different", "(18)", "v"), ("large", "extra", "(-1)")}


@pytest.mark.parametrize("source_version,destination_version", pairs())
def test_pair(cluster_of, towline_factory, source_version, destination_version, seed, size):
    source, destination, towline = make_service(cluster_of, towline_factory, source_version, destination_version)
    assert source.value("SHOW server_version_num").startswith(str(source_version))
    assert destination.value("SHOW server_version_num").startswith(str(destination_version))
    source.script(TYPES, "CREATE TABLE large (id int PRIMARY KEY, v text)", *[ROW % {"n": number} for number in range(3)])
    # TRUNCATE while tables are copied is test_copy_locks.py's; a column of the shape "types" is a multirange.
    left_out = {"truncated"} | ({"types"} if min(source_version, destination_version) < 14 else set())
    load = Workload(source.uri(), seed, clients=2, rate=80 * size,
                    shapes=[shape.name for shape in SHAPES if shape.name not in left_out]).create()
    load.run(transactions=60)
    checked = towline.call("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with load:
        towline.start().wait_for_state("streaming")
        position = towline.position()
        wait_until(lambda: towline.position() > position, 30, "the position to move")
        source.script(*[ROW % {"n": number} for number in range(3, 6)],
                      "UPDATE types SET t = 'changed', l = NULL, jb = '[1]', am = '{}' WHERE i2 IN (1, 4)",
                      "DELETE FROM types WHERE i2 = 2",
                      "INSERT INTO large SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 5000) i")
        towline.kill()
        towline.start().wait_for_state("streaming")
        done = load.transactions
        wait_until(lambda: load.transactions > done + 50, 60, "more load")
    source.execute("TRUNCATE load.composite; INSERT INTO load.composite VALUES (1, 2, 'after', 3.0, now())")
    towline.wait_until_caught_up()
    result = assert_equal(source.uri(), destination.uri())
    assert result.rows["public.types"] == 5 and result.rows["public.large"] == 5000
    if source_version >= 14:
        assert source.value("SELECT sum(stream_txns) FROM pg_stat_replication_slots") > 0
    assert len(result.rows) >= len(load.shapes)
    check_verify(towline, destination)
    assert towline.stop() == 0
    towline.call("drop", check=True)
    assert source.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name]) == []


@pytest.mark.parametrize("source_version,destination_version", [pair for pair in pairs() if min(pair) >= 15])
def test_two_phase(cluster_of, towline_factory, source_version, destination_version):
    """Switched on, across a kill, and off again where the source can (18)."""
    source, destination, towline = make_service(cluster_of, towline_factory, source_version, destination_version,
                                                arguments=two_phase.ON)
    source.script(*two_phase.TABLES)
    two_phase.wait_for_two_phase(towline.start(), source)
    two_phase.prepare(source, "small", *two_phase.change(1))
    two_phase.prepare(source, "large", "INSERT INTO keyed SELECT i, repeat(md5(i::text), 5) FROM generate_series(2000, 7000) i")
    two_phase.wait_for_held(destination, 2, towline)
    towline.kill()
    towline.start().wait_for_state("streaming")
    two_phase.end(source, "small")
    two_phase.end(source, "large", "ROLLBACK")
    towline.wait_until_caught_up()
    assert towline.stop() == 0
    towline.arguments = []
    towline.start().wait_for_state("streaming")
    can_switch_off = source_version >= 18
    towline.wait_for_log("two-phase decoding is switched off" if can_switch_off else "two_phase is off, but the slot")
    slots = "SELECT two_phase FROM pg_replication_slots WHERE database = %s"
    assert source.query(slots, [source.name]) == [(not can_switch_off,)]
    two_phase.prepare(source, "last", *two_phase.change(2)[:3])
    towline.wait_until_caught_up()
    assert len(two_phase.held(destination)) == (0 if can_switch_off else 1)
    two_phase.end(source, "last")
    two_phase.finish(towline, source, destination)
    towline.call("drop", check=True)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 14])
def test_column_added_in_a_run_cut_short(cluster_of, version):
    source = cluster_of(version, "s").create_database("cut_short")
    source.execute("CREATE EXTENSION towline")
    decoding_equal.check_column_added_in_a_run_cut_short(source)
    for slot, in source.query("SELECT slot_name FROM pg_replication_slots WHERE database = 'cut_short'"):
        source.query("SELECT pg_drop_replication_slot(%s)", [slot])


@pytest.mark.parametrize("version", [version for version, programs in VERSIONS.items() if programs != server_bin()])
def test_schema_changes(cluster_of, towline_factory, version):
    """Every version has the catalogs that are compared when the copy starts, and its commands are captured."""
    source, destination, towline = make_service(cluster_of, towline_factory, version, version, arguments=["--ddl", "apply"])
    source.script("SELECT towline.enable_ddl()", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    towline.start().wait_for_state("streaming")
    source.script("ALTER TABLE t ADD COLUMN v text DEFAULT 'new'", "CREATE VIEW seen AS SELECT id, v FROM t", "INSERT INTO t VALUES (2)")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True)
    assert towline.stop() == 0
    towline.call("drop", check=True)


@pytest.mark.parametrize("is_behind", [False, True], ids=["synchronised", "behind"])
@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 17])
def test_a_promoted_standby(version, is_behind, new_cluster, cluster_of, towline_factory):
    """It has kept the slot: the task goes on, if nothing is at the destination that it never got; else --heal does."""
    primary = new_cluster(f"primary{int(is_behind)}", programs=VERSIONS[version])
    source = primary.create_database("shop")
    source.script("CREATE EXTENSION towline", "CREATE TABLE t (id int PRIMARY KEY, v text)",
                  "INSERT INTO t SELECT i, 'copied' FROM generate_series(1, 500) i",
                  "SELECT pg_create_physical_replication_slot('standby', true)")
    destination = cluster_of(version, "d").create_database(f"promoted{version}{int(is_behind)}")
    service = towline_factory(source, destination, environment={"TOWLINE_PG_DUMP": str(VERSIONS[version] / "pg_dump")})
    standby = new_cluster(f"standby{int(is_behind)}", programs=VERSIONS[version], start=False)
    standby.follow(primary)
    standby.settings["primary_conninfo"] += " dbname=postgres"
    standby.settings.update(primary_slot_name="standby", hot_standby_feedback="on", sync_replication_slots="on")
    standby.start()
    primary.database().wait_for("SELECT active FROM pg_replication_slots WHERE slot_name = 'standby'")
    found = {finding["id"]: finding for finding in json.loads(service.call("check", "--json").stdout)["findings"]}
    assert found["source.failover_slots"]["level"] == "warn" and "standby" in found["source.failover_slots"]["statement"]
    if not is_behind:
        primary.configure(synchronized_standby_slots="standby")
    service.start()
    service.wait_for_state("streaming")
    number = iter(range(1000, 100000))

    def is_synced():
        source.execute("INSERT INTO t VALUES (%s, 'while it is synchronised')", [next(number)])
        return standby.database().value("SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary") == 1
    wait_until(is_synced, 120, "the slot to be synchronised", interval=0.5)
    if is_behind:
        standby.stop()
    source.execute("UPDATE t SET v = 'last' WHERE id % 7 = 0; INSERT INTO t VALUES (777778, 'last')")
    service.wait_until_caught_up()
    assert service.stop() == 0
    primary.stop("immediate")
    if is_behind:
        standby.start()
    standby.database().execute("SELECT pg_promote()")
    standby.database().wait_for("SELECT NOT pg_is_in_recovery()")
    promoted = standby.database("shop")
    promoted.execute("DELETE FROM t WHERE id % 11 = 0; INSERT INTO t VALUES (888888, 'after')")
    service.source_uri = promoted.uri()
    # As a crash between PREPARE TRANSACTION and the position's move leaves it. Its xid may be another
    # transaction's on the new timeline.
    task, database = destination.query("SELECT task, (SELECT oid FROM pg_database WHERE datname = current_database()) "
                                       "FROM towline_state.task")[0]
    destination.execute(f"BEGIN; INSERT INTO t VALUES (-1, 'of the old timeline'); "
                        f"PREPARE TRANSACTION 'towline_{task}_{database}_999'")
    service.start()
    if is_behind:
        assert service.wait_exit(60) == 5, service.tail()
        assert "the timelines part at" in service.output() and "--heal" in service.output(), service.tail()
        service.start("--heal")
    service.wait_until_caught_up()
    assert_equal(promoted.uri(), destination.uri())
    assert destination.query("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()") == []
    assert destination.value("SELECT count(*) FROM t WHERE id = 777778") == (0 if is_behind else 1)
    assert destination.value("SELECT count(*) FROM towline_state.heal") == int(is_behind)
    assert service.stop() == 0

"""Replication origins: what the service writes is marked, so that two databases can be each other's
source (origin: none) and a chain carries everything (origin: any, the default: test_cascade.py)."""
import json

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until

FILL = "INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 2000) i"


def origins(database, task):
    return [name for name, in database.query("SELECT roname FROM pg_replication_origin WHERE roname ~ %s ORDER BY 1",
                                             [f"^towline_{task}"])]


def origin_name(database, task):
    """The applier's."""
    oid = database.value("SELECT oid FROM pg_database WHERE datname = current_database()")
    return f"towline_{task}_{oid}_0"


def counts(service):
    status = service.status()
    return [status[key] for key in ("rows_inserted", "rows_updated", "rows_deleted", "truncates")]


def both_ways(forward, backward):
    """What was written at either end has reached the other, and whatever it might cause has come back."""
    for _ in range(2):
        forward.wait_until_caught_up()
        backward.wait_until_caught_up()


def test_two_databases_are_each_others_source(source, destination, towline_factory):
    a, b = source, destination
    b.execute("CREATE EXTENSION towline")
    a.script("CREATE SEQUENCE odd INCREMENT 2", "SELECT nextval('odd')")
    a.script("CREATE TABLE t (id int PRIMARY KEY, v text)", FILL, "CREATE TABLE no_key (v text)",
             "ALTER TABLE no_key REPLICA IDENTITY FULL")
    forward = towline_factory(a, b, task="forward", name="a-b", arguments=["--origin", "none"]).start()
    forward.wait_for_state("streaming")
    # Written at b before there is a way back: the way back copies it. If that copy's rows went on to
    # b, they would meet themselves there.
    b.execute("INSERT INTO t SELECT i, 'at b' FROM generate_series(5001, 5100) i")
    backward = towline_factory(b, a, task="backward", name="b-a",
                               arguments=["--origin", "none", "--existing", "append"]).start()
    backward.wait_for_state("streaming")
    # From now on each side gives out numbers of its own, and the tasks keep off.
    b.execute("SELECT setval('odd', 2)")
    a.execute("SELECT nextval('odd') FROM generate_series(1, 100)")
    both_ways(forward, backward)
    assert a.value("SELECT count(*) FROM t WHERE v = 'at b'") == 100
    assert_equal(a.uri(), b.uri())

    for number in range(5):
        for database, first in ((a, 10000), (b, 20000)):
            database.script(
                f"INSERT INTO t SELECT {first} + {number} * 100 + i, 'new' FROM generate_series(1, 50) i",
                f"UPDATE t SET v = v || 'x' WHERE id BETWEEN {first} AND {first} + 200 + {number} * 100",
                f"DELETE FROM t WHERE id = {first} + {number} * 100 + 1",
                "INSERT INTO no_key SELECT 'same' FROM generate_series(1, 10)")
    both_ways(forward, backward)
    assert a.value("SELECT count(*) FROM no_key") == 100
    assert_equal(a.uri(), b.uri())

    # Each of the two has applied the other side's own changes and nothing else, and comes to rest.
    for service in (forward, backward):
        inserted, updated, deleted, truncated = counts(service)
        assert (deleted, truncated) == (5, 0)
        assert inserted <= 5 * 60 + 100 and updated <= 5 * 600, counts(service)
    before = counts(forward), counts(backward)
    both_ways(forward, backward)
    assert (counts(forward), counts(backward)) == before

    # The mark outlives restarts.
    for service in (forward, backward):
        service.kill()
    a.execute("INSERT INTO no_key VALUES ('from a')")
    b.execute("INSERT INTO no_key VALUES ('from b')")
    for service in (forward, backward):
        service.start().wait_for_state("streaming")
    both_ways(forward, backward)
    assert a.value("SELECT count(*) FROM no_key") == 102
    assert_equal(a.uri(), b.uri())
    for service in (forward, backward):
        assert service.stop() == 0
    assert [database.value("SELECT last_value FROM odd") for database in (a, b)] == [201, 2]


def test_both_legs_may_bear_one_name(source, destination, towline_factory):
    """What the one ends when it takes over are its own predecessor's sessions, not the other's, which
    are on the same servers under the same name and role."""
    a, b = source, destination
    b.execute("CREATE EXTENSION towline")
    a.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a')")
    legs = [towline_factory(x, y, task="sync", name=name, arguments=["--origin", "none", "--existing", "append"])
            for x, y, name in ((a, b, "a-b"), (b, a, "b-a"))]
    for leg in legs:
        leg.start().wait_for_state("streaming")
    both_ways(*legs)
    epochs = [leg.row()[0] for leg in legs]
    for number, leg in enumerate(legs):
        leg.kill()
        leg.start().wait_for_state("streaming")
        a.execute("INSERT INTO t VALUES (%s, 'a')", [10 + number])
        b.execute("INSERT INTO t VALUES (%s, 'b')", [20 + number])
        both_ways(*legs)
        epochs[number] += 1
        assert [leg.row()[0] for leg in legs] == epochs
    assert_equal(a.uri(), b.uri())
    for leg in legs:
        assert leg.stop() == 0


def test_every_write_into_a_table_is_marked(source, destination, towline_factory):
    """Read by somebody else's decoder at the destination, from before the copy on."""
    for number in range(3):
        source.script(f"CREATE TABLE t{number} (id int PRIMARY KEY, v text)",
                      f"INSERT INTO t{number} SELECT i, md5(i::text) FROM generate_series(1, 3000) i")
    source.execute("CREATE SEQUENCE s; SELECT nextval('s')")
    destination.script("CREATE TABLE t0 (id int PRIMARY KEY, v text)", "INSERT INTO t0 VALUES (-1, 'old')",
                       "CREATE TABLE t1 (id int PRIMARY KEY, v text)", "INSERT INTO t1 VALUES (-1, 'kept')")
    destination.query("SELECT pg_create_logical_replication_slot('looks_on', 'test_decoding')")
    service = towline_factory(source, destination, task="marked",
                              arguments=["--copy-workers", "3", "--copy-part-bytes", "64kB", "--batch-rows-max", "100"])
    config = service.directory / "origins.yaml"
    config.write_text('table: {"public.t0": {existing: truncate}, "public.t1": {existing: append}}\n', encoding="utf-8")
    service.arguments += ["--config", str(config)]
    service.start().wait_for_state("streaming")
    source.script("UPDATE t0 SET v = 'x'", "DELETE FROM t1 WHERE id < 500", "INSERT INTO t2 VALUES (0, 'y')",
                  "TRUNCATE t0", "INSERT INTO t0 VALUES (1, 'z')")
    service.wait_until_caught_up()
    changes = "SELECT count(*) FROM pg_logical_slot_peek_changes('looks_on', NULL, NULL, 'only-local', %s) " \
              "WHERE data LIKE 'table public.%%'"
    everything = destination.value(changes, ["0"])
    assert everything > 9000 + 3000 + 500, everything
    assert destination.value(changes, ["1"]) == 0
    # The copy's origins are given back, the applier's stays until drop.
    applier = [origin_name(destination, "marked")]
    wait_until(lambda: origins(destination, "marked") == applier, 60, "the copy's origins to be dropped",
               explain=lambda: origins(destination, "marked"))
    assert service.stop() == 0
    destination.query("SELECT pg_drop_replication_slot('looks_on')")
    service.call("drop", check=True)
    assert origins(destination, "marked") == []


def test_an_origin_is_required_where_changes_could_go_in_circles(source, destination, towline_factory):
    """Somebody holds the origin: by default that is a line of the log, with origin: none an error that
    is tried again."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    service = towline_factory(source, destination, task="held")
    with probes.Session(destination) as session:
        name = origin_name(destination, "held")
        session.execute("SELECT pg_replication_origin_create(%s)", [name])
        session.execute("SELECT pg_replication_origin_session_setup(%s)", [name])
        service.start().wait_for_state("streaming")
        service.wait_for_log("writing without a replication origin")
        assert service.stop() == 0
        service.start("--origin", "none")
        service.wait_for_log("must be marked by a replication origin")
        source.execute("INSERT INTO t VALUES (1)")
        assert destination.value("SELECT count(*) FROM t") == 0
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0


def test_check_fails_where_a_required_origin_cannot_be_had(source, destination, towline_factory, request):
    destination.execute(f"CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE \"{destination.name}\" TO plain")
    request.addfinalizer(lambda: destination.execute("DROP OWNED BY plain; DROP ROLE plain"))
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    service = towline_factory(source, destination.uri(user="plain"), task="plain")
    for origin, level in (("any", "warn"), ("none", "fail")):
        found = json.loads(service.call("check", "--json", "--origin", origin).stdout)
        levels = [finding["level"] for finding in found["findings"]
                  if finding["id"] == "destination.replication_origin"]
        assert levels == [level], found


def test_tasks_of_one_name_into_two_databases_of_a_server(source, destination, destination_cluster, towline_factory,
                                                          request):
    """Origins are the server's, not the database's: each of the two has its own."""
    services = []
    for name, origin in (("one", source), ("two", destination)):  # two servers: a slot's name is a server's, too
        into = destination_cluster.create_database(f"{destination.name}_{name}")
        request.addfinalizer(into.drop)
        if origin is destination:
            origin.execute("CREATE EXTENSION towline")
        origin.script("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        services.append(towline_factory(origin, into, task="one_name", name=name, arguments=["--origin", "none"]))
    for service in services:
        service.start().wait_for_state("streaming")
        service.source.execute("INSERT INTO t VALUES (2)")
    for service in services:
        service.wait_until_caught_up()
        assert_equal(service.source.uri(), service.destination.uri())
    assert len(origins(destination, "one_name")) == 2, origins(destination, "one_name")
    assert services[0].stop() == 0
    services[0].call("drop", check=True)
    assert len(origins(destination, "one_name")) == 1, origins(destination, "one_name")
    assert services[1].stop() == 0
    services[1].call("drop", check=True)
    assert origins(destination, "one_name") == []


def test_origins_of_an_older_release_are_given_back(source, destination, towline_factory):
    """Their names had no database in them; the applier's goes at the next start, a copy's at the drop."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    service = towline_factory(source, destination, task="older")
    for name in ("towline_older", "towline_older_2"):
        destination.query("SELECT pg_replication_origin_create(%s)", [name])
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    assert "towline_older" not in origins(destination, "older")
    assert service.stop() == 0
    service.call("drop", check=True)
    assert origins(destination, "older") == []

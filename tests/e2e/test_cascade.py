"""Several tasks at one database: b is destination of a and source of c; c has two sources. Each leg lives and
is dropped without the other."""
from support.compare import assert_equal

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"
FILL = "INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 500) i"


def slots(database):
    return [name for name, in database.query("SELECT slot_name::text FROM pg_replication_slots WHERE "
                                             "database = %s",
                                             [database.name])]


def tasks(database):
    if not database.value("SELECT to_regclass('towline_state.task') IS NOT NULL"):
        return []
    return [name for name, in database.query("SELECT task FROM towline_state.task ORDER BY 1")]


def through(first, second):
    """All that was written at the head has reached the end of both legs."""
    first.wait_until_caught_up()
    second.wait_until_caught_up()


def test_cascade_carries_everything_and_one_leg_can_be_dropped(request, towline_factory, source, destination,
                                                             destination_cluster, source_cluster):
    a, b = source, destination
    c = source_cluster.create_database(f"{source.name}_c")
    request.addfinalizer(c.drop)
    b.execute("CREATE EXTENSION towline")
    a.script(TABLE, FILL, "CREATE TABLE no_key (v int)", "ALTER TABLE no_key REPLICA IDENTITY FULL",
             "INSERT INTO no_key VALUES (1), (1)",
             "CREATE SCHEMA \"Sch\"; CREATE TABLE \"Sch\".empty (id int PRIMARY KEY)")
    first = towline_factory(a, b, name="a-b").start()
    first.wait_for_state("streaming")
    first.wait_until_caught_up()
    second = towline_factory(b, c, name="b-c").start()
    second.wait_for_state("streaming")
    through(first, second)
    assert_equal(a.uri(), c.uri())
    # towline_state of b is b's alone; c has its own.
    assert len(tasks(b)) == 1 and len(tasks(c)) == 1 and tasks(b) != tasks(c)
    assert c.value("SELECT count(*) FROM pg_extension WHERE extname = 'towline'") == 0

    a.script("UPDATE t SET v = 'changed' WHERE id < 100", "DELETE FROM t WHERE id > 400",
             "UPDATE t SET id = -id WHERE id = 7",
             "DELETE FROM no_key WHERE ctid = (SELECT min(ctid) FROM no_key)",
             "INSERT INTO \"Sch\".empty VALUES (1)",
             "TRUNCATE \"Sch\".empty; INSERT INTO \"Sch\".empty VALUES (2)")
    through(first, second)
    for left, right in ((a, b), (a, c), (b, c)):
        assert_equal(left.uri(), right.uri())

    # Both are killed and go on.
    for service in (first, second):
        service.kill()
    a.execute("INSERT INTO t SELECT i, 'while down' FROM generate_series(1000, 1100) i")
    for service in (first, second):
        service.start().wait_for_state("streaming")
    through(first, second)
    assert_equal(a.uri(), c.uri())

    # The first leg goes; the second goes on, and b may be written to.
    assert first.stop() == 0
    first.call("drop", check=True)
    assert slots(a) == [] and tasks(b) == [] and len(tasks(c)) == 1 and len(slots(b)) == 1
    b.script("INSERT INTO t VALUES (9999, 'written at b')", "UPDATE t SET v = 'at b' WHERE id = 1")
    second.wait_until_caught_up()
    assert_equal(b.uri(), c.uri())
    assert second.stop() == 0
    second.call("drop", check=True)
    assert slots(b) == [] and tasks(c) == []
    assert c.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'towline_state'") == 0


def test_dropping_the_second_leg_leaves_the_first(request, towline_factory, source, destination,
                                                  source_cluster):
    a, b = source, destination
    c = source_cluster.create_database(f"{source.name}_c")
    request.addfinalizer(c.drop)
    b.execute("CREATE EXTENSION towline")
    a.script(TABLE, FILL)
    first = towline_factory(a, b, name="a-b").start()
    first.wait_for_state("streaming")
    first.wait_until_caught_up()
    second = towline_factory(b, c, name="b-c").start()
    second.wait_for_state("streaming")
    assert second.stop() == 0
    second.call("drop", check=True)
    assert slots(b) == [] and len(slots(a)) == 1 and len(tasks(b)) == 1
    a.execute("DELETE FROM t WHERE id < 10")
    first.wait_until_caught_up()
    assert_equal(a.uri(), b.uri())
    assert first.stop() == 0


def test_two_sources_into_one_destination(request, towline_factory, source, destination, source_cluster):
    """Two tasks in one towline_state; dropping one touches only its own rows."""
    other = source_cluster.create_database(f"{source.name}_other")
    request.addfinalizer(other.drop)
    other.execute("CREATE EXTENSION towline")
    source.script("CREATE SCHEMA one", "CREATE TABLE one.t (id int PRIMARY KEY, v text)",
                  "INSERT INTO one.t VALUES (1, 'one')")
    other.script("CREATE SCHEMA two", "CREATE TABLE two.t (id int PRIMARY KEY, v text)",
                 "INSERT INTO two.t VALUES (1, 'two')")
    first = towline_factory(source, destination, task="first", name="first").start()
    first.wait_for_state("streaming")
    second = towline_factory(other, destination, task="second", name="second").start()
    second.wait_for_state("streaming")
    assert tasks(destination) == ["first", "second"]
    source.execute("INSERT INTO one.t VALUES (2, 'x')")
    other.execute("UPDATE two.t SET v = 'y'")
    through(first, second)
    assert_equal(source.uri(), destination.uri(), tables=["one.*"])
    assert_equal(other.uri(), destination.uri(), tables=["two.*"])
    assert first.stop() == 0
    first.call("drop", check=True)
    assert tasks(destination) == ["second"] and slots(source) == [] and len(slots(other)) == 1
    other.execute("DELETE FROM two.t")
    second.wait_until_caught_up()
    assert_equal(other.uri(), destination.uri(), tables=["two.*"])
    assert second.stop() == 0

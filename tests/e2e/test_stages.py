"""Stages by themselves: a copy that ends, a stream from a slot that somebody else has made, and what is refused
because it would lose changes."""
import json
import re

import psycopg2
import pytest

from support import probes
from support.compare import assert_equal

TABLES = ("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE u (id serial PRIMARY KEY, v text)",
          "CREATE INDEX t_v ON t (v)", "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 500) i",
          "INSERT INTO u (v) SELECT 'u' || i FROM generate_series(1, 50) i")


def ends(towline, *more, status=0, seconds=60):
    towline.start(*more)
    assert towline.wait_exit(seconds) == status, towline.tail()
    return towline.output()


def slots(source):
    return source.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name])


def position_of(source):
    return source.value("SELECT pg_current_wal_insert_lsn()::text")


def make_slot(source, name="given", plugin="towline"):
    source.value("SELECT lsn::text FROM pg_create_logical_replication_slot(%s, %s)", [name, plugin])
    return name


# --- a copy without a stream

def test_copy_once_ends_with_a_summary_and_leaves_no_slot(towline, source, destination):
    source.script(*TABLES)
    output = ends(towline, "--stages", "schema,copy")
    assert "the copy is complete and ends here; no slot was made" in output and "towline drop" in output
    assert "tables=2 rows=550" in output
    assert "max_slot_wal_keep_size" not in output and "keeps WAL" not in output
    assert slots(source) == []
    assert_equal(source.uri(), destination.uri(), sequences=True, definitions=True)
    assert destination.value("SELECT to_regclass('t_v') IS NOT NULL")
    # The rows are nobody's now: a second copy says so, and does as it is told.
    assert '2 tables with rows: "public"."t", "public"."u"' in ends(towline, "--stages", "copy", status=3)
    source.execute("DELETE FROM t WHERE id > 100; UPDATE u SET v = 'later'")
    ends(towline, "--stages", "copy", "--existing", "truncate")
    assert_equal(source.uri(), destination.uri())
    assert slots(source) == []
    # A whole task does not take such a copy for its own either.
    ends(towline, status=3)
    assert slots(source) == []
    towline.start("--existing", "truncate").wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (1000, 'n')")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    assert "has a slot" in ends(towline, "--stages", "schema,copy", status=2)


def test_copy_once_asks_for_no_right_to_stream(towline_factory, source, destination):
    source.script(*TABLES, "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN",
                  "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
                  "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
    towline = towline_factory(source.uri(user="reader"), destination)
    done = towline.call("check", "--stages", "schema,copy")
    assert done.returncode == 0 and "source.replication" not in done.stdout, done.stdout
    assert towline.call("check").returncode == 1
    ends(towline, "--stages", "schema,copy")
    assert_equal(source.uri(), destination.uri())


def test_copy_once_waits_for_nobody(towline, source, destination):
    """A slot or a marker would wait for the open transaction."""
    source.script(*TABLES)
    with probes.Session(source) as session:
        session.begin()
        session.execute("INSERT INTO t VALUES (2000, 'open')")
        ends(towline, "--stages", "schema,copy", seconds=30)
    assert destination.value("SELECT count(*) FROM t") == 500


@pytest.mark.parametrize("point", ["copy:table-done", "copy:before-post-data"])
def test_copy_once_that_was_killed_is_done_by_the_same_command(towline_factory, source, destination, point):
    source.script(*TABLES)
    towline = towline_factory(source, destination, fault=f"{point}:kill")
    towline.start("--stages", "schema,copy")
    assert towline.wait_exit() != 0
    towline.fault = None
    ends(towline, "--stages", "schema,copy")
    assert_equal(source.uri(), destination.uri(), sequences=True, definitions=True)
    assert slots(source) == []


def test_a_killed_copy_without_a_stream_is_no_beginning_of_one_with(towline_factory, source, destination):
    """The rows are of a snapshot before the slot: taken for the task's, changes between would be lost."""
    source.script(*TABLES)
    towline = towline_factory(source, destination, fault="copy:before-post-data:kill")
    towline.start("--stages", "schema,copy")
    assert towline.wait_exit() != 0
    source.execute("INSERT INTO t VALUES (3000, 'between')")
    towline.fault = None
    ends(towline, status=3)
    towline.start("--existing", "truncate").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_rows_of_a_killed_copy_without_a_stream_are_not_taken_for_the_users(towline_factory, source, destination):
    source.script(*TABLES)
    towline = towline_factory(source, destination, fault="copy:before-post-data:kill")
    towline.start("--stages", "schema,copy", "--existing", "append")
    assert towline.wait_exit() != 0
    towline.fault = None
    assert "has begun to copy rows" in ends(towline, "--stages", "schema", "--existing", "append", status=2)
    source.script("UPDATE t SET v = 'changed' WHERE id = 5", "DELETE FROM t WHERE id = 6")
    towline.start("--existing", "append").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


# --- the schema alone

def test_the_schema_alone_asks_nothing_of_rows(towline, source, destination):
    """They are not touched: not those that are there, nor are they read at the source."""
    source.script(*TABLES)
    ends(towline, "--stages", "schema,copy")
    source.script("CREATE INDEX u_v ON u (v)", "CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (1)")
    done = towline.call("check", "--json", "--stages", "schema")
    assert done.returncode == 0 and "destination.rows" not in done.stdout, done.stdout
    # What has a name that is taken is left, and said.
    source.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'")
    destination.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    output = ends(towline, "--stages", "schema")
    left = re.findall(r"warning: an object of this name was at the destination already.*", output)
    assert len(left) == 1 and 'CREATE FUNCTION "public"."f"' in left[0] and "verify --schema-only" in left[0], output
    assert destination.value("SELECT f()") == 1
    assert 'CREATE FUNCTION "public"."f"' in towline.call("verify", "--schema-only").stdout
    destination.execute("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'")
    assert_equal(source.uri(), destination.uri(), tables=["public.t", "public.u"], definitions=True)
    assert destination.value("SELECT to_regclass('u_v') IS NOT NULL")
    assert destination.value("SELECT count(*) FROM later") == 0
    assert slots(source) == []


# --- a stream without a copy

def copied_by_hand(source, destination, slot="given"):
    """A slot, then the rows; what is written after the slot was made and is in the rows already is what a position
    is for."""
    source.script(*TABLES)
    make_slot(source, slot)
    source.execute("INSERT INTO t VALUES (600, 'after the slot')")
    position = position_of(source)
    destination.script("CREATE TABLE t (id int PRIMARY KEY, v text)",
                       "CREATE TABLE u (id serial PRIMARY KEY, v text)")
    for table in ("t", "u"):
        rows = source.query(f"SELECT id, v FROM {table}")
        with psycopg2.connect(destination.uri()) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)", rows)
    source.execute("UPDATE t SET v = 'x' WHERE id = 5; DELETE FROM u WHERE id = 7; INSERT INTO u (v) VALUES ('n')")
    return position


def test_stream_from_a_given_slot_and_position(towline, source, destination):
    position = copied_by_hand(source, destination)
    arguments = ["--stages", "stream", "--slot", "given", "--position", position]
    done = towline.call("check", "--stages", "stream", "--slot", "given", "--position", position)
    assert done.returncode == 0, done.stdout
    towline.start(*arguments).wait_for_state("streaming")
    assert towline.status()["slot"] == "given"
    source.execute("INSERT INTO t VALUES (700, 'streamed')")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    towline.kill()
    source.execute("UPDATE t SET v = 'y' WHERE id < 50; INSERT INTO u (v) VALUES ('m')")
    # The same command goes on from the stored position, and so does one without slot and position.
    towline.start(*arguments).wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    source.execute("DELETE FROM t WHERE id = 9")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    assert "streams from given" in ends(towline, "--stages", "stream", "--slot", "other", status=2)
    towline.call("drop", "--yes", check=True)
    assert slots(source) == []


def test_stream_from_where_the_slot_stands_and_under_its_usual_name(towline_factory, source, destination):
    source.script(*TABLES)
    towline = towline_factory(source, destination, task="moving")
    ends(towline, "--stages", "schema,copy")
    make_slot(source, "towline_moving")
    source.execute("UPDATE t SET v = 'x' WHERE id = 5; INSERT INTO u (v) VALUES ('n')")
    towline.start("--stages", "stream").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    # A table that takes the name of one that is streamed is known as another.
    source.execute("ALTER TABLE u RENAME TO gone; CREATE TABLE u (id serial PRIMARY KEY, v text)")
    source.execute("INSERT INTO u (v) VALUES ('another')")
    assert towline.wait_exit() == 3 and "made anew or renamed" in towline.output()


@pytest.mark.parametrize("point", ["run:slot-stored", "run:before-stream"])
def test_a_slot_whose_taking_over_was_cut_short_is_taken_over_by_the_same_command(towline_factory, source, destination,
                                                                                  point):
    source.script(*TABLES)
    make_slot(source)
    towline = towline_factory(source, destination, fault="copy:before-post-data:kill")
    # What it leaves is no copy of a task with a slot. One worker: another would build keys in idle time.
    towline.start("--stages", "schema,copy", "--copy-workers", "1")
    assert towline.wait_exit() != 0
    destination.script("ALTER TABLE t ADD PRIMARY KEY (id)", "ALTER TABLE u ADD PRIMARY KEY (id)")
    towline.fault = f"{point}:kill"
    towline.start("--stages", "stream", "--slot", "given")
    assert towline.wait_exit() != 0
    source.execute("UPDATE t SET v = 'x' WHERE id = 5; INSERT INTO u (v) VALUES ('n')")
    towline.fault = None
    towline.start("--stages", "stream", "--slot", "given").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def slot_finding(towline, *arguments):
    """What `check` says of the slot that a stream alone is to take."""
    done = towline.call("check", "--json", "--stages", "stream", *arguments)
    finding, = [found for found in json.loads(done.stdout)["findings"] if found["id"] == "task.slot"]
    assert done.returncode == (1 if finding["level"] == "fail" else 0), done.stdout
    return finding


def test_check_looks_at_the_slot_that_is_named(towline_factory, source, destination):
    position = copied_by_hand(source, destination)
    towline = towline_factory(source, destination, task="moving")
    high, low = position_of(source).split("/")
    begin = source.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'given'")
    make_slot(source, "strange", "test_decoding")
    source.value("SELECT slot_name::text FROM pg_create_physical_replication_slot('physical')")
    source.value("SELECT slot_name::text FROM pg_create_logical_replication_slot('twofold', 'towline', false, true)")
    try:
        assert slot_finding(towline, "--slot", "given")["found"] == f'slot "given" is there and begins at {begin}'
        assert slot_finding(towline, "--slot", "given", "--position", position)["level"] == "pass"
        for arguments, found, mend in (
                ([], 'there is no slot "towline_moving"', "pg_create_logical_replication_slot('towline_moving', 'towline')"),
                (["--slot", "given", "--position", "0/100"], "changes between the two would be lost", "up to which"),
                (["--slot", "given", "--position", f"{int(high, 16) + 1:X}/{low}"], "would be passed over", "up to which"),
                (["--slot", "strange"], "plugin test_decoding", "--slot"),
                (["--slot", "twofold"], "at their PREPARE", "without two_phase"),
                (["--slot", "physical"], "of physical replication", "--slot")):
            finding = slot_finding(towline, *arguments)
            assert finding["level"] == "fail" and found in finding["found"] and mend in finding["mend"], finding
    finally:
        source.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                     "WHERE slot_name IN ('physical', 'strange', 'twofold')")
    towline.start("--stages", "stream", "--slot", "given", "--position", position).wait_for_state("streaming")
    other = towline_factory(source, destination, task="other")
    assert slot_finding(other, "--slot", "given")["found"] == 'slot "given" belongs to task moving'
    # The task's own is no longer given to it.
    assert slot_finding(towline, "--slot", "given")["found"] == 'slot "given" is there'
    # Nothing at this destination tells whose it is.
    elsewhere = destination.cluster.create_database(f"{destination.name}_elsewhere")
    finding = slot_finding(towline_factory(source, elsewhere), "--slot", "given")
    assert "is in use by pid" in finding["found"] and "(towline_moving src stream)" in finding["found"]
    elsewhere.drop()
    assert towline.stop() == 0


def test_what_would_lose_changes_is_refused_and_stores_nothing(towline_factory, source, destination, source_cluster):
    position = copied_by_hand(source, destination)
    towline = towline_factory(source, destination, task="moving")
    after = position_of(source)
    high, low = after.split("/")
    beyond = f"{int(high, 16) + 1:X}/{low}"
    refused = [
        (["--slot", "none"], 3, 'has no slot "none"'),
        ([], 3, 'has no slot "towline_moving"'),
        (["--slot", "given", "--position", "0/100"], 2, "changes between the two would be lost"),
        (["--slot", "given", "--position", beyond], 2, "would be passed over"),
    ]
    make_slot(source, "strange", "test_decoding")
    refused.append((["--slot", "strange"], 3, "plugin test_decoding"))
    source.value("SELECT slot_name::text FROM pg_create_physical_replication_slot('physical')")
    refused.append((["--slot", "physical"], 3, "physical replication"))
    if source.value("SELECT current_setting('server_version_num')::int >= 140000"):
        source.value("SELECT slot_name::text FROM pg_create_logical_replication_slot('twofold', 'towline', false, true)")
        refused.append((["--slot", "twofold"], 3, "at their PREPARE"))
    elsewhere = source_cluster.create_database("elsewhere")
    make_slot(elsewhere, "far")
    refused.append((["--slot", "far"], 3, "in database elsewhere"))
    for arguments, status, text in refused:
        assert text in ends(towline, "--stages", "stream", *arguments, status=status), (arguments, towline.output())
        assert slot_finding(towline, *arguments)["level"] == "fail", arguments
        assert destination.query("SELECT phase, position::text, is_slot_created FROM towline_state.task") in (
            [("checking", None, False)], [("new", None, False)])
    source.value("SELECT pg_drop_replication_slot('physical')")
    source.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                   "WHERE slot_name IN ('strange', 'twofold')")
    elsewhere.value("SELECT pg_drop_replication_slot('far')")
    elsewhere.drop()
    # One that somebody reads, then one that another task has.
    other = towline_factory(source, destination, task="other")
    other.start("--stages", "stream", "--slot", "given", "--position", position).wait_for_state("streaming")
    assert "is in use by pid" in ends(towline, "--stages", "stream", "--slot", "given", "--exclude", "t", "--exclude",
                                      "u", status=3) or "task" in towline.output()
    assert other.stop() == 0
    output = ends(towline, "--stages", "stream", "--slot", "given", status=3)
    assert "other" in output, output
    assert_equal(source.uri(), destination.uri())


def test_tables_must_be_there_and_fit(towline, source, destination):
    source.script(*TABLES)
    make_slot(source)
    destination.execute("CREATE TABLE t (id int PRIMARY KEY)")
    output = ends(towline, "--stages", "stream", "--slot", "given", status=3)
    assert '"t"' in output and "v" in output


def test_a_copy_that_is_not_complete_is_not_streamed_alone(towline_factory, source, destination):
    source.script(*TABLES)
    towline = towline_factory(source, destination, fault="copy:table-done:kill")
    towline.start()
    assert towline.wait_exit() != 0
    towline.fault = None
    assert "is not complete" in ends(towline, "--stages", "stream", status=2)
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_combinations_without_sense_are_refused_at_once(towline):
    for arguments, text in ((["--stages", "schema,stream"], "the rows would be missing"),
                            (["--stages", "copy", "--schema", "skip"], "leave one of them out"),
                            (["--slot", "given"], "slot is for stages: stream alone"),
                            (["--stages", "stream", "--position", "here"], "16/B374D848"),
                            (["--stages", "nothing"], "schema, copy, stream")):
        done = towline.call("run", *arguments)
        assert done.returncode == 2 and text in done.stderr, (arguments, done.stderr)

"""Sequences: their values are not in the stream, and the destination must never give out a number that a row
of the source has already."""
import json

from support.compare import assert_equal
from support.waiting import wait_until
from test_checks import check


def last(database, name):
    return database.value(f"SELECT last_value FROM {name}")


def test_sequences_are_carried_while_streaming_and_at_the_end(towline, source, destination):
    source.script("CREATE TABLE t (id bigserial PRIMARY KEY)", "CREATE SEQUENCE idle START 77",
                  "CREATE SEQUENCE down INCREMENT -3", "CREATE SEQUENCE round MAXVALUE 5 CYCLE",
                  "INSERT INTO t SELECT FROM generate_series(1, 10)", "SELECT nextval('idle')")
    towline.start().wait_for_state("streaming")
    assert_equal(source.uri(), destination.uri(), sequences=True)
    source.script("INSERT INTO t SELECT FROM generate_series(1, 500)", "SELECT nextval('down') FROM generate_series(1, 10)",
                  "SELECT nextval('round') FROM generate_series(1, 7)")
    carried = {"t_id_seq": 510 + 2 * 500, "down": -28 - 3 * 32, "round": 2}
    # In one look or two, by when it came between the statements.
    wait_until(lambda: {name: last(destination, name) for name in carried} == carried, 60,
               "the sequences to follow, with their margins", explain=lambda: {name: last(destination, name) for name in carried})
    assert last(source, "round") == 2 and last(destination, "idle") == 77
    # Not back, and no further than it must.
    source.script("INSERT INTO t DEFAULT VALUES", "SELECT nextval('idle')")
    towline.wait_until_caught_up()
    assert towline.stop() == 0
    assert last(destination, "t_id_seq") == 1510
    assert last(destination, "idle") == 78 + 32
    assert_equal(source.uri(), destination.uri())
    # What a switch to the destination would do.
    destination.execute("INSERT INTO t DEFAULT VALUES")
    assert destination.value("SELECT max(id) FROM t") == 1511


def test_sequence_of_another_schema_comes_with_the_table_that_uses_it(towline, source, destination):
    source.script("CREATE SCHEMA counters", "CREATE SEQUENCE counters.used", "CREATE SEQUENCE counters.unused",
                  "CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('counters.used'))",
                  "INSERT INTO t SELECT FROM generate_series(1, 5)", "SELECT nextval('counters.unused')")
    towline.start("--include", "public.*").wait_for_state("streaming")
    assert last(destination, "counters.used") == 5
    assert towline.stop() == 0


def test_what_the_destination_refuses_is_told_once_and_disturbs_nothing(towline, source, destination):
    source.script("CREATE TABLE t (id serial PRIMARY KEY)")
    towline.start().wait_for_state("streaming")
    destination.execute("ALTER SEQUENCE t_id_seq MAXVALUE 3")
    source.execute("INSERT INTO t SELECT FROM generate_series(1, 50)")
    towline.wait_for_log("the sequences are not carried over at present", 40)
    source.execute("INSERT INTO t SELECT FROM generate_series(1, 50)")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    destination.execute("ALTER SEQUENCE t_id_seq NO MAXVALUE")
    assert towline.stop() == 0
    assert towline.output().count("the sequences are not carried over at present") == 1
    assert last(destination, "t_id_seq") >= 100


def test_sequences_that_are_not_there_are_named_and_set_once_they_come(towline, source, destination):
    source.script("CREATE TABLE t (id bigserial PRIMARY KEY)", "CREATE SEQUENCE other START 77",
                  "CREATE TABLE left_out (id serial PRIMARY KEY)", "INSERT INTO t SELECT FROM generate_series(1, 10)",
                  "SELECT nextval('other')", "INSERT INTO left_out SELECT FROM generate_series(1, 30)")
    # Of what is left out the destination may have one of its own.
    destination.script("CREATE TABLE t (id bigint PRIMARY KEY)", "CREATE SEQUENCE left_out_id_seq START 3")
    skip = ["--schema", "skip", "--exclude", "public.left_out"]
    finding = check(towline, *skip)["destination.sequences"]
    assert finding["level"] == "warn"
    assert finding["found"] == "2 sequences of the source missing: public.other, public.t_id_seq"
    # The schema brings them; that of a table which is left out nobody misses.
    assert check(towline, *skip[2:])["destination.sequences"]["level"] == "pass"
    towline.start(*skip).wait_for_state("streaming")
    towline.wait_for_log("not at the destination; their values are not set")
    source.execute("INSERT INTO t DEFAULT VALUES")
    towline.wait_for_log("not at the destination; they will be set once they are", 120)
    destination.script("CREATE SEQUENCE t_id_seq OWNED BY t.id", "CREATE SEQUENCE other")
    wait_until(lambda: [last(destination, name) for name in ("t_id_seq", "other")] == [11, 77], 120, "the sequences to be set")
    assert towline.stop() == 0
    output = towline.output()
    assert output.count("they will be set once they are") == 1 and "t_id_seq" in output and "left_out_id_seq" not in output
    assert check(towline, *skip)["destination.sequences"]["level"] == "pass"
    assert destination.query("SELECT last_value, is_called FROM left_out_id_seq") == [(3, False)]
    # Nor does a comparison say that it is behind.
    verified = towline.call("verify", "--schema-only", "--json", *skip[2:])
    assert json.loads(verified.stdout)["schema"]["sequences_behind"] == [], verified.stdout

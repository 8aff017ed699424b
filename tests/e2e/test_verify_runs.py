"""Comparisons that take long: they give way to load, and go on within a table where they were killed."""
import json
import re
import signal
import subprocess
import time

import pytest

from support import probes
from support.waiting import wait_until
from test_verify import SCHEMA, Load, found, plant
from test_verify import verify as compare

EQUAL, DIFFERENT, UNDECIDED = 0, 1, 2


class Verify:
    """`towline verify` in the background."""

    def __init__(self, service, *more):
        self.output = service.directory / "verify.out"
        self.errors = service.directory / "verify.err"
        with open(self.output, "w") as out, open(self.errors, "w") as errors:
            self.process = subprocess.Popen(service.command("verify", "--json", *more), env=service.environment,
                                            stdout=out, stderr=errors)

    def log(self):
        return self.errors.read_text()

    def wait_for_log(self, text, seconds=120):
        wait_until(lambda: text in self.log(), seconds, f"verify to say {text!r}")

    def report(self, seconds=120):
        """(exit status, {table: report})."""
        status = self.process.wait(seconds)
        return status, {table["table"]: table for table in json.loads(self.output.read_text())["tables"]}


@pytest.fixture
def streaming(source, destination, towline):
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20000) i;"
                   "CREATE TABLE small (id int PRIMARY KEY, v text); INSERT INTO small VALUES (1, 'v'); ANALYZE")
    towline.start()
    towline.wait_until_caught_up()
    return towline


# --- giving way

def test_it_gives_way_to_sessions_at_work(destination, streaming):
    destination.execute("UPDATE t SET v = 'x' WHERE id = 7")
    with probes.at_work(destination, 2):
        verifying = Verify(streaming, "--active-max", "1", "--workers", "2")
        verifying.wait_for_log("2 active sessions at the destination > 1")
        assert verifying.process.poll() is None
        assert destination.value("SELECT count(*) FROM towline_state.verify_result") == 0
    status, tables = verifying.report()
    assert (status, tables["t"]["different"], tables["small"]["verdict"]) == (DIFFERENT, 1, "equal")
    assert "verify goes on" in verifying.log()


def test_it_gives_way_to_a_task_that_is_behind(source, destination, streaming):
    probes.stand_still(streaming)
    source.execute("UPDATE small SET v = 'later'")
    verifying = Verify(streaming, "--lag-max", "1")  # waits for the task, with its first table
    try:
        destination.wait_for("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'towline verify load'", 120)
        # What it knows of the lag from then on is old.
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 6, 60, "a lag that can be told from none")
        with probes.frozen(probes.sessions(destination, "verify load")[0]):
            probes.go_on(streaming)
            verifying.wait_for_log("verify gives way")
            lag = re.search(r"lag (\d+\.\d) s > 1 s", verifying.log())
            assert lag and float(lag.group(1)) >= 4, verifying.log()
            assert destination.value("SELECT count(*) FROM towline_state.verify_result") == 1
        assert verifying.report()[0] == EQUAL
    finally:
        probes.go_on(streaming)


# --- parts of a table

def test_parts_of_tables_show_every_difference_under_load_and_no_other(source, destination, towline):
    source.execute(SCHEMA.replace("a text, b int, v text, PRIMARY KEY (a, b)", "a text, b int, v text, PRIMARY KEY (b, a)"))
    towline.start()
    towline.wait_until_caught_up()
    destination.execute("ANALYZE")
    with Load(source):
        arguments = ("--part-size", "100kB", "--workers", "2")
        # At the same time, and on: none where there is none, and every one in some round.
        walking = Verify(towline, "--continuous", "--interval", "0", "--rows-max", "1000000")
        assert compare(towline, *arguments)[0] == EQUAL
        walking.wait_for_log("round=2")
        assert "a table differs" not in walking.log() and "verdict=different" not in walking.log(), walking.log()
        planted = [row for row in plant(destination) if row[0] != "texts"]
        status, tables = compare(towline, *arguments)
        # Of its nine ranges those of parts that were equal were not looked at one by one.
        assert status == DIFFERENT and 1 <= tables["wide"]["ranges"] < 9, tables
        texts = dict(source.query("SELECT b, a FROM texts WHERE b IN (100, 101)"))
        planted += [("texts", "missing", f"(100,{texts[100]})", ""), ("texts", "different", f"(101,{texts[101]})", "v"),
                    ("texts", "extra", '(1,"x,""y")', "")]
        assert [row for row in found(tables) if row[0] != "bare"] == sorted(planted)
        assert tables["wide"]["source_rows"] == 9000
        assert sum(table["undecided"] for table in tables.values()) == 0, tables
        for name in ("wide", "texts", "bare", "quiet", "parts_1", "parts_2"):
            walking.wait_for_log(f'a table differs table="public"."{name}"')
        wait_until(lambda: re.search(r"verdict=different(.|\n)*verdict=different", walking.log()), 120, "a whole round of them")
        walking.process.send_signal(signal.SIGTERM)
        status, tables = walking.report()
        assert status == DIFFERENT and len(tables["wide"]["rows"]) == 10 and tables["wide"]["missing"] == 2, tables
        named = destination.query("SELECT table_name, kind, key_values, array_to_string(columns, ',') FROM towline_state.verify_row "
                                  "WHERE table_name <> 'bare' AND run = (SELECT max(run) FROM towline_state.verify_run "
                                  "WHERE mode = 'rows, continuous' AND verdict = 'different')")
        assert sorted(named) == sorted(planted)


def killed_within(service, destination, *more):
    """Kills a comparison that has done part of a table; gives how many ranges of it are written down."""
    killed = Verify(service, "--rows-max", "3000", *more)
    ranges_done = "SELECT coalesce(max(ranges_done), 0) FROM towline_state.verify_progress"
    first = wait_until(lambda: destination.value(ranges_done), 60, "some ranges", explain=killed.log)
    wait_until(lambda: destination.value(ranges_done) > first, 60, "more", explain=killed.log)
    killed.process.kill()
    killed.process.wait()
    done, total = destination.query("SELECT ranges_done, cardinality(bounds) + 1 FROM towline_state.verify_progress")[0]
    assert 0 < done < total
    return done


@pytest.fixture
def large(source, destination, streaming):
    source.execute("CREATE TABLE large (id int, k int, v text, PRIMARY KEY (id, k));"
                   "INSERT INTO large SELECT i, 0, 'v' FROM generate_series(1, 60000) i; ANALYZE large")
    destination.execute("CREATE TABLE large (id int, k int, v text, PRIMARY KEY (id, k))")
    streaming.wait_until_caught_up()
    return streaming


def test_a_comparison_that_was_killed_goes_on_within_the_table(source, destination, large):
    destination.execute("UPDATE large SET v = 'w' WHERE id IN (3, 59000)")
    killed_within(large, destination, "--include", "public.large")
    # What was done is not looked at again; what was found there stands in the report, once.
    destination.execute("UPDATE large SET v = 'w' WHERE id = 4")
    source.execute("UPDATE large SET v = v || 'more' WHERE id > 58000")
    status, tables = compare(large, "--resume", "--include", "public.large")
    assert status == DIFFERENT
    assert found(tables) == [("large", "different", "(3,0)", "v")], tables  # the stream has written 59000 anew
    assert (tables["large"]["source_rows"], tables["large"]["different"]) == (60000, 1)
    assert destination.query("SELECT key_values FROM towline_state.verify_row") == [("(3,0)",)]
    assert destination.value("SELECT count(*) FROM towline_state.verify_progress") == 0

    # Of another form it begins anew; the rows that it had found are not there twice.
    killed_within(large, destination, "--include", "public.large")
    for database in (destination, source):
        database.execute("ALTER TABLE large ADD COLUMN more int")
    done = large.call("verify", "--resume", "--json", "--include", "public.large")
    assert "begins a table anew" in done.stderr
    tables = {table["table"]: table for table in json.loads(done.stdout)["tables"]}
    assert [row[2] for row in found(tables)] == ["(3,0)", "(4,0)"]
    run = destination.value("SELECT max(run) FROM towline_state.verify_run")
    assert destination.value("SELECT count(*) FROM towline_state.verify_row WHERE run = %s", [run]) == 2


@pytest.mark.long
def test_a_sample_and_a_repair_that_were_killed_go_on(destination, large):
    destination.execute("UPDATE large SET v = 'w' WHERE id % 5000 = 7")
    arguments = ("--include", "public.large", "--repair")
    killed_within(large, destination, *arguments)
    done = large.call("verify", "--resume", "--json", *arguments)
    table = json.loads(done.stdout)["tables"][0]
    assert (done.returncode, table["different"], table["repaired"]) == (EQUAL, 12, 12), table
    assert destination.value("SELECT count(*) FROM towline_state.verify_row WHERE repaired_at IS NOT NULL") == 12
    destination.execute("UPDATE large SET v = 'w' WHERE id % 5000 = 7")
    arguments = ("--include", "public.large", "--sample", "50")
    killed_within(large, destination, *arguments, "--seed", "7")
    assert "its seed is 7" in large.call("verify", "--resume", *arguments, "--seed", "8").stderr
    done = large.call("verify", "--resume", "--json", *arguments)
    report = json.loads(done.stdout)
    assert report["mode"].endswith("seed 7") and done.returncode == DIFFERENT
    _, tables = compare(large, *arguments, "--seed", "7")
    assert {row["key"] for row in report["tables"][0]["rows"]} == {row["key"] for row in tables["large"]["rows"]}


# --- round after round

def test_a_continuous_comparison_goes_on_behind_kills_and_lost_connections(destination, large):
    arguments = ("--continuous", "--include", "public.large", "--interval", "0")
    killed_within(large, destination, *arguments)
    destination.execute("UPDATE large SET v = 'w' WHERE id = 4")  # in a range that is done
    assert compare(large, "--include", "public.small")[0] == EQUAL  # another one, in between
    walking = Verify(large, *arguments, "--resume", "--rows-max", "100000")
    walking.wait_for_log("verify goes on within a table")
    walking.wait_for_log("round=1 run=1 verdict=equal")
    walking.wait_for_log('a table differs table="public"."large" missing=0 extra=0 different=1')

    def is_cut():
        destination.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'towline verify%' "
                            "AND datname = current_database()")
        return "verify tries again" in walking.log()

    wait_until(is_cut, 120, "a lost connection")  # between two rounds there is none to lose
    rounds = walking.log().count("verify has compared all tables")
    wait_until(lambda: walking.log().count("verify has compared all tables") > rounds + 1, 120, "another round")
    destination.execute("UPDATE large SET v = 'v' WHERE id = 4")
    rounds = walking.log().count("verdict=equal")
    wait_until(lambda: walking.log().count("verdict=equal") > rounds, 120, "a round that finds it mended")
    walking.process.send_signal(signal.SIGINT)
    status, tables = walking.report()
    assert (status, tables["large"]["verdict"]) == (DIFFERENT, "equal")  # it was, in a round


def test_ranges_of_rows_just_written_come_first_and_a_killed_round_keeps_its_order(source, destination, large):
    arguments = ("--continuous", "--include", "public.large", "--interval", "0")
    walking = Verify(large, *arguments, "--rows-max", "15000")  # twelve steps of five ranges in four seconds
    walking.wait_for_log("round=1 ")
    source.execute("UPDATE large SET v = 'w' WHERE id BETWEEN 40000 AND 50000")
    begun = "SELECT range_order, ranges_done, bounds, run FROM towline_state.verify_progress WHERE range_order[1] > 20 AND ranges_done >= 20"
    wait_until(lambda: destination.query(begun), 60, "a round that begins where was written", explain=walking.log)
    walking.process.kill()
    walking.process.wait()
    order, done, bounds, run = destination.query(begun)[0]
    assert sorted(order) == list(range(len(bounds) + 1)) and order != sorted(order)
    assert all(33000 < int(bounds[number - 1]) < 57000 for number in order[:5]), (order, bounds)

    # Another process goes on in that order.
    missed = next(number for number in order[done:] if 0 < number < done)
    seen = next(number for number in order[:done] if number >= done)
    first_keys = {number: int(bounds[number - 1]) for number in (missed, seen)}
    destination.execute("UPDATE large SET v = 'x' WHERE id = ANY (%s)", [list(first_keys.values())])
    going_on = Verify(large, *arguments, "--resume", "--rows-max", "200000")
    going_on.wait_for_log("round=1 ")
    going_on.process.send_signal(signal.SIGTERM)
    assert going_on.report()[0] == DIFFERENT
    assert destination.query("SELECT key_values FROM towline_state.verify_row WHERE run = %s", [run]) == [(f"({first_keys[missed]},0)",)]
    assert destination.value("SELECT source_rows FROM towline_state.verify_result WHERE run = %s", [run]) == 60000


@pytest.mark.limit(600)
def test_rounds_are_few_in_the_state_and_push_no_other_out(destination, streaming):
    assert compare(streaming)[0] == EQUAL
    walking = Verify(streaming, "--continuous", "--interval", "0", "--include", "public.small", "--lag-max", "0")
    walking.wait_for_log("round=3 ")
    destination.execute("UPDATE small SET v = 'x'")
    walking.wait_for_log("verdict=different")
    wait_until(lambda: streaming.status()["verify_rows_different"] == 1, 120, "the status to tell")
    destination.execute("UPDATE small SET v = 'v'")
    number = walking.log().count("round=")
    walking.wait_for_log(f"round={number + 25} ", 240)
    destination.execute("UPDATE towline_state.task SET phase = 'healing'")
    walking.wait_for_log("is being healed")
    destination.execute("UPDATE towline_state.task SET phase = 'streaming'")
    rounds = walking.log().count("round=")
    wait_until(lambda: walking.log().count("round=") > rounds, 120, "another round")
    walking.process.send_signal(signal.SIGTERM)
    assert walking.report()[0] == DIFFERENT
    kept = dict(destination.query("SELECT CASE WHEN mode = 'rows' THEN 'other' ELSE coalesce(verdict, 'equal') END, count(*) "
                                  "FROM towline_state.verify_run GROUP BY 1"))
    assert kept["other"] == 1 and kept["equal"] <= 21 and 1 <= kept["different"] <= 20, kept
    assert destination.value("SELECT count(*) FROM towline_state.verify_result") <= 50
    assert destination.value("SELECT count(*) FROM towline_state.verify_row") == kept["different"]
    streaming.stop()
    assert "(rows, continuous, run " in streaming.call("status").stdout
    done = streaming.call("verify", "--continuous", "--repair")
    assert done.returncode == UNDECIDED and "do not go together" in done.stderr


# --- what is known of each table

def test_what_was_found_in_a_table_is_known_until_all_of_it_is_compared_again(source, destination, streaming):
    def known():
        """How many tables, how many of them differ and are undecided, rows; by the last comparison."""
        last = destination.value("SELECT max(run) FROM towline_state.verify_run WHERE finished_at IS NOT NULL")

        def told():
            status = streaming.status()
            return status if status["verify_run"] == last else None

        status = wait_until(told, 60, f"the status to tell of comparison {last}")
        return tuple(status[f"verify_{name}"] for name in ("tables", "tables_different", "tables_undecided", "rows_different"))

    destination.execute("UPDATE t SET v = 'x' WHERE id IN (3, 15000)")
    assert compare(streaming)[0] == DIFFERENT
    # Looks at other tables, at numbers of rows, at parts.
    assert compare(streaming, "--counts")[0] == EQUAL
    sample = ("--include", "public.t", "--sample", "5", "--seed")
    assert any(compare(streaming, *sample, str(seed))[0] == EQUAL for seed in range(20))
    assert compare(streaming, "--include", "public.small")[0] == EQUAL
    # As when those comparisons have become old.
    destination.execute("DELETE FROM towline_state.verify_result; "
                        "DELETE FROM towline_state.verify_run WHERE run < (SELECT max(run) FROM towline_state.verify_run)")
    assert known() == (2, 1, 0, 2)
    assert "1 of 2 tables differ, 2 rows" in streaming.call("status").stdout
    # A repair into a file mends nothing yet.
    assert streaming.call("verify", "--repair-sql", str(streaming.directory / "mend.sql")).returncode == EQUAL
    assert known() == (2, 1, 0, 2)
    assert compare(streaming, "--include", "public.t", "--repair")[0] == EQUAL
    assert known() == (2, 0, 0, 0)
    # What a count has found another takes back.
    destination.execute("DELETE FROM small")
    assert compare(streaming, "--counts")[0] == DIFFERENT
    assert known() == (2, 1, 0, 1)
    destination.execute("INSERT INTO small VALUES (1, 'v')")
    assert compare(streaming, "--counts", "--include", "public.small")[0] == EQUAL
    assert known() == (2, 0, 0, 0)
    # What the destination lacks differs, whatever else is compared; what the source lacks is no more.
    destination.execute("DROP TABLE t")
    assert compare(streaming)[0] == DIFFERENT
    assert compare(streaming, "--include", "public.small")[0] == EQUAL
    assert known() == (2, 1, 0, 0)
    source.execute("DROP TABLE t")
    assert compare(streaming)[0] == EQUAL
    assert known() == (1, 0, 0, 0)


def test_a_reading_that_began_before_it_takes_no_difference_back(destination, large):
    only = ("--include", "public.large")
    walk = ("--continuous", "--interval", "600", *only)
    known = "SELECT verdict, rows_different FROM towline_state.verify_look WHERE table_name = 'large'"
    killed_within(large, destination, *walk)
    destination.execute("UPDATE large SET v = 'w' WHERE id = 4")  # in a range that is done
    assert compare(large, *only)[0] == DIFFERENT
    walking = Verify(large, *walk, "--resume", "--rows-max", "100000")
    walking.wait_for_log("round=1 run=1 verdict=equal")
    assert destination.query(known) == [("different", 1)]
    walking.process.send_signal(signal.SIGTERM)
    walking.report()
    destination.execute("UPDATE large SET v = 'v' WHERE id = 4")
    assert compare(large, *only)[0] == EQUAL
    assert destination.query(known) == [("equal", 0)]


def test_what_comparisons_of_version_16_have_found_is_known(destination, streaming):
    streaming.stop()
    # Table, verdict, rows that were missing, of them repaired: of runs 1 to 6.
    results = ((1, "filed", "equal", 5, 5), (2, "rests", "different", 3, 0), (2, "mended", "different", 3, 0),
               (3, "healed", "equal", 5, 5), (4, "rests", "undecided", 0, 0), (4, "mended", "equal", 0, 0),
               (4, "later", "equal", 0, 0), (5, "rests", "equal", 0, 0), (5, "later", "equal", 0, 0), (6, "later", "undecided", 0, 0))
    destination.script(
        "DROP TABLE towline_state.shape", "ALTER TABLE towline_state.snapshot DROP COLUMN catalogs",
        "DROP TABLE towline_state.verify_look", "ALTER TABLE towline_state.verify_result DROP COLUMN form",
        "ALTER TABLE towline_state.verify_progress DROP COLUMN range_order, DROP COLUMN known_at",
        "UPDATE towline_state.meta SET version = 16",
        "INSERT INTO towline_state.verify_run (task, mode, finished_at) SELECT task, mode, now() FROM towline_state.task, "
        "unnest(ARRAY['rows', 'rows', 'heal', 'rows', 'counts', 'rows']) WITH ORDINALITY AS m (mode, number) ORDER BY number",
        "INSERT INTO towline_state.verify_result SELECT task, run, 'public', name, verdict, 9, 9, 0, missing, 0, 0, 0, repaired, 1, '' "
        f"FROM towline_state.task, (VALUES {', '.join(map(str, results))}) AS r (run, name, verdict, missing, repaired)")
    streaming.start()
    wait_until(lambda: destination.value("SELECT to_regclass('towline_state.verify_look') IS NOT NULL"), 60, "the upgrade")
    assert destination.query("SELECT table_name, run, mode, verdict, rows_different FROM towline_state.verify_look ORDER BY 1") == [
        ("filed", 1, "rows, repair into a file", "different", 5), ("healed", 3, "heal", "equal", 0),
        ("later", 6, "rows", "undecided", 0), ("mended", 4, "rows", "equal", 0), ("rests", 2, "rows", "different", 3)]


# --- beside a heal

def test_a_heal_that_begins_meanwhile_ends_it(destination, streaming):
    with probes.Session(destination) as session:
        session.execute("BEGIN; LOCK t IN ACCESS EXCLUSIVE MODE")
        verifying = Verify(streaming)
        destination.wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'towline verify' "
                             "AND wait_event_type = 'Lock' AND datname = current_database()", 120)
        destination.execute("UPDATE towline_state.task SET phase = 'healing'")
    assert verifying.process.wait(120) == UNDECIDED
    assert "is being healed since this comparison began" in verifying.log()
    destination.execute("UPDATE towline_state.task SET phase = 'streaming'")
    assert compare(streaming, "--resume")[0] == EQUAL

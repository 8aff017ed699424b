"""Tables that belong to an extension: with extension_tables: on what users have added to them is copied and
streamed, and never one of the extension's own rows, which CREATE EXTENSION makes on either side."""
import json
import signal

import pytest

from support.waiting import wait_until

USERS = "SELECT id, v FROM system WHERE id > 100 ORDER BY id"
OWN = "SELECT id, v FROM system WHERE id <= 100 ORDER BY id"
JOBS = "SELECT id FROM job ORDER BY id"
FRESH = [(1, "its own"), (2, "its own")]
ON = ("--extension-tables", "on")


@pytest.fixture
def probe(source, probe_extension):
    source.script(f"CREATE EXTENSION {probe_extension}", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)",
                  "INSERT INTO system SELECT i, 'mine ' || i FROM generate_series(101, 160) i", "INSERT INTO job VALUES (1), (2)",
                  # Neither of these is the users'.
                  "UPDATE system SET v = 'changed' WHERE id = 1", "INSERT INTO inner_part VALUES (7)")
    return probe_extension


def assert_same(source, destination):
    for query in (USERS, JOBS, "SELECT id FROM by_value WHERE is_mine ORDER BY id"):
        assert destination.query(query) == source.query(query)
    assert destination.query("SELECT id FROM inner_part") == [(1,)]


def test_rows_of_users_are_copied_and_streamed(towline, source, destination, probe):
    source.execute("ALTER TABLE by_value REPLICA IDENTITY FULL; INSERT INTO by_value VALUES (1, true), (2, false)")
    source.execute("SELECT setval('job_number', 70), setval('inner_number', 70)")
    towline.start(*ON).wait_for_state("streaming")
    assert_same(source, destination)
    assert destination.query("SELECT (SELECT last_value FROM job_number), (SELECT last_value FROM inner_number)") == [(70, 1)]
    source.execute("SELECT setval('job_number', 90)")
    assert len(destination.query(USERS)) == 60 and destination.query(OWN) == FRESH
    source.script("INSERT INTO system VALUES (300, 'new')", "UPDATE system SET v = 'u' WHERE id IN (2, 110)",
                  "DELETE FROM system WHERE id = 111",
                  # Out of what is the users', and into it.
                  "UPDATE system SET id = 50 WHERE id = 120", "UPDATE system SET id = 400 WHERE id = 50",
                  "UPDATE system SET id = 60 WHERE id = 121", "UPDATE by_value SET is_mine = NOT is_mine",
                  "INSERT INTO job VALUES (3)", "DELETE FROM job WHERE id = 1", "INSERT INTO inner_part VALUES (8)")
    towline.wait_until_caught_up()
    assert_same(source, destination)
    assert destination.query(OWN) == FRESH
    # As it is without them: rows that were copied under a rule need it.
    assert towline.stop() == 0
    assert destination.value("SELECT last_value FROM job_number") >= 90
    towline.start()
    assert towline.wait_exit(30) == 2, towline.tail()
    towline.start(*ON).wait_for_state("streaming")
    source.execute("TRUNCATE system; INSERT INTO system VALUES (500, 'after')")
    towline.wait_until_caught_up()
    assert_same(source, destination)
    assert destination.query("SELECT id FROM system") == [(500,)]
    assert towline.stop() == 0


def test_what_is_there_already_counts_without_the_extensions_own_rows(towline, source, destination, probe):
    source.execute("DROP TABLE t; ALTER TABLE by_value REPLICA IDENTITY FULL")
    destination.script(f"CREATE EXTENSION {probe}", "UPDATE system SET v = 'kept' WHERE id = 2")
    towline.start(*ON).wait_for_state("streaming")
    assert_same(source, destination)
    assert destination.query(OWN) == [(1, "its own"), (2, "kept")]
    assert towline.stop() == 0
    towline.call("drop", check=True)
    # Now there are rows of users.
    towline.start(*ON)
    assert towline.wait_exit(30) == 3
    assert '"public"."system"' in towline.output()
    destination.execute("INSERT INTO system VALUES (999, 'of the destination')")
    towline.start(*ON, "--existing", "truncate").wait_for_state("streaming")
    assert_same(source, destination)
    assert destination.query(OWN) == [(1, "its own"), (2, "kept")]
    assert towline.stop() == 0


@pytest.mark.parametrize("fault, then", [("copy:in-table:kill:1", "starts again"), ("copy:table-done:kill:1", "goes on"),
                                         ("copy:table-done:kill:3", "goes on")])
def test_an_interrupted_copy_leaves_the_extensions_rows(towline_factory, source, destination, probe, fault, then):
    source.execute("ALTER TABLE by_value REPLICA IDENTITY FULL")
    towline = towline_factory(source, destination, fault=fault, arguments=[*ON, "--copy-workers", "1"])
    towline.start()
    assert towline.wait_exit(60) == -signal.SIGKILL
    source.script("DELETE FROM system WHERE id BETWEEN 130 AND 140", "DELETE FROM job")
    assert towline.state() == "copying"
    towline.fault = None
    towline.start().wait_for_log(f"was interrupted and {then}")
    towline.wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_same(source, destination)
    assert destination.query(OWN) == FRESH
    assert towline.stop() == 0


def test_an_interrupted_copy_does_not_go_on_without_the_option(towline_factory, source, destination, probe):
    source.execute("ALTER TABLE by_value REPLICA IDENTITY FULL")
    towline = towline_factory(source, destination, fault="copy:in-table:kill:1", arguments=[*ON, "--copy-workers", "1"])
    towline.start()
    assert towline.wait_exit(60) == -signal.SIGKILL
    own = destination.query(OWN)
    towline.fault = None
    towline.arguments = []
    towline.start()
    assert towline.wait_exit(60) == 3 and "belongs to an extension" in towline.output()
    assert own and destination.query(OWN) == own


def test_without_the_option_nothing_comes(towline, source, destination, probe):
    towline.start().wait_for_state("streaming")
    source.script("INSERT INTO system VALUES (300, 'new')", "INSERT INTO t VALUES (2)")
    wait_until(lambda: destination.value("SELECT count(*) FROM t") == 2, 30, "the row of the user's own table")
    assert destination.query("SELECT id, v FROM system") == FRESH
    assert towline.stop() == 0
    # Asked for after the copy it is too late: changes without the rows from before would be half of it.
    towline.start(*ON).wait_for_log("a table of an extension is left out")
    source.execute("INSERT INTO system VALUES (301, 'new')")
    towline.wait_until_caught_up()
    assert destination.query("SELECT id, v FROM system") == FRESH
    assert towline.stop() == 0


def test_a_condition_that_the_log_cannot_answer_is_found_by_check(towline, source, destination, probe):
    done = towline.call("check", "--json", *ON)
    found = {finding["id"]: finding for finding in json.loads(done.stdout)["findings"]}
    finding = found["source.table_rules_identity"] if found.get("source.table_rules_identity", {}).get("level") == "fail" \
        else found["source.table_rules"]
    assert finding["level"] == "fail" and "by_value" in finding["found"], done.stdout
    assert 'ALTER TABLE "public"."by_value" REPLICA IDENTITY FULL' in finding["statement"] + finding["mend"] \
        or "REPLICA IDENTITY FULL" in finding["mend"]
    towline.start(*ON)
    assert towline.wait_exit(30) == 3
    # Left out, as any table may be.
    source.execute("INSERT INTO by_value VALUES (3, true)")
    towline.start(*ON, "--exclude", "public.by_value").wait_for_state("streaming")
    assert destination.query(USERS) == source.query(USERS) and destination.query("SELECT * FROM by_value") == []
    assert towline.stop() == 0

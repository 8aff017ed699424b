"""What Towline finds at the destination, what it is told to take and to leave, and what makes it stop while
streaming: with the exit status that documents it, and on again once it is mended."""
import signal

import pytest

from support.compare import assert_equal, compare
from support.waiting import wait_until
from test_checks import check

FILL = "INSERT INTO t SELECT i, 'source ' || i FROM generate_series(1, 100) i"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


def stops(towline, *more, status, seconds=60):
    towline.start(*more)
    assert towline.wait_exit(seconds) == status, towline.tail()
    return towline.output()


# --- tables that exist

def test_empty_table_that_fits_is_used(towline, source, destination):
    source.script(TABLE, FILL)
    # Another order of columns, and an index of its own.
    destination.script("CREATE TABLE t (v text, id int PRIMARY KEY)", "CREATE INDEX mine ON t (v)")
    towline.start().wait_for_state("streaming")
    source.execute("UPDATE t SET v = 'u' WHERE id < 5; INSERT INTO t VALUES (1000, 'n'); DELETE FROM t WHERE "
                   "id = 7")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), columns={"public.t": ["id", "v"]})
    assert destination.value("SELECT to_regclass('mine') IS NOT NULL")
    assert towline.stop() == 0


def test_table_with_rows_stops_by_default_and_nothing_is_touched(towline, source, destination):
    source.script(TABLE, FILL)
    destination.script(TABLE, "INSERT INTO t VALUES (1, 'mine')")
    output = stops(towline, status=3)
    assert "public.t" in output or '"t"' in output
    assert destination.query("SELECT * FROM t") == [(1, "mine")]
    assert source.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name]) == []
    # Emptied, as the finding says, the same command goes on.
    destination.execute("TRUNCATE t")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.parametrize("taken", ["CREATE TABLE t_pkey (x int)", "CREATE TABLE other (x int); CREATE INDEX t_pkey ON other (x)"])
def test_name_of_a_key_that_is_something_else_stops(taken, towline, source, destination):
    """Left out as "already there", the copied table would be without its key."""
    source.script(TABLE, FILL)
    destination.execute(taken)
    output = stops(towline, status=3)
    assert 'public"."t_pkey" exists at the destination and is something else' in output
    kind = "TABLE" if taken.startswith("CREATE TABLE t_pkey") else "INDEX"
    destination.execute(f"ALTER {kind} t_pkey RENAME TO moved")
    towline.start().wait_for_state("streaming")
    source.execute("UPDATE t SET v = 'u' WHERE id < 5")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.t"])
    assert destination.value("SELECT indisprimary FROM pg_index WHERE indrelid = 't'::regclass")
    assert towline.stop() == 0


def test_truncate_empties_first(towline, source, destination):
    source.script(TABLE, FILL, "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t)",
                  "INSERT INTO child VALUES (1, 1)")
    destination.script(TABLE, "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t)",
                       "INSERT INTO t SELECT i, 'mine' FROM generate_series(50, 300) i",
                       "INSERT INTO child VALUES (7, 60)")
    towline.start("--existing", "truncate").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_truncate_of_what_other_rows_refer_to_is_foretold(towline, source, destination):
    """No foreign key acts while rows are replicated: these rows would stay without what they refer to."""
    source.script("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
                  "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (1000)", "INSERT INTO p VALUES (1), (2)")
    destination.script("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
                       "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (1000)", "INSERT INTO p VALUES (2), (3)",
                       "CREATE TABLE own (p int REFERENCES p, k int) PARTITION BY LIST (k)",
                       "CREATE TABLE own_1 PARTITION OF own FOR VALUES IN (1)", "INSERT INTO own VALUES (2, 1), (3, 1)",
                       "CREATE TABLE none (p int REFERENCES p)")
    assert check(towline)["destination.referring_rows"]["level"] == "pass"
    finding = check(towline, "--existing", "truncate")["destination.referring_rows"]
    assert finding["level"] == "fail" and finding["found"] == (
        '1 table with rows that refer to tables which existing: truncate empties: "public"."own_1" (to public.p)')
    assert finding["mend"].startswith("Empty those tables as well, or set existing: truncate for them if they are selected; or accept")
    assert finding["found"] in stops(towline, "--existing", "truncate", status=3)
    assert destination.value("SELECT count(*) FROM p") == 2
    # Both ways out.
    destination.execute("DELETE FROM own WHERE p = 3")
    accepted = check(towline, "--existing", "truncate", "--accept", "destination.referring_rows")["destination.referring_rows"]
    assert accepted["level"] == "warn" and accepted["accepted"]
    destination.execute("TRUNCATE own")
    assert check(towline, "--existing", "truncate")["destination.referring_rows"]["level"] == "pass"
    destination.execute("INSERT INTO own VALUES (2, 1)")
    towline.start("--existing", "truncate", "--accept", "destination.referring_rows").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert destination.query("SELECT o.p FROM own o JOIN p ON p.id = o.p") == [(2,)]
    assert_equal(source.uri(), destination.uri(), tables=["public.p_1"])
    assert towline.stop() == 0


def test_rows_that_a_trigger_keeps_away_from_the_copy_stop_it(towline, source, destination):
    source.script(TABLE, FILL)
    destination.script(TABLE, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                       "'BEGIN IF new.id % 10 = 0 THEN RETURN NULL; END IF; RETURN new; END'",
                       "CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()",
                       "ALTER TABLE t ENABLE ALWAYS TRIGGER refuse")
    output = stops(towline, status=3)
    assert "the source sent 100 rows" in output and "and 90 have come" in output
    assert destination.query("SELECT * FROM t") == []
    destination.execute("ALTER TABLE t DISABLE TRIGGER refuse")
    towline.start().wait_for_state("streaming")
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_append_keeps_rows_and_the_stream_overwrites(towline, source, destination):
    source.script(TABLE, FILL)
    destination.script(TABLE, "INSERT INTO t SELECT i, 'mine' FROM generate_series(1001, 1010) i",
                       "INSERT INTO t VALUES (100, 'mine too')")
    towline.start("--existing", "append").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert 'table="public"."t" kept=11 added=99 left_out=1' in towline.output(), towline.tail()
    assert destination.value("SELECT count(*) FROM t WHERE v = 'mine'") == 10
    source.execute("UPDATE t SET v = 'overwritten' WHERE id = 100")
    source.execute("INSERT INTO t VALUES (1001, 'from the source'), (1, 'n') ON CONFLICT (id) DO UPDATE SET "
                   "v = excluded.v")
    towline.wait_until_caught_up()
    assert destination.query("SELECT v FROM t WHERE id IN (1, 1001) ORDER BY id") == [("n",),
                                                            ("from the source",)]
    assert destination.value("SELECT count(*) FROM t WHERE v = 'mine'") == 9
    destination.execute("DELETE FROM t WHERE v = 'mine'")
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.parametrize("table", [TABLE, "CREATE TABLE t (id int, v text); ALTER TABLE t REPLICA IDENTITY FULL"])
def test_append_leaves_out_rows_by_their_key_only(table, towline, source, destination):
    """Two rows of the source of which the destination has room for one: loud, as without append."""
    source.script(table, "INSERT INTO t VALUES (1, 'x'), (2, 'x')")
    destination.script(table, "ALTER TABLE t ADD UNIQUE (v)", "INSERT INTO t VALUES (100, 'mine')")
    output = stops(towline, "--existing", "append", status=3)
    assert "t_v_key" in output and '"public"."t"' in output
    assert destination.query("SELECT * FROM t") == [(100, "mine")]
    destination.execute("ALTER TABLE t DROP CONSTRAINT t_v_key")
    towline.start("--existing", "append").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert destination.query("SELECT * FROM t ORDER BY id") == [(1, "x"), (2, "x"), (100, "mine")]
    assert towline.stop() == 0


def test_append_is_loud_where_two_rows_become_one_key(towline, source, destination):
    """The destination's collation takes for equal what the source tells apart."""
    source.script("CREATE TABLE t (k text PRIMARY KEY)", "INSERT INTO t VALUES ('a'), ('A'), ('b')")
    destination.script("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
                       "CREATE TABLE t (k text COLLATE loose PRIMARY KEY)", "INSERT INTO t VALUES ('b')")
    output = stops(towline, "--existing", "append", status=3)
    assert "same key" in output and '"t"' in output
    assert destination.query("SELECT * FROM t") == [("b",)]


def test_drop_of_an_unfinished_append_leaves_no_staging(towline_factory, source, destination):
    source.script(TABLE, FILL, "CREATE TABLE other (id int PRIMARY KEY)")
    destination.script(TABLE)
    stays = towline_factory(source, destination, task="stays", name="stays", arguments=["--include", "other"])
    stays.start().wait_for_state("streaming")
    goes = towline_factory(source, destination, task="goes", name="goes", fault="copy:append-before-commit:kill",
                           arguments=["--include", "t", "--existing", "append"])
    goes.start()
    goes.wait_exit(60)
    staging = "SELECT count(*) FROM pg_class WHERE relnamespace = 'towline_state'::regnamespace AND relname LIKE 'copy%'"
    assert destination.value(staging) == 1
    goes.fault = None
    goes.call("drop", check=True)
    assert destination.value(staging) == 0
    assert destination.value("SELECT count(*) FROM t") == 0
    assert stays.stop() == 0


def test_policy_can_differ_for_one_table(towline, source, destination):
    source.script(TABLE, FILL, "CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)")
    destination.script(TABLE, "INSERT INTO t VALUES (5, 'mine')")
    file = towline.directory / "task.yaml"
    file.write_text('existing: stop\ntable:\n  "public.t": {existing: truncate}\n')
    towline.start("--config", str(file)).wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_policy_of_a_partitioned_table_holds_for_its_partitions(towline, source, destination):
    for database, own in ((source, "source"), (destination, "mine")):
        database.script("CREATE TABLE p (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)",
                        "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)",
                        "CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2) PARTITION BY RANGE (id)",
                        "CREATE TABLE p_2_a PARTITION OF p_2 FOR VALUES FROM (0) TO (1000)",
                        f"INSERT INTO p SELECT i, k, '{own}' FROM generate_series({1 if own == 'source' else 10}, 20) i, "
                        "generate_series(1, 2) k")
    source.execute("DELETE FROM p WHERE id = 15")
    file = towline.directory / "task.yaml"
    # What the root says keeps the rows under existing: truncate.
    file.write_text('existing: truncate\ntable:\n  "public.p": {existing: stop}\n')
    output = stops(towline, "--config", str(file), status=3)
    assert '2 tables with rows: "public"."p_1", "public"."p_2_a"' in output, output
    assert destination.query("SELECT v, count(*) FROM p GROUP BY v") == [("mine", 22)]
    # It gives them up under existing: stop, but where a table in between says something else.
    file.write_text('existing: stop\ntable:\n  "public.p": {existing: truncate}\n  "public.p_2": {existing: append}\n')
    towline.start("--config", str(file)).wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.p_1"])
    assert destination.query("SELECT v, count(*) FROM p_2_a GROUP BY v ORDER BY v") == [("mine", 11), ("source", 9)]
    assert towline.stop() == 0


# --- selection

def test_only_what_is_selected_is_copied_and_streamed(towline_factory, source, destination):
    source.script("CREATE SCHEMA sales; CREATE SCHEMA other; CREATE SCHEMA \"Odd\"")
    for table in ("sales.orders", "sales.order_lines", "sales.log_1", "other.orders", "other.t",
                  '"Odd"."T.x"', '"Odd".t'):
        source.script(f"CREATE TABLE {table} (id int PRIMARY KEY, v text)",
                      f"INSERT INTO {table} VALUES (1, 'a')")
    source.script("CREATE VIEW sales.v AS SELECT * FROM other.t",
                  "CREATE VIEW sales.w AS SELECT * FROM sales.orders",
                  "ALTER TABLE sales.order_lines ADD t int REFERENCES other.t, ADD o int REFERENCES "
                  "sales.orders")
    towline = towline_factory(source, destination, arguments=[
        "--include", "sales.*", "--include", '"Odd"."T.x"', "--exclude", "sales.log_?", "--exclude",
        "other.*"])
    towline.start().wait_for_state("streaming")
    for table in ("sales.orders", "sales.order_lines", "sales.log_1", "other.orders", "other.t",
                  '"Odd"."T.x"', '"Odd".t'):
        source.script(f"INSERT INTO {table} VALUES (2, 'b')", f"UPDATE {table} SET v = 'c' WHERE id = 1")
    source.execute("TRUNCATE other.t, sales.order_lines; INSERT INTO sales.order_lines VALUES (9, 'after', "
                   "NULL, 1)")
    towline.wait_until_caught_up()
    selected = ["sales.orders", "sales.order_lines", "Odd.T.x"]
    assert_equal(source.uri(), destination.uri(), tables=selected)
    found = destination.query("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN "
                              "('pg_catalog', 'information_schema', 'towline_state')")
    assert sorted(name for name, in found) == sorted(selected)
    assert destination.value("SELECT to_regclass('sales.w') IS NOT NULL AND to_regclass('sales.v') IS NULL")
    assert towline.stop() == 0


@pytest.mark.parametrize("arguments, expected", [
    (["--include", "public.t"], {"t", "t_1", "t_2"}),        # a root brings its partitions
    (["--include", "t_1"], {"t_1"}), (["--exclude", "t_1"], {"t", "t_2", "base", "child"}),
    (["--exclude", "public.t"], {"base", "child"}), (["--include", "base"], {"base"})])
def test_partitions_and_children_are_selected_by_name(towline, source, destination, arguments, expected):
    source.script("CREATE TABLE t (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k)",
                  "CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)",
                  "CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)", "INSERT INTO t VALUES (1, 1), (2, 2)",
                  "CREATE TABLE base (id int PRIMARY KEY)", "CREATE TABLE child () INHERITS (base)",
                  "INSERT INTO base VALUES (1)", "INSERT INTO child VALUES (2)")
    towline.start(*arguments).wait_for_state("streaming")
    source.script("INSERT INTO t VALUES (3, 1), (4, 2)", "UPDATE t SET k = 2 WHERE id = 1",
                  "INSERT INTO child VALUES (5)", "INSERT INTO base VALUES (6)", "TRUNCATE t_2; INSERT INTO t VALUES (7, 2)")
    towline.wait_until_caught_up()
    found = destination.query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
    assert {name for name, in found} == expected
    assert_equal(source.uri(), destination.uri(), tables=[f"public.{name}" for name in sorted(expected)])
    assert towline.stop() == 0


def test_a_table_that_was_left_out_for_a_time_is_parked(towline, source, destination):
    """It streams no more, so it is no copy any more: also when the selection takes it again."""
    source.script(TABLE, FILL, TABLE.replace(" t ", " u "), "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id)",
                  "CREATE TABLE part PARTITION OF parted DEFAULT")
    towline.start().wait_for_state("streaming")
    assert towline.stop() == 0
    towline.start("--exclude", "t")
    source.script("INSERT INTO t VALUES (1000, 'meanwhile')", "INSERT INTO u VALUES (1, 'u')")
    towline.wait_until_caught_up()
    assert towline.stop() == 0
    source.script("INSERT INTO t VALUES (2000, 'later')", "INSERT INTO u VALUES (2, 'u')",
                  "INSERT INTO parted VALUES (1)")
    towline.start()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.u", "public.part"])
    assert destination.value("SELECT count(*) FROM t") == 100
    assert towline.status()["parked"] == [{"schema": "public", "table": "t"}]
    assert "include and exclude did not select it any more" in towline.call("status").stdout
    assert towline.call("table", "rejoin", "public.t").returncode == 0
    wait_until(lambda: towline.status()["parked_total"] == 0, 60, "t to come back", explain=towline.tail)
    # Under another name that nothing excludes it goes on as ever; under one that is not included it does not.
    towline.wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    source.execute("ALTER TABLE t RENAME TO away")
    towline.start("--include", "t", "--include", "u", "--include", "parted")
    source.script("INSERT INTO away VALUES (3000, 'away')", "INSERT INTO u VALUES (3, 'u')")
    towline.wait_until_caught_up()
    assert towline.status()["parked"] == [{"schema": "public", "table": "t"}]
    assert_equal(source.uri(), destination.uri(), tables=["public.u", "public.part"])
    assert towline.stop() == 0


def test_no_table_is_left_out_before_the_stream_has_passed_the_copy(towline, source, destination):
    """It cannot be parked yet, and what the stream passed over would be missing when it is selected again."""
    source.script(TABLE, FILL, TABLE.replace(" t ", " u "), FILL.replace("INTO t", "INTO u"))
    towline.fault = "run:before-stream:kill:1"
    towline.start()
    assert towline.wait_exit(90) == -signal.SIGKILL, towline.tail()
    towline.fault = None
    source.script("INSERT INTO t VALUES (1000, 'meanwhile')", "INSERT INTO u VALUES (1000, 'meanwhile')")
    position = destination.value("SELECT position FROM towline_state.task")
    for selection in (["--exclude", "t"], ["--include", "u"]):
        output = stops(towline, *selection, status=3)
        assert 'has not passed the copy yet: "public"."t"' in output and "Put the selection back" in output
    assert destination.value("SELECT position FROM towline_state.task") == position
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_a_partition_that_is_detached_before_the_stream_has_passed_the_copy_is_parked_later(towline, source, destination):
    source.script("CREATE TABLE family (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
                  "CREATE TABLE one PARTITION OF family FOR VALUES FROM (0) TO (1000)",
                  "CREATE TABLE two PARTITION OF family FOR VALUES FROM (1000) TO (2000)",
                  "INSERT INTO family SELECT i, 'old' FROM generate_series(900, 1100) i")
    towline.fault = "copy:before-post-data:stop:1"
    towline.start("--include", "public.family")
    towline.wait_for_log("fault point copy:before-post-data")
    source.script("ALTER TABLE family DETACH PARTITION one", "INSERT INTO one VALUES (5, 'not sent')",
                  "INSERT INTO family VALUES (1500, 'sent')")
    towline.process.send_signal(signal.SIGCONT)
    towline.fault = None
    wait_until(lambda: destination.query("SELECT state FROM towline_state.piece WHERE table_name = 'one'") == [("parked",)], 60,
               "the partition to be parked")
    assert "since the source has moved it" in towline.output(), towline.tail()
    towline.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM two") == 102
    assert towline.stop() == 0


def test_pattern_that_matches_nothing_is_an_error(towline, source, destination):
    source.execute(TABLE)
    assert "nothing_like_this" in stops(towline, "--include", "nothing_like_this", status=3)


def test_unlogged_tables_are_not_followed_and_check_says_so(towline, source, destination):
    """Their changes are not in the log, so that a copy would be a lie a moment later."""
    source.script(TABLE, FILL, "CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY)",
                  "INSERT INTO scratch VALUES (1)")
    done = towline.call("check", "--json")
    assert "scratch" in done.stdout
    towline.start().wait_for_state("streaming")
    source.execute("INSERT INTO scratch VALUES (2); INSERT INTO t VALUES (500, 'x')")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.t"])
    assert towline.stop() == 0


def test_regclass_value_that_names_an_index_stops_the_copy(towline, source, destination):
    """Indexes are made after the rows. It must not be taken for a table that went away, and tried again."""
    source.script("CREATE TABLE r (id int PRIMARY KEY, v regclass)", "INSERT INTO r VALUES (1, 'r_pkey')")
    output = stops(towline, status=3)
    assert '"public"."r"' in output and "r_pkey" in output and "regclass" in output
    source.execute("UPDATE r SET v = 'r'")
    towline.start().wait_for_state("streaming")
    # While streaming the index is there.
    source.execute("UPDATE r SET v = 'r_pkey'")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


# --- stops while streaming, and how it goes on

@pytest.mark.parametrize("change", ["UPDATE t SET v = 'x' WHERE v = 'a'", "DELETE FROM t WHERE v = 'a'"])
def test_change_without_identity_stops_with_the_statement_that_mends(towline, source, destination, change):
    source.script("CREATE TABLE t (v text)", "INSERT INTO t VALUES ('a'), ('b')",
                  "CREATE TABLE other (id int PRIMARY KEY)")
    check = towline.call("check", "--json")
    assert "REPLICA IDENTITY FULL" in check.stdout
    towline.start().wait_for_state("streaming")
    source.script("INSERT INTO t VALUES ('c')", "INSERT INTO other VALUES (1)")
    towline.wait_until_caught_up()
    source.script(change)
    assert towline.wait_exit(60) == 3, towline.tail()
    output = towline.output()
    assert "ALTER TABLE" in output and "REPLICA IDENTITY FULL" in output
    # The stop is what a second start says as well: nothing has been skipped.
    source.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    assert "REPLICA IDENTITY FULL" in stops(towline, status=3)
    # The documented way on: the change that names no row cannot be had again, so the copy is made anew.
    towline.call("drop", check=True)
    destination.execute("DROP TABLE t, other")
    towline.start().wait_for_state("streaming")
    source.script(change.replace("'a'", "'b'"))
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.parametrize("ddl", ["ALTER TABLE t ADD w int", "ALTER TABLE t DROP v", "ALTER TABLE t RENAME v "
                                                                      "TO w",
                                 "ALTER TABLE t ALTER v TYPE int USING length(v)",
                                 "ALTER TABLE t RENAME TO renamed"])
def test_column_mismatch_stops_and_the_same_ddl_mends_it(towline, source, destination, ddl):
    source.script(TABLE, FILL)
    towline.start().wait_for_state("streaming")
    table = "renamed" if "TO renamed" in ddl else "t"
    source.script("UPDATE t SET id = id + 1000 WHERE id = 1", ddl)
    towline.wait_until_caught_up()
    before = destination.query("SELECT * FROM t ORDER BY id")
    source.script(f"UPDATE {table} SET id = id + 1000 WHERE id = 2")
    status = towline.wait_exit(60)
    assert status == 3, towline.tail()
    assert "public" in towline.output()
    assert destination.query("SELECT * FROM t ORDER BY id") == before
    destination.script(ddl)
    towline.start()
    towline.wait_until_caught_up()
    source.script(f"DELETE FROM {table} WHERE id = 3")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.parametrize("ddl,there", [("ALTER TABLE t DROP v", "ALTER TABLE t DROP v"),
                                       ("ALTER TABLE t RENAME v TO w", "ALTER TABLE t RENAME v TO w")])
def test_rows_from_before_a_column_went_are_applied_before_the_stop(towline, source, destination, ddl, there):
    """In one batch with what followed they were not, and no shape of the destination's table fitted both."""
    source.script(TABLE, FILL)
    towline.start().wait_for_state("streaming")
    assert towline.stop() == 0
    source.script("INSERT INTO t VALUES (1001, 'before')", "UPDATE t SET v = 'before too' WHERE id = 5", ddl,
                  "INSERT INTO t (id) VALUES (1002)")
    stops(towline, status=3)
    assert destination.value("SELECT count(*) FROM t WHERE id > 1000 OR v = 'before too'") == 2
    destination.execute(there)
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_enum_value_that_is_new_at_the_source_waits_for_the_same_ddl(towline, source, destination):
    source.script("CREATE TYPE mood AS ENUM ('sad')", "CREATE TABLE e (id int PRIMARY KEY, m mood)")
    towline.start().wait_for_state("streaming")
    source.script("ALTER TYPE mood ADD VALUE 'happy'", "INSERT INTO e VALUES (1, 'sad')")
    towline.wait_until_caught_up()
    source.script("INSERT INTO e VALUES (2, 'happy')")
    wait_until(lambda: "invalid input value for enum" in towline.output(), 30, "the error to be said",
               explain=towline.tail)
    assert "e" in towline.output() and destination.value("SELECT count(*) FROM e") == 1
    destination.execute("ALTER TYPE mood ADD VALUE 'happy'")
    if not towline.is_running:
        towline.start()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_table_that_is_new_at_the_source_stops_at_its_first_row(towline, source, destination):
    source.script(TABLE, FILL)
    towline.start().wait_for_state("streaming")
    source.script("CREATE TABLE late (id int PRIMARY KEY)", "INSERT INTO t VALUES (1000, 'x')")
    towline.wait_until_caught_up()
    source.script("INSERT INTO late VALUES (1)")
    assert towline.wait_exit(60) == 3, towline.tail()
    assert "late" in towline.output()
    destination.script("CREATE TABLE late (id int PRIMARY KEY)")
    towline.start()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.parametrize("harm, change", [
    ("DELETE FROM t WHERE id = 5", "UPDATE t SET v = 'x' WHERE id = 5"),
    ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5"),
    ("INSERT INTO t VALUES (500, 'mine')", "INSERT INTO t VALUES (500, 'theirs')"),
    ("ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t SELECT * FROM t WHERE id = 5",
     "DELETE FROM t WHERE id = 5")])
def test_row_count_that_differs_stops_and_is_recorded(towline, source, destination, harm, change):
    """I5: somebody wrote at the destination; the change does not find the one row it must."""
    source.script(TABLE, FILL)
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    destination.execute(harm)
    before = destination.query("SELECT * FROM t ORDER BY 1, 2")
    source.execute(change)
    assert towline.wait_exit(60) == 4, towline.tail()
    assert destination.query("SELECT * FROM t ORDER BY 1, 2") == before
    conflicts = destination.query("SELECT schema_name, table_name, type, resolution FROM "
                                  "towline_state.conflict")
    assert len(conflicts) >= 1 and conflicts[0][:2] == ("public", "t"), conflicts
    # Neither key nor row values stand in the log.
    assert "theirs" not in towline.output() and "'x'" not in towline.output()
    # Mended by hand, it goes on where it stopped.
    destination.execute("TRUNCATE t; INSERT INTO t SELECT i, 'source ' || i FROM generate_series(1, 100) i")
    if "pkey" in harm:
        destination.execute("ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (id)")
    towline.start()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_twins_beyond_the_count_stop(towline, source, destination):
    """REPLICA IDENTITY FULL without key: a delete that finds no row equal in every column."""
    source.script("CREATE TABLE t (a int, b text)", "ALTER TABLE t REPLICA IDENTITY FULL",
                  "INSERT INTO t VALUES (1, NULL), (1, NULL)")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    destination.execute("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)")
    source.execute("DELETE FROM t")
    assert towline.wait_exit(60) == 4, towline.tail()
    assert destination.value("SELECT count(*) FROM t") == 1
    wait_until(lambda: not compare(source.uri(), destination.uri()), 1, "the difference to be seen")


def test_table_that_came_later_and_is_made_anew_stops_after_a_restart(towline, source, destination):
    """Nothing was known of it then, and the rows of the first one would have stayed."""
    source.script(TABLE, FILL)
    towline.start().wait_for_state("streaming")
    for database in (destination, source):
        database.execute("CREATE TABLE later (id int PRIMARY KEY)")
    source.execute("INSERT INTO later SELECT generate_series(1, 10)")
    towline.wait_until_caught_up()
    assert "is streamed that was not there at the copy" in towline.output()
    assert towline.stop() == 0
    source.script("DROP TABLE later", "CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (100)")
    output = stops(towline, status=3)
    assert "source table public.later is not the one that was copied" in output


def test_destination_that_publishes_all_its_tables(towline, source, destination):
    destination.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    source.script(TABLE, FILL)
    towline.start().wait_for_state("streaming")
    source.script("UPDATE t SET v = 'u' WHERE id < 5", "DELETE FROM t WHERE id = 7")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    towline.call("drop", check=True)

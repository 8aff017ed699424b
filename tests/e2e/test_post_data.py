"""What is made behind the rows: indexes at the same time, foreign keys and materialized views when the stream
has passed the copy. That nothing of it is missing test_schema.py shows; kills are test_kills.py's."""
import re
import signal

import pytest

from support.compare import assert_equal
from support.probes import Session
from support.waiting import wait_until
from test_schema import assert_same_schema

FAMILY = ("CREATE TABLE parent (id int PRIMARY KEY)", "CREATE TABLE child (id int PRIMARY KEY, p int)",
          "INSERT INTO parent VALUES (1), (2)", "INSERT INTO child VALUES (1, 1), (2, 2)",
          "ALTER TABLE child ADD CONSTRAINT of_parent FOREIGN KEY (p) REFERENCES parent ON DELETE CASCADE")
ORPHAN = "SET session_replication_role = replica; INSERT INTO child VALUES (3, 30)"

# Index builds that last, at the destination: each row is waited for.
SLOW = """CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
          'BEGIN IF current_database() LIKE ''dst%'' THEN PERFORM pg_sleep(0.1); END IF; RETURN i; END'"""


def constraints(database):
    return database.query("SELECT conrelid::regclass::text, conname::text, confrelid::regclass::text, convalidated FROM pg_constraint "
                          "WHERE contype = 'f' ORDER BY 1, 2, 3")


def stop_at(towline_factory, source, destination, point, *arguments):
    """The service, standing still at the fault point."""
    service = towline_factory(source, destination, fault=f"{point}:stop", arguments=arguments)
    service.start()
    wait_until(lambda: f"fault point {point}" in service.output(), 60, "the fault point", explain=service.tail)
    return service


# --- indexes

def test_an_idle_worker_builds_the_indexes_of_tables_that_are_copied(towline_factory, source, destination):
    source.script("CREATE TABLE large (id int PRIMARY KEY, v text)",
                  "INSERT INTO large SELECT i, repeat('x', 500) FROM generate_series(1, 4000) i",
                  "CREATE TABLE small (id int PRIMARY KEY, v int)", "INSERT INTO small SELECT i, i FROM generate_series(1, 50) i",
                  "CREATE INDEX by_v ON small (v)", "CREATE INDEX of_large ON large (id, v)",
                  # Whoever says that it is immutable has all rows in mind.
                  "CREATE FUNCTION large_v(of int) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT v FROM public.large WHERE id = of'",
                  "CREATE INDEX by_large ON small (large_v(id))", "CREATE INDEX by_some ON small (v) WHERE large_v(id) IS NOT NULL")
    service = towline_factory(source, destination, arguments=["--copy-workers", "2", "--copy-rate-max", "300kB"])
    service.start()
    destination.wait_for("SELECT count(*) = 2 FROM pg_indexes WHERE tablename = 'small'")
    assert service.state() == "copying"
    assert destination.query("SELECT indexname FROM pg_indexes WHERE tablename = 'large'") == []
    # What is done stays done.
    service.kill()
    source.execute("UPDATE small SET v = v + 1000 WHERE id < 10")
    service.arguments = ["--copy-rate-max", "0"]
    service.start()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert_same_schema(source, destination)
    for condition in ("large_v(id) = repeat('x', 500)", "large_v(id) IS NOT NULL AND v > 0"):
        with Session(destination) as session:
            session.execute("SET enable_seqscan = off")
            assert session.execute(f"SELECT count(*) FROM small WHERE {condition}") == [(50,)]
    assert service.stop() == 0


# An index of columns alone whose build stands still at the destination for as long as somebody there holds an advisory lock.
GATED = ("""CREATE FUNCTION gated(a int, b int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN
            WHILE current_database() LIKE ''dst%'' AND EXISTS (SELECT FROM pg_catalog.pg_locks
                WHERE locktype = ''advisory'' AND objid = 4711) LOOP PERFORM pg_sleep(0.05); END LOOP;
            RETURN pg_catalog.btint4cmp(a, b); END'""",
         "CREATE OPERATOR CLASS gated_ops FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, "
         "OPERATOR 5 >, FUNCTION 1 gated(int, int)")


def test_idle_workers_build_side_by_side_and_the_snapshot_goes_with_the_last_row(towline_factory, source, destination):
    source.script(*GATED, "CREATE TABLE large (id int PRIMARY KEY, v text)",
                  "INSERT INTO large SELECT i, repeat('x', 500) FROM generate_series(1, 4000) i")
    for name in ("one", "two"):
        source.script(f"CREATE TABLE {name} (id int PRIMARY KEY, v int)", f"INSERT INTO {name} SELECT i, i FROM generate_series(1, 20) i",
                      f"CREATE INDEX {name}_v ON {name} (v gated_ops)")
    service = towline_factory(source, destination, arguments=["--copy-workers", "4", "--index-workers", "2", "--copy-rate-max", "300kB"])
    building = ("SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
                "AND application_name LIKE '%dst copy' AND query LIKE 'CREATE INDEX%'")
    with Session(destination) as gate:
        gate.execute("SELECT pg_advisory_lock(4711)")
        service.start()
        destination.wait_for(building)
        assert service.state() == "copying" and source.value("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name "
                                                             "LIKE '%src snapshot' AND backend_xmin IS NOT NULL")
        service.call("set", "copy_rate_max", "0", check=True)
        destination.wait_for("SELECT state = 'copied' FROM towline_state.piece WHERE table_name = 'large'")
        source.wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE '%src%' AND backend_xmin IS NOT NULL "
                        "AND state LIKE 'idle in%'")
        source.wait_for("SELECT count(*) = 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'one'::regclass "
                        "AND a.application_name LIKE '%src%'")
        assert destination.value(building) and service.state() == "copying"
        service.kill()
    source.execute("UPDATE one SET v = v + 1000 WHERE id < 10")
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert_same_schema(source, destination)
    assert service.stop() == 0


def test_indexes_of_one_table_are_built_at_the_same_time_and_its_key_alone(towline_factory, source, destination):
    # A table with a key and two slow indexes; the copy brings few rows, but each takes its time in every index.
    source.script(SLOW, "CREATE TABLE t (id int, v int)", "INSERT INTO t SELECT i, i FROM generate_series(1, 40) i",
                  "ALTER TABLE t ADD CONSTRAINT one UNIQUE (id)", "CREATE INDEX first ON t (slow(id))",
                  "CREATE INDEX second ON t (slow(v))", "CREATE TABLE other (id int PRIMARY KEY, v text)",
                  "COMMENT ON INDEX first IS 'the first'", "COMMENT ON CONSTRAINT one ON t IS 'the key'",
                  "ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t CLUSTER ON second")
    service = towline_factory(source, destination, arguments=["--index-workers", "3", "--copy-workers", "1",
                                                                    "--log-level", "debug"])
    service.start()
    seen = set()

    def look():
        seen.add(tuple(name for name, in destination.query(
            "SELECT substring(query FROM '\"(\\w+)\"') FROM pg_stat_activity WHERE datname = current_database() "
            "AND state = 'active' AND application_name LIKE '%dst index' AND query LIKE 'CREATE INDEX%' ORDER BY 1")))
        return service.state() == "streaming"
    wait_until(look, 60, "the service to stream", explain=service.tail)
    assert ("first", "second") in seen, seen
    order = re.findall(r'schema statement done statement=.*(?:INDEX|CONSTRAINT|OTHER) "(\w+)" .*duration', service.output())
    assert set(order[:2]) == {"one", "other_pkey"} and set(order[2:4]) == {"first", "second"}, order
    assert_same_schema(source, destination)
    assert service.stop() == 0


def test_index_that_existing_rows_do_not_fit_is_named_with_what_mends_it(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, mail text)", "CREATE UNIQUE INDEX one_mail ON t (mail)",
                  "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    destination.script("CREATE TABLE t (id int PRIMARY KEY, mail text)", "INSERT INTO t VALUES (8, 'secret'), (9, 'secret')")
    towline.start("--existing", "append")
    assert towline.wait_exit() == 3, towline.tail()
    failed = re.search(r"schema statement failed: (.*)", towline.output(), re.DOTALL).group(1)
    assert 'CREATE UNIQUE INDEX "one_mail" ON "public"."t"' in failed.replace("\\", "")
    assert 'Rows of "public"."t" at the destination do not fit "one_mail"' in failed.replace("\\", "")
    assert "secret" not in towline.output()
    destination.execute("DELETE FROM t WHERE id = 9")
    towline.start("--existing", "append").wait_for_state("streaming")
    assert destination.value("SELECT indisvalid AND indisunique FROM pg_index WHERE indexrelid = 'one_mail'::regclass")
    assert destination.query("SELECT id FROM t ORDER BY 1") == [(1,), (2,), (8,)]
    assert towline.stop() == 0


# --- when the stream has passed the copy

def test_constraints_wait_until_the_stream_has_passed_the_copy_and_the_stream_for_them(towline_factory, source, destination):
    source.script(*FAMILY, "CREATE MATERIALIZED VIEW joined AS SELECT count(*) AS n FROM child JOIN parent ON p = parent.id",
                  "CREATE UNIQUE INDEX joined_n ON joined (n)",
                  # It would refuse ours, were it made before them.
                  "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL'; END $$",
                  "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'REFRESH MATERIALIZED VIEW') "
                  "EXECUTE FUNCTION refuse()", "ALTER EVENT TRIGGER refuse ENABLE ALWAYS")
    service = stop_at(towline_factory, source, destination, "copy:before-constraints")
    assert service.state() == "constraints"
    assert constraints(destination) == []
    assert destination.value("SELECT NOT relispopulated FROM pg_class WHERE oid = 'joined'::regclass")
    # I4 needs the snapshot no more, and no session of ours is in a transaction.
    assert destination.query("SELECT lsn_after, (SELECT count(*) FROM towline_state.snapshot) FROM towline_state.task") == [(None, 0)]
    assert destination.query("SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'towline%' AND "
                             "(state <> 'idle' OR application_name LIKE '%apply')") == []
    source.execute("INSERT INTO parent VALUES (3); INSERT INTO child VALUES (3, 3); DELETE FROM parent WHERE id = 1")
    service.process.send_signal(signal.SIGCONT)
    service.wait_until_caught_up()
    assert constraints(destination) == constraints(source) == [("child", "of_parent", "parent", True)]
    assert_same_schema(source, destination)
    assert_equal(source.uri(), destination.uri(), ignore=["public.joined"])
    assert destination.value("SELECT n FROM joined") == 2
    assert service.stop() == 0
    source.execute("ALTER EVENT TRIGGER refuse DISABLE")


def test_foreign_keys_are_validated_as_at_the_source(towline, source, destination):
    source.script(
        *FAMILY, "CREATE TABLE parts (k int PRIMARY KEY, v int) PARTITION BY LIST (k)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)", "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2)",
        "INSERT INTO parts VALUES (1, 1), (2, 2)", "CREATE TABLE to_parts (id int PRIMARY KEY, k int REFERENCES parts)",
        "INSERT INTO to_parts VALUES (1, 1)", "ALTER TABLE parts ADD CONSTRAINT from_parts FOREIGN KEY (v) REFERENCES parent",
        "ALTER TABLE parts_1 ADD CONSTRAINT from_part FOREIGN KEY (v) REFERENCES parent",
        "CREATE TABLE odd (id int PRIMARY KEY, p int)", "INSERT INTO odd VALUES (1, 100)",
        "ALTER TABLE odd ADD CONSTRAINT not_valid FOREIGN KEY (p) REFERENCES parent NOT VALID",
        "COMMENT ON CONSTRAINT not_valid ON odd IS 'never was'", "COMMENT ON CONSTRAINT of_parent ON child IS 'is valid'",
        'CREATE TABLE "Odd (""x"")" (")" int PRIMARY KEY, "REFERENCES" int)',
        'ALTER TABLE "Odd (""x"")" ADD CONSTRAINT "a NOT VALID" FOREIGN KEY ("REFERENCES") REFERENCES "Odd (""x"")" '
        "DEFERRABLE INITIALLY DEFERRED")
    towline.start().wait_for_state("streaming")
    expected = constraints(source)
    assert constraints(destination) == expected
    # One that is not, and all of the partitions that PostgreSQL makes of one.
    assert [row[1] for row in expected if not row[3]] == ["not_valid"] and len(expected) > 8
    assert_same_schema(source, destination)
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_constraint_that_rows_of_the_source_do_not_fit_can_be_mended_there(towline, source, destination):
    source.script(*FAMILY, ORPHAN)
    towline.start()
    assert towline.wait_exit() == 3, towline.tail()
    output = towline.output().replace("\\", "")
    assert 'schema statement failed: ALTER TABLE ONLY "public"."child" VALIDATE CONSTRAINT "of_parent"' in output
    assert 'Rows of "public"."child" at the destination have no parent' in output
    assert towline.row()[2] == "failed" and destination.value("SELECT phase FROM towline_state.task") == "constraints"
    # The same again: not forgotten.
    towline.start()
    assert towline.wait_exit() == 3, towline.tail()
    source.execute("INSERT INTO parent VALUES (30)")
    towline.start().wait_for_state("streaming")
    assert constraints(destination) == constraints(source) == [("child", "of_parent", "parent", True)]
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_foreign_key_that_was_made_or_dropped_by_hand_is_left_so(towline_factory, source, destination):
    source.script(*FAMILY, ORPHAN, "CREATE TABLE second (id int PRIMARY KEY, p int REFERENCES parent)",
                  "SET session_replication_role = replica; INSERT INTO second VALUES (1, 100)")
    towline = towline_factory(source, destination, arguments=["--index-workers", "1"])
    towline.start()
    assert towline.wait_exit() == 3, towline.tail()
    assert re.search(r'failed: .*VALIDATE CONSTRAINT \\?"of_parent', towline.output()), towline.tail()
    destination.execute("ALTER TABLE child DROP CONSTRAINT of_parent")
    towline.start()
    assert towline.wait_exit() == 3, towline.tail()
    assert "was dropped at the destination before it was validated; left out" in towline.output()
    assert re.search(r'failed: .*VALIDATE CONSTRAINT \\?"second_p_fkey', towline.output()), towline.tail()
    destination.script("ALTER TABLE second DROP CONSTRAINT second_p_fkey",
                       "ALTER TABLE second ADD CONSTRAINT by_hand FOREIGN KEY (p) REFERENCES parent NOT VALID")
    towline.start().wait_for_state("streaming")
    assert constraints(destination) == [("second", "by_hand", "parent", False)]
    assert towline.stop() == 0


def test_foreign_key_that_was_there_is_neither_made_nor_validated(towline, source, destination):
    source.script(*FAMILY)
    destination.script(FAMILY[0], FAMILY[1], f"{FAMILY[4]} NOT VALID")
    towline.start().wait_for_state("streaming")
    assert constraints(destination) == [("child", "of_parent", "parent", False)]
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.long
def test_who_keeps_a_foreign_key_waiting_is_named(towline_factory, source, destination):
    source.script(*FAMILY)
    service = stop_at(towline_factory, source, destination, "copy:before-constraints")
    with destination.connect(autocommit=False) as session, session.cursor() as cursor:
        cursor.execute("UPDATE parent SET id = id")
        service.process.send_signal(signal.SIGCONT)
        pid = service.wait_for_log(r'table .*parent.* is locked at the destination by pid (\d+) \(user postgres, idle in '
                                   r'transaction\)', 60).group(1)
        assert pid == str(session.info.backend_pid)
    service.wait_until_caught_up()
    assert constraints(destination) == constraints(source)
    assert service.stop() == 0


def test_two_phase_decoding_begins_behind_the_constraints(towline_factory, source, destination):
    """A transaction prepared at the destination would hold a lock that the foreign key needs, and its end would
    stand behind the foreign key."""
    # Of a partitioned table it is made and validated in one, so that the stop leaves it to be made.
    source.script(FAMILY[0], FAMILY[2], "CREATE TABLE child (id int, p int REFERENCES parent) PARTITION BY LIST (id)",
                  "CREATE TABLE others PARTITION OF child DEFAULT", ORPHAN)
    service = towline_factory(source, destination, arguments=["--two-phase", "on"])
    service.start()
    assert service.wait_exit() == 3, service.tail()
    source.script("BEGIN", "INSERT INTO child VALUES (5, 1)", "PREPARE TRANSACTION 'before'", "INSERT INTO parent VALUES (30)")
    service.start().wait_for_state("streaming", seconds=90)
    assert constraints(destination) == constraints(source)
    wait_until(lambda: source.value("SELECT two_phase FROM pg_replication_slots WHERE database = %s", [source.name]), 90,
               "two-phase decoding to be switched on", explain=service.tail)
    source.script("BEGIN", "INSERT INTO child VALUES (6, 2)", "PREPARE TRANSACTION 'behind'")
    destination.wait_for("SELECT count(*) > 0 FROM pg_prepared_xacts WHERE database = current_database()", 60)
    source.script("COMMIT PREPARED 'before'", "COMMIT PREPARED 'behind'")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert service.stop() == 0

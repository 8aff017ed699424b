"""Capture at the source never fails the user's command, and what it misses is told (docs/plugin.md, DDL)."""
import pytest

from support.compare import assert_equal

APPLY = ("--ddl", "apply")


@pytest.fixture
def captured(source):
    source.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()", "CREATE TABLE t (id int PRIMARY KEY, v text)",
                  "INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 100) i")
    return source


def equal(towline, source, destination):
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True)


def notices(source, *statements):
    connection = source.connect()
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        return "".join(connection.notices)
    finally:
        connection.close()


def test_a_command_is_done_where_its_capture_has_no_table(towline, captured, destination):
    """As when the extension is in the middle of an update: even the gap cannot be written."""
    towline.start(*APPLY).wait_for_state("streaming")
    captured.execute("ALTER EXTENSION towline DROP TABLE towline.ddl_log; ALTER TABLE towline.ddl_log RENAME TO away")
    told = notices(captured, "ALTER TABLE t ADD COLUMN w int DEFAULT 5")
    assert "towline could not capture this ALTER TABLE" in told and "will not know of it" in told, told
    assert captured.value("SELECT count(*) FROM t WHERE w = 5") == 100
    # The next row tells.
    captured.execute("INSERT INTO t VALUES (101, 'x', 1)")
    assert towline.wait_exit() == 3
    assert 'column "w" is missing' in towline.output()
    # An older library's table: its one column is another.
    captured.execute("ALTER TABLE towline.away RENAME TO ddl_log; ALTER EXTENSION towline ADD TABLE towline.ddl_log;"
                     "ALTER TABLE towline.ddl_log ALTER COLUMN entry TYPE text USING NULL")
    told = notices(captured, "CREATE TABLE more (id int PRIMARY KEY)")
    assert "is not the one of this library" in told and "ALTER EXTENSION towline UPDATE" not in told, told
    assert captured.value("SELECT to_regclass('more') IS NOT NULL")


def test_a_cancelled_command_stays_cancelled_and_leaves_nothing(towline, captured, destination):
    towline.start(*APPLY).wait_for_state("streaming")
    captured.execute("CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN $1; END'")
    with pytest.raises(Exception, match="statement timeout"):
        captured.script("SET statement_timeout = '200ms'", "ALTER TABLE t ADD COLUMN w int; ALTER TABLE t ALTER COLUMN v TYPE int USING slow(id)")
    captured.execute("INSERT INTO t VALUES (102, 'y')")
    equal(towline, captured, destination)
    assert destination.query("SELECT tag FROM towline_state.ddl_history") == [("CREATE FUNCTION",)]
    assert towline.stop() == 0


def test_event_triggers_that_run_ddl_hide_nothing(towline, captured, destination):
    """Commands within commands: each has its own objects, drops and rows."""
    captured.execute("""
CREATE TABLE made (number serial PRIMARY KEY, tag text);
CREATE TABLE spare (id int PRIMARY KEY);
CREATE FUNCTION also() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() > 0 OR current_setting('test.within', true) = 'yes' THEN RETURN; END IF;
    PERFORM set_config('test.within', 'yes', true);
    EXECUTE format('CREATE TABLE beside_%s (id int PRIMARY KEY)', nextval('made_number_seq'));
    EXECUTE 'DROP TABLE IF EXISTS spare';
    INSERT INTO made (tag) VALUES (tg_tag);
    PERFORM set_config('test.within', 'no', true);
END $$;
CREATE TABLE doomed (id int PRIMARY KEY); CREATE TABLE doomed_too (id int PRIMARY KEY)""")
    captured.script("CREATE EVENT TRIGGER x_also ON sql_drop EXECUTE FUNCTION also()",
                    "CREATE EVENT TRIGGER a_also ON ddl_command_end EXECUTE FUNCTION also()",
                    "CREATE EVENT TRIGGER r_also ON table_rewrite EXECUTE FUNCTION also()")
    try:
        towline.start(*APPLY).wait_for_state("streaming")
        captured.script("CREATE TABLE first (id int)", "DROP TABLE doomed", "DROP TABLE doomed_too; INSERT INTO t VALUES (104)",
                        "CREATE TABLE last AS SELECT * FROM t")
        captured.execute("ALTER TABLE t ALTER COLUMN v TYPE text USING v || random()")
        captured.execute("ALTER TABLE last ADD COLUMN r float8 DEFAULT random()")
        equal(towline, captured, destination)
        assert destination.value("SELECT to_regclass('doomed') IS NULL AND to_regclass('doomed_too') IS NULL AND to_regclass('spare') IS NULL")
        places = destination.query("SELECT end_lsn, ordinal FROM towline_state.ddl_history")
        assert len(places) == len(set(places)) and len(places) > 12
        assert {fate for fate, in destination.query("SELECT fate FROM towline_state.ddl_history")} == {"applied"}
        assert towline.stop() == 0
    finally:
        captured.execute("DROP EVENT TRIGGER a_also; DROP EVENT TRIGGER x_also; DROP EVENT TRIGGER r_also")

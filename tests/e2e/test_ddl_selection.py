"""Schema changes where patterns select tables (docs/ddl.md, With tables.include or tables.exclude)."""
import pytest

from support.schema_changes import APPLY, captured, ddl, history  # noqa: F401 (a fixture)
from support.waiting import wait_until
from test_table_rules import configure


@pytest.fixture
def events(captured):
    """Partitioned, with rows in all partitions, and tables beside it."""
    captured.script(
        "CREATE TABLE events (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
        "CREATE TABLE p1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
        "CREATE TABLE p2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');"
        "CREATE TABLE other (id int PRIMARY KEY, v text); CREATE SCHEMA s",
        "INSERT INTO events SELECT i, date '2026-01-01' + i, '7' FROM generate_series(0, 49) i;"
        "INSERT INTO other SELECT i, '7' FROM generate_series(1, 50) i")
    return captured


def start(towline, *patterns):
    towline.start(*APPLY, *patterns).wait_for_state("streaming")


def assert_same(towline, source, destination, *tables):
    """With which partition each row is in."""
    towline.wait_until_caught_up()
    for table in tables:
        rows = f"SELECT tableoid::regclass::text, to_jsonb(t)::text FROM {table} t ORDER BY 1, 2"
        assert source.query(rows) == destination.query(rows), table


def fates(destination):
    return [fate for fate, in history(destination, "fate")]


def pieces(destination):
    return {name for name, in destination.query("SELECT table_name FROM towline_state.piece")}


def test_who_names_a_partitioned_table_means_its_partitions(towline, events, destination):
    start(towline, "--include", "public.events")
    events.execute("CREATE TABLE p3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01') PARTITION BY LIST (id);"
                   "CREATE TABLE p3a PARTITION OF p3 DEFAULT; INSERT INTO events VALUES (1, '2026-03-05', 'new')")
    events.execute("DROP TABLE p1")
    events.execute("CREATE INDEX p2_v ON p2 (v); ALTER TABLE p2 ALTER COLUMN v SET DEFAULT 'd'; DROP INDEX p2_v")
    events.execute("ALTER TABLE events ADD COLUMN w int; UPDATE events SET w = 1")
    assert_same(towline, events, destination, "events")
    assert set(fates(destination)) == {"applied"}
    # As for rows: what excludes leaves out is left out of what include takes in.
    assert towline.stop() == 0
    start(towline, "--include", "public.events", "--exclude", "public.p4*")
    events.execute("CREATE TABLE p4 PARTITION OF events FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');"
                   "INSERT INTO events VALUES (1, '2026-04-05', 'passed over'), (2, '2026-03-05', 'new')")
    events.execute("DROP TABLE p4")
    assert_same(towline, events, destination, "events")
    assert fates(destination)[-2:] == ["ignored", "ignored"]
    assert towline.stop() == 0


def test_rewrites_and_computed_defaults(towline, events, destination):
    events.execute("CREATE TYPE pair AS (a int, b text); CREATE TABLE t_pair (id int PRIMARY KEY, p pair); CREATE TABLE t_child () INHERITS (t)")
    events.execute("INSERT INTO t_pair VALUES (1, (1, 'x')); INSERT INTO t_child VALUES (1000, '5', 1)")
    start(towline, "--include", "public.t*", "--include", "public.events", "--exclude", "public.t_child")
    for change in ("ALTER TABLE t ADD COLUMN chance float8 DEFAULT random(); INSERT INTO t VALUES (501, '1', 1)",
                   "ALTER TABLE t ALTER COLUMN n TYPE numeric USING n + random(); UPDATE t SET n = n + 1 WHERE id < 50",
                   "ALTER TABLE t ADD COLUMN at timestamptz DEFAULT clock_timestamp(), ADD COLUMN day timestamptz DEFAULT now()",
                   "ALTER TABLE events ADD COLUMN chance float8 DEFAULT random(), ALTER COLUMN v TYPE int USING v::int + 1",
                   "ALTER TABLE other ALTER COLUMN v TYPE int USING v::int, ADD COLUMN chance float8 DEFAULT random()"):
        events.execute(change)
    assert_same(towline, events, destination, "ONLY t", "events")
    assert fates(destination) == ["applied"] * 4 + ["ignored"]
    assert destination.value("SELECT to_regclass('t_child') IS NULL AND to_regclass('other') IS NULL")
    assert towline.stop() == 0


def test_a_rewrite_of_selected_tables_and_others_is_held(towline, events, destination):
    start(towline, "--include", "public.events", "--exclude", "public.p1")
    events.execute("ALTER TABLE events DETACH PARTITION p1; ALTER TABLE events ATTACH PARTITION p1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
    towline.wait_until_caught_up()
    assert fates(destination) == ["ignored"] * 2
    events.execute("ALTER TABLE events ALTER COLUMN v TYPE int USING v::int")
    assert towline.wait_exit() == 4
    assert "it names tables that are selected and others that are not" in towline.output()
    assert destination.value("SELECT count(*) FROM events") == 19


def test_renamed_within_the_selection(towline, events, destination):
    events.execute("CREATE TABLE s.first (id int PRIMARY KEY)")
    start(towline, "--include", "public.t*", "--include", "s.*", "--include", "public.events")
    events.execute("ALTER TABLE t RENAME TO t_old; INSERT INTO t_old VALUES (-1, 'old'); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (-2)")
    events.execute("ALTER TABLE t_old SET SCHEMA s; UPDATE s.t_old SET v = 'moved' WHERE id < 9; ALTER TABLE p1 RENAME TO january;"
                   "INSERT INTO events VALUES (99, '2026-01-09', 'x')")
    events.execute("ALTER TABLE other RENAME TO more")
    assert_same(towline, events, destination, "s.t_old", "t", "events")
    assert fates(destination) == ["applied"] * 4 + ["ignored"]
    # Known by its new name when the task starts again.
    assert towline.stop() == 0
    towline.start(*APPLY, "--include", "public.t*", "--include", "s.*", "--include", "public.events").wait_for_state("streaming")
    events.execute("DELETE FROM s.t_old WHERE id > 400; DELETE FROM january WHERE id < 5")
    assert_same(towline, events, destination, "s.t_old", "t", "events")
    assert towline.stop() == 0


def test_renamed_out_of_the_selection_and_into_it(towline, events, destination):
    patterns = ("--include", "public.t*", "--include", "public.events")
    start(towline, *patterns)
    before = destination.query("SELECT * FROM t ORDER BY id")
    events.execute("INSERT INTO t VALUES (501, 'with it'); ALTER TABLE t RENAME TO gone; INSERT INTO gone VALUES (502, 'not')")
    events.execute("CREATE TABLE t (id int PRIMARY KEY, fresh text); INSERT INTO t VALUES (1, 'new')")
    assert_same(towline, events, destination, "t")
    assert destination.query("SELECT * FROM gone ORDER BY id") == [*before, (501, "with it", None)]
    assert "gone" not in pieces(destination) and "t" in pieces(destination)
    # With the partitions that only its name has selected.
    events.execute("ALTER TABLE events RENAME TO e2; INSERT INTO e2 VALUES (77, '2026-01-07', 'not')")
    towline.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM e2") == 50
    assert not pieces(destination) & {"p1", "p2"}
    assert fates(destination) == ["applied"] * 3
    # Its rows are not here.
    events.execute("ALTER TABLE other RENAME TO t_other; INSERT INTO t_other VALUES (-1, 'x')")
    assert towline.wait_exit() == 4
    assert "comes into the selection with its rows" in towline.output() and "towline table rejoin" in towline.output()
    assert ddl(towline, "skip").returncode == 0
    # Whether there is a table of its name or not: it takes no rows before it has the earlier ones.
    start(towline, *patterns)
    events.execute("INSERT INTO t_other VALUES (-2, 'x'); ALTER TABLE t_other ADD COLUMN w int DEFAULT 3")
    towline.wait_until_caught_up()
    assert destination.query("SELECT state FROM towline_state.piece WHERE table_name = 't_other'") == [("parked",)]
    destination.execute("CREATE TABLE t_other (id int PRIMARY KEY, v text, w int DEFAULT 3)")
    assert towline.call("table", "rejoin", "public.t_other").returncode == 0
    wait_until(lambda: destination.value("SELECT count(*) FROM t_other") == 52, 60, "the table to be copied", explain=towline.tail)
    assert_same(towline, events, destination, "t_other", "t")
    assert towline.stop() == 0


def test_partitions_are_attached_and_detached(towline, events, destination):
    events.execute("CREATE TABLE t_mar (LIKE events INCLUDING ALL); INSERT INTO t_mar VALUES (5, '2026-03-03', '7');"
                   "CREATE TABLE s.far (id int) PARTITION BY LIST (id); CREATE TABLE s.far1 PARTITION OF s.far DEFAULT")
    start(towline, "--include", "public.t*", "--include", "public.events")
    events.execute("ALTER TABLE events ATTACH PARTITION t_mar FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');"
                   "INSERT INTO events VALUES (6, '2026-03-04', '7')")
    assert_same(towline, events, destination, "events")
    # Selected by itself, too.
    events.execute("ALTER TABLE events DETACH PARTITION t_mar; INSERT INTO t_mar VALUES (7, '2026-03-05', '7')")
    # Not by itself: as when old partitions are put away.
    events.execute("ALTER TABLE events DETACH PARTITION p1; DELETE FROM p1; DROP TABLE p1; ALTER TABLE s.far DETACH PARTITION s.far1")
    assert_same(towline, events, destination, "events", "t_mar")
    assert destination.value("SELECT count(*) FROM p1") == 31
    assert "p1" not in pieces(destination)
    assert fates(destination) == ["applied"] * 3 + ["ignored"] * 2
    events.execute("CREATE TABLE t_apart (id int); ALTER TABLE s.far ATTACH PARTITION t_apart FOR VALUES IN (1)")
    assert towline.wait_exit() == 4
    assert "becomes a partition of one that is not selected" in towline.output()
    events.execute("DROP TABLE s.far")
    assert ddl(towline, "skip").returncode == 0
    # Its rows would be nobody's: not to be parked either.
    start(towline, "--include", "public.t*", "--include", "public.events", "--on-ddl-error", "park")
    # One that has left, and whose rows of then are still here.
    events.execute("ALTER TABLE events DETACH PARTITION p2; INSERT INTO p2 VALUES (99, '2026-02-20', 'meanwhile');"
                   "ALTER TABLE events ATTACH PARTITION p2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
    assert towline.wait_exit() == 4
    assert "comes into the selection with its rows" in towline.output()
    assert ddl(towline, "skip").returncode == 0
    start(towline, "--include", "public.t*", "--include", "public.events")
    events.execute("INSERT INTO events VALUES (98, '2026-02-21', 'behind')")
    towline.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM p2 WHERE id > 90") == 0
    destination.execute("ALTER TABLE events ATTACH PARTITION p2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
    assert towline.call("table", "rejoin", "public.p2").returncode == 0
    wait_until(lambda: destination.value("SELECT count(*) FROM p2 WHERE id > 90") == 2, 60, "the partition to be copied", explain=towline.tail)
    assert_same(towline, events, destination, "events")
    assert towline.stop() == 0


def test_partitions_of_a_table_that_is_not_selected(towline, events, destination):
    events.execute("CREATE TABLE s.far (id int) PARTITION BY LIST (id); CREATE TABLE t_x PARTITION OF s.far FOR VALUES IN (1);"
                   "ALTER TABLE t_x ADD PRIMARY KEY (id)")
    start(towline, "--include", "public.t*", "--include", "public.p*", "--exclude", "public.events")
    # It stands alone here already.
    events.execute("INSERT INTO t_x VALUES (1); ALTER TABLE s.far DETACH PARTITION t_x; INSERT INTO t_x VALUES (2)")
    assert_same(towline, events, destination, "t_x")
    assert fates(destination) == ["ignored"]
    # It was excluded by the name above it.
    events.execute("ALTER TABLE events DETACH PARTITION p1")
    assert towline.wait_exit() == 4
    assert "comes into the selection with its rows" in towline.output()


@pytest.mark.parametrize("decides", ("skip", "approve"))
def test_what_leaves_is_forgotten_whoever_decides(towline, events, destination, decides):
    configure(towline, {"public.*": {"ddl": "hold"}}, ddl="apply", tables={"include": ["public.t", "public.events"]})
    towline.start().wait_for_state("streaming")
    for name in ("t", "events"):
        events.execute(f"ALTER TABLE {name} RENAME TO {name}_gone")
        assert towline.wait_exit() == 4
        assert "ddl of schema public says hold for table" in towline.output()
        assert ddl(towline, decides).returncode == 0
        towline.start().wait_for_state("streaming")
        towline.wait_until_caught_up()
    assert pieces(destination) == set()
    assert destination.value("SELECT to_regclass('t_gone') IS NOT NULL AND to_regclass('events_gone') IS NOT NULL") == (decides == "approve")
    assert towline.stop() == 0


def test_what_belongs_to_tables_is_dropped_with_them_only(towline, events, destination):
    events.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    destination.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    for table in ("t", "other"):
        events.execute(f"CREATE INDEX {table}_i ON {table} (v); CREATE TRIGGER g BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION f();"
                       f"CREATE POLICY p ON {table} USING (true); CREATE RULE r AS ON DELETE TO {table} DO ALSO SELECT 1")
    events.execute("CREATE INDEX nowhere ON other (v); CREATE INDEX above ON ONLY events (v); CREATE INDEX below1 ON p1 (v)")
    start(towline, "--include", "public.t*")
    events.execute("DROP INDEX nowhere; ALTER INDEX above ATTACH PARTITION below1")
    towline.wait_until_caught_up()
    assert fates(destination) == ["ignored"] * 2
    destination.execute("CREATE TABLE other (v text); CREATE INDEX other_i ON other (v)")
    for table in ("t", "other"):
        events.execute(f"DROP INDEX {table}_i; DROP TRIGGER g ON {table}; DROP POLICY p ON {table}; DROP RULE r ON {table}")
    assert_same(towline, events, destination, "t")
    assert fates(destination)[2:] == ["applied"] * 4 + ["ignored"] * 4
    left = ("SELECT (SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass), (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal),"
            "(SELECT count(*) FROM pg_policy), (SELECT count(*) FROM pg_rewrite WHERE ev_class = 't'::regclass)")
    assert destination.query(left) == [(1, 0, 0, 0)]
    assert destination.value("SELECT to_regclass('other_i') IS NOT NULL")
    assert towline.stop() == 0


def test_a_rule_holds_what_is_of_its_table_only(towline, events, destination):
    events.execute("CREATE TABLE apr (LIKE events INCLUDING ALL); ALTER TABLE other REPLICA IDENTITY FULL")
    configure(towline, {"public.other": {"where": "id > 5"}}, ddl="apply")
    towline.start().wait_for_state("streaming")
    for change in ("ALTER TABLE t ALTER COLUMN n TYPE numeric USING n + random(), ADD COLUMN at timestamptz DEFAULT now()",
                   "ALTER TABLE events ATTACH PARTITION apr FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')",
                   "ALTER TABLE events DETACH PARTITION p1; ALTER TABLE t RENAME TO t2",
                   "ALTER TABLE other ADD COLUMN w int; INSERT INTO other VALUES (60, 'x', 1), (-5, 'x', 2)"):
        events.execute(change)
    assert_same(towline, events, destination, "t2", "events", "p1")
    assert destination.query("SELECT id, w FROM other WHERE w IS NOT NULL OR id < 7 ORDER BY id") == [(6, None), (60, 1)]
    assert fates(destination) == ["applied"] * 5
    events.execute("ALTER TABLE other ADD COLUMN at timestamptz DEFAULT now()")
    assert towline.wait_exit() == 4
    assert "it writes rows of a table anew that has a rule" in towline.output()


@pytest.mark.parametrize("change, why", [
    ("ALTER SCHEMA s RENAME TO r", "RENAME SCHEMA, and tables are selected by patterns"),
    # Only one of the tables that it rewrites is selected, behind one that is not.
    ("ALTER TABLE events ALTER COLUMN v TYPE text USING v || '1', ADD COLUMN chance float8 DEFAULT random()",
     "it names tables that are selected and others that are not")], ids=("schema", "rewrite"))
def test_what_the_objects_do_not_tell_is_held(towline, events, destination, change, why):
    events.execute("CREATE TABLE s.one (id int PRIMARY KEY)")
    start(towline, "--include", "s.*", "--include", "public.p2")
    events.execute(change)
    assert towline.wait_exit() == 4, towline.tail()
    assert why in towline.output()


def test_a_renamed_table_keeps_its_rule(towline, events, destination):
    events.execute("ALTER TABLE other REPLICA IDENTITY FULL")
    configure(towline, {"public.other": {"where": "id > 5"}}, ddl="apply")
    towline.start().wait_for_state("streaming")
    events.execute("ALTER TABLE other RENAME TO o2; INSERT INTO o2 VALUES (-1, 'x')")
    assert towline.wait_exit() == 4
    assert "is renamed or rewritten" in towline.output()

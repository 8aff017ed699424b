"""Tables whose changes are not folded: what fires for them at the destination sees what it would have seen at the
source, change by change; and `fold: off` writes every change of a table that has nothing of the kind."""
import json

from support.compare import assert_equal
from support.waiting import wait_until

# The journal says what a trigger saw of another table, and in which order.
JOURNAL = """CREATE TABLE journal (number bigserial, move int, kind text, seen int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO public.journal (move, kind, seen) SELECT coalesce(NEW.id, OLD.id), TG_OP, n FROM public.stock
    WHERE id = coalesce(NEW.stock, OLD.stock);
  RETURN NULL; END $$"""
TABLES = ("CREATE TABLE stock (id int PRIMARY KEY, n int)", "INSERT INTO stock VALUES (1, 0), (2, 0)",
          "CREATE TABLE moves (id int PRIMARY KEY, stock int, n int)")
SEEN = "SELECT move, kind, seen FROM journal ORDER BY number"


def move(number):
    """The stock changes before and behind each move, within one transaction."""
    stock = number % 2 + 1
    return (f"UPDATE stock SET n = n + 1 WHERE id = {stock}; INSERT INTO moves VALUES ({number}, {stock}, 1); "
            f"UPDATE stock SET n = n + 1 WHERE id = {stock}; UPDATE moves SET n = 2 WHERE id = {number}; "
            + (f"DELETE FROM moves WHERE id = {number - 2}; " if number % 5 == 4 else "")
            + f"UPDATE stock SET n = n + 1 WHERE id = {stock}")


def with_journal(database, enable):
    database.script(JOURNAL, "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON moves FOR EACH ROW EXECUTE FUNCTION note()",
                    f"ALTER TABLE moves ENABLE {enable} TRIGGER note")


def test_a_trigger_sees_the_other_tables_as_at_the_source(towline, source, destination):
    for database in (source, destination):
        database.script(*TABLES[:1], TABLES[2])
    source.execute(TABLES[1])
    with_journal(source, "")
    with_journal(destination, "REPLICA")
    towline.start("--exclude", "journal").wait_for_state("streaming")
    # Stopped, so that all of it meets one batch.
    assert towline.stop() == 0
    for number in range(40):
        source.execute(move(number))
    source.execute("INSERT INTO moves SELECT i, 1, 0 FROM generate_series(100, 400) i; UPDATE stock SET n = -1")
    towline.start("--exclude", "journal").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.stock", "public.moves"])
    assert len(source.query(SEEN)) == 40 * 2 + 8 + 301
    assert destination.query(SEEN) == source.query(SEEN)
    assert towline.stop() == 0


def test_a_rule_sees_every_row(towline, source, destination):
    """COPY would pass it by."""
    for database in (source, destination):
        database.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    destination.script("CREATE TABLE seen (id int, v int)",
                       "CREATE RULE note AS ON INSERT TO t DO ALSO INSERT INTO public.seen VALUES (NEW.id, NEW.v)",
                       "ALTER TABLE t ENABLE ALWAYS RULE note")
    towline.start().wait_for_state("streaming")
    source.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 3000) i")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.t"])
    assert destination.query("SELECT count(*), count(DISTINCT id), sum(v) FROM seen") == [(3000, 3000, 3000 * 3001 // 2)]
    assert towline.stop() == 0


def test_a_trigger_of_one_partition_counts_for_the_whole_table(towline, source, destination):
    for database in (source, destination):
        database.script("CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
                        "CREATE TABLE low PARTITION OF p FOR VALUES FROM (0) TO (100)",
                        "CREATE TABLE high PARTITION OF p FOR VALUES FROM (100) TO (200)")
    destination.script("CREATE TABLE seen (number bigserial, v int)",
                       "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                       "INSERT INTO public.seen (v) VALUES (NEW.v); RETURN NULL; END $$",
                       "CREATE TRIGGER note AFTER INSERT OR UPDATE ON high FOR EACH ROW EXECUTE FUNCTION note()",
                       "ALTER TABLE high ENABLE ALWAYS TRIGGER note")
    towline.start().wait_for_state("streaming")
    source.execute("INSERT INTO p VALUES (1, 0), (150, 0); " + "; ".join(f"UPDATE p SET v = {i}" for i in range(1, 30)))
    towline.wait_until_caught_up()
    assert destination.query("SELECT v FROM seen ORDER BY number") == [(i,) for i in range(30)]
    assert_equal(source.uri(), destination.uri(), tables=["public.low", "public.high"])
    assert towline.stop() == 0


def test_fold_off_writes_every_change(towline, source, destination):
    source.script("CREATE TABLE folded (id int PRIMARY KEY, v int)", "CREATE TABLE kept (id int PRIMARY KEY, v int)",
                  "INSERT INTO folded VALUES (1, 0)", "INSERT INTO kept VALUES (1, 0)")
    file = towline.directory / "towline.yaml"
    file.write_text(json.dumps({"table": {"public.kept": {"fold": "off"}, "public.folded": {"fold": "on"}}}))  # JSON is YAML
    towline.start("--config", str(file)).wait_for_state("streaming")
    # Not by turns: each change of the one is a barrier for the other.
    source.execute("; ".join(f"UPDATE {table} SET v = {i}" for table in ("folded", "kept") for i in range(1, 51)))
    towline.wait_until_caught_up()
    updated = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = '{}'"
    wait_until(lambda: destination.value(updated.format("kept")) == 50, 60, "50 updates",
               explain=lambda: str(destination.query("SELECT relname, n_tup_upd FROM pg_stat_user_tables")))
    assert destination.value(updated.format("folded")) == 1
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_a_refused_change_of_an_ordered_table_is_found_and_the_journal_is_not_doubled(towline, source, destination):
    """What fires is taken back with the batch that is written again by halves."""
    for database in (source, destination):
        database.script(*TABLES[:1], TABLES[2])
    source.execute(TABLES[1])
    with_journal(source, "")
    with_journal(destination, "ALWAYS")
    destination.execute("ALTER TABLE stock ADD CONSTRAINT few CHECK (n < 40)")
    towline.start("--exclude", "journal").wait_for_state("streaming")
    assert towline.stop() == 0
    for number in range(40):
        source.execute(move(number))
    towline.start("--exclude", "journal")
    assert towline.wait_exit(60) == 4, towline.tail()
    assert "check_violation (table public.stock" in towline.output()
    destination.execute("ALTER TABLE stock DROP CONSTRAINT few")
    towline.start("--exclude", "journal").wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert destination.query(SEEN) == source.query(SEEN)
    assert_equal(source.uri(), destination.uri(), tables=["public.stock", "public.moves"])
    assert towline.stop() == 0

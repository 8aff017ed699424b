"""Tables that are not what was copied: another one under the name, an unlogged one, an extension's."""
from support.compare import assert_equal


def test_tables_swapped_by_rename_while_stopped_stop_the_task(towline, source):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'old')",
                  "CREATE TABLE t_new (id int PRIMARY KEY, v text)",
                  "INSERT INTO t_new VALUES (1, 'new'), (2, 'new')")
    towline.start().wait_for_state("streaming")
    assert towline.stop() == 0
    source.script("BEGIN; ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; COMMIT",
                  "INSERT INTO t VALUES (3, 'new')")
    for _ in range(2):  # a restart does not hide it
        towline.start()
        assert towline.wait_exit(60) == 3, towline.tail()
        assert "is not the one that was copied" in towline.output()


def test_a_table_that_becomes_logged_stops_the_task(towline, source):
    source.script("CREATE UNLOGGED TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)",
                  "CREATE TABLE other (id int PRIMARY KEY)")
    towline.start().wait_for_state("streaming")
    source.script("ALTER TABLE t SET LOGGED", "INSERT INTO t VALUES (2)")
    assert towline.wait_exit(60) == 3, towline.tail()
    assert "it is unlogged" in towline.output()


def test_tables_of_extensions_are_neither_copied_nor_streamed(towline, source, destination):
    source.script("CREATE EXTENSION hstore", "CREATE TABLE member (id int PRIMARY KEY)",
                  "ALTER EXTENSION hstore ADD TABLE member", "INSERT INTO member VALUES (1)",
                  "CREATE TABLE t (id int PRIMARY KEY)")
    destination.script("CREATE EXTENSION hstore", "CREATE TABLE member (id int PRIMARY KEY)",
                       "ALTER EXTENSION hstore ADD TABLE member")
    towline.start().wait_for_state("streaming")
    source.script("INSERT INTO member VALUES (2)", "UPDATE member SET id = 3 WHERE id = 1",
                  "INSERT INTO t VALUES (1)")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.t"])
    assert destination.query("SELECT count(*) FROM member")[0][0] in (0, "0")
    assert towline.stop() == 0


def test_tables_that_are_altered_at_the_destination_while_they_stream(towline, source, destination):
    source.script("CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, n int)", "CREATE TABLE points (n int)",
                  "CREATE TABLE seen (id int PRIMARY KEY)",
                  "INSERT INTO users SELECT i, i::text, 0 FROM generate_series(1, 100) i")
    towline.start().wait_for_state("streaming")
    source.script("UPDATE users SET n = 1", "INSERT INTO points VALUES (1)", "INSERT INTO seen VALUES (1)")
    towline.wait_until_caught_up()
    # With a unique key beside the first an update is written as a delete and an insert: of all columns that are known.
    destination.execute("ALTER TABLE users ADD COLUMN reviewed bool DEFAULT false; UPDATE users SET reviewed = true")
    source.execute("UPDATE users SET n = 2")
    towline.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM users WHERE reviewed AND n = 2") == 100
    assert "was altered while changes were applied to it" in towline.output()
    # What fires for us is heeded: rows in their order, none by COPY.
    destination.execute("CREATE TABLE noted (id int, points bigint); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
                        "'BEGIN INSERT INTO public.noted SELECT NEW.id, count(*) FROM public.points; RETURN NULL; END';"
                        "CREATE TRIGGER noting AFTER INSERT ON seen FOR EACH ROW EXECUTE FUNCTION note();"
                        "ALTER TABLE seen ENABLE ALWAYS TRIGGER noting")
    source.execute("; ".join(f"INSERT INTO seen VALUES ({i}); INSERT INTO points VALUES ({i})" for i in (2, 3, 4)))
    towline.wait_until_caught_up()
    assert destination.query("SELECT id, points FROM noted ORDER BY id") == [(2, 1), (3, 2), (4, 3)]
    # COPY would put the bytes of an integer into a column of another type that has as many.
    destination.execute("ALTER TABLE points ALTER n TYPE real")
    source.execute("INSERT INTO points SELECT 1000000 FROM generate_series(1, 2000)")
    assert towline.wait_exit(60) == 3, towline.tail()
    assert destination.value("SELECT count(*) FROM points WHERE n NOT IN (1, 2, 3, 4, 1000000)") == 0
    destination.execute("ALTER TABLE points ALTER n TYPE int; ALTER TABLE users DROP COLUMN reviewed")
    towline.start()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.users", "public.points", "public.seen"])
    assert towline.stop() == 0

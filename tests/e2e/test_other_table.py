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

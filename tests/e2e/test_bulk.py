"""Much of everything: values of a hundred megabytes, a million rows in one transaction, a thousand
tables, always within the memory limit (P13)."""
import pytest

from support.compare import assert_equal, compare

MEGABYTES = 120  # more than queue and batch hold
# A megabyte after the other, each another: what is lost, doubled or swapped shows.
VALUE = ("(SELECT string_agg(convert_to(repeat(md5(i::text), 32768), 'UTF8'), ''::bytea ORDER BY i) "
         f"FROM generate_series({{0}}, {{0}} + {MEGABYTES} - 1) i)")


@pytest.mark.limit(400)
def test_value_of_many_megabytes_is_copied_and_streamed(towline_factory, source, destination):
    towline = towline_factory(source, destination, largest_row=MEGABYTES << 20)
    source.script(
        "CREATE TABLE t (id int PRIMARY KEY, v bytea, n int)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL",
        f"INSERT INTO t VALUES (1, {VALUE.format(1)}, 0), (2, 'small', 0)")
    towline.start().wait_for_state("streaming", seconds=180)
    towline.wait_until_caught_up()
    # The value itself, then changes around one that is not sent.
    source.script(f"INSERT INTO t VALUES (3, {VALUE.format(1000)}, 0)", "UPDATE t SET n = 1",
                  "UPDATE t SET id = 10 WHERE id = 1",
                  "DELETE FROM t WHERE id = 2")
    towline.wait_until_caught_up(180)
    sizes = destination.query("SELECT id, octet_length(v), n FROM t ORDER BY id")
    assert sizes == [(3, MEGABYTES << 20, 1), (10, MEGABYTES << 20, 1)]
    assert_equal(source.uri(), destination.uri(), binary=True)
    assert towline.stop() == 0


@pytest.mark.limit(300)
def test_transactions_of_a_million_rows_pass_in_bounded_memory(towline, source, destination, size):
    rows = 1_000_000 * size
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text, n int)",
                  "CREATE TABLE few (id int PRIMARY KEY)")
    towline.start().wait_for_state("streaming")
    source.script("INSERT INTO few VALUES (1)",
                  f"INSERT INTO t SELECT i, 'row ' || i, 0 FROM generate_series(1, {rows}) i")
    towline.wait_until_caught_up(180)
    assert destination.value("SELECT count(*) FROM t") == rows
    # Updates, keys that move, deletes; parts rolled back within; more than a batch each.
    source.psql(f"""
        BEGIN; UPDATE t SET n = 1 WHERE id <= {rows // 4}; SAVEPOINT s; DELETE FROM t WHERE id % 3 = 0; ROLLBACK TO s;
        DELETE FROM t WHERE id % 10 = 0; UPDATE t SET id = -id WHERE id % 10 = 1 AND id <= {rows // 10};
        INSERT INTO few VALUES (2); COMMIT; INSERT INTO few VALUES (3);""")
    towline.wait_until_caught_up(240)
    assert_equal(source.uri(), destination.uri())
    assert towline.status()["batches_refused"] == 0
    assert towline.stop() == 0


def test_nothing_of_a_large_transaction_is_seen_before_its_end(towline, source, destination):
    """Parts of a transaction that is larger than a batch become visible together (I3)."""
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)")
    towline.start("--batch-rows-max", "100").wait_for_state("streaming")
    source.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 50000) i")
    counts = set()
    while 50000 not in counts:
        counts.add(destination.value("SELECT count(*) FROM t"))
        assert towline.is_running, towline.tail()
    assert counts <= {0, 50000}
    towline.wait_until_caught_up()
    assert towline.stop() == 0


@pytest.mark.limit(300)
def test_a_thousand_tables(towline, source, destination):
    tables = 1000
    source.psql("SET client_min_messages = warning; "
                f"DO $$ BEGIN FOR i IN 1 .. {tables} LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY "
                f"KEY, v text); "
                "INSERT INTO t%s SELECT i, ''v'' || i FROM generate_series(1, %s) i', i, i, i % 7); END "
                "LOOP; END $$;")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    assert len(assert_equal(source.uri(), destination.uri()).rows) == tables
    source.psql(f"DO $$ BEGIN FOR i IN 1 .. {tables} LOOP EXECUTE format('INSERT INTO t%s VALUES (100, "
                f"''new''); "
                "UPDATE t%s SET v = ''u'' WHERE id = 1', i, i); END LOOP; END $$;")
    source.psql("".join(f"UPDATE t{number} SET id = id + 1000 WHERE id = 100; DELETE FROM t{number} WHERE id "
                        f"= 2;\n"
                        for number in range(1, tables + 1)))
    towline.wait_until_caught_up(120)
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def test_large_tables_are_copied_in_pieces_once_each(towline_factory, source, destination):
    """Ranges of pages, while rows move between them."""
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE no_key (v int)",
                  "ALTER TABLE no_key REPLICA IDENTITY FULL",
                  "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 50000) i",
                  "INSERT INTO no_key SELECT i % 10 FROM generate_series(1, 20000) i",
                  # The last pages empty, the first ones with room: rows of updates go anywhere.
                  "DELETE FROM t WHERE id % 5 = 0 OR id > 45000", "VACUUM t",
                  "UPDATE t SET v = repeat('y', 300) WHERE id % 7 = 0")
    towline = towline_factory(source, destination,
                              arguments=["--copy-part-bytes", "64kB", "--copy-workers", "4"])
    towline.start()
    while towline.state() != "streaming":
        source.execute("UPDATE t SET v = v || '!' WHERE id % 11 = 0 AND id < 3000; DELETE FROM no_key WHERE "
                       "ctid = "
                       "(SELECT max(ctid) FROM no_key); INSERT INTO no_key VALUES (77)")
        assert towline.is_running, towline.tail()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert compare(source.uri(), destination.uri()).rows["public.no_key"] == 20000
    assert towline.stop() == 0

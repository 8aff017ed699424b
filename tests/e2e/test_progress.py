"""What a user sees of a copy that runs, and how he slows it down: `status`, towline_state.piece, the rate limits
and `towline set`."""
import time

import pytest

from support.compare import assert_equal
from support.waiting import wait_until

ROWS = 20000


@pytest.fixture
def filled(source):
    """big: some 10 MB in 20,000 rows. Small tables are over at once."""
    source.script("CREATE TABLE big (id int PRIMARY KEY, v text)",
                  f"INSERT INTO big SELECT i, repeat(md5(i::text), 15) FROM generate_series(1, {ROWS}) i",
                  *[f"CREATE TABLE small{n} AS SELECT i AS id FROM generate_series(1, {n}) i" for n in range(1, 4)],
                  "ANALYZE")
    return source


def finish(towline, source, destination):
    towline.wait_for_state("copying", "indexing", "catching_up", "streaming")
    for limit in ("copy_rate_max", "copy_rows_max"):
        assert f"{limit} 0" in towline.call("set", limit, "0", check=True).stdout
    towline.wait_for_state("streaming")
    source.execute("UPDATE big SET v = 'u' WHERE id < 100")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


def big_of(status):
    return next((table for table in status["tables"] if table["table"] == "big"), {"rows_done": 0})


def test_each_table_is_shown_while_it_is_copied(towline, filled, destination):
    towline.start("--copy-rate-max", "1MB", "--copy-part-bytes", "2MB")
    towline.wait_for_state("copying")
    wait_until(lambda: big_of(towline.status())["rows_done"] > 2000, 30, "rows of big")
    # The small tables wait for a worker until parts of big are done.
    first = towline.status()
    assert first["tables_total"] == 4 and first["tables_left_out"] == 0 and first["copy_rate_max"] == 1 << 20
    assert [table["table"] for table in first["tables"]] == ["big", "small1", "small2", "small3"]
    big = first["tables"][0]
    assert big["schema"] == "public" and big["state"] == "copying" and big["rows_estimate"] == ROWS
    size = filled.value("SELECT pg_table_size('big')")
    assert 0.9 * size < big["bytes_total"] < 1.1 * size
    assert 0 < big["bytes_done"] < big["bytes_total"] and 0 < big["rows_done"] < ROWS
    assert {table["state"] for table in first["tables"][1:]} <= {"waiting", "copied"}
    # The rate is the limit's, the time left that of the rest.
    later = wait_until(lambda: (found := towline.status())["copy_bytes_per_second"] > 0 and found, 10, "a rate")
    assert 0.3 * (1 << 20) < later["copy_bytes_per_second"] < 2 * (1 << 20)
    assert 0 < later["copy_eta_seconds"] < 60 and 0 < big_of(later)["eta_seconds"] < 60
    assert later["copy_rows_per_second"] > 0
    text = towline.call("status", check=True).stdout
    assert '"public"."big"' in text and "copy limit   1024 kB/s" in text and "ETA" in text, text
    assert "small" not in text
    # SQL can ask as well.
    piece = "SELECT state, rows_done, bytes_done, bytes_total FROM towline_state.piece WHERE table_name = 'big'"
    destination.wait_for(f"SELECT rows_done > 0 FROM ({piece}) p", 15)
    state, rows, size_done, size_total = destination.query(piece)[0]
    assert state == "copying" and 0 < rows < ROWS and 0 < size_done < size_total
    finish(towline, filled, destination)
    assert destination.query(piece) == [("copied", ROWS, size_total, size_total)]
    # What the destination remembers of a task that does not run.
    stopped = towline.status()
    assert not stopped["running"] and stopped["tables_done"] == 4 and big_of(stopped)["rows_done"] == ROWS


def test_a_copy_takes_as_long_as_its_rate_says(towline_factory, filled, destination):
    """Both workers together. 10 MB at 2 MB/s: what passes is a little more than the table's size."""
    towline = towline_factory(filled, destination)
    towline.start("--copy-rate-max", "2MB", "--copy-part-bytes", "1MB")
    towline.wait_for_state("copying")
    began = time.monotonic()
    towline.wait_for_state("catching_up", "streaming", "indexing")
    took = time.monotonic() - began
    sent = filled.value("SELECT sum(length(id::text) + length(v)) FROM big")
    assert sent / (2 << 20) * 0.8 < took < sent / (2 << 20) * 2 + 10, took
    finish(towline, filled, destination)


def test_rows_have_a_limit_of_their_own_and_limits_change_while_they_bite(towline, filled, destination):
    towline.start("--copy-rows-max", "500")
    towline.wait_for_state("copying")
    began = time.monotonic()
    wait_until(lambda: towline.status()["copy_rows_done"] >= 1500, 30, "1500 rows")
    assert time.monotonic() - began > 1.5
    assert "500 rows/s" in towline.call("status").stdout
    refused = towline.call("set", "copy_rows_max", "many")
    assert refused.returncode == 2 and "copy_rows_max many: " in refused.stderr, refused.stderr
    assert towline.call("set", "batch_rows_max", "5").returncode == 2
    assert towline.call("set", "copy_rows_max").returncode == 2
    assert towline.status()["copy_rows_max"] == 500
    # At 500 rows/s it would take 40 s.
    began = time.monotonic()
    assert "the configuration counts again" in towline.call("set", "copy_rows_max", "0", check=True).stdout
    finish(towline, filled, destination)
    assert time.monotonic() - began < 25
    assert "a limit was changed" in towline.output()


def test_a_rest_ends_with_the_service(towline, filled, destination):
    """Slow enough that one step rests for many seconds."""
    towline.start("--copy-rows-max", "1")
    towline.wait_for_state("copying")
    destination.wait_for("SELECT rows_done > 0 FROM towline_state.piece WHERE table_name = 'big'", 20)
    assert towline.stop() == 0
    towline.start("--copy-rows-max", "5000").wait_for_log("copying rows")
    finish(towline, filled, destination)


def test_ten_thousand_tables_are_shown_by_the_largest(towline, source, destination, size):
    count = 150 * size
    source.execute(f"""DO $$ BEGIN FOR i IN 1 .. {count} LOOP
        EXECUTE format('CREATE TABLE t%s (id int)', i); END LOOP; END $$""")
    source.execute("INSERT INTO t77 SELECT generate_series(1, 5000)")
    towline.start("--copy-rows-max", "200")
    towline.wait_for_state("copying")
    wait_until(lambda: towline.status()["copy_rows_done"] > 0, 20, "a row")
    status = towline.status()
    assert len(status["tables"]) == 100 and status["tables_left_out"] == count - 100
    assert status["tables"][0]["table"] == "t77" or status["tables"][1]["table"] == "t77"
    towline.call("set", "copy_rows_max", "0", check=True)
    towline.wait_for_state("streaming")
    assert towline.stop() == 0
    assert len(towline.status()["tables"]) == 100 and towline.status()["tables"][0]["table"] == "t77"

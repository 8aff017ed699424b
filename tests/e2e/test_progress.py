"""What a user sees of a copy that runs, and how he slows it down: `status`, towline_state.piece, the rate limits
and `towline set`."""
import time

import re
import urllib.request

import pytest

from support import probes
from support.cluster import free_port
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
    towline.start("--copy-rate-max", "512kB", "--copy-part-bytes", "1MB")
    towline.wait_for_state("copying")
    wait_until(lambda: big_of(towline.status())["rows_done"] > 2000, 60, "rows of big")
    # The small tables wait for a worker until parts of big are done.
    first = towline.status()
    assert first["tables_total"] == 4 and first["tables_left_out"] == 0 and first["copy_rate_max"] == 1 << 19
    assert [table["table"] for table in first["tables"]] == ["big", "small1", "small2", "small3"]
    big = first["tables"][0]
    assert big["schema"] == "public" and big["state"] == "copying" and big["rows_estimate"] == ROWS
    assert big["copied_by"] == "keys" and big["reason"].startswith('its key "id" follows the order of its rows'), big
    assert 1 <= big["workers"] <= 2 and big["seconds"] > 0
    assert {table["copied_by"] for table in first["tables"][1:]} == {"whole"}
    assert {table["reason"] for table in first["tables"][1:]} == {"it is no larger than 1024 kB"}
    size = filled.value("SELECT pg_table_size('big')")
    assert 0.9 * size < big["bytes_total"] < 1.1 * size
    assert 0 < big["bytes_done"] < big["bytes_total"] and 0 < big["rows_done"] < ROWS
    assert {table["state"] for table in first["tables"][1:]} <= {"waiting", "copied"}
    # The rate is the limit's, the time left that of the rest.
    later = wait_until(lambda: (found := towline.status())["copy_bytes_per_second"] > 0 and found, 60, "a rate")
    assert 0.1 * (1 << 19) < later["copy_bytes_per_second"] < 2 * (1 << 19)
    assert 0 < later["copy_eta_seconds"] < 200 and 0 < big_of(later)["eta_seconds"] < 200
    assert later["copy_rows_per_second"] > 0
    text = towline.call("status", check=True).stdout
    assert '"public"."big"' in text and "copy limit   512 kB/s" in text and "ETA" in text, text
    assert "small" not in text and 'keys because its key "id" follows' in text
    # SQL can ask as well.
    piece = "SELECT state, rows_done, bytes_done, bytes_total FROM towline_state.piece WHERE table_name = 'big'"
    destination.wait_for(f"SELECT rows_done > 0 FROM ({piece}) p", 60)
    state, rows, size_done, size_total = destination.query(piece)[0]
    assert state == "copying" and 0 < rows < ROWS and 0 < size_done < size_total
    finish(towline, filled, destination)
    told = [line for line in towline.output().splitlines() if "copied table" in line]
    assert len(told) == 4 and '"public"."big"' in told[0] and "rows=20,000" in told[0], told
    assert re.search(r"duration=[0-9.]+s .*workers=[12] by=keys because its key", told[0]), told[0]
    steps = re.findall(r"copy summary step=(.+?) duration=([0-9.]+)s(?: done=(.*))?$", towline.output(), re.M)
    assert [step for step, *_ in steps] == ["schema", "rows", "indexes and constraints", "sequences and statistics", "all"], steps
    done = {step: amount for step, _, amount in steps}
    assert re.fullmatch("[1-9][0-9]* statements", done["schema"]) and done["all"] == "", steps
    assert re.fullmatch("4 tables, 20,006 rows, 1[01] MB, 2 workers", done["rows"]), steps
    assert done["indexes and constraints"] == "1 statements, 2 workers" and done["sequences and statistics"] == "4 tables", steps
    took = [float(seconds) for _, seconds, _ in steps]
    # Each is rounded.
    assert took[1] >= 1 and abs(sum(took[:-1]) - took[-1]) < 0.5, steps
    assert destination.query(piece) == [("copied", ROWS, size_total, size_total)]
    # What the destination remembers of a task that does not run.
    stopped = towline.status()
    assert not stopped["running"] and stopped["tables_done"] == 4 and big_of(stopped)["rows_done"] == ROWS


def test_a_copy_takes_as_long_as_its_rate_says(towline_factory, filled, destination):
    """Both workers together. 10 MB at 2 MB/s: what passes is a little more than the table's size."""
    towline = towline_factory(filled, destination)
    towline.start("--copy-rate-max", "2MB", "--copy-part-bytes", "1MB")
    took = float(towline.wait_for_log(r'copied table .*"big".* duration=([0-9.]+)s').group(1))
    sent = filled.value("SELECT sum(length(id::text) + length(v)) FROM big")
    assert sent / (2 << 20) * 0.8 < took < sent / (2 << 20) * 2 + 10, took
    finish(towline, filled, destination)


def test_rows_have_a_limit_of_their_own_and_limits_change_while_they_bite(towline, filled, destination):
    rate = 200
    towline.start("--copy-rows-max", str(rate))
    towline.wait_for_state("copying")

    def rows():
        return towline.status()["copy_rows_done"]
    began, before = time.monotonic(), rows()
    after = wait_until(lambda: (now := rows()) >= before + 800 and now, 60, "800 rows")
    # What it says may be a second old, at the beginning.
    assert after - before <= rate * (time.monotonic() - began + 2)
    assert f"{rate} rows/s" in towline.call("status").stdout
    refused = towline.call("set", "copy_rows_max", "many")
    assert refused.returncode == 2 and "copy_rows_max many: " in refused.stderr, refused.stderr
    assert towline.call("set", "batch_rows_max", "5").returncode == 2
    assert towline.call("set", "copy_rows_max").returncode == 2
    assert towline.status()["copy_rows_max"] == rate
    # Held to the limit, the rest would take more than a minute.
    began, rest = time.monotonic(), (ROWS - rows()) / rate
    assert "the configuration counts again" in towline.call("set", "copy_rows_max", "0", check=True).stdout
    towline.wait_for_log('copied table .*"big"')
    assert time.monotonic() - began < rest / 2
    assert "a limit was changed" in towline.output()
    finish(towline, filled, destination)


def test_the_copy_gives_way_to_a_source_that_is_busy_and_comes_back_by_itself(towline, filled, destination):
    with probes.at_work(filled, 2):
        towline.start("--copy-rows-max", "300", "--copy-active-max", "1")
        towline.wait_for_state("copying")
        status = wait_until(lambda: (now := towline.status())["copy_speed_percent"] < 50 and now, 60, "it to give way")
        assert re.fullmatch("[2-9] active sessions at the source > 1", status["copy_gives_way_to"]), status
        assert "of its speed, giving way to" in towline.call("status", check=True).stdout
        # It does not stand still.
        before, began = status["copy_rows_done"], time.monotonic()
        after = wait_until(lambda: (now := towline.status()["copy_rows_done"]) >= before + 100 and now, 120, "100 rows")
        assert after - before < 300 * 0.6 * (time.monotonic() - began + 2)
    wait_until(lambda: (now := towline.status())["copy_speed_percent"] == 100 and now["copy_gives_way_to"] == "", 180,
               "full speed")
    towline.call("set", "copy_active_max", "0", check=True)
    finish(towline, filled, destination)
    output = towline.output()
    assert output.count("the copy gives way to the source") == output.count("the copy goes at full speed again") == 1, output
    assert "copy_speed_percent" in towline.call("status", "--json").stdout


def test_a_rest_ends_with_the_service(towline, filled, destination):
    """Slow enough that one step rests for many seconds."""
    towline.start("--copy-rows-max", "1")
    towline.wait_for_state("copying")
    destination.wait_for("SELECT rows_done > 0 FROM towline_state.piece WHERE table_name = 'big'", 60)
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


def scrape(port):
    """{series with its labels: value}"""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_the_stream_is_measured_by_transaction_table_and_stage(towline, source, destination):
    """Latency is never below 0 and of the right order; the stages of the applier are all of its time."""
    source.script("CREATE TABLE few (id int PRIMARY KEY, v text)", "CREATE TABLE many (id int PRIMARY KEY, v text)")
    port = free_port()
    towline.task = "measured"
    towline.start("--metrics-port", port).wait_for_state("streaming")
    began = time.monotonic()
    before = towline.status()
    for number in range(20):
        source.script(f"INSERT INTO many SELECT i, 'a' FROM generate_series({number * 10}, {number * 10 + 9}) i",
                      f"UPDATE many SET v = 'b' WHERE id < {number}")
    source.script("INSERT INTO few VALUES (1), (2)", "UPDATE few SET v = 'x'", "DELETE FROM few WHERE id = 1", "TRUNCATE few")
    towline.wait_until_caught_up()
    # The board is looked at four times a second.
    series = wait_until(lambda: (found := scrape(port))['towline_transactions_total{task="measured"}'] == 43 and found, 10,
                        "the counts")
    of = lambda name, **labels: series.get(
        name + "{" + ",".join(f'{key}="{value}"' for key, value in {"task": "measured", **labels}.items()) + "}", 0)
    assert of("towline_latency_seconds_count") == 43
    assert 0 < of("towline_latency_seconds_sum") < 43 * 5
    # The clocks are compared over a round trip, which a busy machine draws out: a few may come out as nothing.
    assert of("towline_latency_seconds_bucket", le="0.0001") < 43, "faster than a commit can be"
    table = lambda name, op: of("towline_table_rows_applied_total", schema="public", table=name, op=op)
    assert (table("many", "insert"), table("many", "update")) == (200, sum(range(20)))
    assert [table("few", op) for op in ("insert", "update", "delete", "truncate")] == [2, 2, 1, 1]
    assert of("towline_batch_rows_count") == of("towline_apply_seconds_count") <= of("towline_batches_total")
    assert of("towline_batch_rows_sum") == 200 + sum(range(20)) + 6
    status = towline.status()
    stages = {stage: seconds - before["stage_seconds"][stage] for stage, seconds in status["stage_seconds"].items()}
    assert set(stages) == {"receive", "queue_full", "wait", "assemble", "fold", "apply", "commit"}
    passed = time.monotonic() - began
    applier = sum(stages[stage] for stage in ("wait", "assemble", "fold", "apply", "commit"))
    assert 0.5 * passed - 2 < applier < passed + 2
    assert all(stages[stage] > 0 for stage in ("receive", "assemble", "fold", "apply", "commit")), stages
    assert 0 < status["latency_p50_seconds"] <= status["latency_p99_seconds"] < 10
    assert 1 <= status["batch_rows_p50"] <= status["batch_rows_p99"]
    assert [(table["table"], table["inserted"]) for table in status["table_changes"]] == [("many", 200), ("few", 2)]
    text = towline.call("status", "measured", ends=False, check=True).stdout
    assert re.search(r"latency +median [0-9.]+ m?s, 99% within", text) and '"public"."many"' in text, text
    assert towline.stop() == 0

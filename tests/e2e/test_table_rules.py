"""Rows, columns and operations of single tables: copy and stream under the same rule, whatever happens.

What must be at the destination is said by a SELECT of each test's own at the source.
"""
import json
import random

import pytest

from support.compare import assert_equal
from support.probes import Session

STOPPED = 4  # waits for the operator
USAGE = 2


def configure(service, rules, **more):
    """Writes the service's YAML file; every command takes it by its environment."""
    file = service.directory / "task.yaml"
    file.write_text(json.dumps({"table": rules, **more}))  # JSON is YAML
    service.environment["TOWLINE_CONFIG"] = str(file)
    return service


def stops(service, status, *more, seconds=120):
    service.start(*more)
    assert service.wait_exit(seconds) == status, service.tail()
    return service.output()


def findings(done):
    return {finding["id"]: finding for finding in json.loads(done.stdout)["findings"]}


# --- everything at once

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int PRIMARY KEY, region text NOT NULL, total numeric(12,2) NOT NULL, email varchar(40),
                          secret text NOT NULL, code char(4));
ALTER TABLE shop.orders REPLICA IDENTITY FULL;
CREATE INDEX ON shop.orders (region);
CREATE TABLE shop.even (id int PRIMARY KEY, n int, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.event (day int, id int, v text, kind text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE shop.event_1 PARTITION OF shop.event FOR VALUES FROM (0) TO (10);
CREATE TABLE shop.event_2 PARTITION OF shop.event FOR VALUES FROM (10) TO (20);
CREATE TABLE shop."Archive.1" (id int PRIMARY KEY, v text);
CREATE TABLE shop.plain (id int PRIMARY KEY, v text);
"""
for_full = "ALTER TABLE shop.event{} REPLICA IDENTITY FULL;"
SCHEMA += "".join(for_full.format(suffix) for suffix in ("", "_1", "_2"))

RULES = {
    "shop.orders": {
        "where": "region = 'eu' AND total >= 100 -- what the branch may see ) ;",
        "columns": ["id", "region", "total", "code", {"email": "left(email, 2) || '...'"},
                    {"tag": "upper(region) || '-' || id::text"}, {"net": "(total / 2)::numeric(10,1)"}]},
    "shop.even": {"where": "id % 2 = 0", "columns": ["id", {"n": "n * 10"}, "at"]},
    "shop.event": {"where": "kind <> 'noise'", "columns": ["day", "id", "kind", {"v": "lower(v)"}]},
    "shop.event_2": {"columns": ["day", "id", "v", "kind"]},
    'shop."Archive.1"': {"operations": ["insert", "update"]},
}
# Source and destination.
SELECTS = {
    "shop.orders": (
        "SELECT id, region, total, code, left(email, 2) || '...', upper(region) || '-' || id, "
        "round(total / 2, 1), NULL FROM shop.orders WHERE region = 'eu' AND total >= 100",
        "SELECT id, region, total, code, email, tag, net, secret FROM shop.orders"),
    "shop.even": ("SELECT id, n * 10, at FROM shop.even WHERE id % 2 = 0", "SELECT id, n, at FROM shop.even"),
    "shop.event_1": ("SELECT day, id, lower(v), kind FROM shop.event_1 WHERE kind <> 'noise'",
                     "SELECT day, id, v, kind FROM shop.event_1"),
    "shop.event_2": ("SELECT day, id, v, kind FROM shop.event_2", "SELECT day, id, v, kind FROM shop.event_2"),
}
ARCHIVE = "shop.Archive.1"


def assert_rules_hold(source, destination):
    assert_equal(source.uri(), destination.uri(), selects=SELECTS, ignore=["shop.event", ARCHIVE])
    # What was deleted stays; what there is, is as it is at the source.
    kept = destination.query('SELECT id, v FROM shop."Archive.1" ORDER BY id')
    there = source.query('SELECT id, v FROM shop."Archive.1" ORDER BY id')
    assert set(there) <= set(kept)
    return kept, there


class Load:
    """Random single statements: rows enter and leave filters, keys move, partitions change."""

    def __init__(self, source, seed):
        self.source, self.random = source, random.Random(seed)

    def fill(self, rows=400):
        self.source.script(
            f"""INSERT INTO shop.orders SELECT i, CASE i % 3 WHEN 0 THEN 'us' ELSE 'eu' END, i, 'mail' || i,
                'hidden ' || i, 'c' || i % 9 FROM generate_series(1, {rows}) i""",
            f"INSERT INTO shop.even SELECT i, i FROM generate_series(1, {rows}) i",
            f"""INSERT INTO shop.event SELECT i % 20, i, 'Value ' || i, CASE i % 4 WHEN 0 THEN 'noise' ELSE 'sale' END
                FROM generate_series(1, {rows}) i""",
            f"INSERT INTO shop.\"Archive.1\" SELECT i, 'v' FROM generate_series(1, {rows}) i",
            f"INSERT INTO shop.plain SELECT i, 'v' FROM generate_series(1, {rows}) i")
        return self

    def statement(self):
        draw, number = self.random.choice, self.random.randrange
        at, other = number(1, 500), number(1, 500)
        region = draw(["'eu'", "'us'"])
        long = "repeat(md5(random()::text), 200)"
        return draw([
            f"UPDATE shop.orders SET region = {region} WHERE id BETWEEN {at} AND {at + 20}",
            f"UPDATE shop.orders SET total = {number(300)}, email = {draw(['NULL', repr('x@y')])} "
            f"WHERE id = {at}",
            f"UPDATE shop.orders SET secret = {long} WHERE id = {at}",
            f"UPDATE shop.orders SET id = {at + 1000 + number(10**6)} WHERE id = {at}",
            f"INSERT INTO shop.orders VALUES ({other}, {region}, {number(300)}, 'new', {long}, 'n') "
            "ON CONFLICT DO NOTHING",
            f"DELETE FROM shop.orders WHERE id = {at}",
            f"UPDATE shop.even SET n = n + 1 WHERE id BETWEEN {at} AND {at + 9}",
            f"UPDATE shop.even SET id = {at + 1000 + number(10**6)} WHERE id = {at}",
            f"INSERT INTO shop.even VALUES ({other}, 1) ON CONFLICT DO NOTHING",
            f"DELETE FROM shop.even WHERE id = {at}",
            f"UPDATE shop.event SET kind = {draw(['NULL', repr('noise'), repr('sale')])} WHERE id = {at}",
            # Only where it cannot meet another row of the same id.
            f"UPDATE shop.event SET v = 'MOVED', day = {number(20)} WHERE id = {at} AND "
            f"(SELECT count(*) FROM shop.event WHERE id = {at}) = 1",
            f"UPDATE shop.event SET v = upper({long}) WHERE id = {at}",
            f"DELETE FROM shop.event WHERE id = {at}",
            f"INSERT INTO shop.event VALUES ({number(20)}, {other}, 'New', 'sale') ON CONFLICT DO NOTHING",
            f"DELETE FROM shop.\"Archive.1\" WHERE id = {at}",
            f"INSERT INTO shop.\"Archive.1\" VALUES ({at}, 'again') ON CONFLICT (id) DO UPDATE SET v = 'upserted'",
            f"UPDATE shop.plain SET v = 'p' WHERE id = {at}",
        ])

    def run(self, count):
        for _ in range(count):
            self.source.execute("; ".join(self.statement() for _ in range(self.random.randrange(1, 6))))


@pytest.mark.limit(600)
def test_copy_and_stream_under_rules(towline_factory, source, destination, seed):
    source.script(SCHEMA)
    load = Load(source, seed).fill()
    # Small parts, so that filters meet ctid ranges.
    service = configure(towline_factory(source, destination, fault="copy:in-table:stop"), RULES,
                        limits={"copy_part_bytes": "8kB"})
    service.start()
    service.wait_for_log("fault point copy:in-table")
    load.run(60)  # the copy's snapshot does not see them
    service.process.send_signal(18)  # SIGCONT
    service.fault = None
    service.wait_for_state("streaming")
    load.run(60)
    service.wait_until_caught_up()
    assert_rules_hold(source, destination)
    load.run(20)
    service.kill()
    load.run(40)
    source.execute("TRUNCATE shop.even; INSERT INTO shop.even VALUES (2, 2), (3, 3)")
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    kept, there = assert_rules_hold(source, destination)
    assert len(kept) > len(there), "nothing was deleted: the test shows nothing"
    assert destination.value("SELECT count(*) FROM shop.orders") > 10
    # TRUNCATE is one of the operations that the archive does not want.
    source.execute('TRUNCATE shop."Archive.1"; INSERT INTO shop."Archive.1" VALUES (1, \'after\')')
    service.wait_until_caught_up()
    assert len(destination.query('SELECT id FROM shop."Archive.1"')) == len({key for key, _ in kept} | {1})
    assert destination.value('SELECT v FROM shop."Archive.1" WHERE id = 1') == "after"
    assert service.stop() == 0


def test_crash_before_the_tables_are_adjusted(towline_factory, source, destination):
    source.script(SCHEMA)
    Load(source, 1).fill(50)
    service = configure(towline_factory(source, destination, fault="copy:before-adjusting:kill"), RULES)
    service.start()
    assert service.wait_exit(120) != 0
    assert destination.value("SELECT to_regclass('shop.orders') IS NOT NULL")
    service.fault = None
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_rules_hold(source, destination)
    assert service.stop() == 0


def test_values_are_the_same_by_copy_and_by_stream(towline_factory, source, destination):
    """The copy's cast and the plugin's assignment: lengths, scales, domains, arrays, user types."""
    source.script(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN short AS varchar(5)",
        "CREATE TABLE t (id int PRIMARY KEY, c char(6), v varchar(9), n numeric(8,2), ts timestamp(0), s short, "
        "a int[], d date, moods mood[])",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t SELECT i, 'c' || i, 'v' || i, i / 3.0, '2024-02-29 12:34:56.789', 's' || i, ARRAY[i], "
        "'2024-02-29', '{glad}' FROM generate_series(1, 50) i")
    kept = ["id", "ts"]  # as they are
    values = {"c": "left(c, 2)", "v": "v || id::text", "n": "n / 7", "a": "a || 7", "d": "d + 1", "s": "left(s, 3)",
              "added_numeric": "(n * 3)::numeric(20,4)", "added_array": "ARRAY[n, 1.5]",
              "added_char": "'x'::char(3)", "added_null": "NULL::date", "added_text": "'plain'"}
    # Without the last column, which goes as text, the whole table goes in binary.
    for number, more in enumerate(([], ["moods"])):
        copy, columns = f"t{number}", kept + list(values) + more
        source.execute(f"CREATE TABLE {copy} (LIKE t INCLUDING ALL); ALTER TABLE {copy} REPLICA IDENTITY FULL; INSERT INTO {copy} SELECT * FROM t")
        rule = {"columns": kept + [{name: text} for name, text in values.items()] + more}
        service = configure(towline_factory(source, destination, task=copy), {f"public.{copy}": rule},
                            tables={"include": [f"public.{copy}"]})
        service.start().wait_for_state("streaming")
        source.execute(f"INSERT INTO {copy} SELECT id + 100, c, v, n, ts, s, a, d, moods FROM t")
        service.wait_until_caught_up()
        assert service.stop() == 0
        there = dict(values, c="left(c, 2)::char(6)", n="(n / 7)::numeric(8,2)")
        for binary in (False, True):
            compared = [name for name in columns if name != "moods" or not binary]
            selected = ", ".join(there.get(name, name) for name in compared)
            assert_equal(source.uri(), destination.uri(), tables=[f"public.{copy}"], binary=binary,
                         selects={f"public.{copy}": (f"SELECT {selected} FROM public.{copy}",
                                                     f"SELECT {', '.join(compared)} FROM public.{copy}")})
    types = destination.query("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                              "WHERE attrelid = 't1'::regclass AND attname LIKE 'added%' ORDER BY attnum")
    assert types == [("added_numeric", "numeric(20,4)"), ("added_array", "numeric[]"),
                     ("added_char", "character(3)"), ("added_null", "date"), ("added_text", "text")]


def test_tables_that_are_there_keep_what_they_have(towline_factory, source, destination):
    """C4: a changed key keeps the columns that the source does not send."""
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text, hidden text NOT NULL)",
                  "INSERT INTO t SELECT i, 'v' || i, 'h' FROM generate_series(1, 20) i")
    destination.script("CREATE TABLE t (note text DEFAULT 'unset', id int PRIMARY KEY, tag text, v text, "
                       "hidden text NOT NULL DEFAULT 'own')")
    service = configure(towline_factory(source, destination),
                        {"public.t": {"columns": ["id", "v", {"tag": "'t' || id::text"}]}})
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    destination.execute("UPDATE t SET note = 'mine', hidden = 'changed here' WHERE id = 5")
    source.execute("UPDATE t SET id = 500, hidden = 'x' WHERE id = 5; UPDATE t SET hidden = 'y' WHERE id = 6; "
                   "INSERT INTO t VALUES (600, 'new', 'h'); DELETE FROM t WHERE id = 7")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(),
                 selects={"public.t": ("SELECT id, v, 't' || id FROM public.t", "SELECT id, v, tag FROM public.t")})
    assert destination.query("SELECT note, hidden FROM t WHERE id = 500") == [("mine", "changed here")]
    assert destination.query("SELECT DISTINCT note, hidden FROM t WHERE id <> 500") == [("unset", "own")]
    assert service.stop() == 0


def test_rows_that_never_arrived_are_passed_over(towline_factory, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    service = configure(towline_factory(source, destination),
                        {"public.t": {"operations": ["update", "delete"]}})
    service.start().wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (3, 'c'); UPDATE t SET v = v || '!'; DELETE FROM t WHERE id IN (2, 3)")
    service.wait_until_caught_up()
    assert destination.query("SELECT id, v FROM t ORDER BY id") == [(1, "a!")]
    assert service.stop() == 0


# --- errors

def test_expression_that_fails_in_the_stream_stops_and_is_mended(towline_factory, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)", "ALTER TABLE t REPLICA IDENTITY FULL",
                  "INSERT INTO t SELECT i, i FROM generate_series(1, 10) i")
    service = configure(towline_factory(source, destination), {"public.t": {"where": "100 / n > 10"}})
    service.start().wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (11, 3)")
    source.execute("INSERT INTO t VALUES (12, 0)")
    source.execute("INSERT INTO t VALUES (13, 4)")
    assert service.wait_exit(60) == STOPPED, service.tail()
    output = service.output()
    assert "division by zero" in output and "--accept-rule-change" in output
    # Again with the same rule: the same.
    assert "division by zero" in stops(service, STOPPED)
    configure(service, {"public.t": {"where": "n <> 0 AND 100 / nullif(n, 0) > 10"}})
    output = stops(service, USAGE)
    assert '"public"."t" differ from those under which it was copied' in output
    assert "--accept-rule-change" in output
    service.start("--accept-rule-change").wait_for_state("streaming")
    service.wait_until_caught_up()
    selects = {"public.t": ("SELECT * FROM public.t WHERE n <> 0 AND 100 / nullif(n, 0) > 10",
                            "SELECT * FROM public.t")}
    assert_equal(source.uri(), destination.uri(), selects=selects)
    assert service.stop() == 0
    # Accepted once, it is the task's rule; the flag does no harm.
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), selects=selects)
    assert service.stop() == 0


def test_expression_that_fails_in_the_copy_stops_and_is_mended(towline_factory, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1), (2, 0)")
    service = configure(towline_factory(source, destination), {"public.t": {"columns": ["id", {"n": "1 / n"}]}})
    output = stops(service, STOPPED)
    assert "an expression of the table's rule fails" in output and "division by zero" in output
    configure(service, {"public.t": {"columns": ["id", {"n": "1 / nullif(n, 0)"}]}})
    service.start().wait_for_state("streaming")  # nothing was copied: there is nothing to accept
    service.wait_until_caught_up()
    assert destination.query("SELECT id, n FROM t ORDER BY id") == [(1, 1), (2, None)]
    assert service.stop() == 0


def test_rules_that_come_or_go_stop_until_accepted(towline_factory, source, destination):
    source.script("CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
                  "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)", "INSERT INTO p VALUES (1, 1)")
    service = configure(towline_factory(source, destination), {})
    service.start().wait_for_state("streaming")
    assert service.stop() == 0
    configure(service, {"public.p": {"operations": ["insert"]}})
    assert '"public"."p1" differ' in stops(service, USAGE)
    service.start("--accept-rule-change").wait_for_state("streaming")
    source.execute("INSERT INTO p VALUES (2, 2); DELETE FROM p WHERE id = 1")
    service.wait_until_caught_up()
    assert service.stop() == 0
    assert destination.query("SELECT id FROM p ORDER BY id") == [(1,), (2,)]
    configure(service, {})
    assert '"public"."p1" differ' in stops(service, USAGE)
    # A rule that asks for all that there is, is no rule.
    configure(service, {"public.p": {"operations": ["truncate", "delete", "insert", "update"]}})
    assert '"public"."p1" differ' in stops(service, USAGE)
    service.start("--accept-rule-change").wait_for_state("streaming")
    source.execute("DELETE FROM p WHERE id = 2")
    service.wait_until_caught_up()
    assert destination.query("SELECT id FROM p ORDER BY id") == [(1,)]
    assert service.stop() == 0


# --- check

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, v text)"


@pytest.mark.parametrize("has_function", [True, False], ids=["by the plugin", "without extension"])
@pytest.mark.parametrize("rule, found", [
    ({"where": "nothing > 1"}, "nothing"),
    ({"where": "n + 1"}, "boolean"),
    ({"where": "n >"}, "syntax"),
    ({"columns": ["id", "nothing"]}, "nothing"),
    ({"columns": ["id", {"n": "v"}]}, "n"),           # text is not assigned to integer
    ({"columns": ["id", {"new": "v +"}]}, "new"),
], ids=["column", "type", "syntax", "list", "assignment", "added"])
def test_check_finds_rules_that_do_not_fit(towline_factory, source, destination, rule, found, has_function):
    source.script(TABLE)
    if not has_function:
        source.execute("DROP EXTENSION towline")
    service = configure(towline_factory(source, destination), {"public.t": rule})
    done = service.call("check", "--json")
    finding = findings(done)["source.table_rules"]
    assert done.returncode == 1 and finding["level"] == "fail", done.stdout
    assert '"public"."t"' in finding["found"] and found in finding["found"]
    # The start says the same and leaves nothing behind.
    assert found in stops(service, 3)
    assert source.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name]) == []


@pytest.mark.parametrize("rule, found", [
    ({"where": "n > 1", "columns": ["id", "n"]}, "looks at columns outside of its replica identity"),
    ({"columns": ["n"]}, 'column "id" of its replica identity must be listed'),
    ({"columns": [{"id": "id + 1"}, "n"]}, 'column "id" of its replica identity must be listed'),
], ids=["filter", "key left out", "key replaced"])
def test_check_asks_for_the_replica_identity(towline_factory, source, destination, rule, found):
    source.script(TABLE, "ALTER TABLE t ALTER id SET DEFAULT 1")
    service = configure(towline_factory(source, destination), {"public.t": rule})
    by_plugin = findings(service.call("check", "--json"))["source.table_rules"]
    assert by_plugin["level"] == "fail" and "REPLICA IDENTITY FULL" in by_plugin["mend"], by_plugin
    source.execute("DROP EXTENSION towline")
    done = service.call("check", "--json")
    finding = findings(done)["source.table_rules_identity"]
    assert done.returncode == 1 and finding["level"] == "fail" and found in finding["found"], finding
    assert finding["statement"] == 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL;'
    source.execute(finding["statement"])
    assert findings(service.call("check", "--json"))["source.table_rules_identity"]["level"] == "pass"
    source.execute("ALTER TABLE t REPLICA IDENTITY DEFAULT")
    # Without updates and deletes nothing asks for an old row.
    configure(service, {"public.t": {**rule, "operations": ["insert", "truncate"]}})
    assert findings(service.call("check", "--json"))["source.table_rules_identity"]["level"] == "pass"


LONG = "(SELECT string_agg(md5(j::text), '') FROM generate_series(1, 2000) j)"


def test_rows_that_enter_without_all_values_are_foretold(towline_factory, source, destination):
    """A13: the table is refused; who accepts it gets a stream that stops at such a row and does not send half of it."""
    source.script(TABLE, f"INSERT INTO t SELECT i, i, {LONG} FROM generate_series(1, 3) i")
    service = configure(towline_factory(source, destination), {"public.t": {"where": "id > 100"}})
    done = service.call("check", "--json")
    finding = findings(done)["source.table_rules_entering"]
    assert done.returncode == 1 and finding["level"] == "fail" and 'without column "v"' in finding["found"], finding
    assert finding["statement"] == 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL;'
    assert 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL;' in stops(service, 3)
    assert source.query("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name]) == []
    accepted = ("--accept", "source.table_rules_entering")
    done = service.call("check", "--json", *accepted)
    finding = findings(done)["source.table_rules_entering"]
    assert done.returncode == 0 and (finding["level"], finding["accepted"]) == ("warn", True), finding
    service.start(*accepted).wait_for_state("streaming")
    source.execute("UPDATE t SET id = 101 WHERE id = 1")
    assert service.wait_exit(60) == STOPPED, service.tail()
    assert 'does not carry the value of column "v"' in service.output()
    # Another rule that lets rows enter is asked about again.
    configure(service, {"public.t": {"where": "id > 101"}})  # passes the change that is lost to us
    service.start("--accept-rule-change")
    assert service.wait_exit(60) == 3 and finding["statement"] in service.output(), service.tail()
    source.execute(finding["statement"])
    service.start("--accept-rule-change").wait_for_state("streaming")
    source.execute("UPDATE t SET id = 102 WHERE id = 2")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), selects={
        "public.t": ("SELECT * FROM public.t WHERE id > 101", "SELECT * FROM public.t")})
    assert service.stop() == 0


@pytest.mark.parametrize("rule, level", [
    ({"columns": ["id", "n"]}, "pass"),
    ({"columns": ["id", {"v": "'same'"}]}, "pass"),
    ({"columns": ["id", {"v": "left(v, 1)"}]}, "fail"),
    ({"columns": ["id", {"size": "length(v)"}]}, "fail"),
    ({"operations": ["insert", "delete"]}, "pass"),
], ids=["left out", "replaced by a constant", "replaced", "added", "no updates"])
def test_only_values_that_are_sent_can_be_missing(towline_factory, source, destination, rule, level):
    source.script(TABLE, "CREATE TABLE narrow (id int PRIMARY KEY, v varchar(20))")
    service = configure(towline_factory(source, destination),
                        {"public.t": {"where": "id > 100", **rule}, "public.narrow": {"where": "id > 100"}})
    finding = findings(service.call("check", "--json"))["source.table_rules_entering"]
    assert finding["level"] == level and "narrow" not in finding["found"], finding


def test_a_changed_rule_is_asked_about_before_it_counts(towline_factory, source, destination):
    source.script(TABLE, "INSERT INTO t VALUES (1, 1, 'a')")
    service = configure(towline_factory(source, destination), {"public.t": {"where": "id > 0", "columns": ["id", "n"]}})
    service.start().wait_for_state("streaming")
    assert service.stop() == 0
    for where, problem in [("random() > 0.5", "function random is not immutable"), ("nothing > 1", "nothing"),
                           ("n > 1", "REPLICA IDENTITY FULL")]:
        configure(service, {"public.t": {"where": where, "columns": ["id", "n"]}})
        service.start("--accept-rule-change")
        assert service.wait_exit(60) == 3 and problem in service.output(), service.tail()
        # It was not taken for the task's rule.
        assert "differ from those under which it was copied" in stops(service, USAGE)
    # Log that was written before a column was renamed is passed by a rule for it as it was.
    source.script("INSERT INTO t VALUES (2, 2, 'b')", "ALTER TABLE t RENAME n TO m")
    configure(service, {"public.t": {"where": "id > 0", "columns": ["id", {"n": "n + 10"}]}})
    service.start("--accept-rule-change")
    assert service.wait_exit(60) == 3, service.tail()
    service.start("--accept-rule-change", "--accept", "source.table_rules").wait_for_state("streaming")
    service.wait_until_caught_up()
    assert destination.query("SELECT id, n FROM t ORDER BY id") == [(1, 1), (2, 12)]
    assert service.stop() == 0


def test_a_copy_that_begins_again_under_another_rule_is_asked_about(towline_factory, source, destination):
    source.script(TABLE, "INSERT INTO t SELECT i, i FROM generate_series(1, 10) i")
    service = configure(towline_factory(source, destination, fault="copy:in-table:kill"),
                        {"public.t": {"where": "id > 0", "columns": ["id", "n"]}})
    service.start()
    service.wait_exit(60)
    service.fault = None
    configure(service, {"public.t": {"where": "id > random()", "columns": ["id", "n"]}})
    assert "function random is not immutable" in stops(service, 3)
    configure(service, {"public.t": {"where": "id > 5", "columns": ["id", "n"]}})
    service.start().wait_for_state("streaming")
    service.wait_until_caught_up()
    assert destination.query("SELECT min(id), count(*) FROM t") == [(6, 5)]
    assert service.stop() == 0


def test_check_says_that_the_plugin_was_not_asked(towline_factory, source, destination):
    source.script(TABLE)
    service = configure(towline_factory(source, destination),
                        {"public.t": {"columns": ["id", "n", {"v": "left(v, 1)"}]}})
    assert findings(service.call("check", "--json"))["source.table_rules"]["level"] == "pass"
    source.execute("DROP EXTENSION towline")
    done = service.call("check", "--json")
    finding = findings(done)["source.table_rules"]
    assert finding["level"] == "warn" and done.returncode == 0, done.stdout
    assert finding["statement"] == "CREATE EXTENSION towline;"
    source.execute(finding["statement"])
    assert findings(service.call("check", "--json"))["source.table_rules"]["level"] == "pass"


def test_check_looks_at_the_destination_as_the_rule_publishes(towline_factory, source, destination):
    source.script(TABLE)
    destination.script("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)")
    service = configure(towline_factory(source, destination),
                        {"public.t": {"columns": ["id", {"tag": "'x'::varchar(3)"}]}})
    finding = findings(service.call("check", "--json"))["destination.tables"]
    assert finding["found"] == ('"public"."t": column "tag" (character varying(3)) is missing, "public"."t": column "n" '
                                "gets no value from the source, is NOT NULL and without a default")
    assert finding["statement"] == ('ALTER TABLE "public"."t" ADD COLUMN "tag" character varying(3);\n'
                                    'ALTER TABLE "public"."t" ALTER COLUMN "n" DROP NOT NULL;')
    destination.execute(finding["statement"])
    assert findings(service.call("check", "--json"))["destination.tables"]["level"] == "pass"
    # A key without its column cannot be built, not even by us.
    destination.execute("DROP TABLE t")
    configure(service, {"public.t": {"columns": ["n"], "operations": ["insert"]}})
    finding = findings(service.call("check", "--json"))["destination.tables"]
    assert finding["level"] == "fail" and 'column "id" of its primary key is not sent' in finding["found"]


def test_check_names_rules_of_tables_that_are_not_selected(towline_factory, source, destination):
    source.script(TABLE)
    service = configure(towline_factory(source, destination), {"public.T": {"where": "true"}})
    done = service.call("check", "--json")
    finding = findings(done)["task.table_options"]
    assert done.returncode == 1 and finding["found"] == "not selected: public.T"
    assert finding["mend"] == 'Did you mean "public.t"?'


def test_text_of_a_rule_cannot_end_its_statement(towline_factory, source, destination):
    source.script(TABLE, "INSERT INTO t VALUES (1, 1, 'a')")
    service = towline_factory(source, destination)
    for text in ("true) TO STDOUT; DROP TABLE t; COPY (SELECT 1 FROM t WHERE (true", "true; DROP TABLE t",
                 "true /*", "v = 'a", "n = 1) --"):
        configure(service, {"public.t": {"where": text}})
        assert 'table."public.t".where' in stops(service, USAGE)
    # What hides such things in quotes and comments is an expression like any other.
    configure(service, {"public.t": {"where": "v <> '); DROP TABLE t; --' /* ( ; */ -- ) ;",
                                     "operations": ["insert"]}})
    service.start().wait_for_state("streaming")
    source.execute("INSERT INTO t VALUES (2, 2, '); DROP TABLE t; --'), (3, 3, 'c')")
    service.wait_until_caught_up()
    assert destination.query("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
    assert service.stop() == 0


def test_start_of_the_stream_waits_for_no_lock_of_the_source(towline, source, destination):
    """Comparing the rules once looked at the tables' sizes, for which a TRUNCATE had to end first."""
    source.script("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t SELECT i, i FROM generate_series(1, 50) i")
    file = towline.directory / "task.yaml"
    file.write_text('table:\n  "public.t": {columns: [id, v]}\n', encoding="utf-8")
    towline.start("--config", str(file)).wait_for_state("streaming")
    assert towline.stop() == 0
    with Session(source) as session:
        session.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; INSERT INTO t VALUES (100, 1)")
        towline.start("--config", str(file)).wait_for_state("streaming", seconds=30)
        session.execute("COMMIT")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


# --- operations that are left out: what the source does with its keys must not stop the stream

@pytest.mark.parametrize("operations,work,rows", [
    (["insert", "delete", "truncate"],
     ["UPDATE t SET id = 20 WHERE id = 2", "DELETE FROM t WHERE id = 20", "INSERT INTO t VALUES (2, 2, 'again')"],
     [(1, "a"), (2, "again"), (3, "c")]),
    (["insert", "update"],
     ["DELETE FROM t WHERE id = 2", "UPDATE t SET id = 2 WHERE id = 1"], [(2, "a"), (3, "c")]),
    (["update"],
     ["DELETE FROM t WHERE id = 2", "UPDATE t SET id = 2 WHERE id = 1", "INSERT INTO t VALUES (9, 9, 'no')",
      "UPDATE t SET v = 'neither' WHERE id = 9", "UPDATE t SET v = 'C' WHERE id = 3"], [(2, "a"), (3, "C")]),
], ids=lambda value: "-".join(value) if isinstance(value[0], str) and len(value[0]) < 9 else "")
def test_operations_that_are_left_out_leave_nothing_in_the_way(towline_factory, source, destination, operations, work,
                                                               rows):
    source.script(TABLE, "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')")
    service = configure(towline_factory(source, destination), {"public.t": {"operations": operations}})
    service.start().wait_for_state("streaming")
    source.script(*work)
    service.wait_until_caught_up()
    assert destination.query("SELECT id, v FROM t ORDER BY id") == rows
    assert service.stop() == 0


def test_partition_that_comes_later_has_its_parents_operations(towline_factory, source, destination):
    source.script("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
                  "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
    service = configure(towline_factory(source, destination), {"public.p": {"operations": ["insert", "update"]}})
    service.start().wait_for_state("streaming")
    for database in (destination, source):
        database.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)")
    source.script("INSERT INTO p VALUES (101), (1)", "DELETE FROM p", "INSERT INTO p VALUES (101), (1)")
    service.wait_until_caught_up()
    assert destination.query("SELECT id FROM p ORDER BY id") == [(1,), (101,)]
    assert service.stop() == 0


def test_columns_of_the_destinations_own_outlive_a_change_of_key(towline, source, destination):
    source.script(TABLE, "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')")
    destination.script(TABLE, "ALTER TABLE t ADD note text DEFAULT 'none'")
    towline.start("--existing", "append").wait_for_state("streaming")
    towline.wait_until_caught_up()
    destination.script("UPDATE t SET note = 'mine'", "INSERT INTO t VALUES (7, 7, 'in the way')",
                       "DELETE FROM t WHERE id = 2")
    source.script("UPDATE t SET id = 7 WHERE id = 1", "UPDATE t SET id = 8, v = 'late' WHERE id = 2")
    towline.wait_until_caught_up()
    assert destination.query("SELECT id, v, note FROM t ORDER BY id") == [(7, "a", "mine"), (8, "late", "none")]
    assert towline.stop() == 0

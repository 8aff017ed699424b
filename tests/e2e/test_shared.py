"""Several tasks into one table of the destination, each the rows with its own value in one column (shared):
the same keys at both sources, and whatever one task does leaves the other's rows alone."""
import signal

import pytest

from conftest import fresh_database
from support.waiting import wait_until
from test_table_rules import USAGE, configure, findings, stops

STOPPED = 3

SOURCE = """
CREATE TABLE orders (id serial PRIMARY KEY, total int, note text);
CREATE TABLE lines (line text, n numeric);
ALTER TABLE lines REPLICA IDENTITY FULL;
CREATE SEQUENCE tickets;
"""
DESTINATION = """
CREATE SEQUENCE orders_id_seq;
CREATE SEQUENCE tickets;
CREATE TABLE orders (region text, id int, total int, note text, PRIMARY KEY (id, region));
CREATE UNIQUE INDEX ON orders (region, total);
CREATE TABLE lines (region text, line text, n numeric);
"""
FILL = ("INSERT INTO orders (total, note) SELECT i, '{0} ' || i FROM generate_series(1, 300) i",
        "INSERT INTO lines SELECT 'line ' || i % 5, i % 3 FROM generate_series(1, 60) i")
CHANGES = """
UPDATE orders SET note = '{0} again' WHERE id BETWEEN 10 AND 60;
UPDATE orders SET id = id + 1000 WHERE id BETWEEN 70 AND 80;
UPDATE orders SET total = 901 - total WHERE total BETWEEN 400 AND 500;
DELETE FROM orders WHERE id BETWEEN 90 AND 99;
INSERT INTO orders (total, note) SELECT 1000 + i + (SELECT max(total) FROM orders), '{0} new' FROM generate_series(1, 40) i;
DELETE FROM lines WHERE ctid IN (SELECT ctid FROM lines ORDER BY line LIMIT 3);
UPDATE lines SET n = n + 1.50 WHERE ctid IN (SELECT ctid FROM lines ORDER BY line DESC LIMIT 4);
INSERT INTO lines VALUES ('line 1', 1), ('line 1', 1), (NULL, NULL);
"""


def rules(value):
    region = {"region": f"'{value}'::text"}
    return {"public.orders": {"columns": ["id", "total", "note", region], "shared": "region"},
            "public.lines": {"columns": ["line", "n", region], "shared": "region"}}


def make(factory, source, destination, value, **more):
    """One table is copied after the other, so that a kill finds one that is done and one that is not."""
    service = factory(source, destination, task=source.name)
    return configure(service, rules(value), schema="skip", limits={"copy_workers": 1}, **more)


@pytest.fixture
def other_source(request, source_cluster):
    database = fresh_database(request, source_cluster, "src")
    database.execute("CREATE EXTENSION towline")
    yield database
    if not source_cluster.is_running:
        source_cluster.start()
    database.drop()


def rows_of(database, where=""):
    return [database.query(f"SELECT {columns} FROM {table}{where} ORDER BY {columns}")
            for table, columns in (("orders", "id, total, note"), ("lines", "line, n"))]


def assert_both(destination, sources):
    for value, database in sources.items():
        assert rows_of(destination, f" WHERE region = '{value}'") == rows_of(database), value
    assert destination.value("SELECT count(*) FROM orders WHERE region NOT IN %s", [tuple(sources)]) == 0


@pytest.mark.limit(600)
def test_two_sources_with_the_same_keys(towline_factory, source, other_source, destination):
    sources = {"eu": source, "us": other_source}
    destination.script(DESTINATION)
    for value, database in sources.items():
        database.script(SOURCE, *(statement.format(value) for statement in FILL))
    source.execute("SELECT setval('orders_id_seq', 5000), nextval('tickets')")
    eu = make(towline_factory, source, destination, "eu")
    us = make(towline_factory, other_source, destination, "us")
    eu.start().wait_for_state("streaming")
    eu.wait_until_caught_up()
    # A copy in several tries: one that begins anew, one that goes on. Each empties what the one before has left,
    # and nothing else.
    for fault in ("copy:schema-stored:kill:1", "copy:in-table:kill:1", "copy:table-done:kill:1", "copy:resume-emptied:kill:1"):
        us.fault = fault
        us.start()
        assert us.wait_exit(60) == -signal.SIGKILL, us.tail()
    assert rows_of(destination, " WHERE region = 'eu'") == rows_of(source)
    us.fault = None
    us.start().wait_for_state("streaming")
    us.wait_until_caught_up()
    assert_both(destination, sources)
    assert destination.value("SELECT last_value FROM orders_id_seq") >= 5000  # not what us is at
    assert destination.value("SELECT is_called FROM tickets")  # us has given out none

    for database in sources.values():
        database.execute("UPDATE orders SET total = total + 200 WHERE id > 200")
    for service, fault in ((us, "apply:before-commit:kill:1"), (eu, "apply:after-commit:kill:1"), (us, None), (eu, None)):
        service.kill()
        service.fault = fault
        service.start()
        for value, database in sources.items():
            for statement in CHANGES.format(value).strip().split("\n"):
                database.execute(statement)
        if fault:
            assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    for service in (eu, us):
        service.wait_until_caught_up()
    assert_both(destination, sources)

    # TRUNCATE of one, and the sequence that it sets back at its source.
    other_source.execute("TRUNCATE orders, lines RESTART IDENTITY")
    other_source.execute("INSERT INTO orders (total) VALUES (1), (2)")
    us.wait_until_caught_up()
    assert_both(destination, sources)
    assert destination.value("SELECT last_value FROM orders_id_seq") >= 5000
    other_source.execute(CHANGES.format("us"))

    # Both are verified beside each other, and one is mended.
    for service in (eu, us):
        service.wait_until_caught_up()
        assert service.call("verify").returncode == 0
    destination.script("UPDATE orders SET note = 'wrong' WHERE region = 'us' AND id = 1",
                       "DELETE FROM lines WHERE region = 'us' AND line IS NULL",
                       "INSERT INTO orders VALUES ('us', 99999, 99999, 'too many')")
    assert us.call("verify").returncode == 1
    assert eu.call("verify").returncode == 0
    assert us.call("verify", "--repair").returncode in (0, 1)
    assert us.call("verify").returncode == 0
    assert_both(destination, sources)
    # Without the rule all rows would be taken for the task's.
    config = us.environment.pop("TOWLINE_CONFIG")
    done = us.call("verify", "--repair")
    assert done.returncode == 2 and "of several tasks" in done.stdout + done.stderr
    us.environment["TOWLINE_CONFIG"] = config
    assert_both(destination, sources)

    # One table anew, while both go on.
    us.call("table", "recopy", "public.orders", check=True)
    for value, database in sources.items():
        database.execute(CHANGES.format(value))
    wait_until(lambda: not us.status().get("table_notes"), 60, "the table to come back")
    for service in (eu, us):
        service.wait_until_caught_up()
    assert_both(destination, sources)

    # A slot that is lost.
    assert us.stop() == 0
    other_source.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                       [other_source.name])
    other_source.execute("DELETE FROM orders WHERE id % 3 = 0; INSERT INTO orders (total) VALUES (-1)")
    us.start("--heal").wait_for_state("streaming")
    us.wait_until_caught_up()
    assert_both(destination, sources)
    # Whose rows they are cannot be said anew.
    assert us.stop() == 0
    configure(us, rules("asia"), schema="skip")
    assert "shared of" in stops(us, USAGE, "--accept-rule-change")
    configure(us, {}, schema="skip")
    assert "shared of" in stops(us, USAGE, "--accept-rule-change")
    assert_both(destination, sources)
    assert eu.stop() == 0


def test_tables_that_come_later(towline_factory, source, other_source, destination):
    """One by `table add`, killed in the middle; one whose first row is met, so that it is parked and rejoins."""
    sources = {"eu": source, "us": other_source}
    destination.script(DESTINATION, "CREATE TABLE extra (region text, id int, v text, PRIMARY KEY (id, region))")
    services = {}
    for value, database in sources.items():
        database.script(SOURCE, *(statement.format(value) for statement in FILL))
        services[value] = make(towline_factory, database, destination, value)
        services[value].start().wait_for_state("streaming")
        database.execute("CREATE TABLE extra (id int PRIMARY KEY, v text)")
        assert services[value].stop() == 0
        region = {"region": f"'{value}'::text"}
        configure(services[value], {**rules(value), "public.extra": {"columns": ["id", "v", region], "shared": "region"}},
                  schema="skip", on_failure="park")
    eu, us = services["eu"], services["us"]
    us.fault = "tables:joining:kill:1"
    us.start().wait_for_state("streaming")
    us.call("table", "add", "public.extra", check=True)
    assert us.wait_exit(60) == -signal.SIGKILL, us.tail()
    us.fault = None
    # What the other has begun to add is not in its way.
    eu.start().wait_for_state("streaming")
    us.start().wait_for_state("streaming")
    for value, database in sources.items():
        database.execute(f"INSERT INTO extra SELECT i, '{value}' FROM generate_series(1, 20) i")
    eu.wait_for_log("is parked, as on_failure says")
    assert eu.stop() == 0
    eu.start().wait_for_state("streaming")
    assert us.stop() == 0
    us.start().wait_for_state("streaming")
    eu.call("table", "rejoin", "public.extra", check=True)
    source.execute("UPDATE extra SET v = 'again' WHERE id < 5")
    wait_until(lambda: not eu.status().get("table_notes"), 60, "the table to come back")
    for value, database in sources.items():
        services[value].wait_until_caught_up()
        assert destination.query("SELECT id, v FROM extra WHERE region = %s ORDER BY id", [value]) == database.query(
            "SELECT id, v FROM extra ORDER BY id"), value
        assert services[value].stop() == 0
    assert_both(destination, sources)


def test_what_cannot_be_shared_is_refused(towline_factory, source, other_source, destination):
    for database in (source, other_source):
        database.script(SOURCE, *(statement.format("x") for statement in FILL))
    destination.execute(DESTINATION)
    eu = make(towline_factory, source, destination, "eu")
    other = make(towline_factory, other_source, destination, "eu")

    def check():
        return findings(eu.call("check", "--json"))

    def refused_table(what):
        found = check()["destination.tables"]
        assert found["level"] == "fail" and what in found["found"], found

    # By the configuration alone.
    for more in ({"schema": "copy"}, {"schema": "skip", "ddl": "apply"}, {"schema": "skip", "existing": "append"}):
        assert "is shared" in stops(configure(eu, rules("eu"), **more), USAGE)
    for columns in (["id", "total", "note"], ["id", "total", "note", {"region": "upper('eu')"}]):
        wrong = {"public.orders": {"columns": columns, "shared": "region"}}
        assert "have no constant \"region\"" in stops(configure(eu, wrong, schema="skip"), USAGE)
    wrong = {"public.orders": {**rules("eu")["public.orders"], "operations": ["insert"]}}
    assert "leaves out operations" in stops(configure(eu, wrong, schema="skip"), USAGE)
    wrong = {"public.orders": {"columns": ["id", {"region": "'eu'::\"char\""}], "shared": "region"}}
    assert "gives another value" in stops(configure(eu, wrong, schema="skip"), STOPPED)
    configure(eu, rules("eu"), schema="skip")

    # By the destination's table.
    destination.execute("CREATE UNIQUE INDEX alone ON orders (note)")
    refused_table("alone")
    destination.execute("DROP INDEX alone; ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    refused_table("no unique index on the source's key")
    destination.execute("ALTER TABLE orders ADD PRIMARY KEY (id, region), ADD EXCLUDE USING btree (total WITH =)")
    refused_table("exclusion")
    destination.execute("ALTER TABLE orders DROP CONSTRAINT orders_total_excl; CREATE COLLATION loose "
                        "(provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
                        "ALTER TABLE orders ALTER region TYPE text COLLATE loose")
    refused_table("collation")
    destination.execute("ALTER TABLE orders ALTER region TYPE char(2)")
    refused_table("character(2)")
    destination.execute("ALTER TABLE orders ALTER region TYPE text; DROP TABLE lines")
    refused_table("missing")
    destination.execute("CREATE TABLE lines (region text, line text, n numeric)")

    # Rows of the task's value are in the way, others are not.
    destination.execute("INSERT INTO orders VALUES ('eu', 1, 1), ('asia', 1, 1)")
    assert "with rows" in check()["destination.rows"]["found"]
    destination.execute("DELETE FROM orders WHERE region = 'eu'")
    eu.start().wait_for_state("streaming")
    eu.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM orders WHERE region = 'asia'") == 1
    # Another task with the same value, or with none, may not come.
    found = findings(other.call("check", "--json"))["task.other_task"]
    assert found["level"] == "fail" and "writes 2 tables" in found["found"], found
    configure(other, {}, schema="skip")
    assert findings(other.call("check", "--json"))["task.other_task"]["level"] == "fail"
    configure(other, rules("us"), schema="skip")
    assert findings(other.call("check", "--json", "--verbose"))["task.other_task"]["level"] == "pass"
    # A key that comes later, and would bring the tasks together, stops it before a row is written.
    assert eu.stop() == 0
    destination.execute("CREATE UNIQUE INDEX alone ON orders (note)")
    source.execute("UPDATE orders SET note = 'u'")
    assert "alone" in stops(eu, STOPPED)
    destination.execute("DROP INDEX alone")
    eu.start().wait_until_caught_up()
    assert rows_of(destination, " WHERE region = 'eu'") == rows_of(source)
    assert eu.stop() == 0

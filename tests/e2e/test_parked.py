"""on_failure: park: a table that cannot be streamed any more leaves the stream, and the others have all of theirs."""
import json
import signal

import pytest

from support.compare import assert_equal, compare

OTHERS = ["public.b", "public.c"]


@pytest.fixture
def three(source, destination):
    for table in ("a", "b", "c"):
        source.script(f"CREATE TABLE {table} (id int PRIMARY KEY, v int)", f"INSERT INTO {table} SELECT i, 0 FROM generate_series(1, 50) i")
    return source, destination


def park(service, *more):
    service.start("--on-failure", "park", *more).wait_for_state("streaming")


def refuse(destination, table="a"):
    destination.execute(f"ALTER TABLE {table} ADD CONSTRAINT small CHECK (v < 100)")


def assert_others_go_on(service, three):
    source, destination = three
    source.execute("; ".join(f"UPDATE {table} SET v = v + 1" for table in ("a", "b", "c")))
    source.execute("INSERT INTO b SELECT coalesce(max(id), 0) + 1, 7 FROM b")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=OTHERS)


def test_a_table_in_conflict_leaves_and_the_others_have_the_whole_transaction(towline, three):
    source, destination = three
    park(towline)
    refuse(destination)
    source.execute("UPDATE a SET v = 1")
    towline.wait_until_caught_up()
    rows = destination.query("SELECT * FROM a ORDER BY id")
    source.execute("UPDATE b SET v = 5; UPDATE a SET v = 500 WHERE id = 7; UPDATE c SET v = 5")
    towline.wait_for_log('table "public"."a" is parked, as on_failure says.*check_violation')
    assert_others_go_on(towline, three)
    assert destination.query("SELECT * FROM a ORDER BY id") == rows
    assert destination.query("SELECT type, table_name FROM towline_state.conflict") == [("check_violation", "a")]
    status = towline.status()
    assert (status["parked_total"], status["parked"]) == (1, [{"schema": "public", "table": "a"}])
    assert 'parked       "public"."a": not streamed any more' in towline.call("status").stdout
    verified = towline.call("verify")
    assert verified.returncode == 2 and "it is parked" in verified.stdout, verified.stdout
    # A TRUNCATE empties those that are still there.
    source.execute("TRUNCATE a, b")
    assert_others_go_on(towline, three)
    assert destination.value("SELECT count(*) FROM a") == 50
    assert towline.stop() == 0
    assert towline.status()["parked_total"] == 1
    # It stays so, and what stops another table stops the task again.
    refuse(destination, "c")
    towline.start().wait_for_log("tables are parked")
    assert_others_go_on(towline, three)
    source.execute("UPDATE c SET v = 1000 WHERE id = 1")
    assert towline.wait_exit(60) == 4, towline.tail()


def test_a_table_that_does_not_fit_any_more_leaves(towline, three):
    source, destination = three
    park(towline)
    source.execute("ALTER TABLE a ADD COLUMN w int DEFAULT 3; UPDATE a SET v = 2; UPDATE b SET v = 2")
    towline.wait_for_log('table "public"."a" is parked.*column "w" is missing')
    assert_others_go_on(towline, three)
    # One that came later, and is missing at the destination.
    source.script("CREATE TABLE d (id int PRIMARY KEY)", "INSERT INTO d VALUES (1)")
    towline.wait_for_log('table "public"."d" is parked.*it does not exist')
    assert_others_go_on(towline, three)
    assert [table["table"] for table in towline.status()["parked"]] == ["a", "d"]
    assert towline.stop() == 0


def test_each_table_has_its_own_word(towline, three):
    source, destination = three
    file = towline.directory / "towline.yaml"
    file.write_text(json.dumps({"on_failure": "park", "table": {"public.b": {"on_failure": "stop"}}}))  # JSON is YAML
    towline.start("--config", str(file)).wait_for_state("streaming")
    refuse(destination)
    refuse(destination, "b")
    source.execute("UPDATE a SET v = 500")
    towline.wait_for_log('table "public"."a" is parked')
    source.execute("UPDATE b SET v = 500")
    assert towline.wait_exit(60) == 4, towline.tail()
    assert 'conflict check_violation (table public.b' in towline.output()


@pytest.mark.limit(400)
def test_what_refuses_other_than_by_a_constraint_of_the_row(towline_factory, three):
    """Rights that are taken away, by a statement and by COPY; a constraint that is checked at COMMIT; and, when it has been
    tried again for long, an exception of a trigger."""
    source, destination = three
    for table in ("d", "e", "f"):
        source.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v int)")
    role = f"parker_{destination.name}"
    destination.cluster.database().execute(f"CREATE ROLE {role} LOGIN")
    destination.script(f"GRANT CREATE ON DATABASE {destination.name} TO {role}", f"GRANT CREATE, USAGE ON SCHEMA public TO {role}",
                       f"GRANT SET ON PARAMETER session_replication_role TO {role}")
    service = towline_factory(source, destination)
    service.command_uris = (source.uri(), destination.uri(user=role))
    park(service, "--retry-other", "1")
    destination.script(
        f"REVOKE INSERT ON a, d FROM {role}",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this' USING ERRCODE = TG_ARGV[0]; END $$",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON e DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION refuse('check_violation')",
        "CREATE TRIGGER at_once AFTER INSERT ON f FOR EACH ROW EXECUTE FUNCTION refuse('P0001')",
        "ALTER TABLE e ENABLE ALWAYS TRIGGER late", "ALTER TABLE f ENABLE ALWAYS TRIGGER at_once")
    for table, rows, why in (("a", 1, "permission denied"), ("d", 20000, "permission denied"),
                             ("e", 1, "refuses at COMMIT.*not this.*ALTER TABLE public.e ENABLE TRIGGER late;")):
        source.execute(f"UPDATE b SET v = v + 1; INSERT INTO {table} SELECT i, 0 FROM generate_series(1000, 999 + {rows}) i")
        service.wait_for_log(f'table "public"."{table}" is parked.*{why}', 60)
        assert_others_go_on(service, three)
    assert destination.query("SELECT type, table_name FROM towline_state.conflict") == [("constraint_violation", "e")]
    source.execute("UPDATE b SET v = v + 1; INSERT INTO f VALUES (1, 1)")
    service.wait_for_log('table "public"."f" is parked.*not this', 240)
    assert "tried again for 1m00s: once more, and then the table is parked" in service.output()
    assert_others_go_on(service, three)
    assert service.stop() == 0


def test_killed_when_it_is_parked(towline, three):
    source, destination = three
    towline.fault = "stream:parked:kill:1"
    park(towline)
    refuse(destination)
    source.execute("UPDATE b SET v = 5; UPDATE a SET v = 500 WHERE id = 7; UPDATE c SET v = 5")
    assert towline.wait_exit(60) == -signal.SIGKILL, towline.tail()
    towline.fault = None
    park(towline)
    assert_others_go_on(towline, three)
    assert not compare(source.uri(), destination.uri(), tables=["public.a"])
    assert towline.stop() == 0

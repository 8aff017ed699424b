"""Which schema changes are run, and who decides about those that are not: policies, roles, refusals, towline ddl (docs/ddl.md)."""
import json

import psycopg2
import pytest

from support.compare import assert_equal
from support.schema_changes import APPLY, captured, ddl, equal, history  # noqa: F401 (a fixture)
from support.waiting import wait_until


def test_held_command_waits_for_the_operator(towline, captured, destination):
    towline.start("--ddl", "apply", "--ddl", "drop_table=hold").wait_for_state("streaming")
    captured.execute("CREATE TABLE doomed (id int PRIMARY KEY); INSERT INTO doomed VALUES (1)")
    captured.execute("INSERT INTO t VALUES (1000, 'before', 1); DROP TABLE doomed; INSERT INTO t VALUES (1001, 'behind', 1)")
    assert towline.wait_exit() == 4
    assert "held: DROP TABLE (table public.doomed)" in towline.output() and "towline ddl skip" in towline.output()
    assert destination.value("SELECT count(*) FROM t WHERE id >= 1000") == 0
    assert destination.value("SELECT count(*) FROM doomed") == 1
    assert history(destination, "tag", "fate", "reason", "statement")[-1] == (
        "DROP TABLE", "held", "ddl says hold for drop_table", "DROP TABLE doomed")
    # Nothing changes by itself.
    towline.start("--ddl", "apply", "--ddl", "drop_table=hold")
    assert towline.wait_exit() == 4
    held = ddl(towline, "list").stdout
    assert "held" in held and "ddl says hold for drop_table" in held and "\n    DROP TABLE doomed\n" in held, held
    assert "towline ddl approve" in held and "CREATE TABLE" not in held, held
    [record] = json.loads(ddl(towline, "list", "--json").stdout)
    assert (record["fate"], record["objects"], record["decision"]) == ("held", "table public.doomed", "")
    wrong = ddl(towline, "approve", record["number"] + 1)
    assert wrong.returncode != 0 and "is not held" in wrong.stderr, wrong
    decided = ddl(towline, "approve", record["number"])
    assert decided.returncode == 0 and "is to be run as it is" in decided.stdout, decided
    assert "decided: approve" in ddl(towline, "list").stdout
    towline.start("--ddl", "apply", "--ddl", "drop_table=hold")
    equal(towline, captured, destination)
    assert history(destination)[-1] == ("DROP TABLE", "applied")
    assert destination.value("SELECT to_regclass('doomed') IS NULL")
    # While it runs.
    assert "none is held" in ddl(towline, "list").stdout
    assert [record["tag"] for record in json.loads(ddl(towline, "list", "--all", "--json").stdout)] == ["CREATE TABLE", "DROP TABLE"]
    nothing = ddl(towline, "skip")
    assert nothing.returncode != 0 and "no schema change of task" in nothing.stderr, nothing
    assert ddl(towline, "mend").returncode == 2
    assert towline.stop() == 0


def test_held_command_is_waited_for_and_then_parked(towline, captured, destination):
    options = ("--ddl", "apply", "--ddl", "table=hold", "--ddl-hold-max")
    captured.execute("CREATE TABLE other (id int PRIMARY KEY)")
    towline.start(*options, "10min").wait_for_state("streaming")
    towline.wait_until_caught_up()
    # Two in one transaction: each has its own decision, and without a number the one that is waited for is meant.
    captured.execute("ALTER TABLE other ADD COLUMN v int; ALTER TABLE other ADD COLUMN u int; INSERT INTO other VALUES (1, 1, 1)")
    towline.wait_for_log("is held: ALTER TABLE .*waits_at_most")
    wait_until(lambda: towline.status()["state"] == "waiting", 10, "the state")
    assert "towline ddl approve" in towline.status()["waiting_for"]
    towline.call("pause", check=True)
    wait_until(lambda: towline.status()["state"] == "paused", 30, "the pause")
    towline.call("resume", check=True)
    wait_until(lambda: towline.status()["state"] == "waiting", 30, "the state")
    assert ddl(towline, "approve").returncode == 0
    wait_until(lambda: len(history(destination)) == 2, 30, "the second to be held", explain=towline.tail)
    assert ddl(towline, "approve").returncode == 0
    equal(towline, captured, destination)
    captured.execute("ALTER TABLE other ADD COLUMN w int; INSERT INTO other VALUES (2, 2, 2, 2); INSERT INTO t VALUES (1000, 'behind', 1)")
    wait_until(lambda: len(history(destination)) == 3, 30, "the third to be held", explain=towline.tail)
    # Its time goes on while nothing runs.
    towline.kill()
    held_at = destination.value("SELECT recorded_at FROM towline_state.ddl_history WHERE fate = 'held'")
    towline.start(*options, "8s")
    towline.wait_until_caught_up()
    assert destination.value("SELECT now() - %s > '8s'", [held_at])
    assert history(destination, "tag", "fate", "reason") == [
        ("ALTER TABLE", "applied", ""), ("ALTER TABLE", "applied", ""),
        ("ALTER TABLE", "parked", "ddl says hold for table, and nobody has decided about it within 8s")]
    assert destination.query("SELECT * FROM other") == [(1, 1, 1)]
    assert_equal(captured.uri(), destination.uri(), tables=["public.t"])
    captured.execute("INSERT INTO other VALUES (3, 3, 3, 3); UPDATE t SET n = 7 WHERE id = 1000")
    towline.wait_until_caught_up()
    assert_equal(captured.uri(), destination.uri(), tables=["public.t"])
    assert towline.stop() == 0


def test_policies_of_tables_and_schemas(towline, captured, destination, tmp_path):
    captured.execute("CREATE SCHEMA aside; CREATE INDEX t_n ON t (n); CREATE TYPE aside.shape AS (id int, v int);"
                     "CREATE TABLE other (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF other DEFAULT;"
                     "CREATE TABLE typed OF aside.shape; INSERT INTO typed VALUES (1, 1)")
    file = tmp_path / "policies.yaml"
    file.write_text("ddl: apply\ntable:\n  aside.*: {ddl: ignore}\n  public.t: {ddl: {index: ignore, trigger: ignore}}\n"
                    "  public.other: {ddl: {index: ignore}}\n")
    towline.start("--config", str(file)).wait_for_state("streaming")
    captured.script("DROP INDEX t_n", "CREATE INDEX t_v ON t (v)", "ALTER TABLE t ADD COLUMN more int", "CREATE INDEX part_id ON part (id)",
                    "CREATE TRIGGER fires BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                    "DROP TRIGGER fires ON t", "CREATE INDEX typed_v ON typed (v)", "CREATE FUNCTION aside.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                    "UPDATE t SET more = 1 WHERE id < 5")
    equal(towline, captured, destination)
    assert history(destination, "tag", "fate", "reason") == [
        ("DROP INDEX", "ignored", "ddl of table public.t says ignore for index"),
        ("CREATE INDEX", "ignored", "ddl of table public.t says ignore for index"),
        ("ALTER TABLE", "applied", ""),
        ("CREATE INDEX", "ignored", "ddl of table public.other says ignore for index"),
        ("CREATE TRIGGER", "ignored", "ddl of table public.t says ignore for trigger"),
        ("DROP TRIGGER", "ignored", "ddl of table public.t says ignore for trigger"),
        ("CREATE INDEX", "applied", ""),
        ("CREATE FUNCTION", "ignored", "ddl of schema aside says ignore for routine")]
    # It rewrites a table of which nothing is said, and is of the type.
    captured.execute("ALTER TYPE aside.shape ALTER ATTRIBUTE v TYPE text CASCADE")
    assert towline.wait_exit() == 4
    assert "ddl of schema aside says ignore for type, and it rewrites" in towline.output()


def test_each_table_that_a_command_rewrites_is_asked_about(towline, captured, destination, tmp_path):
    captured.execute("CREATE TYPE shape AS (id int, v int); CREATE TABLE a OF shape (PRIMARY KEY (id)); CREATE TABLE b OF shape (PRIMARY KEY (id));"
                     "INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)")
    # A row that the user's own trigger writes between the two: with the command it would be rolled back, so that nothing is parked.
    captured.execute("CREATE TABLE audit (id serial PRIMARY KEY, what text); CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS "
                     "$$ BEGIN INSERT INTO audit (what) VALUES (tg_tag); END $$;"
                     "CREATE EVENT TRIGGER noted ON table_rewrite EXECUTE FUNCTION note()")
    file = tmp_path / "policies.yaml"
    file.write_text("ddl: apply\nlimits: {ddl_hold_max: 1s}\ntable:\n  public.b: {ddl: {type: hold}}\n")
    towline.start("--config", str(file)).wait_for_state("streaming")
    captured.execute("ALTER TYPE shape ALTER ATTRIBUTE v TYPE text CASCADE")
    assert towline.wait_exit() == 4
    captured.execute("DROP EVENT TRIGGER noted")
    assert "ddl of table public.b says hold for type" in towline.output()
    assert destination.query("SELECT * FROM a UNION ALL SELECT * FROM b") == [(1, 1), (1, 1)]
    assert ddl(towline, "approve").returncode == 0
    towline.start("--config", str(file))
    equal(towline, captured, destination)
    assert towline.stop() == 0


def test_changes_are_run_as_the_role_of_the_mapping(towline, captured, destination):
    captured.execute("CREATE ROLE ddl_alice; CREATE ROLE ddl_bob; GRANT CREATE ON SCHEMA public TO ddl_alice, ddl_bob")
    destination.execute("CREATE ROLE ddl_app; CREATE ROLE ddl_root SUPERUSER; GRANT CREATE ON SCHEMA public TO ddl_app")
    options = (*APPLY, "--ddl-role", "ddl_alice=ddl_app")
    try:
        for role, why in (("ddl_root", "is a superuser"), ("ddl_none", "is not at the destination")):
            towline.start(*options, "--ddl-role", role)
            assert towline.wait_exit() == 3
            assert f'role "{role}" of ddl_role {why}'.replace('"', '') in towline.output().replace('"', '')
        towline.start(*options, "--on-ddl-error", "park").wait_for_state("streaming")
        captured.execute("SET ROLE ddl_alice; CREATE TABLE hers (id int PRIMARY KEY, made_by name DEFAULT current_user);"
                         "ALTER TABLE hers ADD COLUMN r float8 DEFAULT random(); INSERT INTO hers VALUES (1); CREATE INDEX hers_r ON hers (r);"
                         "CREATE VIEW seen AS SELECT id FROM hers")
        captured.execute("INSERT INTO hers VALUES (2)")
        captured.execute("SET ROLE ddl_alice; CREATE TABLE gone (id int); DROP OWNED BY ddl_alice; CREATE TABLE hers (id int PRIMARY KEY); INSERT INTO hers VALUES (3)")
        # Nobody has said who this is, and the other may not alter what is not hers.
        captured.execute("ALTER TABLE t ADD COLUMN w int")
        captured.execute("SET ROLE ddl_bob; CREATE TABLE his (id int PRIMARY KEY)")
        captured.execute("INSERT INTO hers VALUES (4)")
        towline.wait_until_caught_up()
        assert_equal(captured.uri(), destination.uri(), tables=["public.hers"])
        assert destination.query("SELECT relname, relowner::regrole::text FROM pg_class WHERE relname IN ('hers', 'hers_pkey', 'seen') ORDER BY 1") == [
            ("hers", "ddl_app"), ("hers_pkey", "ddl_app")]
        assert [(tag, reason) for tag, fate, reason in history(destination, "tag", "fate", "reason") if fate == "parked"] == [
            ("ALTER TABLE", f'ddl_role says no role for "{captured.value("SELECT current_user")}", who has run it at the source'),
            ("CREATE TABLE", 'ddl_role says no role for "ddl_bob", who has run it at the source')]
        assert towline.stop() == 0
    finally:
        captured.execute("DROP OWNED BY ddl_alice, ddl_bob; DROP ROLE ddl_alice, ddl_bob")
        destination.execute("DROP OWNED BY ddl_app; DROP ROLE ddl_app, ddl_root")


def test_refused_command_is_held_and_can_be_skipped(towline, captured, destination):
    towline.start(*APPLY).wait_for_state("streaming")
    destination.execute("ALTER TABLE t ADD COLUMN there int")
    captured.execute("ALTER TABLE t ADD COLUMN there int; INSERT INTO t VALUES (1000, 'x', 1, 5)")
    assert towline.wait_exit() == 4
    assert "the destination refuses it: destination: column" in towline.output() and "42701" in towline.output()
    assert ddl(towline, "skip").returncode == 0
    towline.start(*APPLY)
    equal(towline, captured, destination)
    assert history(destination) == [("ALTER TABLE", "skipped")]
    assert "skipped" in ddl(towline, "list").stdout
    # The same of a command with rows: the operator has made them himself.
    destination.execute("ALTER TABLE t ADD COLUMN r int DEFAULT 9")
    captured.execute("ALTER TABLE t ADD COLUMN r int DEFAULT 9 + 0 * random()::int")
    assert towline.wait_exit() == 4
    destination.execute("UPDATE towline_state.ddl_history SET decision = 'skip' WHERE fate = 'held'")
    towline.start(*APPLY)
    equal(towline, captured, destination)
    # What is dropped may be gone: an index whose building failed stands at the source only.
    with pytest.raises(psycopg2.errors.UniqueViolation):
        captured.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON t ((1))")
    captured.execute("DROP INDEX broken; INSERT INTO t VALUES (1001)")
    equal(towline, captured, destination)
    assert history(destination, "fate", "reason ~ 'not all of it was here'")[-1] == ("applied", True)
    assert towline.stop() == 0



def test_refused_command_is_held_where_a_selection_is_asked_about(towline, captured, destination):
    """It is asked at the destination, in the transaction that the refusal has aborted."""
    arguments = (*APPLY, "--exclude", "public.none_*")
    towline.start(*arguments).wait_for_state("streaming")
    destination.execute("ALTER TABLE t ADD COLUMN there int")
    captured.execute("ALTER TABLE t ADD COLUMN there int; INSERT INTO t VALUES (1000, 'x', 1, 5)")
    assert towline.wait_exit() == 4, towline.tail()
    assert "the destination refuses it: destination: column" in towline.output() and "42701" in towline.output()
    assert ddl(towline, "skip").returncode == 0
    towline.start(*arguments)
    equal(towline, captured, destination)
    assert towline.stop() == 0


def test_what_is_not_carried_is_held_by_name(towline, captured, destination):
    captured.execute("CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                     "CREATE TRIGGER noting BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted()")
    towline.start(*APPLY).wait_for_state("streaming")
    captured.execute("ALTER TABLE t ENABLE ALWAYS TRIGGER noting")
    assert towline.wait_exit() == 4
    assert "ENABLE ALWAYS or REPLICA: it would fire" in towline.output()
    assert ddl(towline, "skip").returncode == 0
    towline.start(*APPLY)
    captured.execute("INSERT INTO t VALUES (1003)")
    equal(towline, captured, destination)
    # A gap in the capture is never passed over.
    captured.execute("REVOKE EXECUTE ON FUNCTION pg_event_trigger_ddl_commands() FROM PUBLIC;"
                     "CREATE ROLE ddl_nobody; GRANT CREATE ON SCHEMA public TO ddl_nobody")
    try:
        captured.execute("SET ROLE ddl_nobody; CREATE TABLE unseen (id int)")
    finally:
        captured.execute("GRANT EXECUTE ON FUNCTION pg_event_trigger_ddl_commands() TO PUBLIC; DROP OWNED BY ddl_nobody;"
                         "DROP ROLE ddl_nobody")
    assert towline.wait_exit() == 4
    assert "the source could not capture it: permission denied" in towline.output()

"""Changes that the destination does not take as they come, and what each policy (on_conflict) makes of them.

What must be at the destination is said by the tests: where a policy overwrites, the source's rows; where it
skips, the rows that were there. Whatever else is in the same transactions must arrive.
"""
import json
import signal

import pytest

from support.compare import assert_equal
from support.waiting import wait_until

STOPPED = 4  # waits for the operator
FILL = "INSERT INTO {} SELECT i, 'row ' || i, i FROM generate_series(1, 100) i"
PLAIN = "CREATE TABLE {} (id int PRIMARY KEY, v text, u int)"
UNIQUE = "CREATE TABLE {} (id int PRIMARY KEY, v text, u int UNIQUE)"
# A trigger of the system's own that fires under the replica role as well, so that there is a foreign key at all.
FOREIGN_KEY = """CREATE TABLE IF NOT EXISTS parent (id int PRIMARY KEY);
ALTER TABLE {0} ADD CONSTRAINT {0}_fkey FOREIGN KEY (u) REFERENCES parent NOT VALID;
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{0}'::regclass AND tgisinternal LOOP
    EXECUTE format('ALTER TABLE {0} ENABLE ALWAYS TRIGGER %I', name);
  END LOOP; END $$"""

# kind: table, what is done to the destination, the change.
UNIQUE_KINDS = {
    "insert_exists": (PLAIN, "INSERT INTO {} VALUES (1000, 'mine', 1)", "INSERT INTO {} VALUES (1000, 'new', 2)"),
    "update_exists": (UNIQUE, "INSERT INTO {} VALUES (1000, 'mine', 777)", "UPDATE {} SET u = 777, v = 'new' WHERE id = 7"),
    "multiple_unique_conflicts": (UNIQUE, "INSERT INTO {} VALUES (1000, 'mine', 2000), (1001, 'mine', 2001)",
                                  "INSERT INTO {} VALUES (1000, 'new', 2001)"),
}
MISSING_KINDS = {
    "update_missing": (UNIQUE, "DELETE FROM {} WHERE id = 5", "UPDATE {} SET v = 'new' WHERE id = 5"),
    "delete_missing": (PLAIN, "DELETE FROM {} WHERE id = 5", "DELETE FROM {} WHERE id = 5"),
}
CONSTRAINT_KINDS = {
    "foreign_key_violation": (PLAIN, FOREIGN_KEY, "INSERT INTO {} VALUES (1000, 'new', 1000)"),
    "check_violation": (PLAIN, "ALTER TABLE {} ADD CHECK (v <> 'new')", "INSERT INTO {} VALUES (1000, 'new', 1000)"),
    "not_null_violation": (PLAIN, "ALTER TABLE {} ALTER v SET NOT NULL", "UPDATE {} SET v = NULL WHERE id = 5"),
    "exclusion_violation": (PLAIN, "ALTER TABLE {} ADD EXCLUDE USING btree (u WITH =)",
                            "INSERT INTO {} VALUES (1000, 'new', 5)"),
}
KINDS = {**UNIQUE_KINDS, **MISSING_KINDS, **CONSTRAINT_KINDS}


def configure(service, tables, **more):
    file = service.directory / "task.yaml"
    file.write_text(json.dumps({"table": tables, **more}))  # JSON is YAML
    service.environment["TOWLINE_CONFIG"] = str(file)
    return service


def totals(destination):
    return {row[:2]: row[2] for row in destination.query(
        "SELECT type, resolution, count FROM towline_state.conflict_total")}


def rows(database, table):
    return sorted(database.query(f"SELECT id, v, u FROM {table}"))


def streaming(service, source, statements, *more):
    source.script(*statements)
    service.start(*more).wait_for_state("streaming")
    service.wait_until_caught_up()
    return service


# --- every kind under every policy

def test_every_kind_is_overwritten_or_skipped(towline, source, destination):
    """All in one transaction, among ten thousand rows that nobody minds."""
    cases = [(f"{kind}_{policy}", kind, policy) for kind in KINDS for policy in ("overwrite", "skip")
             if policy == "skip" or kind not in CONSTRAINT_KINDS]
    configure(towline, {f"public.{table}": {"on_conflict": policy if number % 2 else {kind: policy}}
                        for number, (table, kind, policy) in enumerate(cases)})
    streaming(towline, source, ["CREATE TABLE bulk (id int PRIMARY KEY, v text, u int UNIQUE)"] +
              [sql for table, kind, _ in cases for sql in (KINDS[kind][0].format(table), FILL.format(table))])
    for table, kind, _ in cases:
        destination.execute(KINDS[kind][1].format(table))
    before = {table: rows(destination, table) for table, _, _ in cases}
    fine = "INSERT INTO {0} VALUES (9000, 'good', NULL); UPDATE {0} SET v = 'good' WHERE id = 3;"
    source.execute("BEGIN; INSERT INTO bulk SELECT i, 'bulk', i FROM generate_series(1, 5000) i;" + "".join(
        KINDS[kind][2].format(table) + ";" + fine.format(table) for table, kind, _ in cases) +
        "INSERT INTO bulk SELECT i, 'bulk', i FROM generate_series(5001, 10000) i; DELETE FROM bulk WHERE id = 1; COMMIT")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.bulk"])
    for table, kind, policy in cases:
        if policy == "overwrite":
            assert rows(destination, table) == rows(source, table), table
        else:
            kept = [row if row[0] != 3 else (3, "good", 3) for row in before[table]] + [(9000, "good", None)]
            assert rows(destination, table) == sorted(kept), table
    assert totals(destination) == {(kind, policy): 1 for _, kind, policy in cases}
    recorded = destination.query("SELECT table_name, type, resolution, key_values, row_values, existing_values, "
                                 "end_lsn IS NOT NULL, xid > 0 FROM towline_state.conflict")
    assert sorted(row[:3] for row in recorded) == sorted((table, kind, policy) for table, kind, policy in cases)
    for table, kind, _, key, new, existing, has_lsn, has_xid in recorded:
        assert key.startswith('("id")=(') and has_lsn and has_xid
        assert (new is None) == (kind == "delete_missing"), table
        assert (existing is not None and "mine" in existing) == (kind in UNIQUE_KINDS), table
        if kind == "multiple_unique_conflicts":
            assert len(existing.splitlines()) == 2
    shown = {(total["type"], total["resolution"]): total["count"] for total in towline.status()["conflict_totals"]}
    assert shown == totals(destination) or not shown  # it is read every few seconds
    wait_until(lambda: towline.status()["batches_refused"] > 0, 60, "the batch to be counted", explain=towline.tail)
    assert "mine" not in towline.output() and "'new'" not in towline.output()
    assert towline.stop() == 0


def test_every_kind_stops_by_default(towline, source, destination):
    """One after the other: what has stopped is let pass by its own kind, and the next one stops."""
    streaming(towline, source, [sql for kind, (create, _, _) in KINDS.items()
                                for sql in (create.format(kind), FILL.format(kind))])
    assert towline.stop() == 0
    for kind, (_, harm, _) in KINDS.items():
        destination.execute(harm.format(kind))
    source.execute("".join(change.format(kind) + ";" for kind, (_, _, change) in KINDS.items()))
    passed = []
    for kind in KINDS:
        before = rows(destination, kind)
        # A word for all that cannot be followed everywhere: no constraint is overwritten.
        words = passed + (["overwrite"] if kind in CONSTRAINT_KINDS else [])
        towline.start(*[word for policy in words for word in ("--on-conflict", policy)])
        assert towline.wait_exit(60) == STOPPED, towline.tail()
        assert f"conflict {kind} (table public.{kind}" in towline.output()
        assert rows(destination, kind) == before
        assert totals(destination) == {(kind, "stop"): 1 for kind in [*(word.split("=")[0] for word in passed), kind]}
        passed.append(f"{kind}=skip")
    towline.start(*[word for policy in passed for word in ("--on-conflict", policy)])
    towline.wait_until_caught_up()
    assert totals(destination) == {(kind, word): 1 for kind in KINDS for word in ("stop", "skip")}
    assert towline.stop() == 0


# --- what is in the way



def test_rows_in_the_way_of_indexes_of_every_form(towline, source, destination):
    configure(towline, {}, on_conflict="overwrite")
    streaming(towline, source, [
        "CREATE TABLE partial (id int PRIMARY KEY, v text, u int)", "CREATE UNIQUE INDEX ON partial (u) WHERE v <> 'off'",
        "CREATE TABLE expression (id int PRIMARY KEY, v text, u int)",
        "CREATE UNIQUE INDEX ON expression (lower(v), (u + 1))",
        "CREATE TABLE whole (id int, v text, u int)", "CREATE UNIQUE INDEX ON whole (u)",
        "ALTER TABLE whole REPLICA IDENTITY FULL",
        "CREATE TABLE parted (id int, v text, u int, PRIMARY KEY (id), UNIQUE (id, u)) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (500)",
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (500) TO (5000)",
        *(FILL.format(table) for table in ("partial", "expression", "whole", "parted"))])
    destination.script(
        "INSERT INTO partial VALUES (1000, 'mine', 500), (1001, 'off', 501)",
        "INSERT INTO expression VALUES (1000, 'MINE', 500), (1001, 'mine', 501)",
        "INSERT INTO whole VALUES (1000, 'mine', 500)", "DELETE FROM whole WHERE id = 9",
        "INSERT INTO parted VALUES (400, 'mine', 500)", "DELETE FROM parted WHERE id = 9")
    source.execute("INSERT INTO partial VALUES (2000, 'new', 500), (2001, 'new', 501);"
                   "UPDATE expression SET v = 'mine', u = 500 WHERE id = 4;"
                   "INSERT INTO whole VALUES (2000, 'new', 500); UPDATE whole SET v = 'new' WHERE id = 9;"
                   "INSERT INTO parted VALUES (400, 'new', 1), (600, 'new', 1); UPDATE parted SET v = 'new', id = 700 WHERE id = 9")
    towline.wait_until_caught_up()
    # Rows that were not in the way stay, whoever has written them.
    assert rows(destination, "partial") == sorted(rows(source, "partial") + [(1001, "off", 501)])
    assert rows(destination, "expression") == sorted(rows(source, "expression") + [(1001, "mine", 501)])
    assert rows(destination, "whole") == rows(source, "whole")
    assert rows(destination, "parted") == rows(source, "parted")
    assert towline.stop() == 0


def test_columns_of_the_destination_alone_stay(towline, source, destination):
    configure(towline, {}, on_conflict={"insert_exists": "overwrite"})
    streaming(towline, source, [PLAIN.format("t"), FILL.format("t")])
    destination.script("ALTER TABLE t ADD mine text DEFAULT 'none'", "INSERT INTO t VALUES (1000, 'mine', 1, 'kept')")
    source.execute("INSERT INTO t VALUES (1000, 'new', 2)")
    towline.wait_until_caught_up()
    assert destination.query("SELECT v, u, mine FROM t WHERE id = 1000") == [("new", 2, "kept")]
    assert towline.stop() == 0


def test_row_that_was_not_sent_whole_is_not_made_up(towline, source, destination):
    configure(towline, {}, on_conflict="overwrite")
    streaming(towline, source, [
        "CREATE TABLE t (id int PRIMARY KEY, v text, u int)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL",
        "INSERT INTO t SELECT i, repeat('x', 5000), i FROM generate_series(1, 10) i"])
    destination.execute("DELETE FROM t WHERE id = 5")
    source.execute("UPDATE t SET u = 50 WHERE id IN (4, 5)")
    assert towline.wait_exit(60) == STOPPED, towline.tail()
    assert "conflict update_missing" in towline.output() and "has not sent all values" in towline.output()
    destination.execute("INSERT INTO t SELECT 5, repeat('x', 5000), 5")
    towline.start().wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


# --- exactness of everything else

def test_order_counts_where_rows_look_at_each_other(towline, source, destination):
    """Unique values that move between rows, within a transaction and across several, deferrable or not, and rows that
    refer to each other: batches that hold them are refused for the sake of one row elsewhere."""
    streaming(towline, source, [
        UNIQUE.format("s"), FILL.format("s"), PLAIN.format("bad"), FILL.format("bad"),
        "CREATE TABLE d (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO d SELECT i, i FROM generate_series(1, 100) i",
        "CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree, v text)",
        "INSERT INTO tree SELECT i, NULLIF(i / 2, 0), 'x' FROM generate_series(1, 100) i"], "--on-conflict", "skip")
    destination.execute("DELETE FROM bad WHERE id IN (10, 50, 90)")
    with source.connect(autocommit=False) as connection, connection.cursor() as cursor:
        for number in range(40):
            cursor.execute("UPDATE s SET u = -1 WHERE id = %(a)s; UPDATE s SET u = u + 1000 WHERE id = %(b)s;"
                           "UPDATE s SET u = (SELECT u - 1000 FROM s WHERE id = %(b)s) WHERE id = %(a)s;"
                           "UPDATE s SET u = %(n)s + 5000 WHERE id = %(b)s;"
                           "UPDATE d SET u = 101 - u; UPDATE tree SET up = %(a)s WHERE id > 90;"
                           "INSERT INTO tree VALUES (%(n)s + 200, %(n)s + 200, 'self');"
                           "DELETE FROM tree WHERE id = %(n)s + 199;"
                           "UPDATE bad SET v = 'n' || %(n)s", {"a": number % 7 + 1, "b": number % 5 + 20, "n": number})
            if number % 4:
                connection.commit()
        connection.commit()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=["public.s", "public.d", "public.tree"])
    assert rows(destination, "bad") == [row for row in rows(source, "bad") if row[0] not in (10, 50, 90)]
    assert totals(destination) == {("update_missing", "skip"): 3 * 40}
    assert towline.stop() == 0


def test_conflicts_in_a_transaction_in_parts(towline, source, destination):
    streaming(towline, source, [UNIQUE.format("t"), FILL.format("t")], "--on-conflict", "overwrite",
              "--batch-bytes-max", "64kB", "--queue-bytes-max", "256kB", "--conflict-rows-max", "5")
    destination.execute("INSERT INTO t SELECT i, 'mine', -i FROM generate_series(1000, 9000, 1000) i;"
                        "INSERT INTO t SELECT -i, 'mine', i FROM generate_series(1500, 9500, 1000) i")
    source.execute("INSERT INTO t SELECT i, repeat('new', 20), i FROM generate_series(1000, 9999) i;"
                   "UPDATE t SET v = 'updated' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert totals(destination) == {("insert_exists", "overwrite"): 18}
    # The oldest went.
    wait_until(lambda: towline.status()["conflict_rows_dropped"] == 13, 60, "those to be told", explain=towline.tail)
    assert destination.value("SELECT count(*) FROM towline_state.conflict") == 5
    assert destination.value("SELECT min(number) = max(number) - 4 FROM towline_state.conflict")
    # A stop within such a transaction leaves nothing of it.
    assert towline.stop() == 0
    destination.execute("DELETE FROM t WHERE id = 5")
    before = rows(destination, "t")
    source.execute("INSERT INTO t SELECT i, repeat('new', 20), i FROM generate_series(20000, 25000) i;"
                   "UPDATE t SET v = 'late' WHERE id = 5; INSERT INTO t VALUES (30000, 'last', 30000)")
    towline.start("--on-conflict", "stop", "--batch-bytes-max", "64kB", "--queue-bytes-max", "256kB")
    assert towline.wait_exit(60) == STOPPED, towline.tail()
    assert rows(destination, "t") == before
    towline.start("--on-conflict", "overwrite")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0


@pytest.mark.parametrize("passage", [1, 9])
def test_killed_in_the_fallback(passage, source, destination, towline_factory):
    service = towline_factory(source, destination, arguments=["--on-conflict", "overwrite"])
    streaming(service, source, [UNIQUE.format("t"), FILL.format("t")])
    assert service.stop() == 0
    destination.execute("DELETE FROM t WHERE id IN (30, 60)")
    source.execute("UPDATE t SET v = 'new', u = u + 1000")
    service.fault = f"apply:in-fallback:kill:{passage}"
    service.start()
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    service.fault = None
    assert totals(destination) == {} and destination.value("SELECT count(*) FROM t WHERE v = 'new'") == 0
    service.start().wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert totals(destination) == {("update_missing", "overwrite"): 2}
    assert service.stop() == 0


def test_prepared_transaction_with_conflicts(source_cluster, destination_cluster, source, destination, towline_factory):
    for cluster in (source_cluster, destination_cluster):
        cluster.configure(restart=True, max_prepared_transactions=10)
    service = towline_factory(source, destination, arguments=["--on-conflict", "overwrite", "--two-phase", "on"])
    streaming(service, source, [UNIQUE.format("t"), FILL.format("t"), PLAIN.format("other"), FILL.format("other")])
    destination.execute("DELETE FROM t WHERE id = 30; DELETE FROM other WHERE id = 30")
    wait_until(lambda: source.value("SELECT bool_or(two_phase AND active) FROM pg_replication_slots WHERE database = "
                                    "current_database()"), 60, "two-phase decoding", explain=service.tail)
    source.script("BEGIN; UPDATE t SET v = 'new'; PREPARE TRANSACTION 'p'")
    # Has a conflict as well, while the prepared one is open.
    source.execute("UPDATE other SET v = 'new'")
    service.wait_until_caught_up()
    assert rows(destination, "other") == rows(source, "other")
    source.execute("COMMIT PREPARED 'p'")
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert totals(destination) == {("update_missing", "overwrite"): 2}
    assert service.stop() == 0

"""`towline run --heal`: a task whose slot is lost, or does not fit its destination any more, is compared with the source
and made equal, whatever was written in between on either side, and streams on.

Each way to lose a slot stops the task loudly first, and the stop names the command.
"""
import contextlib
import signal

import pytest

from support import probes
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload
from test_table_rules import configure

USAGE, NOT_PREPARED, PROTECTED = 2, 3, 5

RULES = {"public.ruled": {"where": "id % 2 = 0", "columns": ["id", {"v": "upper(v)"}]}}

SCHEMA = """
CREATE TABLE keyed (id int PRIMARY KEY, v text, n numeric);
CREATE TABLE unique_too (id int PRIMARY KEY, u int UNIQUE, w text, EXCLUDE USING btree (w WITH =));
CREATE TABLE bare (v text, n int);
ALTER TABLE bare REPLICA IDENTITY FULL;
CREATE TABLE ruled (id int PRIMARY KEY, v text);
ALTER TABLE ruled REPLICA IDENTITY FULL;
CREATE TABLE pairs (a text COLLATE "C", b int, v jsonb, PRIMARY KEY (a, b));
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (100000);
CREATE SEQUENCE s;
INSERT INTO keyed SELECT i, 'v' || i, i / 7.0 FROM generate_series(1, 5000) i;
INSERT INTO unique_too SELECT i, i, 'w' || i FROM generate_series(1, 3000) i;
INSERT INTO bare SELECT 'b' || i / 3, i % 2 FROM generate_series(1, 1500) i;
INSERT INTO ruled SELECT i, 'r' || i FROM generate_series(1, 400) i;
INSERT INTO pairs SELECT md5((i / 2)::text), i, jsonb_build_object('i', i) FROM generate_series(1, 600) i;
INSERT INTO parts SELECT i * 10, 'p' FROM generate_series(1, 500) i;
CREATE MATERIALIZED VIEW sums AS SELECT count(*), sum(n) FROM keyed;
"""

# Values change places, rows come, go and change, in all tables.
WRITES = """
UPDATE keyed SET v = v || '-%(label)s' WHERE id %% 500 = 1;
DELETE FROM keyed WHERE id %% 700 = 3;
INSERT INTO keyed SELECT 10000 * %(number)s + i, '%(label)s', NULL FROM generate_series(1, 50) i;
UPDATE keyed SET id = id + 1000000 * %(number)s WHERE id %% 900 = 7 AND id < 100000;
UPDATE unique_too SET u = -u WHERE id <= 1200; UPDATE unique_too SET u = 1201 + u, w = 'x' || w WHERE id <= 1200;
DELETE FROM unique_too WHERE id BETWEEN 2000 + 10 * %(number)s AND 2004 + 10 * %(number)s;
DELETE FROM bare WHERE v = 'b' || 7 * %(number)s;
INSERT INTO bare SELECT 'b' || i / 2, 5 FROM generate_series(1, 20) i;
UPDATE bare SET n = NULL WHERE v = 'b1%(number)s';
UPDATE ruled SET v = '%(label)s' WHERE id BETWEEN 10 * %(number)s AND 10 * %(number)s + 9;
DELETE FROM ruled WHERE id %% 50 = 10 + %(number)s;
UPDATE pairs SET v = v || '{"more": "%(label)s"}' WHERE b %% 40 = %(number)s;
DELETE FROM pairs WHERE b %% 77 = %(number)s;
UPDATE parts SET id = 1000 + %(number)s + id WHERE id < 100;
SELECT setval('s', 1000 * %(number)s);
"""


def write(database, number, label):
    database.execute(WRITES % {"number": number, "label": label})


def check_equal(source, destination):
    for database in (source, destination):  # what they were made from has changed since
        if database.value("SELECT to_regclass('public.sums')") is not None:
            database.execute("REFRESH MATERIALIZED VIEW public.sums")
    assert_equal(source.uri(), destination.uri(),
                 selects={"public.ruled": ("SELECT id, upper(v) FROM public.ruled WHERE id % 2 = 0",
                                             "SELECT * FROM public.ruled")})


def begin(source, towline_factory, destination, **options):
    source.execute(SCHEMA)
    service = configure(towline_factory(source, destination, **options), RULES)
    service.start()
    service.wait_for_state("streaming")
    write(source, 1, "streamed")
    service.wait_until_caught_up()
    return service


def stops_and_names_the_command(service):
    service.start()
    assert service.wait_exit(60) == PROTECTED, service.tail()
    assert "--heal" in service.output(), service.tail()
    assert service.state() == "needs_heal"


def heals(service, source, destination, writes=True):
    """Goes on with --heal; afterwards the next changes are streamed, and the same command without it goes on.
    Returns what the materialized view held after it."""
    service.start("--heal")
    service.wait_for_state("streaming")
    sums = destination.query("SELECT * FROM sums")
    if writes:
        write(source, 4, "after")
    service.wait_until_caught_up()
    check_equal(source, destination)
    assert service.stop() == 0
    service.start()
    if writes:
        write(source, 5, "later")
    service.wait_until_caught_up()
    check_equal(source, destination)
    assert service.stop() == 0
    assert slots(source) == 1
    return sums


def slots(database):
    return database.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")


def last_heal(destination):
    """(tables, brought, taken back, changed) of the last one."""
    return destination.query("SELECT tables, missing, extra, different FROM towline_state.heal WHERE ended_at IS NOT NULL "
                             "ORDER BY number DESC LIMIT 1")[0]


def drop_slot(source):
    name = probes.slot(source).name
    source.query("SELECT pg_drop_replication_slot(%s)", [name])
    return name


@pytest.mark.parametrize("is_made_again", [False, True], ids=["dropped", "made again by hand"])
def test_a_slot_that_is_gone(is_made_again, source, destination, towline_factory):
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    name = drop_slot(source)
    write(source, 2, "lost")
    if is_made_again:
        source.query("SELECT pg_create_logical_replication_slot(%s, 'towline')", [name])
        write(source, 3, "behind it")
    stops_and_names_the_command(service)
    before = destination.value("SELECT v FROM keyed WHERE id = 1001")
    assert "lost" not in before
    sums = source.query("SELECT count(*), sum(n) FROM keyed")
    assert heals(service, source, destination) == sums
    tables, brought, taken_back, changed = last_heal(destination)
    assert tables == 7 and brought > 50 and taken_back > 10 and changed > 1200
    # Which rows, and what they were.
    assert destination.value("SELECT replaced_values FROM towline_state.verify_row WHERE table_name = 'keyed' AND "
                             "key_values = '(1001)' AND kind = 'different'").startswith(f"'1001', '{before}'")
    assert destination.value("SELECT last_value FROM s") >= source.value("SELECT last_value FROM s")


def test_a_slot_whose_log_was_removed(new_cluster, destination, towline_factory):
    cluster = new_cluster("small", settings={"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB",
                                             "max_wal_size": "32MB"})
    source = cluster.create_database("shop")
    source.execute("CREATE EXTENSION towline")
    # Room before the first checkpoint that the log asks for: it must not be lost yet.
    source.script("SELECT pg_switch_wal()", "CHECKPOINT")
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0

    def is_lost():
        source.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 8000000)), pg_switch_wal(); CHECKPOINT")
        return source.value("SELECT wal_status FROM pg_replication_slots") == "lost"
    write(source, 2, "lost")
    wait_until(is_lost, 60, "the slot to be lost")
    stops_and_names_the_command(service)
    heals(service, source, destination)


def test_a_destination_that_was_put_back(source, destination, destination_cluster, towline_factory):
    """It has what it had when the backup was made; the slot was confirmed for more."""
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    position = int(destination.value("SELECT position - '0/0' FROM towline_state.task"))
    destination_cluster.stop()
    destination_cluster.save("backup")
    destination_cluster.start()
    service.start()
    write(source, 2, "behind the backup")
    service.wait_until_caught_up()
    wait_until(lambda: probes.slot(source).confirmed > position, 30, "the slot to be confirmed for more")
    assert service.stop() == 0
    destination_cluster.stop()
    destination_cluster.restore("backup")
    destination_cluster.start()
    write(source, 3, "later")
    stops_and_names_the_command(service)
    heals(service, source, destination)


def test_a_source_that_was_put_back(source, destination, source_cluster, towline_factory):
    """On its own timeline, with a slot as of then: its next transactions would be passed over, up to the position."""
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    source_cluster.stop()
    source_cluster.save("backup")
    source_cluster.start()
    service.start()
    write(source, 2, "lost with the volume")
    source.execute("SELECT pg_switch_wal()")
    source.execute("INSERT INTO keyed VALUES (777777, 'ahead', 1)")
    service.wait_until_caught_up()
    assert service.stop() == 0
    source_cluster.stop()
    source_cluster.restore("backup")
    source_cluster.start()
    write(source, 3, "would be passed over")
    stops_and_names_the_command(service)
    assert "put back to an older state" in service.output()
    heals(service, source, destination)


def test_a_promoted_standby_without_the_slot_and_the_last_transactions(source, destination, source_cluster,
                                                                       new_cluster, towline_factory):
    """What the standby never got is at the destination: it is taken back, and told."""
    service = begin(source, towline_factory, destination)
    standby = new_cluster("standby", start=False)
    standby.follow(source_cluster)
    standby.start()
    write(source, 2, "lost with the primary")
    source.execute("INSERT INTO keyed SELECT i, 'never there', 1 FROM generate_series(777000, 777099) i")
    standby.stop()
    # Whether or not it had come that far: from here on it is behind for certain.
    source.execute("INSERT INTO keyed VALUES (777777, 'ahead', 1)")
    service.wait_until_caught_up()
    assert service.stop() == 0
    standby.settings.pop("primary_conninfo")
    standby.start()
    standby.database().execute("SELECT pg_promote()")
    standby.database().wait_for("SELECT NOT pg_is_in_recovery()")
    promoted = standby.database(source.name)
    write(promoted, 3, "on the new primary")
    service.source_uri = promoted.uri()
    stops_and_names_the_command(service)
    assert destination.value("SELECT count(*) FROM keyed WHERE id = 777777") == 1
    heals(service, promoted, destination)
    assert last_heal(destination)[2] >= 1
    assert destination.value("SELECT count(*) FROM keyed WHERE id = 777777") == 0


def test_prepared_transactions_are_taken_back_and_come_whole(source, destination, towline_factory):
    """One is prepared at the source across the loss and commits afterwards; one has ended in between."""
    service = begin(source, towline_factory, destination, arguments=["--two-phase", "on"])
    source.execute("BEGIN; INSERT INTO keyed VALUES (20, 'x', 1) ON CONFLICT (id) DO UPDATE SET v = 'prepared'; "
                   "PREPARE TRANSACTION 'across'")
    source.execute("BEGIN; DELETE FROM keyed WHERE id = 21; PREPARE TRANSACTION 'ended'")
    wait_until(lambda: destination.value("SELECT count(*) FROM pg_prepared_xacts") == 2, 60, "both to be prepared")
    assert service.stop() == 0
    drop_slot(source)
    source.execute("ROLLBACK PREPARED 'ended'")
    service.start("--heal")
    service.wait_for_log("waits for", 60)  # for the one that is prepared: its end would not come whole
    assert destination.value("SELECT count(*) FROM pg_prepared_xacts") == 0
    source.execute("COMMIT PREPARED 'across'")
    service.wait_for_state("streaming")
    write(source, 2, "after")
    service.wait_until_caught_up()
    check_equal(source, destination)
    assert service.stop() == 0


def test_nothing_to_heal(source, destination, towline_factory):
    """Neither at the first start nor later: it goes on from its slot."""
    source.execute(SCHEMA)
    service = configure(towline_factory(source, destination), RULES)
    service.start("--heal")
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert service.stop() == 0
    write(source, 2, "while it was down")
    service.start("--heal")
    service.wait_until_caught_up()
    check_equal(source, destination)
    assert destination.value("SELECT count(*) FROM towline_state.heal") == 0
    assert service.stop() == 0


# --- what it cannot do

def test_a_schema_that_changed_meanwhile_is_named_with_its_statements(source, destination, towline_factory):
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    drop_slot(source)
    source.execute("ALTER TABLE keyed ADD COLUMN more int DEFAULT 5; ALTER TABLE pairs ALTER COLUMN v TYPE text; "
                   "CREATE TABLE new (id int PRIMARY KEY); INSERT INTO new VALUES (1)")
    service.start("--heal")
    assert service.wait_exit(60) == NOT_PREPARED, service.tail()
    told = service.output()
    assert 'ALTER TABLE "public"."keyed" ADD COLUMN "more" integer;' in told or "keyed" in told, service.tail()
    destination.execute("ALTER TABLE keyed ADD COLUMN more int; ALTER TABLE pairs ALTER COLUMN v TYPE text; "
                        "CREATE TABLE new (id int PRIMARY KEY)")
    heals(service, source, destination, writes=False)


@pytest.mark.parametrize("why", ["append", "operations", "origin"])
def test_what_cannot_be_told_apart_is_refused(why, source, destination, towline_factory):
    source.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    arguments, rules, said = {
        "append": (["--existing", "append"], {}, "existing: append"),
        "operations": ([], {"public.t": {"operations": ["insert"]}}, "leaves operations out"),
        "origin": (["--origin", "none"], {}, "origin: none")}[why]
    service = configure(towline_factory(source, destination, arguments=arguments), rules)
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert service.stop() == 0
    destination.execute("INSERT INTO t VALUES (2)")
    drop_slot(source)
    service.start("--heal")
    assert service.wait_exit(60) == NOT_PREPARED, service.tail()
    assert said in service.output() and "HINT" in service.output(), service.tail()
    assert destination.value("SELECT count(*) FROM t") == 2


def test_rules_that_changed_are_not_healed_by(source, destination, towline_factory):
    """Without its mask a column would come as it is, and outside of another `where` rows would go."""
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    drop_slot(source)
    before = destination.query("SELECT * FROM ruled ORDER BY id")
    for rules in ({}, {"public.ruled": {"where": "id % 4 = 0", "columns": ["id", {"v": "upper(v)"}]}}):
        configure(service, rules).start("--heal")
        assert service.wait_exit(60) == USAGE, service.tail()
        assert '"public"."ruled"' in service.output() and "HINT" in service.output(), service.tail()
        assert destination.query("SELECT * FROM ruled ORDER BY id") == before
        assert service.state() != "healing"
    configure(service, RULES)
    heals(service, source, destination)


def test_rows_of_a_table_that_was_never_copied_stay(source, destination, towline_factory):
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    drop_slot(source)
    for database, rows in ((source, "(1)"), (destination, "(7), (8)")):
        database.execute(f"CREATE TABLE local_settings (id int PRIMARY KEY); INSERT INTO local_settings VALUES {rows}")
    service.start("--heal")
    assert service.wait_exit(60) == NOT_PREPARED, service.tail()
    assert "never copied" in service.output(), service.tail()
    assert destination.query("SELECT id FROM local_settings ORDER BY id") == [(7,), (8,)]
    destination.execute("TRUNCATE local_settings")
    heals(service, source, destination, writes=False)


def test_a_table_that_is_left_out_of_the_heal_is_parked(source, destination, towline_factory):
    """Its rows are not made equal: when the selection takes it again the stream must not go on in it."""
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    drop_slot(source)
    write(source, 2, "lost")
    source.execute("DROP TABLE bare")
    before = destination.query("SELECT * FROM keyed ORDER BY id")
    service.start("--heal", "--exclude", "public.keyed")
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    assert 'not at the source any more, and is left as it is table="public"."bare"' in service.output()
    assert destination.query("SELECT table_name, state, reason FROM towline_state.piece WHERE table_name IN ('keyed', 'bare')") == [
        ("keyed", "parked", "include and exclude did not select it while the task was healed")]
    assert service.stop() == 0
    service.start()
    source.execute("UPDATE keyed SET n = 5")
    service.wait_until_caught_up()
    assert destination.query("SELECT * FROM keyed ORDER BY id") == before
    assert service.call("table", "rejoin", "public.keyed").returncode == 0
    wait_until(lambda: destination.value("SELECT state FROM towline_state.piece WHERE table_name = 'keyed'") == "copied",
               60, "keyed to come back", explain=service.tail)
    service.wait_until_caught_up()
    destination.execute("DROP TABLE bare")
    check_equal(source, destination)
    assert service.stop() == 0


def test_a_slot_that_another_consumer_uses_is_left_to_it(source, destination, destination_cluster, towline_factory):
    """A backup of the destination that was restored beside it has the task's row as well."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    production = towline_factory(source, destination, task="shop").start()
    production.wait_until_caught_up()
    assert production.stop() == 0
    restored = destination_cluster.create_database(f"{destination.name}_restored", f'TEMPLATE "{destination.name}"')
    production.start()
    wait_until(lambda: source.query("SELECT active FROM pg_replication_slots") == [(True,)], 30, "the slot to be used")
    staging = towline_factory(source, restored, task="shop")
    staging.start("--heal")
    assert staging.wait_exit(60) == NOT_PREPARED, staging.tail()
    assert "in use by somebody else" in staging.output(), staging.tail()
    source.execute("INSERT INTO t VALUES (2)")
    production.wait_until_caught_up()
    assert destination.query("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    assert production.stop() == 0 and slots(source) == 1
    restored.drop()


def test_a_constraint_that_only_the_destination_has_stops_by_name(source, destination, towline_factory):
    service = begin(source, towline_factory, destination)
    assert service.stop() == 0
    drop_slot(source)
    destination.execute("ALTER TABLE keyed ADD CHECK (v <> 'refused') NOT VALID")
    source.execute("UPDATE keyed SET v = 'refused' WHERE id = 77")
    write(source, 2, "lost")
    service.start("--heal")
    assert service.wait_exit(60) == NOT_PREPARED, service.tail()
    assert '"public"."keyed"' in service.output() and "keyed_v_check" in service.output(), service.tail()
    assert service.state() == "failed"
    # It goes on healing, wished for again or not: the position means nothing until it is done.
    destination.execute("ALTER TABLE keyed DROP CONSTRAINT keyed_v_check")
    service.start()
    service.wait_for_state("streaming")
    service.wait_until_caught_up()
    check_equal(source, destination)
    assert service.stop() == 0


# --- interrupted

# At which passage; of those of a slot that is made as at a first start, the second process's first.
POINTS = {"heal:begun": 1, "heal:slot-dropped": 1, "run:before-slot": 1, "run:after-slot": 1, "run:slot-stored": 1,
          "heal:snapshot-taken": 1, "heal:in-table": 4, "heal:rows-done": 1, "heal:ended": 1}


# Those of every start are passed by other tests too.
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name in ("run:before-slot", "run:after-slot") else name
                                  for name in POINTS])
def test_killed_while_healing(name, source, destination, towline_factory, seed):
    """Under load: what commits between the new slot and the snapshot, and beside the comparison, is applied once."""
    load = Workload(source.uri(), seed, clients=2, rate=80).create().run(transactions=30)
    service = begin(source, towline_factory, destination)
    with load:
        assert service.stop() == 0
        drop_slot(source)
        write(source, 2, "lost")
        service.fault = f"{name}:kill:{POINTS[name]}"
        service.start("--heal")
        assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
        service.fault = None
        if name != "heal:ended":
            assert service.state() == "healing"
            compared = service.call("verify")
            assert compared.returncode == 2 and "healed" in compared.stderr, compared.stdout + compared.stderr
        write(source, 3, "between")
        service.start("--heal")
        service.wait_for_state("streaming")
        enough = load.transactions + 40
        wait_until(lambda: load.transactions >= enough, 60, "the load to go on")
        load.stop()
        service.wait_until_caught_up()
        check_equal(source, destination)
        assert service.stop() == 0
        assert slots(source) == 1
    with contextlib.suppress(AssertionError):
        service.stop()

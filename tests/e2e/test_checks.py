"""The checks that test_errors.py does not have in its table: many conditions in one pair of databases, each seen
to be found, and mended by the statement that is printed where one is.

A false alarm is a fault as well, so the first test looks at a healthy pair.
"""
import json
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from support import cluster as clusters


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"max_slot_wal_keep_size": "1GB"})


def check(service, *more):
    done = service.call("check", "--json", *more)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    found = {}
    for finding in report["findings"]:
        found.setdefault(finding["id"], finding)
    assert report["counts"]["fail"] == 0 or done.returncode == 1
    return found


def levels(found):
    """What did not pass."""
    return {name: finding["level"] for name, finding in found.items() if finding["level"] != "pass"}


def mend(database, finding):
    assert finding["statement"], finding
    database.script(*finding["statement"].splitlines())


def run_as(destination, name):
    """A role without superuser that may do all that a task needs; gives the URI."""
    destination.cluster.database().execute(f"CREATE ROLE {name} LOGIN")
    destination.script(f"GRANT CREATE ON DATABASE {destination.name} TO {name}",
                       f"GRANT CREATE, USAGE ON SCHEMA public TO {name}",
                       f"GRANT SET ON PARAMETER session_replication_role TO {name}",
                       *[f"GRANT EXECUTE ON FUNCTION pg_replication_origin_{function} TO {name}" for function in
                         ("oid(text)", "create(text)", "session_setup(text)", "drop(text)")])
    return destination.uri(user=name)


def move_clock(database, interval):
    """What the database's sessions see; the server's own function keeps another name."""
    database.script("SET allow_system_table_mods = on",
                    "UPDATE pg_proc SET proname = 'real_clock' WHERE oid = 'pg_catalog.clock_timestamp()'::regprocedure",
                    "CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
                    f"$$ SELECT pg_catalog.real_clock() + interval '{interval}' $$")


def test_a_healthy_pair_passes(towline, source, destination):
    statements = ["CREATE TABLE orders (id int PRIMARY KEY, v text NOT NULL CHECK (v <> ''), at timestamptz, n numeric UNIQUE)",
                  "CREATE UNIQUE INDEX ON orders (lower(v)) WHERE n > 0",
                  "CREATE TABLE lines (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, o int REFERENCES orders)",
                  "CREATE TABLE part (id int PRIMARY KEY, j jsonb) PARTITION BY RANGE (id)",
                  "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100)",
                  "CREATE TABLE base (id int PRIMARY KEY)", "CREATE TABLE kid (PRIMARY KEY (id)) INHERITS (base)",
                  "CREATE VIEW seen AS SELECT * FROM orders",
                  "CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL"]
    source.script(*statements, "CREATE EXTENSION hstore", "INSERT INTO orders VALUES (1, 'one', now(), 1)")
    assert levels(check(towline)) == {}
    # The same where the tables are there already.
    destination.script(*statements)
    assert levels(check(towline)) == {}


def test_warnings_are_accepted_by_name(towline, source):
    source.execute("CREATE TABLE loose (v int)")
    assert check(towline)["source.replica_identity"]["accepted"] is False
    accepted = check(towline, "--accept", "source.replica_identity")
    assert accepted["source.replica_identity"]["accepted"] and accepted["source.replica_identity"]["level"] == "warn"
    text = towline.call("check", "--accept", "source.replica_identity", check=True).stdout
    assert "warn  source.replica_identity (accepted): 1 table without key" in text
    assert " 0 warned, 1 accepted, 0 failed" in text and "REPLICA IDENTITY FULL" not in text
    # What fails stays failed.
    source.execute("CREATE TABLE _timescaledb (id int PRIMARY KEY)")
    source.script("CREATE SCHEMA _timescaledb_catalog",
                  "CREATE TABLE _timescaledb_catalog.hypertable (schema_name name, table_name name PRIMARY KEY)",
                  "INSERT INTO _timescaledb_catalog.hypertable VALUES ('public', '_timescaledb')")
    finding = check(towline, "--accept", "source.hypertables")["source.hypertables"]
    assert finding["level"] == "fail" and not finding["accepted"]
    assert finding["found"] == "1 hypertable: public._timescaledb"
    assert levels(check(towline, "--exclude", "public._timescaledb")) == {"source.replica_identity": "warn"}
    # A name that is none is a mistake.
    done = towline.call("check", "--accept", "source.replica_identiti")
    assert done.returncode == 2 and 'Did you mean "source.replica_identity"?' in done.stderr, done.stderr
    # run says nothing of what is accepted, and all else.
    file = towline.directory / "task.yaml"
    file.write_text("accept: [source.replica_identity]\n")
    source.execute("ALTER DATABASE " + source.name + " SET wal_sender_timeout = '3s'")
    towline.start("--config", str(file), "--exclude", "public._timescaledb").wait_for_state("streaming")
    assert "source.wal_sender_timeout" in towline.output() and "without key" not in towline.output()
    assert towline.stop() == 0


def test_what_hangs_together_and_what_is_not_copied(towline, source, destination):
    session = source.connect()
    session.cursor().execute("CREATE TEMPORARY TABLE tmp (id int PRIMARY KEY)")
    source.script("CREATE TABLE parent (id int PRIMARY KEY)",
                  "CREATE TABLE orders (id int PRIMARY KEY, p int REFERENCES parent)",
                  "CREATE TABLE \"Orders\" (id int PRIMARY KEY)",
                  "CREATE VIEW both_of AS SELECT o.id FROM orders o JOIN parent p ON p.id = o.p",
                  "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM orders",
                  "CREATE EXTENSION file_fdw", "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
                  "CREATE FOREIGN TABLE away (line text) SERVER files OPTIONS (filename '/dev/null')",
                  "CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id)",
                  "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100)",
                  "CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200)",
                  "CREATE TABLE base (id int PRIMARY KEY)", "CREATE TABLE kid (PRIMARY KEY (id)) INHERITS (base)",
                  "CREATE TABLE odd (id int, j json, x point)", "ALTER TABLE odd REPLICA IDENTITY FULL",
                  "SELECT lo_create(0)")
    choice = ["--include", "*", "--exclude", "public.parent", "--exclude", "public.part_2", "--exclude", "public.kid"]
    found = check(towline, *choice)
    assert levels(found) == dict.fromkeys(
        ["source.other_relations", "source.large_objects", "source.name_case", "source.partition_families",
         "source.inheritance", "source.foreign_keys", "source.full_identity"], "warn")
    text = {name: finding["found"] for name, finding in found.items()}
    assert text["source.other_relations"].startswith("3 relations whose rows are not copied: foreign table public.away, "
                                                     "materialized view public.counted, temporary table pg_temp_")
    assert text["source.large_objects"] == "1 large object, not copied"
    assert text["source.name_case"] == '1 pair of names that differ by case only: public."Orders" and public.orders'
    assert text["source.partition_families"].endswith(': "public"."part" without "public"."part_2"')
    assert text["source.inheritance"].endswith(': "public"."base" without "public"."kid"')
    assert text["source.foreign_keys"] == ('left out: 1 foreign key (orders_p_fkey of "public"."orders" to "public"."parent"), '
                                           '1 view ("public"."both_of")')
    assert text["source.full_identity"].endswith(': "public"."odd" (j json, x point)')
    # Without a pattern nobody means another session's temporary table.
    assert "temporary" not in check(towline)["source.other_relations"]["found"]
    session.close()
    # Without what they name nothing is said.
    source.script("ALTER TABLE odd ADD COLUMN k int UNIQUE NOT NULL", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    mended = ["--include", "*", "--exclude", "public.away", "--exclude", "public.counted", "--exclude", "public.orders",
              "--exclude", "public.both_of", "--accept", "source.foreign_keys"]
    assert levels(check(towline, *mended)) == {"source.foreign_keys": "warn"}, "the view of orders"
    assert levels(check(towline, "--exclude", "public.away", "--exclude", "public.counted")) == {"source.name_case": "warn"}
    # A child without its parent cannot be created, unless one of them is there.
    found = check(towline, "--include", "public.kid")
    assert found["source.inheritance"]["level"] == "fail"
    assert found["source.inheritance"]["found"].endswith(': "public"."kid" without "public"."base"')
    towline.start("--include", "public.kid")
    assert towline.wait_exit(30) == 3
    destination.execute("CREATE TABLE base (id int PRIMARY KEY)")
    assert check(towline, "--include", "public.kid")["source.inheritance"]["level"] == "warn"


def test_large_objects_are_copied_as_the_finding_says(towline, source, destination):
    source.execute("SELECT lo_from_bytea(4711, 'abc'); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    words = check(towline)["source.large_objects"]["mend"]
    command = words[words.index("pg_dump"):words.index(". Better")]
    assert command.startswith("pg_dump --format=custom") and "| pg_restore" in command
    programs = source.cluster.programs
    command = (command.replace("pg_dump", f"{programs}/pg_dump", 1).replace("pg_restore", f"{programs}/pg_restore", 1)
               .replace("SOURCE", f"'{source.uri()}'").replace("DESTINATION", f"'{destination.uri()}'"))
    destination.execute("CREATE TABLE t (id int PRIMARY KEY)")
    done = subprocess.run(command, shell=True, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    assert bytes(destination.value("SELECT lo_get(4711)")) == b"abc"
    assert destination.value("SELECT count(*) FROM t") == 0


def test_rows_of_users_in_tables_of_extensions(towline, towline_factory, source, destination, probe_extension):
    source.execute(f"CREATE EXTENSION {probe_extension}; CREATE TABLE t (id int PRIMARY KEY)")
    assert levels(check(towline)) == {}
    source.script("INSERT INTO system VALUES (200, 'mine')", "INSERT INTO inner_part VALUES (3)")
    finding = check(towline)["source.extension_tables"]
    assert finding["level"] == "warn" and finding["found"] == ("1 table of extensions with rows of users, which are not "
                                                              "copied: public.system of towline_probe")
    source.execute("INSERT INTO job VALUES (1)")
    assert check(towline)["source.extension_tables"]["found"].endswith(": public.job of towline_probe, public.system of towline_probe")
    reader = f"reader_{source.name}"
    source.script(f"CREATE ROLE {reader} LOGIN REPLICATION", f"GRANT SELECT ON t, system, by_value TO {reader}")
    finding = check(towline_factory(source.uri(user=reader), destination))["source.extension_tables"]
    assert finding["found"].endswith(": public.job of towline_probe (may not be read), public.system of towline_probe")
    towline.start().wait_for_state("streaming")
    assert "source.extension_tables" in towline.output()
    # As the finding says: the extension's own rows are there already.
    words = finding["mend"]
    command = words[words.index("pg_dump"):words.index(" writes")].replace("NAME", "public.system")
    programs = source.cluster.programs
    command = (command.replace("pg_dump", f"{programs}/pg_dump", 1).replace("psql", f"{programs}/psql -v ON_ERROR_STOP=1", 1)
               .replace("SOURCE", f"'{source.uri()}'").replace("DESTINATION", f"'{destination.uri()}'"))
    done = subprocess.run(command, shell=True, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    assert destination.query("SELECT id FROM system ORDER BY id") == [(1,), (2,), (200,)]
    assert towline.stop() == 0


def test_an_extension_that_the_destination_s_host_lacks(towline, source, probe_extension):
    """Both servers are one installation here, so it is taken away when the source has it."""
    source.execute(f"CREATE EXTENSION {probe_extension}")
    directory = pathlib.Path(source.value("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")) / "extension"
    control = directory / f"{probe_extension}.control"
    text = control.read_text()
    control.unlink()
    finding = check(towline)["destination.extensions"]
    assert finding["level"] == "fail" and finding["found"] == f"not installed on the destination's host: {probe_extension}"
    assert finding["mend"] == f"Install the packages of these extensions there: {probe_extension}." and not finding["statement"]
    towline.start()
    assert towline.wait_exit(30) == 3 and finding["found"] in towline.output()
    control.write_text(text)
    assert levels(check(towline)) == {"source.tables": "warn"}


def test_what_the_two_servers_differ_in(towline_factory, source, destination_cluster):
    other = destination_cluster.create_database(f"{source.name}_c", "LOCALE 'C' TEMPLATE template0")
    other.script(f"ALTER DATABASE {other.name} SET timezone = 'Asia/Kolkata'", "CREATE SCHEMA apart",
                 "CREATE EXTENSION citext SCHEMA apart", "CREATE EXTENSION hstore VERSION '1.4'")
    source.script(f"ALTER DATABASE {source.name} SET timezone = 'Etc/UTC'", "CREATE EXTENSION citext",
                  "CREATE EXTENSION hstore",
                  "SET allow_system_table_mods = on", "CREATE COLLATION pg_catalog.odd FROM \"C\"",
                  # Within types that come with the schema.
                  "CREATE DOMAIN word AS text COLLATE pg_catalog.odd", "CREATE TYPE pair AS (o word, c public.citext[])",
                  "CREATE TABLE t (id int PRIMARY KEY, p pair[], at timestamptz)",
                  "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
                  "CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted()")
    move_clock(other, "-10 seconds")
    service = towline_factory(source.uri(), run_as(other, f"plain_{source.name}"))
    found = check(service)
    assert levels(found) == {
        "source.event_triggers": "fail", "destination.types": "fail", "destination.collation": "warn",
        "destination.time_zone": "warn", "destination.clock": "warn", "destination.extension_versions": "warn"}
    assert found["source.event_triggers"]["found"].endswith(": noted")
    assert found["destination.types"]["found"] == ('missing at the destination: collation "pg_catalog"."odd" (used by public.t), '
                                                   'type "public"."citext" of extension citext (used by public.t)')
    assert found["destination.collation"]["found"] == "the source sorts text by C.UTF-8, the destination by C"
    # As far as the time that the question took allows.
    assert re.fullmatch(r"the destination's clock is (8|9|10|11)\.\d s behind the source's", found["destination.clock"]["found"])
    assert found["destination.extension_versions"]["found"].startswith("1 extension older at the destination: hstore 1.4 instead")
    assert found["destination.time_zone"]["found"] == ("the source's is UTC, the destination's Asia/Kolkata, and 1 table with "
                                                       "times that are shown by it")
    for name in ("destination.extension_versions", "destination.time_zone"):
        mend(other, found[name])
    source.script("DROP EVENT TRIGGER noted", "ALTER TABLE t DROP COLUMN p")
    assert levels(check(service)) == {"destination.collation": "warn", "destination.clock": "warn"}


def test_tables_that_are_there(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, a int, b text, at date)",
                  "CREATE UNIQUE INDEX ON t (a)", "CREATE TABLE k (id int PRIMARY KEY, other int)",
                  "CREATE TABLE fires (id int PRIMARY KEY)", "CREATE TABLE coming (id int PRIMARY KEY)",
                  "CREATE TABLE refers (id int PRIMARY KEY, fires int CONSTRAINT to_fires REFERENCES fires ON DELETE CASCADE)",
                  "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
                  "CREATE TRIGGER noted AFTER INSERT ON coming FOR EACH ROW EXECUTE FUNCTION touched()",
                  "ALTER TABLE coming ENABLE ALWAYS TRIGGER noted")
    destination.script("CREATE TABLE t (id int PRIMARY KEY, a int, b text NOT NULL, at date, CHECK (a > 0), "
                       "EXCLUDE (at WITH =), UNIQUE (b) DEFERRABLE)",
                       "CREATE UNIQUE INDEX t_lower ON t (lower(b))", "CREATE TABLE k (id int, other int PRIMARY KEY)",
                       "CREATE TABLE fires (id int PRIMARY KEY)",
                       "CREATE TABLE refers (id int PRIMARY KEY, fires int CONSTRAINT to_fires REFERENCES fires ON DELETE CASCADE)",
                       # What cascades: the foreign key's own on the table that it refers to.
                       "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'fires'::regclass "
                       "LOOP EXECUTE format('ALTER TABLE fires ENABLE ALWAYS TRIGGER %I', name); END LOOP; END $$",
                       "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
                       "CREATE TRIGGER acts BEFORE INSERT ON fires FOR EACH ROW EXECUTE FUNCTION touched()",
                       "ALTER TABLE fires ENABLE REPLICA TRIGGER acts",
                       "CREATE RULE seen AS ON DELETE TO fires DO ALSO NOTIFY seen", "ALTER TABLE fires ENABLE ALWAYS RULE seen")
    found = check(towline)
    assert levels(found) == dict.fromkeys(["destination.keys", "destination.constraints", "destination.triggers"], "warn")
    assert found["destination.keys"]["found"] == '1 table without the source\'s key: "public"."k" (other instead of id)'
    triggers = found["destination.triggers"]
    title, _, names = triggers["found"].partition(": ")
    assert title == "5 triggers firing for what towline writes"
    assert sorted(re.sub(r'"RI_ConstraintTrigger_a_\d+"', "cascade", name) for name in names.split(", ")) == [
        "acts of public.fires", *["cascade of public.fires (constraint to_fires)"] * 2,
        "noted of public.coming (comes with the schema)", "seen of public.fires"]
    assert triggers["statement"].count('ALTER TABLE public.fires ENABLE TRIGGER "RI_ConstraintTrigger_a_') == 2
    constraints = found["destination.constraints"]
    assert constraints["found"].startswith("7 constraints that the source does not have: "), constraints["found"]
    for name in ("t_a_check", "t_at_excl", "t_b_key", "t_lower", "k_pkey"):
        assert name in constraints["statement"], constraints["statement"]
    assert 'ALTER TABLE "public"."t" ALTER COLUMN "b" DROP NOT NULL;' in constraints["statement"]
    mend(destination, found["destination.keys"])
    mend(destination, constraints)
    mend(destination, found["destination.triggers"])
    assert levels(check(towline)) == {"destination.triggers": "warn"}  # the source's
    source.execute("ALTER TABLE coming ENABLE TRIGGER noted")
    assert levels(check(towline)) == {}


def test_what_is_in_the_way_of_the_schema(towline, source, destination):
    source.script("CREATE TABLE t (id int PRIMARY KEY, a int)", "CREATE INDEX t_a ON t (a)", "CREATE TABLE v (id int PRIMARY KEY)",
                  "CREATE SEQUENCE s", "CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
                  "CREATE TABLE given (id int PRIMARY KEY)", "CREATE TABLE bare (id int GENERATED BY DEFAULT AS IDENTITY, v int)")
    source.execute("ALTER TABLE bare REPLICA IDENTITY FULL")
    destination.script("CREATE TABLE other (a int)", "CREATE INDEX t_a ON other (a)", "CREATE VIEW v AS SELECT 1 AS id",
                       "CREATE VIEW s AS SELECT 1 AS x", "CREATE TABLE numbered (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)",
                       "CREATE TABLE given (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)", "CREATE TABLE bare (id int, v int)",
                       "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
                       "CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted()",
                       "ALTER EVENT TRIGGER noted ENABLE REPLICA")
    found = check(towline)
    assert levels(found) == dict.fromkeys(["destination.event_triggers", "destination.names", "destination.identity_columns"], "warn")
    assert found["destination.event_triggers"]["found"] == "1 event trigger firing for the schema changes of towline: noted"
    assert found["destination.names"]["found"] == ("3 names taken by something else: public.v (a view), "
                                                   "public.t_a (an index of public.other), public.s (a view)")
    assert found["destination.identity_columns"]["found"] == (
        '3 columns of another identity than the source\'s: "public"."bare"."id" (no identity instead of BY DEFAULT), '
        '"public"."given"."id" (ALWAYS instead of no identity), "public"."numbered"."id" (BY DEFAULT instead of ALWAYS)')
    mend(destination, found["destination.event_triggers"])
    mend(destination, found["destination.identity_columns"])
    destination.script("DROP VIEW v, s", "DROP TABLE other")
    assert levels(check(towline)) == {}


def test_keys_that_nobody_makes(towline, source, destination):
    """Without the schema: each update and delete would read the whole table."""
    source.script("CREATE TABLE p (id int PRIMARY KEY, v text)", "CREATE TABLE u (a int NOT NULL, b int NOT NULL, v text)",
                  "CREATE UNIQUE INDEX u_key ON u (b, a)", "ALTER TABLE u REPLICA IDENTITY USING INDEX u_key",
                  "CREATE TABLE whole (a int)", "ALTER TABLE whole REPLICA IDENTITY FULL")
    destination.script("CREATE TABLE p (id int NOT NULL, v text)", "CREATE TABLE u (a int PRIMARY KEY, b int NOT NULL, v text)",
                       "CREATE TABLE whole (a int)", "CREATE INDEX ON p (id)")
    assert "destination.keys" not in levels(check(towline))
    finding = check(towline, "--stages", "copy,stream")["destination.keys"]
    assert finding["level"] == "warn"
    assert finding["found"] == ('2 tables without the source\'s key: "public"."p" (none instead of id), '
                                '"public"."u" (a instead of b, a)')
    mend(destination, finding)
    assert check(towline, "--stages", "copy,stream")["destination.keys"]["level"] == "pass"


def test_patterns_that_select_nothing(towline, source):
    finding = check(towline)["source.tables"]
    assert (finding["level"], finding["found"]) == ("warn", "no table is selected")
    source.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    done = towline.call("check", "--json", "--include", "public.ordres")
    assert done.returncode == 1, done.stdout
    finding, = [one for one in json.loads(done.stdout)["findings"] if one["id"] == "source.tables"]
    assert (finding["level"], finding["found"]) == ("fail", "no table matches the pattern public.ordres")
    assert finding["mend"] == "Check the name; names with capitals must stand in double quotes."
    assert check(towline, "--include", "public.orders")["source.tables"]["level"] == "pass"


def test_other_writers(towline_factory, towline, source, destination):
    for database in (source, destination):
        database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    destination.execute("CREATE EXTENSION towline")
    source.execute("CREATE PUBLICATION p FOR ALL TABLES")
    destination.execute(f"CREATE SUBSCRIPTION s CONNECTION {clusters.quote_literal(source.uri())} PUBLICATION p WITH "
                        "(enabled = false, create_slot = false, slot_name = 'none_there', copy_data = false)")
    finding = check(towline)["task.subscription"]
    assert (finding["level"], finding["found"]) == ("warn", "subscription s (disabled) writes 1 table of these, public.t")
    destination.execute("ALTER SUBSCRIPTION s ENABLE")
    finding = check(towline)["task.subscription"]
    assert finding["level"] == "fail"
    mend(destination, finding)
    assert check(towline)["task.subscription"]["level"] == "warn"
    destination.script("ALTER SUBSCRIPTION s SET (slot_name = NONE)", "DROP SUBSCRIPTION s")
    source.execute("DROP PUBLICATION p")
    assert levels(check(towline)) == {}
    # A task in the other direction.
    back = towline_factory(destination, source, task="back")
    back.start().wait_for_state("streaming")
    finding = check(towline)["task.loop"]
    assert (finding["level"], finding["found"]) == ("fail", "task back carries the destination's changes into the source")
    assert check(towline, "--origin", "none")["task.loop"]["level"] == "pass"
    assert back.stop() == 0
    assert check(towline)["task.loop"]["level"] == "warn"
    back.call("drop", check=True)
    assert levels(check(towline)) == {}


def test_old_transactions_are_named_with_pid_and_age(towline, towline_factory, source, destination):
    move_clock(source, "10 minutes")
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    assert check(towline)["source.long_transactions"]["level"] == "pass"
    idle = source.connect(autocommit=False)
    idle.cursor().execute("INSERT INTO t VALUES (1)")
    source.run("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'left'")
    try:
        finding = check(towline)["source.long_transactions"]
        assert finding["level"] == "warn"
        pid = idle.get_backend_pid()
        assert f"pid {pid} of postgres (idle in transaction) since 10m0" in finding["found"], finding["found"]
        assert "prepared transaction 'left' of postgres since 10m0" in finding["found"]
        assert f"pg_terminate_backend({pid})" in finding["mend"] or "ROLLBACK PREPARED 'left'" in finding["mend"]
        # A role that may not see other roles' sessions is told so, and counts them all the same.
        role = f"blind_{source.name}"
        source.execute(f"CREATE ROLE {role} LOGIN")
        blind = towline_factory(source.uri(user=role), destination)
        others = [source.connect() for _ in range(5)]
        found = check(blind, "--copy-active-max", "5")
        blinded = found["source.activity"]
        assert blinded["level"] == "warn" and blinded["statement"] == f'GRANT pg_read_all_stats TO "{role}";', blinded
        finding = found["source.long_transactions"]
        assert finding["level"] == "warn" and finding["found"].startswith("open: prepared transaction 'left' of postgres since 1")
        assert finding["found"].endswith(f'; of unknown age, which role "{role}" may not see: pid {pid} of postgres')
        assert int(found["source.connections_free"]["found"].split()[0]) >= 2 + len(others)
        assert finding["statement"] == "" and f'GRANT pg_read_all_stats TO "{role}";' in finding["mend"]
        source.execute(f"GRANT pg_read_all_stats TO {role}")
        found = check(blind, "--copy-lag-max", "5s")
        assert found["source.activity"]["level"] == "pass"
        assert f"pid {pid} of postgres (idle in transaction) since 1" in found["source.long_transactions"]["found"]
        for session in others:
            session.close()
    finally:
        source.execute("ROLLBACK PREPARED 'left'")
        idle.close()
    assert check(towline)["source.long_transactions"]["level"] == "pass"


def test_settings_of_the_source(towline, source, source_cluster):
    source.script(f"ALTER DATABASE {source.name} SET wal_sender_timeout = 0",
                  f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'",
                  "CREATE TABLE t (id int PRIMARY KEY, v text)",
                  "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n")
    source_cluster.configure(max_slot_wal_keep_size="16MB")
    try:
        found = check(towline, "--copy-rate-max", "1kB")
        hasty = check(towline)["capacity.wal_kept"]
    finally:
        source_cluster.configure(max_slot_wal_keep_size="1GB")
    assert levels(found) == dict.fromkeys(["source.wal_sender_timeout", "source.logical_decoding_work_mem", "capacity.wal_kept"],
                                          "warn")
    assert found["source.wal_sender_timeout"]["statement"] == f"ALTER DATABASE \"{source.name}\" SET wal_sender_timeout = '60s';"
    assert found["source.logical_decoding_work_mem"]["found"] == "logical_decoding_work_mem is 64kB"
    assert found["capacity.wal_kept"]["where"] == "source" and found["capacity.wal_kept"]["needs"] == "reload"
    # Against what the source writes while rows are copied, and not against their size.
    assert re.search(r"max_slot_wal_keep_size is 16 MB; the copy may take [0-9]+m[0-9]+s \([0-9]+ kB of tables and indexes at "
                     r"copy_rate_max, 1024 bytes/s\), and the source writes [0-9]+ [a-zA-Z]+/s of log \(on average of the last ",
                     found["capacity.wal_kept"]["found"]), found["capacity.wal_kept"]
    assert "at an assumed 20 MB/s" in hasty["found"] and hasty["level"] == "pass", hasty
    assert "of tables and" in found["capacity.disk_space"]["found"]
    assert "the source's the log that is written until then" in found["capacity.disk_space"]["found"]


def own_address():
    """An address of this host that is not the loopback's, or None. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


@pytest.fixture
def older_plugin(session_directory):
    """Programs of a server whose towline says that it is version 0.1."""
    programs = clusters.server_bin()
    tree = programs.parents[3]
    copy = session_directory / "server-with-older-plugin"
    for part in (programs.parent, tree / "share" / "postgresql" / programs.parent.name):
        shutil.copytree(part, copy / part.relative_to(tree), symlinks=True)
    control, = copy.rglob("towline.control")
    control.write_text(control.read_text().replace("default_version = '0.3'", "default_version = '0.1'"))
    assert "'0.1'" in control.read_text()
    return copy / programs.relative_to(tree)


def test_limits_of_the_source(towline_factory, new_cluster, older_plugin, destination):
    address = own_address()
    cluster = new_cluster("small", programs=older_plugin, hba=(*clusters.TRUST, "host all all samenet trust"), settings={
        "listen_addresses": "*", "max_connections": 7, "superuser_reserved_connections": 0, "max_locks_per_transaction": 30,
        "max_prepared_transactions": 0, "max_worker_processes": 2, "max_wal_senders": 3, "autovacuum_max_workers": 1,
        "max_slot_wal_keep_size": "1GB"})
    source = cluster.create_database("app")
    source.execute("DO $$ BEGIN FOR n IN 1..60 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', n); END LOOP; END $$")
    service = towline_factory(source.uri(host=address or "127.0.0.1"), destination)
    found = check(service)
    expected = {"source.plugin_version": "warn", "source.connections_free": "warn"}
    if address:
        expected["source.tls"] = "warn"
        assert address in found["source.tls"]["found"]
    assert levels(found) == expected
    assert found["source.plugin_version"]["found"] == "the plugin has version 0.1, which goes without streaming"
    # What an older plugin refuses when the stream begins.
    rules = service.directory / "rules.yaml"
    rules.write_text('two_phase: on\ntable:\n  "public.t1": {where: "id > 1"}\n')
    finding = check(service, "--config", str(rules))["source.plugin_version"]
    assert finding["level"] == "fail" and finding["found"] == ("the plugin has version 0.1, too old for where, columns and "
                                                               "operations of tables and two_phase: on")
    for count, level in ((100, "warn"), (400, "fail")):
        for start in range(1, count, 50):
            source.execute(f"DO $$ BEGIN FOR n IN {start}..{start + 49} LOOP "
                           "EXECUTE format('CREATE TABLE IF NOT EXISTS t%s (id int PRIMARY KEY)', n); END LOOP; END $$")
        finding = check(service)["capacity.locks"]
        assert finding["level"] == level and f"{count} tables in 3 sessions: {3 * count} locks" in finding["found"], finding
    assert finding["needs"] == "restart"
    # With so many the copy would not begin: that is no guess.
    sessions = [source.connect(autocommit=False) for _ in range(3)]
    try:
        with pytest.raises(Exception, match="out of shared memory"):
            for n in range(1, count + 1):
                for session in sessions:
                    session.cursor().execute(f"LOCK TABLE t{n} IN ACCESS SHARE MODE")
    finally:
        for session in sessions:
            session.close()
    value = finding["statement"].split("'")[1]
    # The newer plugin is put in, as the other finding says.
    control, = older_plugin.parents[3].rglob("towline.control")
    control.write_text(control.read_text().replace("default_version = '0.1'", "default_version = '0.3'"))
    cluster.configure(restart=True, max_locks_per_transaction=value)
    found = check(service)
    assert found["capacity.locks"]["level"] == found["source.plugin_version"]["level"] == "pass"

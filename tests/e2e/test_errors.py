"""One table of what users get wrong: condition → the check's identifier, what it found, the exact way to mend
it and the exit statuses. A statement that is named is executed as it stands, then the check passes.

`run` must refuse with the same finding; so a condition is seen in `check --json`, in `run`'s text and in
both exit statuses.
"""
import ast
import itertools
import json
import pathlib
import shutil

import pytest

from support import cluster as clusters
from support.cluster import TRUST
from support.waiting import wait_until

SCRAM = ("local all all trust", "host all postgres 127.0.0.1/32 trust",
         "host all all 127.0.0.1/32 scram-sha-256")
NOBODY_ELSE = ("local all all trust", "host all postgres 127.0.0.1/32 trust")
PASSWORD = "right \\ 'one'"


class Place:
    """One pair of databases of its own, with an unprivileged role on either side that may do all that is
    needed, until `break_it` of a case takes something away."""

    def __init__(self, number, source_cluster, destination_cluster):
        self.source_cluster, self.destination_cluster = source_cluster, destination_cluster
        self.source = source_cluster.create_database(f"errors_{number}")
        self.destination = destination_cluster.create_database(f"errors_{number}")
        self.role = f"mover_{number}"
        self.source_options, self.destination_options = {"user": self.role}, {"user": self.role}
        self.arguments = []
        for cluster in (source_cluster, destination_cluster):
            cluster.database().script(f"CREATE ROLE {self.role} LOGIN PASSWORD "
                                      f"{clusters.quote_literal(PASSWORD)}")
        self.source.script("CREATE TABLE t (id int PRIMARY KEY, v text)", f"GRANT SELECT ON t TO {self.role}",
                           f"ALTER ROLE {self.role} REPLICATION")
        name = clusters.quote_identifier(self.destination.name)
        self.destination.script(f"GRANT CREATE ON DATABASE {name} TO {self.role}",
                                f"GRANT CREATE ON SCHEMA public TO {self.role}",
                                f"GRANT SET ON PARAMETER session_replication_role TO {self.role}")

    def side(self, where):
        return (self.source, self.source_cluster) if where == "source" else (self.destination,
                                                            self.destination_cluster)

    def service(self, factory):
        return factory(self.source.uri(**self.source_options),
                       self.destination.uri(**self.destination_options),
                       arguments=self.arguments)

    def execute(self, where, statement, needs):
        database, cluster = self.side(where)
        for line in statement.splitlines():
            database.execute(line)
        assert needs in ("nothing", "reload", "restart"), needs
        if needs == "reload":
            cluster.reload()
        elif needs == "restart":
            # What ALTER SYSTEM wrote; our own start() would empty that file.
            restart_keeping_alter_system(cluster)


def restart_keeping_alter_system(cluster):
    file = cluster.data / "postgresql.auto.conf"
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    for line in lines:
        name, _, value = line.partition("=")
        cluster.settings[name.strip()] = value.strip()[1:-1].replace("''", "'")
    cluster.restart()


class Case:
    def __init__(self, name, check, found, break_it, mend="", statement=None, where="source",
                 needs="nothing", by_hand=None,
                 check_status=1, run_status=3, level="fail",
                 run_found=None, run_mend=None, **places):
        self.name, self.check, self.found, self.break_it = name, check, found, break_it
        self.mend, self.statement, self.where, self.needs, self.by_hand = mend, statement, where, needs, by_hand
        self.run_found, self.run_mend = run_found or found, run_mend or statement or mend
        self.check_status, self.run_status, self.level, self.places = check_status, run_status, level, places


# --- what breaks, and what mends where no statement can

def wrong_password(place):
    place.source_cluster.set_hba(SCRAM)
    place.source_options["password"] = "wrong"


def right_password(place):
    place.source_options["password"] = PASSWORD


def no_password(place):
    place.source_cluster.set_hba(SCRAM)


def no_hba_entry(place):
    place.source_cluster.set_hba(NOBODY_ELSE)


def trust_everybody(place):
    place.source_cluster.set_hba(TRUST)


def unknown_host(place):
    place.source_options["host"] = "no-such-host.invalid"


def known_host(place):
    del place.source_options["host"]


def nobody_listens(place):
    place.source_options["port"] = clusters.free_port()


def right_port(place):
    del place.source_options["port"]


def no_such_database(place):
    place.source = place.source_cluster.database("not_there")


def make_database(place):
    place.source_cluster.create_database("not_there").execute(
        f"CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO {place.role}")


def fill_slots(place):
    free = int(place.source.value("SHOW max_replication_slots")) - place.source.value("SELECT count(*) FROM pg_replication_slots")
    for number in range(free):
        place.source.query("SELECT pg_create_physical_replication_slot(%s)", [f"filler_{number}"])


def missing_column(place):
    place.destination.script(f"CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO {place.role}")


def other_type(place):
    place.destination.script(f"CREATE TABLE t (id bigint PRIMARY KEY, v varchar(10), own int NOT NULL); "
                             f"ALTER TABLE t OWNER TO {place.role}")


def rows_there(place):
    place.destination.script("CREATE TABLE t (id int PRIMARY KEY, v text)",
                             "INSERT INTO t VALUES (1, 'mine')",
                             f"ALTER TABLE t OWNER TO {place.role}")


def empty_it(place):
    place.destination.execute("TRUNCATE t")


def table_of_another(place):
    place.destination.script("CREATE TABLE t (id int PRIMARY KEY, v text)")


def sequence_of_another(place):
    place.source.script("CREATE SEQUENCE s", f"GRANT SELECT ON SEQUENCE s TO {place.role}")
    place.destination.execute("CREATE SEQUENCE s")


def standby(place):
    place.destination_options["port"] = place.standby.port


def primary(place):
    del place.destination_options["port"]


def same_database(place):
    place.kept = place.destination, place.destination_cluster
    place.destination, place.destination_cluster = place.source, place.source_cluster
    place.source.script(f"GRANT CREATE ON DATABASE {place.source.name} TO {place.role}",
                        f"GRANT SET ON PARAMETER session_replication_role TO {place.role}")


def other_database(place):
    place.destination, place.destination_cluster = place.kept


def extension_needed(place):
    place.source.execute("CREATE EXTENSION file_fdw")


def source(statement):
    return lambda place: place.source.script(*[part.format(role=place.role, database=place.source.name) for
                                               part in statement.split(";;")])


def destination(statement):
    return lambda place: place.destination.script(
        *[part.format(role=place.role, database=place.destination.name) for part in statement.split(";;")])


# No key; a key that the log has no use for, or is told not to hold; an index that is not there any more.
KEYLESS = ("deferred", "loose", "lost", "nothing")

CASES = [
    Case("wrong password", "source.connection", "password authentication failed for user \"{role}\"",
         wrong_password,
         mend="Check user and password (URI, PGPASSWORD or ~/.pgpass).", by_hand=right_password,
         check_status=3, run_status=3),
    Case("no password", "source.connection", "no password supplied", no_password,
         mend="Give the password in PGPASSWORD, in ~/.pgpass or in the URI.", by_hand=right_password,
         check_status=3, run_status=3),
    Case("no pg_hba entry", "source.connection",
         "no pg_hba.conf entry for host \"127.0.0.1\", user \"{role}\"", no_hba_entry,
         mend="Check that the role exists and may log in, and that the server's pg_hba.conf has a line for "
              "this host, user and "
              "database; `towline init` prints the line.", by_hand=trust_everybody, check_status=3,
              run_status=3),
    Case("unknown host", "source.connection", "could not translate host name \"no-such-host.invalid\"",
         unknown_host,
         mend="Check the host name in the URI and the name service.", by_hand=known_host, check_status=3,
         run_status=None),
    Case("nobody listens", "source.connection", "Connection refused", nobody_listens,
         mend="Check that the server runs and that host and port are right.", by_hand=right_port,
         check_status=3, run_status=None),
    Case("no such database", "source.connection", "database \"not_there\" does not exist", no_such_database,
         mend="Create the database or correct its name in the URI.", by_hand=make_database, check_status=3,
         run_status=3),
    Case("wal_level replica", "source.wal_level", "wal_level is replica", lambda place: None,
         statement="ALTER SYSTEM SET wal_level = 'logical';", needs="restart",
         settings={"wal_level": "replica"}),
    Case("plugin missing", "source.plugin", "the plugin is not installed on the source's host",
         lambda place: None,
         mend="On that host: ./dev install PG_CONFIG=/path/to/pg_config of version 15, or install its "
              "package.",
         by_hand=lambda place: place.install_plugin(), without_plugin=True),
    Case("extension of an older version", "source.plugin",
         "the extension in this database has version 0.2, its library 0.3", source("CREATE EXTENSION towline VERSION '0.2'"),
         statement="ALTER EXTENSION towline UPDATE;", level="warn", check_status=0, run_status=0),
    Case("plugin not in output_plugin_libraries", "source.output_plugin_libraries",
         "output_plugin_libraries is pgoutput, test_decoding", lambda place: None,
         # The role may not read the setting, unless it is allowed to.
         statement="ALTER SYSTEM SET output_plugin_libraries = 'pgoutput', 'test_decoding', 'towline';",
         needs="reload",
         settings={"output_plugin_libraries": "pgoutput, test_decoding"}, reads_settings=True),
    Case("plugin refused, list not readable", "source.output_plugin_libraries",
         "the server refuses the plugin towline", lambda place: None,
         mend="This keeps the default list; if SHOW output_plugin_libraries, asked by a superuser, names "
              "others, keep those too.",
         statement="ALTER SYSTEM SET output_plugin_libraries = 'pgoutput', 'test_decoding', 'towline';",
         needs="reload",
         settings={"output_plugin_libraries": "pgoutput, test_decoding"}),
    Case("slot limit reached", "source.slots_free",
         "2 of 2 replication slots are in use, inactive: filler_0, filler_1", fill_slots,
         statement="ALTER SYSTEM SET max_replication_slots = '12';", needs="restart",
         settings={"max_replication_slots": 2}),
    Case("walsender limit reached", "source.senders_free", "0 of 0 walsenders are in use", lambda place: None,
         statement="ALTER SYSTEM SET max_wal_senders = '10';", needs="restart",
         settings={"max_wal_senders": 0}),
    Case("old_snapshot_threshold", "source.old_snapshot_threshold", "old_snapshot_threshold is 60",
         lambda place: None,
         statement="ALTER SYSTEM SET old_snapshot_threshold = '-1';", needs="restart",
         settings={"old_snapshot_threshold": "1h"}),
    Case("no REPLICATION", "source.replication_role", "role \"{role}\" has no REPLICATION",
         source("ALTER ROLE {role} NOREPLICATION"),
         statement="ALTER ROLE \"{role}\" REPLICATION;"),
    Case("no temporary tables", "source.database_privileges", "role \"{role}\" may not make temporary tables",
         source("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"),
         statement="GRANT TEMPORARY ON DATABASE \"{database}\" TO \"{role}\";", level="warn", check_status=0,
         run_status=0),
    Case("no privilege on one table", "source.table_privileges",
         "role \"{role}\" lacks SELECT on 1 table (public.closed)",
         source("CREATE TABLE closed (id int PRIMARY KEY)"),
         statement="GRANT SELECT ON TABLE public.closed TO \"{role}\";"),
    Case("no privilege on a schema", "source.table_privileges",
         "role \"{role}\" lacks USAGE on 1 schema (\"Sch\"), SELECT on 1 table (\"Sch\".\"T\")",
         source("CREATE SCHEMA \"Sch\";; CREATE TABLE \"Sch\".\"T\" (id int PRIMARY KEY)"),
         statement="GRANT USAGE ON SCHEMA \"Sch\" TO \"{role}\";\nGRANT SELECT ON TABLE \"Sch\".\"T\" TO "
                   "\"{role}\";"),
    Case("no privilege on a sequence", "source.sequence_privileges",
         "role \"{role}\" lacks SELECT on 1 sequence (public.s)",
         source("CREATE SEQUENCE s"), statement="GRANT SELECT ON SEQUENCE public.s TO \"{role}\";",
         level="warn", check_status=0, run_status=0),
    Case("no privilege on a default's sequence", "source.sequence_privileges",
         "role \"{role}\" lacks USAGE on 1 schema (apart), SELECT on 1 sequence (apart.s)",
         source("CREATE SCHEMA apart;; CREATE SEQUENCE apart.s;; ALTER TABLE t ALTER id SET DEFAULT nextval('apart.s')"),
         statement="GRANT USAGE ON SCHEMA apart TO \"{role}\";\nGRANT SELECT ON SEQUENCE apart.s TO \"{role}\";",
         level="warn", check_status=0, run_status=0),
    Case("row security at the source", "source.row_security", "1 table under row security: public.t",
         source("ALTER TABLE t ENABLE ROW LEVEL SECURITY"), statement="ALTER ROLE \"{role}\" BYPASSRLS;"),
    Case("table without key", "source.replica_identity",
         "4 tables without key: " + ", ".join(f'"public"."{name}"' for name in KEYLESS),
         source("CREATE TABLE loose (v int);; CREATE TABLE \"deferred\" (v int PRIMARY KEY DEFERRABLE);; "
                "CREATE TABLE nothing (v int PRIMARY KEY);; ALTER TABLE nothing REPLICA IDENTITY NOTHING;; "
                "CREATE TABLE lost (v int PRIMARY KEY, w int NOT NULL);; CREATE UNIQUE INDEX lost_w ON lost (w);; "
                "ALTER TABLE lost REPLICA IDENTITY USING INDEX lost_w;; DROP INDEX lost_w;; "
                "GRANT SELECT ON loose, \"deferred\", nothing, lost TO {role}"),
         statement="\n".join(f"ALTER TABLE \"public\".\"{name}\" REPLICA IDENTITY FULL;" for name in KEYLESS), level="warn",
         check_status=0, run_status=0),
    Case("unlogged table", "source.unlogged_tables", "1 unlogged table: \"public\".\"scratch\"",
         source("CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY);; GRANT SELECT ON scratch TO {role}"),
         statement="ALTER TABLE \"public\".\"scratch\" SET LOGGED;", level="warn", check_status=0,
         run_status=0),
    Case("destination read-only", "destination.writable", "the server is a standby and read-only", standby,
         mend="Give the primary's address.", where="destination", by_hand=primary, standby=True,
         run_found="the destination is a standby (in recovery)", run_mend="Point the URI at the primary."),
    Case("no CREATE at the destination", "destination.create_schema",
         "role \"{role}\" may not create the schema towline_state",
         destination("REVOKE CREATE ON DATABASE {database} FROM {role}"), where="destination",
         statement="GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\";"),
    Case("state of another role", "destination.create_schema", "the schema towline_state belongs to role keeper",
         destination("CREATE ROLE keeper;; CREATE SCHEMA towline_state AUTHORIZATION keeper"), where="destination",
         statement="GRANT \"keeper\" TO \"{role}\";"),
    Case("no CREATE in a schema", "destination.create_tables",
         "role \"{role}\" may not create in 1 schema: public",
         destination("REVOKE CREATE ON SCHEMA public FROM {role}"), where="destination",
         statement="GRANT USAGE, CREATE ON SCHEMA public TO \"{role}\";"),
    Case("no session_replication_role", "destination.replication_role_setting",
         "role \"{role}\" may not set session_replication_role",
         destination("REVOKE SET ON PARAMETER session_replication_role FROM {role}"), where="destination",
         statement="GRANT SET ON PARAMETER session_replication_role TO \"{role}\";"),
    Case("no replication origin", "destination.replication_origin",
         "role \"{role}\" may not set a replication origin", lambda place: None, where="destination",
         statement="GRANT EXECUTE ON FUNCTION pg_catalog.pg_replication_origin_oid(text), "
                   "pg_catalog.pg_replication_origin_create(text), "
                   "pg_catalog.pg_replication_origin_session_setup(text), "
                   "pg_catalog.pg_replication_origin_drop(text) TO \"{role}\";", level="warn",
                   check_status=0),
    Case("extension for superusers", "destination.extensions",
         "1 extension that only a superuser may create", extension_needed,
         where="destination", statement="CREATE EXTENSION \"file_fdw\" SCHEMA \"public\";"),
    Case("column missing", "destination.tables", "\"public\".\"t\": column \"v\" (text) is missing",
         missing_column, where="destination",
         statement="ALTER TABLE \"public\".\"t\" ADD COLUMN \"v\" text;"),
    Case("column of another type", "destination.tables",
         "\"public\".\"t\": column \"v\" has type "
         "character varying(10) instead of text, from which it is not cast, \"public\".\"t\": column \"own\" gets no value from "
         "the source, is NOT NULL and without a default",
         other_type, where="destination",
         statement="ALTER TABLE \"public\".\"t\" ALTER COLUMN \"v\" TYPE text USING \"v\"::text;\n"
                   "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"own\" DROP NOT NULL;"),
    Case("rows at the destination", "destination.rows", "1 table with rows: \"public\".\"t\"", rows_there,
         where="destination",
         mend="Empty the table (one that is shared: only of rows with the task's value), or set existing: append or existing: "
              "truncate for it.", by_hand=empty_it),
    Case("table of another role", "destination.table_privileges",
         "role \"{role}\" may not write 1 table: public.t", table_of_another,
         where="destination", statement="GRANT USAGE ON SCHEMA public TO \"{role}\";\n"
         "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE public.t TO \"{role}\";"),
    Case("sequence of another role", "destination.sequences",
         "role \"{role}\" may not set 1 sequence: public.s", sequence_of_another,
         where="destination", statement="GRANT SELECT, UPDATE ON SEQUENCE public.s TO \"{role}\";"),
    Case("the same database twice", "destination.same_database",
         "source and destination are the same database", same_database,
         where="destination", mend="Correct one of the two URIs.", by_hand=other_database),
]


# --- servers

@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"max_slot_wal_keep_size": "1GB"})


@pytest.fixture(scope="module")
def server_without_plugin(session_directory):
    """A copy of the server's programs without our files; gives the directory of its programs."""
    programs = clusters.server_bin()
    tree = programs.parents[3]
    copy = session_directory / "server-without-plugin"
    for part in (programs.parent, tree / "share" / "postgresql" / programs.parent.name):
        shutil.copytree(part, copy / part.relative_to(tree), symlinks=True)
    for file in copy.rglob("towline*"):
        file.unlink()
    return copy / programs.relative_to(tree)


@pytest.fixture(scope="module")
def standby_of_destination(module_clusters, destination_cluster, session_directory):
    """A hot standby: its data is a base backup of the destination."""
    made = []

    def make():
        if not made:
            follower = module_clusters("standby", start=False)
            shutil.rmtree(follower.data)
            follower._run([clusters.server_bin() / "pg_basebackup", "--no-sync", "-c", "fast", "-D",
                           follower.data,
                           "-d", destination_cluster.uri()])
            (follower.data / "standby.signal").touch()
            follower.settings["primary_conninfo"] = destination_cluster.uri()
            follower.settings["wal_receiver_timeout"] = "60s"
            made.append(follower.start())
        follower = made[0]
        target = destination_cluster.database().value("SELECT pg_current_wal_flush_lsn()::text")
        wait_until(lambda: follower.database().value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn",
                                                     [target]), 30, "the standby")
        return follower
    return make


numbers = itertools.count(1)


@pytest.fixture
def place(request, monkeypatch, source_cluster, destination_cluster, new_cluster):
    """The case's pair of databases; servers of its own where settings of servers are the case."""
    case = request.getfixturevalue("case")
    cluster = source_cluster
    if case.places.get("without_plugin"):
        programs = request.getfixturevalue("server_without_plugin")
        good = clusters.server_bin()
        monkeypatch.setenv("TOWLINE_SERVER_BIN", str(programs))
        cluster = new_cluster("source")
        monkeypatch.undo()
    elif "settings" in case.places:
        cluster = new_cluster("source", settings={"max_slot_wal_keep_size": "1GB", **case.places["settings"]})
    made = Place(next(numbers), cluster, destination_cluster)
    if case.places.get("without_plugin"):
        def install():
            for file in good.parents[3].rglob("towline*"):
                target = programs.parents[3] / file.relative_to(good.parents[3])
                shutil.copy(file, target)
        made.install_plugin = install
    if case.places.get("reads_settings"):
        made.source.execute(f"GRANT pg_read_all_settings TO {made.role}")
    if case.places.get("standby"):
        made.standby = request.getfixturevalue("standby_of_destination")()
    yield made
    if cluster is source_cluster:
        cluster.set_hba(TRUST)


def findings(done):
    report = json.loads(done.stdout)
    assert report["passed"] == (report["counts"]["fail"] == 0)
    return {finding["id"]: finding for finding in report["findings"]}


def expand(text, place):
    return text.replace("{role}", place.role).replace("{database}", place.destination.name)


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "_") for case in CASES])
def test_condition_is_found_and_its_hint_mends_it(case, place, towline_factory):
    case.break_it(place)
    service = place.service(towline_factory)
    done = service.call("check", "--json")
    assert done.returncode == case.check_status, done.stdout + done.stderr
    finding = findings(done)[case.check]
    assert finding["level"] == case.level, done.stdout
    if case.check.endswith(".connection"):
        assert expand(case.found, place) in finding["found"]
    else:
        assert finding["found"] == expand(case.found, place)
        failed = [other["id"] for other in findings(done).values() if other["level"] == "fail"]
        assert failed == ([case.check] if case.level == "fail" else []), "other checks failed: " + done.stdout
    assert finding["statement"] == expand(case.statement or "", place)
    assert finding["where"] == case.where and finding["why"] != ""
    assert finding["needs"] == (case.needs if case.statement else "")
    if case.mend:
        assert finding["mend"] == case.mend
    else:
        assert expand(case.statement, place) in finding["mend"]

    # The text form says the same, and `run` refuses with it.
    text = service.call("check")
    assert text.returncode == case.check_status
    assert case.check in text.stdout and (expand(case.statement, place) if
                                          case.statement else case.mend).splitlines()[0] in text.stdout
    if case.run_status is None:  # retried for hours: it waits, saying why
        service.start()
        service.wait_for_log(expand(case.found, place).replace('"', ".").replace("(", ".").replace(")", "."),
                             seconds=90)
        assert service.is_running
        assert service.stop() == 0
    elif case.level == "fail":
        service.start()
        assert service.wait_exit(30) == case.run_status, service.tail()
        output = service.output()
        assert expand(case.run_found, place).splitlines()[0] in output, output
        assert expand(case.run_mend, place).splitlines()[0] in output, output
    assert PASSWORD not in text.stdout + done.stdout + service.output(all_runs=True)

    if case.by_hand:
        case.by_hand(place)
    else:
        place.execute(finding["where"], finding["statement"], finding["needs"])
    again = place.service(towline_factory).call("check", "--json")
    after = findings(again)[case.check]
    assert after["level"] == "pass", again.stdout
    assert again.returncode == 0, again.stdout
    assert after["mend"] == after["statement"] == after["why"] == ""


def function_text(place):
    """The text of "test_x.py: test_name", here or in another file."""
    file, _, name = place.partition(": ") if ": " in place else (pathlib.Path(__file__).name, "", place)
    text = (pathlib.Path(__file__).parent / file).read_text(encoding="utf-8")
    found = [node for node in ast.parse(text).body if getattr(node, "name", None) == name]
    assert len(found) == 1, f"{place} is not there"
    return ast.get_source_segment(text, found[0])


def test_every_check_is_documented_and_provoked_by_a_test(towline_factory, source, destination):
    """docs/checks.md lists what exists; a check must be in the table here, or ELSEWHERE names the test that sees it."""
    documented = {line.split("|")[1].strip(" `") for line in
                  (clusters.ROOT / "docs" / "checks.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")}
    assert documented == {case.check for case in CASES} | ELSEWHERE.keys()
    unseen = [check for check, place in ELSEWHERE.items() if f'"{check}"' not in function_text(place)]
    assert not unseen, "the tests that ELSEWHERE names do not speak of these"
    assert set(findings(towline_factory(source, destination).call("check", "--json"))) <= documented


CHECKS, SERVERS, RULES = "test_checks.py: test_", "test_check_servers.py: test_", "test_table_rules.py: test_"
STANDBY = "test_standby.py: test_"
ELSEWHERE = {
    "source.version": SERVERS + "versions_that_are_too_old",
    "source.is_primary": "test_standby_as_a_source",
    "source.encoding": "test_encodings",
    "source.replication_connection": SERVERS + "a_replication_connection_that_is_refused",
    "source.max_slot_wal_keep_size": "test_warnings_of_settings",
    "source.synchronous_standby_names": SERVERS + "a_stream_that_would_be_a_synchronous_standby",
    **dict.fromkeys(("source.standby", "source.standby_connection"), STANDBY + "checks_of_the_standby"),
    "source.hot_standby_feedback": STANDBY + "a_slot_that_the_primary_has_made_useless",
    "source.log_standby_snapshot": STANDBY + "a_role_that_may_not_have_snapshots_logged_waits_for_the_primary",
    "source.compression": SERVERS + "options_that_the_source_is_too_old_for",
    "source.two_phase": SERVERS + "options_that_the_source_is_too_old_for",
    "source.failover_slots": "test_matrix.py: test_a_promoted_standby",
    **dict.fromkeys(("source.ddl_capture", "destination.ddl_role"), "test_ddl.py: test_capture_must_be_on"),
    "source.tables": CHECKS + "patterns_that_select_nothing",
    "source.table_rules": RULES + "check_finds_rules_that_do_not_fit",
    "source.table_rules_identity": RULES + "check_asks_for_the_replica_identity",
    "source.table_rules_entering": RULES + "rows_that_enter_without_all_values_are_foretold",
    "source.long_transactions": CHECKS + "old_transactions_are_named_with_pid_and_age",
    "source.pg_dump": "test_pg_dump_missing",
    "source.activity": CHECKS + "old_transactions_are_named_with_pid_and_age",
    "source.plugin_version": CHECKS + "limits_of_the_source",
    "source.tls": SERVERS + "networks_without_tls",
    "source.wal_sender_timeout": SERVERS + "statements_for_settings_mend_them",
    "source.logical_decoding_work_mem": SERVERS + "statements_for_settings_mend_them",
    "source.connections_free": SERVERS + "statements_for_settings_mend_them",
    "source.event_triggers": CHECKS + "what_the_two_servers_differ_in",
    "source.hypertables": CHECKS + "warnings_are_accepted_by_name",
    **dict.fromkeys(("source.other_relations", "source.name_case", "source.partition_families", "source.inheritance",
                     "source.foreign_keys", "source.full_identity"), CHECKS + "what_hangs_together_and_what_is_not_copied"),
    "source.large_objects": CHECKS + "large_objects_are_copied_as_the_finding_says",
    "source.extension_tables": CHECKS + "rows_of_users_in_tables_of_extensions",
    "destination.table_owners": "test_grants.py: test_schema_changes_of_tables_that_belong_to_others",
    "destination.connection": "test_destination_that_refuses",
    "destination.version": SERVERS + "versions_that_are_too_old",
    "destination.encoding": "test_encodings",
    "destination.row_security": "test_forced_row_security",
    "destination.referring_rows": "test_existing.py: test_truncate_of_what_other_rows_refer_to_is_foretold",
    "destination.two_phase": SERVERS + "statements_for_settings_mend_them",
    "destination.connections_free": SERVERS + "statements_for_settings_mend_them",
    "destination.tls": SERVERS + "networks_without_tls",
    **dict.fromkeys(("destination.collation", "destination.time_zone", "destination.clock", "destination.types",
                     "destination.extension_versions"), CHECKS + "what_the_two_servers_differ_in"),
    **dict.fromkeys(("destination.keys", "destination.constraints", "destination.triggers"),
                    CHECKS + "tables_that_are_there"),
    **dict.fromkeys(("destination.event_triggers", "destination.names", "destination.identity_columns"),
                    CHECKS + "what_is_in_the_way_of_the_schema"),
    "capacity.locks": CHECKS + "limits_of_the_source",
    "capacity.disk_space": CHECKS + "settings_of_the_source",
    "capacity.wal_kept": SERVERS + "statements_for_settings_mend_them",
    "task.table_options": "test_option_for_a_table_that_is_not_selected",
    "task.slot": "test_slot_that_is_left",
    "task.other_task": "test_table_of_another_task",
    **dict.fromkeys(("task.subscription", "task.loop"), CHECKS + "other_writers"),
}


# --- what does not fit the table

def only_fail(done, check, status=1):
    assert done.returncode == status, done.stdout + done.stderr
    found = findings(done)
    assert [finding["id"] for finding in found.values() if finding["level"] == "fail"] == [check], done.stdout
    return found[check]


def test_standby_as_a_source(towline_factory, source, standby_of_destination, destination_cluster):
    follower = standby_of_destination()
    done = towline_factory(follower.database("postgres"), source).call("check", "--json")
    assert findings(done)["source.is_primary"]["level"] == "fail" and done.returncode == 1
    assert findings(done)["source.is_primary"]["mend"] == (
        "Give the primary's address as source; a standby to stream from is named by source_standby.")
    done = towline_factory(destination_cluster.database("postgres"), source).call("check", "--json")
    assert findings(done)["source.is_primary"]["level"] == "pass"


def test_destination_that_refuses(towline_factory, source, destination):
    service = towline_factory(source.uri(), destination.cluster.uri("not_there"))
    done = service.call("check", "--json")
    assert only_fail(done, "destination.connection",
                     status=3)["mend"] == "Create the database or correct its name in the URI."
    service.start()
    assert service.wait_exit(30) == 3
    assert "not_there" in service.output()
    there = destination.cluster.create_database("not_there")
    assert findings(service.call("check", "--json"))["destination.connection"]["level"] == "pass"
    there.drop()


def test_encodings(towline_factory, source, destination_cluster, source_cluster):
    latin = destination_cluster.create_database(f"{source.name}_latin1",
                                                "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    ascii_there = destination_cluster.create_database(f"{source.name}_ascii",
                                                      "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    ascii_here = source_cluster.create_database(f"{source.name}_ascii",
                                                "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    done = towline_factory(source, latin).call("check", "--json")
    finding = findings(done)["destination.encoding"]
    assert finding["level"] == "warn" and done.returncode == 0
    assert finding["found"] == "the encoding is LATIN1, the source's is UTF8: a character that LATIN1 lacks stops the task"
    done = towline_factory(source, ascii_there).call("check", "--json")
    assert findings(done)["destination.encoding"]["level"] == "warn" and done.returncode == 0
    finding = findings(towline_factory(ascii_here, latin).call("check", "--json"))["source.encoding"]
    assert finding["level"] == "fail" and finding["mend"] == "Use a destination in SQL_ASCII as well, or convert the source first."
    latin_here = source_cluster.create_database(f"{source.name}_latin1",
                                                "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    done = towline_factory(latin_here, latin).call("check", "--json")
    assert findings(done)["source.encoding"]["level"] == "pass" and done.returncode == 0
    assert findings(done)["source.encoding"]["found"] == "the encoding is LATIN1; texts travel as UTF-8"
    here = source_cluster.create_database(f"{source.name}_euc", "ENCODING 'EUC_JP' LOCALE 'C' TEMPLATE template0")
    done = towline_factory(here, latin).call("check", "--json")
    assert findings(done)["source.encoding"]["level"] == "warn" and done.returncode == 0
    # No session of ours comes about: the server does not convert from it.
    here = source_cluster.create_database(f"{source.name}_mule", "ENCODING 'MULE_INTERNAL' LOCALE 'C' TEMPLATE template0")
    finding = only_fail(towline_factory(here, latin).call("check", "--json"), "source.connection", status=4)
    assert "MULE_INTERNAL" in finding["found"]
    assert findings(towline_factory(ascii_here, ascii_there).call("check",
                                                            "--json"))["source.encoding"]["level"] == "warn"


def test_warnings_of_settings(towline_factory, new_cluster, source):
    cluster = new_cluster("source")
    database = cluster.create_database("app")
    full = new_cluster("destination", settings={"max_connections": 6, "max_wal_senders": 2, "superuser_reserved_connections": 1})
    service = towline_factory(database, full.create_database("app"))
    done = service.call("check", "--json")
    assert done.returncode == 0
    kept, free = (findings(done)[name] for
                  name in ("source.max_slot_wal_keep_size", "destination.connections_free"))
    assert kept["level"] == "warn" and kept["statement"] == "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB';" and kept["needs"] == "reload"
    assert free["level"] == "warn", done.stdout
    database.execute(kept["statement"])
    cluster.reload()
    assert findings(service.call("check", "--json"))["source.max_slot_wal_keep_size"]["level"] == "pass"


def test_pg_dump_missing(towline_factory, source, destination):
    service = towline_factory(source, destination, environment={"TOWLINE_PG_DUMP": "/nonexistent/pg_dump"})
    assert only_fail(service.call("check", "--json"), "source.pg_dump")["mend"] != ""
    service.start()
    assert service.wait_exit(30) == 3
    assert "/nonexistent/pg_dump" in service.output()
    mended = service.call("check", "--json", "--pg-dump", source.cluster.programs / "pg_dump")
    assert findings(mended)["source.pg_dump"]["level"] == "pass"


def test_forced_row_security(towline_factory, source, destination):
    role = f"plain_{source.name}"
    destination.cluster.database().execute(f"CREATE ROLE {role} LOGIN")
    destination.script(f"GRANT CREATE ON DATABASE {destination.name} TO {role}; GRANT CREATE ON SCHEMA "
                       f"public TO {role}",
                       f"GRANT SET ON PARAMETER session_replication_role TO {role}")
    source.execute("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER "
                   "TABLE t FORCE ROW LEVEL SECURITY")
    service = towline_factory(source.uri(), destination.uri(user=role))
    finding = only_fail(service.call("check", "--json"), "destination.row_security")
    assert finding["statement"] == f'ALTER ROLE "{role}" BYPASSRLS;'
    destination.execute(finding["statement"])
    assert service.call("check").returncode == 0


def test_option_for_a_table_that_is_not_selected(towline, source, destination):
    source.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    file = towline.directory / "task.yaml"
    file.write_text('table:\n  "public.ordres": {existing: truncate}\n')
    finding = only_fail(towline.call("check", "--json", "--config", str(file)), "task.table_options")
    assert finding["found"] == "not selected: public.ordres" and finding["mend"] == "Did you mean \"public.orders\"?"
    towline.start("--config", str(file))
    assert towline.wait_exit(30) == 3
    assert "Did you mean" in towline.output()


def test_slot_that_is_left(towline_factory, source, destination):
    source.query("SELECT pg_create_logical_replication_slot('towline_mine', 'towline')")
    service = towline_factory(source, destination, task="mine")
    finding = only_fail(service.call("check", "--json"), "task.slot")
    assert finding["found"] == 'slot "towline_mine" exists, but the destination knows no such task'
    assert finding["statement"] == "SELECT pg_catalog.pg_drop_replication_slot('towline_mine');" and finding["where"] == "source"
    service.start()
    assert service.wait_exit(30) == 3
    source.query(finding["statement"])
    assert service.call("check").returncode == 0


def test_table_of_another_task(towline_factory, source, destination):
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    first = towline_factory(source, destination, task="first")
    first.start().wait_for_state("streaming")
    assert first.stop() == 0
    second = towline_factory(source, destination, task="second")
    finding = only_fail(second.call("check", "--json"), "task.other_task")
    assert finding["found"] == "task first writes 1 table of these, public.t"
    second.start()
    assert second.wait_exit(30) == 3
    source.query("SELECT pg_drop_replication_slot('towline_first')")
    finding = only_fail(first.call("check", "--json"), "task.slot")
    assert finding["found"] == "the task's slot \"towline_first\" is gone" and "towline run --heal" in finding["mend"]
    first.call("drop", check=True)
    assert second.call("check").returncode == 0

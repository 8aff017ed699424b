"""towline table: single tables leave a task that streams, under load."""
import json
import random
import signal

import pytest

from support.background_load import BackgroundLoad
from support.compare import assert_equal
from support.probes import InBackground, Session, assert_confirmed_is_applied
from support.waiting import wait_until

TABLES = ("a", "b", "c")


class Writer:
    """Each transaction changes all tables; ids of its own, so that nobody waits for it."""

    def __init__(self, source, seed, number, clients=2):
        self.random = random.Random(f"{seed}/{number}")
        self.number, self.clients = number, clients
        self.connection = source.connect(autocommit=False)
        self.done = 0

    def transaction(self):
        with self.connection.cursor() as cursor:
            for table in self.random.sample(TABLES, len(TABLES)):
                key = self.random.randrange(3000) * self.clients + self.number
                what = self.random.randrange(4)
                if what == 0:
                    cursor.execute(f"DELETE FROM {table} WHERE id = %s", (key,))
                elif what == 1:
                    cursor.execute(f"UPDATE {table} SET v = v + 1 WHERE id BETWEEN %s AND %s AND id %% %s = %s",
                                   (key, key + 20, self.clients, self.number))
                else:
                    cursor.execute(f"INSERT INTO {table} VALUES (%s, 0, repeat('n', %s)) "
                                   "ON CONFLICT (id) DO UPDATE SET v = excluded.v - 1",
                                   (key, self.random.choice((0, 5, 3000))))
        if self.random.random() < 0.1:
            self.connection.rollback()
        else:
            self.connection.commit()
        self.done += 1


class Load(BackgroundLoad):
    def __init__(self, source, seed):
        super().__init__(Writer(source, seed, number) for number in range(2))


@pytest.fixture
def three(source, destination):
    for table in TABLES:
        source.script(f"CREATE TABLE {table} (id int PRIMARY KEY, v int, note text)",
                      f"CREATE UNIQUE INDEX ON {table} (v, id)",
                      f"INSERT INTO {table} SELECT i, 0, repeat(md5(i::text), 3) FROM generate_series(1, 3000) i")
    return source, destination


def ask(service, action, table, status=0):
    done = service.call("table", action, table)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def refusal(service, action, table):
    """Who asks is told, or if the answer comes late whoever looks."""
    done = service.call("table", action, table)
    if done.returncode == 3:
        return done.stderr
    name = table.split(".")[1]

    def refused():  # one that is parked has a note for that as well
        return [note["text"] for note in service.status()["table_notes"] if (note["table"], note["state"]) == (name, "refused")]
    return wait_until(refused, 60, f"{action} of {table} to be refused", explain=service.tail)[0]


def waits_for_table(database, table):
    return database.value("SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND NOT granted", [table]) > 0


def piece(destination, table):
    rows = destination.query("SELECT state, reason FROM towline_state.piece WHERE table_name = %s", [table])
    return rows[0] if rows else (None, None)


def wait_for_piece(service, destination, table, state, seconds=120):
    wait_until(lambda: piece(destination, table)[0] == state, seconds, f"{table} to be {state}", explain=service.tail)


def rows(destination, table):
    return destination.query(f"SELECT * FROM {table} ORDER BY id")


def assert_others(service, source, destination, *tables):
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), tables=[f"public.{table}" for table in tables])


def notes(service):
    return {note["table"]: (note["state"], note["text"]) for note in service.status()["table_notes"]}


def test_tables_leave_the_stream_and_the_task(towline, three, seed):
    source, destination = three
    towline.start().wait_for_state("streaming")
    for words, text in (((), "what to do with a table is missing"), (("park",), "the table is missing"),
                        (("lose", "public.a"), '"lose" cannot be asked'), (("park", "a"), 'expected "schema.table"'),
                        (("park", "public.nothing"), 'the task has no table "public"."nothing"')):
        done = towline.call("table", *words)
        assert done.returncode == 2 and text in done.stderr and "HINT" in done.stderr, done.stderr
    with Load(source, seed) as load:
        load.wait_for(20)
        assert 'table "public"."a" has left the stream' in ask(towline, "park", "public.a")
        wait_for_piece(towline, destination, "a", "parked")
        ask(towline, "remove", "public.b")
        wait_for_piece(towline, destination, "b", "removed")
        towline.wait_until_caught_up()
        left = rows(destination, "a"), rows(destination, "b")
        load.wait_for(30)
    assert_others(towline, source, destination, "c")
    assert (rows(destination, "a"), rows(destination, "b")) == left
    assert notes(towline) == {"a": ("parked", "asked for"), "b": ("removed", "")}
    assert towline.status()["parked"] == [{"schema": "public", "table": "a"}]
    shown = towline.call("status").stdout
    assert '"public"."a" is parked: asked for' in shown and '"public"."b" has left the task' in shown
    assert "parked already" in ask(towline, "park", "public.a", status=3)
    assert "has left the task already" in ask(towline, "remove", "public.b", status=3)
    # What was removed is nobody's business; what is parked differs.
    verified = towline.call("verify", "--json")
    assert '"a"' in verified.stdout and '"b"' not in verified.stdout
    assert towline.stop() == 0
    # Asked while nobody runs it; and the others' TRUNCATE goes on.
    ask(towline, "remove", "public.a")
    assert notes(towline)["a"] == ("parked", "asked for") or notes(towline)["a"][0] == "asked"
    source.script("INSERT INTO a VALUES (-1, 1, 'x')", "INSERT INTO b VALUES (-1, 1, 'x')",
                  "TRUNCATE a, b, c", "INSERT INTO c VALUES (-1, 1, 'x')")
    towline.start()
    wait_for_piece(towline, destination, "a", "removed")
    assert_others(towline, source, destination, "c")
    assert (rows(destination, "a"), rows(destination, "b")) == left
    assert towline.call("verify").returncode == 0
    assert towline.status()["parked_total"] == 0
    assert towline.stop() == 0


def test_a_rewrite_that_keeps_the_columns_is_told(towline, three):
    """Without ddl nothing else says that the rows have other values now."""
    source, destination = three
    towline.start().wait_for_state("streaming")
    # Neither writes other values, and one never was.
    source.script("VACUUM FULL b", "CLUSTER c USING c_pkey", "BEGIN", "ALTER TABLE c ALTER COLUMN v TYPE int USING v + 1", "ROLLBACK")
    source.execute("ALTER TABLE a ALTER COLUMN v TYPE int USING v + 1; UPDATE b SET v = v + 1 WHERE id < 10")
    towline.wait_for_log("a table was rewritten at the source by ALTER TABLE while ddl is off")
    assert_others(towline, source, destination, "b", "c")
    assert notes(towline) == {"a": ("rewritten", "")}
    shown = towline.call("status").stdout
    assert '"public"."a" was rewritten at the source while ddl is off' in shown, shown
    # The rows of the rewrite have not come.
    assert destination.value("SELECT count(*) FROM a WHERE v = 0") == 3000
    ask(towline, "recopy", "public.a")
    wait_until(lambda: notes(towline) == {} and piece(destination, "a")[0] == "copied", 60, "a to be copied anew", explain=towline.tail)
    assert_others(towline, source, destination, *TABLES)
    assert towline.stop() == 0


def test_tables_come_back_and_join_under_load(source, destination, three, towline_factory, seed):
    service = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB"])
    service.start().wait_for_state("streaming")
    with Load(source, seed) as load:
        ask(service, "park", "public.a")
        load.wait_for(20)
        assert "is copied by task" in ask(service, "rejoin", "public.a")
        wait_for_piece(service, destination, "a", "copied")
        # Given up in the midst, and begun again.
        assert service.call("set", "copy_rows_max", "300").returncode == 0
        ask(service, "recopy", "public.b")
        service.wait_for_log('asked=recopy(.|\n)*tables are copied by themselves')
        assert service.call("pause").returncode == 3
        ask(service, "park", "public.b")
        wait_for_piece(service, destination, "b", "parked")
        assert service.call("set", "copy_rows_max", "0").returncode == 0
        ask(service, "rejoin", "public.b")
        ask(service, "remove", "public.c")
        wait_for_piece(service, destination, "b", "copied")
        wait_for_piece(service, destination, "c", "removed")
        assert "holds rows already" in ask(service, "add", "public.c", status=3)
        destination.execute("TRUNCATE c")
        ask(service, "add", "public.c")
        wait_for_piece(service, destination, "c", "copied")
        load.wait_for(20)
    # A transaction of the source that lasts delays the table, and not the stream.
    with Session(source) as session:
        session.execute("BEGIN; UPDATE a SET v = v + 1 WHERE id < 50")
        ask(service, "recopy", "public.a")
        source.script("UPDATE a SET v = -9 WHERE id > 2900", "INSERT INTO b VALUES (-7, -9, 'beside')")
        wait_until(lambda: destination.value("SELECT count(*) FROM b WHERE id = -7"), 30, "the stream to go on")
        assert piece(destination, "a")[0] == "joining"
        session.execute("COMMIT")
    wait_for_piece(service, destination, "a", "copied")
    source.execute("TRUNCATE b; INSERT INTO b VALUES (1, 1, 'behind it')")
    assert_others(service, source, destination, *TABLES)
    wait_until(lambda: destination.value("SELECT count(*) FROM towline_state.range") == 0, 30, "the snapshots to be passed")
    assert notes(service) == {}
    assert service.stop() == 0


def test_what_is_refused_and_what_is_not_included(source, destination, three, towline_factory):
    service = towline_factory(source, destination, arguments=["--on-failure", "park", "--exclude", "public.d"])
    service.arguments += ["--include", "public.a", "--include", "public.b", "--include", "public.d"]
    source.execute("CREATE TABLE d (id int PRIMARY KEY); CREATE UNLOGGED TABLE quick (id int PRIMARY KEY)")
    service.start().wait_for_state("streaming")
    destination.execute("ALTER TABLE a ADD CONSTRAINT small CHECK (v < 100)")
    source.execute("UPDATE a SET v = 500 WHERE id = 7")
    wait_for_piece(service, destination, "a", "parked")
    for table, text in (("nothing", "is not at the source"), ("quick", "is unlogged"), ("d", "tables.exclude leaves"),
                        ("c", "is missing at the destination")):
        assert text in ask(service, "add", f"public.{table}", status=3)
    assert "is streamed" in ask(service, "rejoin", "public.b", status=3)
    destination.execute("CREATE TABLE c (id int PRIMARY KEY, v int); ALTER TABLE b ADD own int; UPDATE b SET own = 1 WHERE id = 1")
    assert 'column "note" (text) is missing' in ask(service, "add", "public.c", status=3)
    assert 'columns that the task does not write ("own")' in ask(service, "recopy", "public.b", status=3)
    # What parked it is still there: it is parked again, and the others go on.
    ask(service, "rejoin", "public.a")
    wait_until(lambda: "small" in (piece(destination, "a")[1] or ""), 30, "a to be parked again", explain=service.tail)
    destination.execute("ALTER TABLE c ADD note text; ALTER TABLE a DROP CONSTRAINT small")
    source.execute("UPDATE b SET v = 5; UPDATE a SET v = 6; UPDATE c SET v = 7")
    ask(service, "add", "public.c")
    ask(service, "rejoin", "public.a")
    wait_for_piece(service, destination, "a", "copied")
    wait_for_piece(service, destination, "c", "copied")
    assert service.stop() == 0
    # What joined belongs to it for good.
    source.execute("UPDATE a SET v = 2; UPDATE c SET v = 2; DELETE FROM c WHERE id < 100")
    service.start().wait_for_state("streaming")
    assert_others(service, source, destination, "a", "c")
    assert service.stop() == 0


def test_foreign_keys_that_act(source, destination, towline_factory):
    """A role that may not set session_replication_role any more: other tables would lose rows."""
    source.script("CREATE TABLE parent (id int PRIMARY KEY)",
                  "CREATE TABLE child (id int REFERENCES parent (id) ON DELETE CASCADE)",
                  "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (1)", "ALTER TABLE child REPLICA IDENTITY FULL")
    role, setting = f"plain_{destination.name}", "SET ON PARAMETER session_replication_role"
    destination.execute(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {destination.name} OWNER TO {role}; "
                        f"ALTER SCHEMA public OWNER TO {role}; GRANT {setting} TO {role}")
    service = towline_factory(source, destination)
    service.command_uris = (source.uri(), destination.uri(user=role))
    try:
        service.start().wait_for_state("streaming")
        assert service.stop() == 0
        destination.execute(f"REVOKE {setting} FROM {role}")
        ask(service, "recopy", "public.parent")
        service.start()
        # Nor can the stream run so.
        assert service.wait_exit(30) == 3, service.tail()
        assert notes(service)["parent"][0] == "refused" and "foreign keys of table" in notes(service)["parent"][1]
        assert destination.value("SELECT count(*) FROM child") == 1
    finally:
        service.close()
        destination.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_killed_between_any_two_steps(source, destination, three, towline_factory, seed):
    """What is begun before one kill goes on to the next."""
    service = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB"])
    service.start().wait_for_state("streaming")
    assert service.stop() == 0

    def dies_at(point):
        service.fault = f"{point}:kill:1"
        service.start()
        assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
        assert f"fault point {point}" in service.output()
        assert_confirmed_is_applied(service, source)

    ask(service, "park", "public.b")
    ask(service, "recopy", "public.a")
    with Load(source, seed) as load:
        load.wait_for(10)
        dies_at("tables:left")
        left = rows(destination, "b")
        for point in ("tables:joining", "join:emptied", "copy:piece-begun", "copy:in-table"):
            dies_at(point)
            load.wait_for(5)
        assert piece(destination, "a")[0] == "joining"
        # Its rows are there.
        dies_at("copy:table-done")
        assert piece(destination, "a")[0] == "copied"
        load.wait_for(10)
        service.fault = None
        service.start().wait_for_state("streaming")
        load.wait_for(10)
    assert_others(service, source, destination, "a", "c")
    assert service.stop() == 0
    ask(service, "recopy", "public.c")
    ask(service, "rejoin", "public.b")
    with Load(source, f"{seed}/2") as load:
        assert rows(destination, "b") == left
        # One is done, the other is not.
        dies_at("copy:table-done")
        assert sorted(piece(destination, table)[0] for table in ("b", "c")) == ["copied", "joining"]
        dies_at("join:copied")
        load.wait_for(10)
        service.fault = None
        service.start().wait_for_state("streaming")
        load.wait_for(10)
    assert_others(service, source, destination, *TABLES)
    assert service.stop() == 0


def test_others_leave_before_the_stream_has_passed_a_table_that_joined(source, destination, three, towline_factory):
    """Its snapshot decides about its own changes and no others."""
    service = towline_factory(source, destination)
    service.start().wait_for_state("streaming")
    assert service.stop() == 0
    # What is refused comes before the snapshot, which is passed behind it.
    destination.execute("ALTER TABLE b ADD CONSTRAINT small CHECK (v < 100)")
    source.script("UPDATE b SET v = 500 WHERE id = 7", "UPDATE a SET v = 5 WHERE id < 50")
    ask(service, "recopy", "public.a")
    service.start()
    assert service.wait_exit(60) == 4, service.tail()
    assert piece(destination, "a")[0] == "copied"
    assert destination.value("SELECT count(*) FROM towline_state.range") == 1
    ask(service, "park", "public.b")
    ask(service, "park", "public.a")
    left = rows(destination, "a"), rows(destination, "b")
    source.script("UPDATE a SET v = 6", "UPDATE c SET v = 6")
    service.start()
    wait_for_piece(service, destination, "a", "parked")
    wait_for_piece(service, destination, "b", "parked")
    assert_others(service, source, destination, "c")
    assert (rows(destination, "a"), rows(destination, "b")) == left
    destination.execute("ALTER TABLE b DROP CONSTRAINT small")
    for table in ("a", "b"):
        ask(service, "rejoin", f"public.{table}")
        wait_for_piece(service, destination, table, "copied")
    assert_others(service, source, destination, *TABLES)
    assert service.stop() == 0
    # As on_failure says.
    destination.execute("ALTER TABLE c ADD CONSTRAINT small CHECK (v < 100)")
    source.script("UPDATE c SET v = 500 WHERE id = 7", "UPDATE a SET v = 7", "UPDATE b SET v = 7")
    ask(service, "recopy", "public.a")
    service.start("--on-failure", "park")
    wait_for_piece(service, destination, "c", "parked", 60)
    assert_others(service, source, destination, "a", "b")
    assert "check_violation" in piece(destination, "c")[1]
    assert service.stop() == 0


def test_a_lock_at_the_destination_is_that_tables_own(towline, three):
    source, destination = three
    towline.start().wait_for_state("streaming")
    with Session(destination) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM a")
        assert f"locked by pid {reader.pid}" in refusal(towline, "recopy", "public.a")
        source.script("UPDATE a SET v = 5", "UPDATE b SET v = 5", "UPDATE c SET v = 5")
        assert_others(towline, source, destination, *TABLES)
        assert piece(destination, "a")[0] == "copied"
    ask(towline, "recopy", "public.a")
    wait_until(lambda: notes(towline) == {}, 30, "the table to be copied", explain=towline.tail)
    assert_others(towline, source, destination, *TABLES)
    assert towline.stop() == 0


def test_rows_go_when_there_is_a_snapshot_and_not_before(source, destination, three, towline_factory):
    """And what keeps them from being emptied, or the snapshot from being taken, is that table's own."""
    role, setting = f"plain_{destination.name}", "SET ON PARAMETER session_replication_role"
    destination.execute(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {destination.name} OWNER TO {role}; "
                        f"ALTER SCHEMA public OWNER TO {role}; GRANT {setting} TO {role}")
    service = towline_factory(source, destination)
    service.command_uris = (source.uri(), destination.uri(user=role))
    try:
        service.start().wait_for_state("streaming")
        destination.execute(f"ALTER TABLE a OWNER TO CURRENT_USER; GRANT SELECT, INSERT, UPDATE, DELETE ON a TO {role}")
        assert "no right to TRUNCATE" in refusal(service, "recopy", "public.a")
        destination.execute(f"GRANT TRUNCATE ON a TO {role}")
        with Session(source) as session:
            session.execute("BEGIN; UPDATE c SET v = 1 WHERE id = 1")
            ask(service, "recopy", "public.a")
            wait_for_piece(service, destination, "a", "joining")
            left = rows(destination, "a")
            assert len(left) == 3000
            source.script("UPDATE a SET v = 9", "INSERT INTO b VALUES (-7, -9, 'beside')")
            destination.execute(f"REVOKE TRUNCATE ON a FROM {role}")
            session.execute("COMMIT")
        wait_for_piece(service, destination, "a", "parked")
        assert "no right to TRUNCATE" in piece(destination, "a")[1] and rows(destination, "a") == left
        assert_others(service, source, destination, "b", "c")
        destination.execute(f"GRANT TRUNCATE ON a TO {role}")
        assert service.stop() == 0
        # No snapshot in time.
        with Session(source) as session:
            session.execute("BEGIN; UPDATE c SET v = 2 WHERE id = 1")
            ask(service, "recopy", "public.b")
            left = rows(destination, "b")
            service.start("--snapshot-wait-max", "2s")
            wait_for_piece(service, destination, "b", "parked", 60)
            session.execute("COMMIT")
        assert rows(destination, "b") == left
        assert_others(service, source, destination, "c")
        assert service.stop() == 0
        service.start()
        for table in ("a", "b"):
            ask(service, "rejoin", f"public.{table}")
            wait_for_piece(service, destination, table, "copied")
        assert_others(service, source, destination, *TABLES)
        assert service.stop() == 0
    finally:
        service.close()
        destination.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_add_keeps_rows_that_come_meanwhile(towline, three):
    source, destination = three
    towline.start().wait_for_state("streaming")
    ask(towline, "remove", "public.c")
    wait_for_piece(towline, destination, "c", "removed")
    destination.execute("TRUNCATE c")
    with Session(destination) as writer:
        writer.execute("BEGIN; INSERT INTO c VALUES (-5, 0, 'theirs')")
        asked = InBackground(refusal, towline, "add", "public.c")
        wait_until(lambda: asked.is_done or waits_for_table(destination, "c"), 60, "the task to look at the table")
        writer.execute("COMMIT")
    said = asked.result(90)
    assert "holds rows already" in said or "locked by" in said, said
    assert rows(destination, "c") == [(-5, 0, "theirs")]
    # The same while its snapshot is waited for.
    destination.execute("TRUNCATE c")
    with Session(source) as session:
        session.execute("BEGIN; UPDATE a SET v = 1 WHERE id = 1")
        ask(towline, "add", "public.c")
        wait_for_piece(towline, destination, "c", "joining")
        destination.execute("INSERT INTO c VALUES (-6, 0, 'theirs')")
        session.execute("COMMIT")
    wait_for_piece(towline, destination, "c", "parked")
    assert "somebody has written" in piece(destination, "c")[1]
    assert rows(destination, "c") == [(-6, 0, "theirs")]
    ask(towline, "rejoin", "public.c")
    wait_for_piece(towline, destination, "c", "copied")
    assert_others(towline, source, destination, *TABLES)
    assert towline.stop() == 0


def test_verify_leaves_open_what_is_copied_again_meanwhile(towline, three):
    source, destination = three
    source.execute("INSERT INTO c SELECT i, 0, 'the largest' FROM generate_series(3001, 20000) i")
    towline.start().wait_until_caught_up()
    assert towline.call("set", "copy_rows_max", "1").returncode == 0
    with Session(source) as holder:
        holder.execute("BEGIN; LOCK TABLE c IN ACCESS EXCLUSIVE MODE")
        verified = InBackground(towline.call, "verify", "--json")
        wait_until(lambda: waits_for_table(source, "c"), 60, "verify to have begun")
        ask(towline, "recopy", "public.a")
        wait_for_piece(towline, destination, "a", "joining")
        source.execute("UPDATE a SET v = 77")
        holder.execute("ROLLBACK")
    done = verified.result(120)
    tables = {table["table"]: table for table in json.loads(done.stdout)["tables"]}
    assert done.returncode == 2, done.stdout
    assert "copied again, meanwhile" in tables["a"]["note"] and tables["a"]["verdict"] == "undecided"
    assert tables["b"]["verdict"] == tables["c"]["verdict"] == "equal"
    assert towline.call("set", "copy_rows_max", "0").returncode == 0
    wait_for_piece(towline, destination, "a", "copied")
    assert_others(towline, source, destination, *TABLES)
    assert towline.call("verify").returncode == 0
    assert towline.stop() == 0


def test_what_the_selection_leaves_out_does_not_come_back(towline, three):
    """The stream would not bring its changes."""
    source, destination = three
    towline.start().wait_for_state("streaming")
    ask(towline, "park", "public.a")
    wait_for_piece(towline, destination, "a", "parked")
    assert towline.stop() == 0
    towline.start("--exclude", "public.a").wait_for_state("streaming")
    assert "do not select table" in refusal(towline, "rejoin", "public.a")
    assert piece(destination, "a") == ("parked", "asked for")
    assert towline.stop() == 0
    # Left out when it was about to be copied.
    towline.start().wait_for_state("streaming")
    with Session(source) as session:
        session.execute("BEGIN; UPDATE c SET v = 1 WHERE id = 1")
        ask(towline, "rejoin", "public.a")
        wait_for_piece(towline, destination, "a", "joining")
        towline.kill()
        session.execute("COMMIT")
    left = rows(destination, "a")
    towline.start("--exclude", "public.a")
    wait_for_piece(towline, destination, "a", "parked")
    assert "do not select table" in piece(destination, "a")[1]
    source.script("UPDATE a SET v = 5", "UPDATE b SET v = 5")
    assert_others(towline, source, destination, "b", "c")
    assert rows(destination, "a") == left
    assert towline.stop() == 0
    towline.start()
    ask(towline, "rejoin", "public.a")
    wait_for_piece(towline, destination, "a", "copied")
    assert_others(towline, source, destination, *TABLES)
    assert towline.stop() == 0


def test_what_is_left_out_is_parked_before_another_table_is_copied(source, destination, three, towline_factory):
    """The stream that runs beside passes it over, and a crash may follow."""
    service = towline_factory(source, destination)
    service.start().wait_for_state("streaming")
    assert service.stop() == 0
    ask(service, "recopy", "public.b")
    source.script("UPDATE a SET v = 5", "UPDATE b SET v = 5")
    service.fault = "join:copied:kill:1"
    service.start("--exclude", "public.a")
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    assert piece(destination, "a")[0] == "parked"
    service.fault = None
    service.start()
    assert_others(service, source, destination, "b", "c")
    ask(service, "rejoin", "public.a")
    wait_for_piece(service, destination, "a", "copied")
    assert_others(service, source, destination, *TABLES)
    assert service.stop() == 0


def test_add_keeps_rows_that_come_while_nobody_runs_it(source, destination, three, towline_factory):
    service = towline_factory(source, destination)
    service.start().wait_for_state("streaming")
    ask(service, "remove", "public.c")
    wait_for_piece(service, destination, "c", "removed")
    destination.execute("TRUNCATE c")
    with Session(source) as session:
        session.execute("BEGIN; UPDATE a SET v = 1 WHERE id = 1")
        ask(service, "add", "public.c")
        wait_for_piece(service, destination, "c", "joining")
        service.kill()
        session.execute("COMMIT")
    destination.execute("INSERT INTO c VALUES (-6, 0, 'theirs')")
    service.start()
    wait_for_piece(service, destination, "c", "parked")
    assert "somebody has written" in piece(destination, "c")[1]
    assert rows(destination, "c") == [(-6, 0, "theirs")]
    ask(service, "remove", "public.c")
    wait_for_piece(service, destination, "c", "removed")
    destination.execute("TRUNCATE c")
    assert service.stop() == 0
    # From the range's begin on rows are taken for the task's own.
    ask(service, "add", "public.c")
    service.fault = "copy:piece-begun:kill:1"
    service.start()
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    destination.execute("INSERT INTO c VALUES (-7, 0, 'as if the copy had brought it')")
    service.fault = None
    service.start()
    wait_for_piece(service, destination, "c", "copied")
    assert_others(service, source, destination, *TABLES)
    assert service.stop() == 0


def test_a_large_table_comes_back_in_parts(source, destination, three, towline_factory):
    service = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB", "--copy-workers", "2"])
    service.start().wait_for_state("streaming")
    assert service.call("set", "copy_rows_max", "300").returncode == 0
    ask(service, "recopy", "public.a")

    def look():
        return [table for table in service.status()["tables"] if table["table"] == "a" and table["workers"] == 2]
    table, = wait_until(look, 60, "two workers at one table", explain=service.tail)
    assert table["bytes_total"] > 128 << 10
    assert service.call("set", "copy_rows_max", "0").returncode == 0
    wait_for_piece(service, destination, "a", "copied")
    assert_others(service, source, destination, *TABLES)
    # The last row is refused when the other parts are committed.
    destination.execute("ALTER TABLE a ADD CONSTRAINT small CHECK (id < 3000) NOT VALID")
    ask(service, "recopy", "public.a")
    wait_for_piece(service, destination, "a", "parked")
    reason = piece(destination, "a")[1]
    assert "small" in reason and """towline table rejoin '"public"."a"'""" in reason and "run again" not in reason
    assert rows(destination, "a") == []
    assert_others(service, source, destination, "b", "c")
    destination.execute("ALTER TABLE a DROP CONSTRAINT small")
    ask(service, "rejoin", "public.a")
    wait_for_piece(service, destination, "a", "copied")
    assert_others(service, source, destination, *TABLES)
    assert service.stop() == 0

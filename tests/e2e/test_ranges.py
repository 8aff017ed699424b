"""Large tables are copied in ranges of their key, each under a short snapshot of its own: what the stream
brings is judged by the range of the row's key before and after it (I4), and a copy that was killed copies
only the ranges that were not done.

The load moves rows from range to range, deletes, inserts, changes keys and large values. Moments between
two ranges are met by stopping the service there (SIGSTOP at a fault point); one worker copies the ranges in
the order of their keys.
"""
import math
import random
import signal
import subprocess
import threading

import psycopg2
import pytest

from support.background_load import BackgroundLoad
from support.compare import assert_equal
from support.probes import InBackground, Session, assert_confirmed_is_applied
from support.waiting import wait_until

KEYS = ("--copy-planner", "keys", "--copy-part-bytes", "64kB")
ONE = ("--copy-workers", "1")
# Rows with such ids are left alone by the load: who wrote them tells whether they were copied again.
STILL = 10
BEHIND_THE_ROWS = "building indexes|streaming from the source"


def make_tables(source, rows=4000):
    source.execute("""
CREATE SCHEMA g;
CREATE TABLE g.main (id bigint PRIMARY KEY, v int NOT NULL, note text);
ALTER TABLE g.main ALTER note SET STORAGE EXTERNAL;
CREATE TABLE g.side (id bigint PRIMARY KEY, v int NOT NULL, note text);
CREATE TABLE g.child (id bigint PRIMARY KEY, main bigint NOT NULL REFERENCES g.main (id)
  ON DELETE CASCADE ON UPDATE CASCADE);
""")
    # Every tenth id is there, the others are free; every 40th row has a value out of line.
    source.execute(f"INSERT INTO g.main SELECT i * 10, 0, repeat(md5(i::text), CASE WHEN i % 40 = 0 THEN 100 "
                   f"ELSE 3 END) FROM generate_series(1, {rows}) i")
    source.execute("INSERT INTO g.side SELECT i, 0, 's' FROM generate_series(1, 200) i;"
                   "INSERT INTO g.child SELECT i, i * 10 FROM generate_series(1, 300) i")


class Mover:
    """One client; its rows are its own, so that nobody waits for it."""
    LOCK = ""

    def __init__(self, source, seed, number, clients, rows=4000):
        self.random = random.Random(f"{seed}/{number}")
        self.number, self.clients, self.rows = number, clients, rows
        self.connection = source.connect(autocommit=False)
        self.done = self.moved = 0

    def free(self, cursor):
        """An id of ours that nobody has, anywhere among the keys."""
        while True:
            key = self.random.randrange(-100, self.rows * 10 + 1000) * self.clients + self.number
            key = key % (self.rows * 10 + 2000)
            if key % 10 == 0 or key % self.clients != self.number:
                continue
            cursor.execute("SELECT 1 FROM g.main WHERE id = %s", (key,))
            if not cursor.fetchone():
                return key

    def some(self, cursor):
        cursor.execute("SELECT id FROM g.main WHERE id >= %s AND id %% %s = %s AND id %% 100 <> %s ORDER BY id LIMIT 1" + self.LOCK,
                       (self.random.randrange(self.rows * 10), self.clients, self.number, STILL))
        row = cursor.fetchone()
        return row[0] if row else None

    def change(self, cursor):
        for _ in range(self.random.choice((1, 1, 2, 5, 20))):
            key, what = self.some(cursor), self.random.randrange(8)
            if key is None or what == 0:
                cursor.execute("INSERT INTO g.main VALUES (%s, 1, repeat('n', %s))",
                               (self.free(cursor), self.random.choice((0, 5, 3000))))
            elif what <= 3:
                # All its values are sent: it can be put into a range that it was not in.
                cursor.execute("UPDATE g.main SET id = %s, v = v + 1, note = note || '.' WHERE id = %s",
                               (self.free(cursor), key))
            elif what <= 5:
                cursor.execute("UPDATE g.main SET v = v + 1 WHERE id = %s", (key,))
            elif what == 6:
                cursor.execute("DELETE FROM g.main WHERE id = %s", (key,))
            else:
                self.moved += 1
                cursor.execute("WITH gone AS (DELETE FROM g.main WHERE id = %s RETURNING *) INSERT INTO g.side "
                               "SELECT %s, v, note FROM gone", (key, 1000000 + self.moved * self.clients + self.number))

    def transaction(self):
        with self.connection.cursor() as cursor:
            self.change(cursor)
        if self.random.random() < 0.1:
            self.connection.rollback()
        else:
            self.connection.commit()
        self.done += 1

    def leave(self):
        """The last that it does."""


class Preparer(Mover):
    """Prepares its transactions. They end at once; from let_go() on they stay open until it is called again."""
    LOCK = " FOR UPDATE SKIP LOCKED"
    OPEN_MAX = 6

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connection.autocommit = True
        self.begun, self.stay_from = 0, math.inf
        self.open = []  # (number, how many kills there were)
        self.kills = self.across = 0  # so many have ended after another kill
        self.keys = set()

    def free(self, cursor):
        """Not that of a row which a prepared transaction holds, either."""
        key = super().free(cursor)
        while key in self.keys:
            key = super().free(cursor)
        self.keys.add(key)
        return key

    def transaction(self):
        if self.open and self.open[0][0] < self.stay_from:
            self.end()
        elif len(self.open) < self.OPEN_MAX:
            self.prepare()

    def gid(self, number):
        return f"{self.connection.info.dbname} {number}"

    def prepare(self):
        number, kills = self.begun, self.kills
        self.begun += 1
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            self.change(cursor)
            cursor.execute("PREPARE TRANSACTION %s", (self.gid(number),))
        self.open.append((number, kills))
        self.done += 1

    def end(self):
        number, kills = self.open[0]
        with self.connection.cursor() as cursor:
            cursor.execute(f"{self.random.choice(('COMMIT', 'COMMIT', 'ROLLBACK'))} PREPARED %s", (self.gid(number),))
        self.across += self.kills > kills
        del self.open[0]

    def let_go(self):
        self.stay_from = self.begun

    def leave(self):
        while self.open:
            self.end()


class Load(BackgroundLoad):
    def __init__(self, source, seed, clients=2, rows=4000):
        # Rows that are referred to may go with their children: of one client or of nobody's.
        self.preparer = Preparer(source, seed, clients, clients + 1, rows)
        super().__init__([*(Mover(source, seed, number, clients + 1, rows) for number in range(clients)), self.preparer])

    def run(self, mover):
        super().run(mover)
        if not mover.connection.closed:
            mover.leave()

    def killed(self):
        """The service was. Transactions are prepared when this returns, and stay so until goes_on()."""
        self.preparer.kills += 1
        self.preparer.let_go()
        wait_until(lambda: self.preparer.open or self.failures, 60, "transactions to be prepared")
        assert not self.failures, self.failures

    def goes_on(self, service, begun="copying rows"):
        """The service was started. A copy that goes on, as the creation of a slot, waits for transactions that were
        prepared before: they end now, and those that are prepared from now on stay."""
        service.wait_for_log(f"waits for prepared transaction|{begun}|{BEHIND_THE_ROWS}")
        self.preparer.let_go()


# --- what the destination shows

def ranges(destination, table="main"):
    """Ordinal to (state, from, until)."""
    if destination.value("SELECT to_regclass('towline_state.range')") is None:
        return {}
    return {ordinal: rest for ordinal, *rest in destination.query(
        f"SELECT ordinal, state, from_key, until_key FROM towline_state.range WHERE table_name = '{table}'")}


def traces(destination):
    """Of each range that is done who wrote the rows that no load touches, and how many they are."""
    found = {}
    for ordinal, (state, first, end) in ranges(destination).items():
        if state == "copied":
            found[ordinal] = destination.query(
                f"SELECT count(*), sum(xmin::text::bigint) FROM g.main WHERE id % 100 = {STILL} "
                f"AND id >= {first or -10**9} AND id < {end or 10**9}")
    return found


class Kept:
    """What is done when the service is killed is never copied again: the same transactions have written it for good.
    traces(destination): what is done → who wrote the rows of it that no load touches."""

    def __init__(self, service, destination, traces=traces):
        self.service, self.destination, self.traces = service, destination, traces
        self.done, self.looks, self.most = {}, 0, 0

    def look(self):
        """During the copy; what has the table copied again is none of the kills."""
        if self.service.state() != "copying" or "is copied again" in self.service.output(all_runs=True):
            return
        now = self.traces(self.destination)
        assert {what: now.get(what) for what in self.done} == self.done, "what was done was copied again"
        self.done, self.looks, self.most = now, self.looks + 1, max(self.most, len(now))


def killed_at_random(service, source, load, kept, dice, kills, begun, seconds):
    """So many kills, most of them at a random moment within so many seconds of a line of the log."""
    for number in range(kills):
        service.start()
        load.goes_on(service, begun)
        if number == 0 or dice.random() < 0.8:
            service.wait_for_log(f"{begun}|{BEHIND_THE_ROWS}")
        if number == 0:
            wait_until(lambda: kept.traces(kept.destination), 90, "something to be done", explain=service.tail)
        try:
            status = service.process.wait(dice.uniform(0, seconds))
            raise AssertionError(f"the service ended by itself with {status}; {service.tail()}")
        except subprocess.TimeoutExpired:
            service.kill()
        assert_confirmed_is_applied(service, source)
        kept.look()
        load.killed()
        load.wait_for(10)
    assert kept.looks and kept.most, "the kills have missed the copy"


def dies_at(service, fault):
    service.fault = fault
    service.start()
    assert service.wait_exit(90) == -signal.SIGKILL, service.tail()
    service.fault = None


def finish(service, source, destination):
    service.wait_until_caught_up(states=("catching_up", "constraints", "streaming"))
    service.wait_for_state("streaming")
    assert_equal(source.uri(), destination.uri())
    assert destination.query("SELECT * FROM towline_state.range") == []
    assert destination.query("SELECT * FROM towline_state.snapshot") == []
    assert destination.value("SELECT lsn_after FROM towline_state.task") is None
    assert destination.query("SELECT 1 FROM pg_constraint WHERE contype = 'f' AND convalidated") or not source.query(
        "SELECT 1 FROM pg_constraint WHERE contype = 'f'")
    assert service.stop() == 0


def stopped_at(service, fault, passage):
    """Stands still there; it goes on with SIGCONT."""
    service.fault = f"{fault}:stop:{passage}"
    service.start()
    service.wait_for_log(f"fault point {fault}")
    service.fault = None


def go_on(service):
    service.process.send_signal(signal.SIGCONT)


# --- killed and killed again

# So many passages that ranges of the large table are among them whichever worker is slow: the small one has two.
CHAINS = {
    "before-a-range": ("copy:ranges-stored:kill:1", "copy:range-begun:kill:8"),
    "in-a-range": ("copy:range-marked:kill:8", "copy:range-marked:kill:2"),
    "behind-a-range": ("copy:range-done:kill:6", "copy:range-done:kill:1", "copy:range-begun:kill:1"),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_ranges_that_are_done_stay(chain, source, destination, towline_factory, seed):
    make_tables(source)
    service = towline_factory(source, destination, arguments=KEYS)
    done = {}
    with Load(source, seed) as load:
        for fault in CHAINS[chain]:
            load.wait_for(20)
            dies_at(service, fault)
            assert service.state() == "copying"
            assert_confirmed_is_applied(service, source)
            now = traces(destination)
            assert {ordinal: now[ordinal] for ordinal in done} == done
            # A range that was not committed has left nothing.
            for _, (state, first, end) in ranges(destination).items():
                assert state == "copied" or destination.value(
                    f"SELECT count(*) FROM g.main WHERE id >= {first or -10**9} AND id < {end or 10**9}") == 0
            done = now
            load.wait_for(40)  # new to the ranges that are done, known to the others' snapshots
        assert 8 < len(ranges(destination)) and 0 < len(done) < len(ranges(destination))
        # Of a slow copy the load has made other tables large as well, and they may be done.
        left_and_kept = destination.query(
            "SELECT sum(of_left), sum(kept) FROM (SELECT count(*) FILTER (WHERE state <> 'copied'), "
            "count(*) FILTER (WHERE state = 'copied') FROM towline_state.range GROUP BY table_name) AS of_table (of_left, kept) "
            "WHERE of_left > 0")[0]
        load.killed()
        service.start()
        load.goes_on(service)
        left = service.wait_for_log(r"copying rows in ranges of keys.* ranges=(\d+).*ranges_kept=(\d+)")
        assert (int(left.group(1)), int(left.group(2))) == left_and_kept
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(50)
        load.stop()
        finish(service, source, destination)


@pytest.mark.limit(900)
def test_killed_at_random_moments(source, destination, towline_factory, seed, size):
    """Three times, twenty-one with --size 4; transactions that were prepared during the copy stay open across the kills."""
    dice = random.Random(seed)
    make_tables(source, 4000 * size)
    # So slow that the kills meet it, on a fast machine too.
    service = towline_factory(source, destination, arguments=["--copy-planner", "keys", "--copy-part-bytes", "16kB",
                                                              "--copy-rows-max", "3000"])
    with Load(source, seed, rows=4000 * size) as load:
        killed_at_random(service, source, load, Kept(service, destination), dice, 6 * size - 3, "copying rows in ranges", 0.5)
        service.start()
        load.goes_on(service)
        service.wait_for_state("catching_up", "constraints", "streaming")
        load.wait_for(50)
        load.stop()
        assert load.preparer.across
        finish(service, source, destination)


# --- one moment between two ranges

def between(source, destination, towline_factory, passage=4, arguments=()):
    make_tables(source)
    service = towline_factory(source, destination, arguments=[*KEYS, *ONE, *arguments])
    stopped_at(service, "copy:range-done", passage)
    states = [state for _, (state, *_) in sorted(ranges(destination).items())]
    assert states[:passage - 1] == ["copied"] * (passage - 1) and states[-1] == "pending"
    return service


LOW, HIGH = "id < 500", "id > 39000"


def test_rows_that_move_between_ranges(source, destination, towline_factory):
    """Low keys are copied, high ones are not: to the low ones the transactions are new, the high ones hold
    them."""
    service = between(source, destination, towline_factory)
    source.script(
        # From a range that is copied to one that is not, and back; twice in one transaction.
        "UPDATE g.main SET id = id + 39005, note = 'up' WHERE id BETWEEN 100 AND 200",
        "UPDATE g.main SET id = id - 38995, note = 'down' WHERE id BETWEEN 39500 AND 39550",
        "BEGIN; UPDATE g.main SET id = 39777, note = '1' WHERE id = 300; UPDATE g.main SET id = 301, note = '2' "
        "WHERE id = 39777; COMMIT",
        "BEGIN; UPDATE g.main SET id = 302, note = '1' WHERE id = 39800; UPDATE g.main SET id = 39801, note = '2' "
        "WHERE id = 302; COMMIT",
        # The place of one that has gone is taken by another.
        "BEGIN; DELETE FROM g.main WHERE id = 310; UPDATE g.main SET id = 310, note = 'heir' WHERE id = 39810; COMMIT",
        "INSERT INTO g.main VALUES (311, 1, 'n'), (39811, 1, 'n')", "DELETE FROM g.main WHERE id IN (320, 39820)",
        "UPDATE g.main SET v = 7 WHERE id IN (330, 39830)",
        # A large value is not sent, and not needed: the row is in the copy up there.
        "UPDATE g.main SET id = id + 39001 WHERE id = 400")
    go_on(service)
    finish(service, source, destination)
    assert "is copied again" not in service.output()


UNIQUE = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'g' AND tablename IN ('main', 'letter') ORDER BY 1"
CONSTRAINTS = ("SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint "
               "WHERE connamespace = 'g'::regnamespace AND contype <> 'n' ORDER BY 1, conrelid::regclass::text")


def test_unique_values_that_move_between_ranges(source, destination, towline_factory):
    """Two rows have one value at the destination until the stream has passed the copy: what is unique besides the
    key is made behind that."""
    make_tables(source)
    source.script("ALTER TABLE g.main ADD mail text", "UPDATE g.main SET mail = 'm' || id",
                  "ALTER TABLE g.main ADD CONSTRAINT one_mail UNIQUE (mail), ADD CONSTRAINT apart EXCLUDE USING btree (mail WITH =)",
                  "CREATE UNIQUE INDEX one_lower ON g.main (lower(mail)) WHERE id > 5", "CREATE INDEX main_v ON g.main (v)",
                  "COMMENT ON CONSTRAINT one_mail ON g.main IS 'of each'",
                  "CREATE TABLE g.letter (mail text PRIMARY KEY REFERENCES g.main (mail))", "INSERT INTO g.letter VALUES ('m20')")
    service = towline_factory(source, destination, arguments=[*KEYS, *ONE])
    stopped_at(service, "copy:range-done", 4)
    source.script("UPDATE g.main SET mail = 'gone' WHERE id = 30", "UPDATE g.main SET mail = 'm30' WHERE id = 39830",
                  # The other way; and two that swap.
                  "UPDATE g.main SET mail = 'away' WHERE id = 39840", "UPDATE g.main SET mail = 'm39840' WHERE id = 40",
                  "BEGIN; UPDATE g.main SET mail = 'x' WHERE id = 50; UPDATE g.main SET mail = 'm50' WHERE id = 39850; "
                  "UPDATE g.main SET mail = 'm39850' WHERE id = 50; COMMIT")
    service.kill()
    dies_at(service, "copy:before-constraints:kill:1")
    assert "is copied again" not in service.output(all_runs=True)
    assert {name for name, in destination.query("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'g.main'::regclass")
            } == {"g.main_pkey", "g.main_v"}
    # A violation would show now: the stream has passed the copy, and stands still.
    assert destination.value("SELECT count(*) = count(DISTINCT mail) FROM g.main")
    source.execute("UPDATE g.main SET mail = 'late' WHERE id = 60")
    dies_at(service, "copy:in-constraints:kill:2")
    service.start()
    finish(service, source, destination)
    assert destination.query(UNIQUE) == source.query(UNIQUE) and destination.query(CONSTRAINTS) == source.query(CONSTRAINTS)


READ_AGAIN = "large values of rows that have moved between ranges are read again at the source"
COPIED_AGAIN = "g.main is copied again: a row has moved between ranges without its large values"


def test_rows_that_move_without_their_large_values(source, destination, towline_factory):
    """From ranges that are not copied to such that are: the values did not come, and the source still has the rows
    as the transactions left them."""
    service = between(source, destination, towline_factory)
    source.script(
        "UPDATE g.main SET id = 401 WHERE id = 39600", "UPDATE g.side SET v = v + 1 WHERE id = 2",
        # On and on: it is looked for where the transaction left it.
        "BEGIN; UPDATE g.main SET id = 402 WHERE id = 39200; UPDATE g.main SET id = 403, v = 5 WHERE id = 402; "
        "UPDATE g.main SET v = 6 WHERE id = 403; COMMIT",
        # Another row has taken its key, and would be found there.
        "BEGIN; UPDATE g.main SET id = 404 WHERE id = 38800; UPDATE g.main SET id = 405 WHERE id = 404; "
        "UPDATE g.main SET id = 404 WHERE id = 400; COMMIT",
        # Back, gone, and with a value that comes.
        "BEGIN; UPDATE g.main SET id = 406 WHERE id = 38400; UPDATE g.main SET id = 38401 WHERE id = 406; COMMIT",
        "BEGIN; UPDATE g.main SET id = 406 WHERE id = 38000; DELETE FROM g.main WHERE id = 406; COMMIT",
        "BEGIN; UPDATE g.main SET id = 406 WHERE id = 37600; UPDATE g.main SET note = 'short' WHERE id = 406; COMMIT",
        # Subtransactions have ids of their own; the last one's is the version's.
        "BEGIN; SAVEPOINT a; UPDATE g.main SET id = 407 WHERE id = 37200; SAVEPOINT b; UPDATE g.main SET v = 9 "
        "WHERE id = 407; ROLLBACK TO b; COMMIT",
        "BEGIN; SAVEPOINT a; UPDATE g.main SET id = 408 WHERE id = 36800; RELEASE a; UPDATE g.side SET v = v + 1 "
        "WHERE id = 3; SAVEPOINT b; UPDATE g.main SET v = 9 WHERE id = 408; RELEASE b; COMMIT",
        # Locked it is still the same version.
        "BEGIN; SELECT 1 FROM g.main WHERE id = 401 FOR UPDATE; COMMIT")
    go_on(service)
    finish(service, source, destination)
    assert "is copied again" not in service.output() and READ_AGAIN in service.output()


REASONS_TO_COPY_AGAIN = {
    "changed": ("UPDATE g.main SET id = 401 WHERE id = 39600", "UPDATE g.main SET v = v + 1 WHERE id = 401"),
    "gone": ("UPDATE g.main SET id = 401 WHERE id = 39600", "DELETE FROM g.main WHERE id = 401"),
}


@pytest.mark.parametrize("reason", REASONS_TO_COPY_AGAIN)
def test_a_row_that_has_moved_and_is_not_the_same_any_more_has_the_table_copied_again(
        reason, source, destination, towline_factory):
    service = between(source, destination, towline_factory)
    source.script("UPDATE g.side SET v = v + 1", "UPDATE g.main SET v = v + 1 WHERE id = 390",
                  *REASONS_TO_COPY_AGAIN[reason], "UPDATE g.side SET v = v + 1 WHERE id = 2")
    go_on(service)
    service.wait_for_log(COPIED_AGAIN)
    # The others stay.
    service.wait_for_log(r"goes on under a new snapshot.*tables_kept=2.*tables_left=1")
    finish(service, source, destination)


def test_killed_before_the_table_is_copied_again(source, destination, towline_factory):
    service = between(source, destination, towline_factory)
    source.script(*REASONS_TO_COPY_AGAIN["changed"])
    # The fault points of the running process are what it was started with.
    go_on(service)
    service.kill()
    dies_at(service, "stream:copy-again:kill:1")
    assert destination.value("SELECT state FROM towline_state.piece WHERE table_name = 'main'") == "again"
    source.script("UPDATE g.main SET v = 8 WHERE id = 20", "DELETE FROM g.side")
    dies_at(service, "copy:resume-emptied:kill:1")
    service.start()
    finish(service, source, destination)


CHANGES = {
    "truncate": "TRUNCATE g.main CASCADE; INSERT INTO g.main VALUES (5, 1, 'n'), (39995, 1, 'n')",
    "truncated-and-filled": "BEGIN; TRUNCATE g.main CASCADE; INSERT INTO g.main SELECT i * 10 + 5, 1, 'n' "
                            "FROM generate_series(1, 3000) i; COMMIT",
    "rewritten": "VACUUM FULL g.main",
    "added": "ALTER TABLE g.main ADD COLUMN more int DEFAULT 5",
}


@pytest.mark.parametrize("change", [pytest.param(change, marks=pytest.mark.long) if change == "truncated-and-filled" else change
                                    for change in CHANGES])
def test_a_table_that_changes_between_ranges(change, source, destination, towline_factory):
    """A range's transaction has ended at the fault point but for its COMMIT, so the statement waits; it gets
    its lock at the border, and the next range finds another file or other columns."""
    service = between(source, destination, towline_factory)
    if change == "added":
        destination.execute("DROP TABLE g.main CASCADE")  # made for the first try
    failures = []

    def run():
        try:
            source.execute(CHANGES[change])
        except psycopg2.Error as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: source.query("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"), 10,
               "the statement to wait")
    go_on(service)
    thread.join(60)
    assert not failures
    service.wait_for_log("was emptied, rewritten or altered while its ranges were copied")
    source.execute("UPDATE g.main SET v = v + 1 WHERE id % 3 = 0")
    finish(service, source, destination)


def test_a_table_that_is_dropped_between_ranges(source, destination, towline_factory):
    """The copy goes on without it; what had been copied of it is the user's to drop."""
    service = between(source, destination, towline_factory)
    with Session(source) as session:
        dropping = InBackground(session.execute, "DROP TABLE g.main CASCADE")
        wait_until(lambda: source.query("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"), 60,
                   "the statement to wait")
        go_on(service)
        dropping.result(60)
    service.wait_for_log('"g"."main" was dropped or renamed during its copy')
    service.wait_for_log("does not belong to the copy any more.*main")
    source.execute("UPDATE g.side SET v = 7 WHERE id = 5")
    service.wait_for_state("streaming")
    destination.execute("DROP TABLE g.main CASCADE")
    finish(service, source, destination)


def test_truncate_behind_the_copy(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=KEYS)
    stopped_at(service, "copy:table-done", 3)
    source.script("BEGIN; TRUNCATE g.main, g.child; INSERT INTO g.main VALUES (1, 1, 'n'), (39995, 1, 'n'); COMMIT")
    go_on(service)
    finish(service, source, destination)


def test_nothing_old_is_held_between_ranges(source, destination, towline_factory):
    service = between(source, destination, towline_factory)
    # The exported snapshot is gone, and there is one reader, whose snapshot is this range's.
    names = [row[0] for row in source.query("SELECT application_name FROM pg_stat_activity "
                                            "WHERE application_name LIKE 'towline%' AND backend_xmin IS NOT NULL")]
    assert len(names) == 1 and names[0].endswith("copy"), names
    go_on(service)
    finish(service, source, destination)


def test_ranges_keep_to_the_limit_and_are_shown(source, destination, towline_factory):
    make_tables(source)
    service = towline_factory(source, destination, arguments=[*KEYS, "--copy-rows-max", "500"])
    service.start()

    def look():
        main = next((table for table in service.status()["tables"] if table["table"] == "main"), None)
        return main if main and 500 < main["rows_done"] < 4000 else None
    service.wait_for_state("copying")
    main = wait_until(look, 30, "rows of the table", explain=service.tail)
    assert main["copied_by"] == "keys" and main["state"] == "copying"
    assert 0 < main["bytes_done"] < main["bytes_total"] and main["rows_per_second"] < 1500
    assert service.call("set", "copy_rows_max", "0", check=True)
    finish(service, source, destination)


def test_a_table_that_comes_while_ranges_are_copied(source, destination, towline_factory):
    """It was in no snapshot that tables were looked up under, although the last ranges' hold it."""
    service = between(source, destination, towline_factory)
    source.script("CREATE TABLE g.late (id int PRIMARY KEY)", "INSERT INTO g.late VALUES (1), (2)")
    destination.execute("CREATE TABLE g.late (id int PRIMARY KEY)")
    go_on(service)
    finish(service, source, destination)


def test_a_table_that_was_streamed_before_another_is_copied_again(source, destination, towline_factory):
    """The snapshot of the copy that follows holds rows of it that nobody has copied or streamed: it is copied
    as well, with the schema over tables and indexes that are there."""
    make_tables(source)
    # Slow enough to do something between two ranges; it must not be interrupted there.
    service = towline_factory(source, destination, arguments=[
        *KEYS, *ONE, "--copy-rows-max", "300", "--batch-rows-max", "1"])
    service.fault = "stream:copy-again:kill:1"
    service.start()
    wait_until(lambda: [state for state, *_ in ranges(destination).values()].count("copied") > 3, 90, "some ranges")
    source.script("CREATE TABLE g.late (id int PRIMARY KEY)", "INSERT INTO g.late VALUES (1)",
                  *REASONS_TO_COPY_AGAIN["changed"])
    destination.execute("CREATE TABLE g.late (id int PRIMARY KEY)")
    assert service.wait_exit(60) == -signal.SIGKILL, service.tail()
    assert destination.value("SELECT state FROM towline_state.piece WHERE table_name = 'late'") == "streamed"
    source.script("INSERT INTO g.late VALUES (2)", "UPDATE g.late SET id = 3 WHERE id = 1")
    # Somebody has made it there, so it is not ours to empty.
    service.fault, service.arguments = None, [*KEYS, *ONE, "--batch-rows-max", "1"]
    service.start()
    assert service.wait_exit(90) == 3, service.tail()
    assert '"g"."late" of the destination holds rows already' in service.output(), service.tail()
    # Kept beside the snapshot's, the row that the stream brought would be one that the source has no more.
    service.start("--existing", "append")
    assert service.wait_exit(90) == 3, service.tail()
    assert "were written by the interrupted copy's own stream" in service.output(), service.tail()
    assert destination.query("SELECT id FROM g.late") == [(1,)]
    destination.execute("TRUNCATE g.late")
    dies_at(service, "copy:after-pre-data:kill:1")
    source.script("INSERT INTO g.late VALUES (4)")
    service.start()
    finish(service, source, destination)


# --- every type of key, both planners

TYPES = {
    "int2": "(i - 300)::int2", "int4": "(i - 300) * 7000000", "int8": "(i - 300) * 10000000000::int8",
    "oid": "(i::int8 * 7000000)::oid", "uuid": "md5(i::text)::uuid", "date": "date '2000-01-01' + (i - 300) * 50",
    "timestamp": "timestamp '1999-12-31 23:59:59.5' + (i - 300) * interval '5 hours 1.25 seconds'",
    "timestamptz": "timestamptz '1999-12-31 23:59:59.5+00' + (i - 300) * interval '5 hours 1.25 seconds'",
    "text COLLATE \"C\"": "md5(i::text) || chr(200 + i)", "varchar(50) COLLATE \"C\"": "md5(i::text)",
    "char(40) COLLATE \"C\"": "md5(i::text)", "bytea": "decode(md5(i::text), 'hex')",
    "numeric": "((i - 300) * 1.0625)::numeric", "g.positive": "i",
}


@pytest.mark.parametrize("planner", ["keys", "ctid"])
def test_every_type_of_key(planner, source, destination, towline_factory):
    source.execute("CREATE SCHEMA g; CREATE DOMAIN g.positive AS int8 CHECK (VALUE > 0)")
    names = [f"g.t{number}" for number in range(len(TYPES))]
    for name, (kind, value) in zip(names, TYPES.items()):
        source.execute(f"CREATE TABLE {name} (k {kind} PRIMARY KEY, v int, note text); INSERT INTO {name} "
                       f"SELECT {value}, i, repeat('x', 200) FROM generate_series(1, 600, 2) i")
    service = towline_factory(source, destination, arguments=[
        "--copy-planner", planner, "--copy-part-bytes", "8kB", *ONE])
    if planner == "keys":
        # Some tables are done, one is at its middle.
        stopped_at(service, "copy:range-done", 40)
    else:
        stopped_at(service, "copy:table-done", 4)
    for name, value in zip(names, TYPES.values()):
        change = value.replace("i ", "(v + 1) ").replace("i:", "(v + 1):").replace("i)", "(v + 1))")
        change = "v + 1" if value == "i" else change
        source.script(f"UPDATE {name} SET k = {change}, v = v + 1 WHERE v % 3 = 1",
                      f"DELETE FROM {name} WHERE v % 7 = 0", f"UPDATE {name} SET note = 'u' WHERE v % 5 = 0")
    go_on(service)
    finish(service, source, destination)
    if planner == "keys":
        log = service.output()
        told = [line for line in log.splitlines() if "copied in parts" in line]
        assert sum("by=keys because copy_planner is keys" in line for line in told) == len(TYPES), log


# --- which tables, and why

REASONS = {
    "two": ("(a int, b int, note text, PRIMARY KEY (a, b))", "its key has 2 columns"),
    "bare": ("(a int, b int, note text)", "it has no primary key"),
    "mail": ("(a int PRIMARY KEY, b int UNIQUE, note text)", "values of the unique index \"mail_b_key\" that the destination has"),
    "period": ("(a int PRIMARY KEY, b int, note text, EXCLUDE USING btree (b WITH =))", "the destination has an exclusion constraint"),
    # Changes find their rows by b, and views may group by a.
    "late": ("(a int PRIMARY KEY, b int NOT NULL UNIQUE, note text); ALTER TABLE g.late REPLICA IDENTITY USING INDEX late_b_key",
             "values of its unique index \"late_pkey\" may move"),
    "word": ("(a int, b text PRIMARY KEY, note text)", "its key \"b\" is not sorted by its bytes"),
}


def test_why_a_table_is_not_divided_by_its_key(source, destination, towline_factory):
    source.execute("CREATE SCHEMA g")
    for name, (columns, _) in REASONS.items():
        source.execute(f"CREATE TABLE g.{name} {columns}; INSERT INTO g.{name} SELECT i, i, repeat('x', 100) "
                       "FROM generate_series(1, 1000) i")
    # What is there already could refuse rows at any time.
    destination.execute("CREATE SCHEMA g")
    for name in ("mail", "period"):
        destination.execute(f"CREATE TABLE g.{name} {REASONS[name][0]}")
    service = towline_factory(source, destination, arguments=KEYS)
    service.start()
    service.wait_for_state("streaming")
    log = service.output()
    for name, (_, reason) in REASONS.items():
        assert any(f'"g"."{name}"' in line and f"ctid because {reason}" in line for line in log.splitlines()
                   if "a large table" in line), log
    finish(service, source, destination)


def test_auto_follows_the_order_of_the_rows(source, destination, towline_factory):
    source.execute("CREATE SCHEMA g; CREATE TABLE g.a (id int PRIMARY KEY, note text); CREATE TABLE g.b (LIKE g.a "
                   "INCLUDING ALL); CREATE TABLE g.c (LIKE g.a INCLUDING ALL);"
                   "INSERT INTO g.a SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i;"
                   "INSERT INTO g.b SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i ORDER BY md5(i::text);"
                   "ALTER TABLE g.c SET (autovacuum_enabled = off);"
                   "INSERT INTO g.c SELECT * FROM g.a; ANALYZE g.a, g.b")
    service = towline_factory(source, destination, arguments=["--copy-part-bytes", "64kB"])
    service.start()
    service.wait_for_state("streaming")
    log = service.output()
    for name, reason in (("a", "keys because its key"), ("b", "ctid because its key"),
                         ("c", "ctid because it has never been analyzed")):
        assert any(f'"g"."{name}"' in line and reason in line for line in log.splitlines() if "a large table" in line), log
    finish(service, source, destination)

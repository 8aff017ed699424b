"""A seeded load: clients that do everything a user might to tables of every shape.

    load = Workload(database.uri(), seed=42, clients=4)
    load.create()                   # the tables
    load.run(transactions=500)      # per client; or seconds=10
    load.start(); ...; load.stop()  # in the background, through crashes of the server if survive=True

Transactions commit, roll back, use savepoints (also nested, also rolled back to), or are prepared and
committed or rolled back later, over several tables. What a client does depends on (seed, client number)
alone, so a failure can be replayed with the same seed; only interruptions from outside (a server that is
killed under it) end that, because the client then has to read back which of its rows exist.

From the command line:  cd tests/e2e && python3 -m support.workload URI --seed N [--clients N]
                        [--transactions N | --seconds N] [--no-create]
"""
import argparse
import random
import sys
import threading
import time
import uuid

import psycopg2

from . import workload_tables

SERVER_IS_AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError)


class Statement(Exception):
    """A statement failed that should not have: with what is needed to find it."""


class Client:
    def __init__(self, load, number):
        self.load, self.number = load, number
        self.random = random.Random(f"{load.seed}/{number}")
        self.shapes = [shape() for shape in load.shapes]
        self.keys = {shape.name: set() for shape in self.shapes}
        self.prepared = []  # (gid, keys before)
        self.done = self.lost = 0
        self.error = None
        self.trace = None  # a list: statements are recorded
        self.connection = None

    # --- connection

    def connect(self):
        while True:
            try:
                self.connection = psycopg2.connect(self.load.dsn, application_name=f"load {self.number}")
                return
            except SERVER_IS_AWAY:
                if not self.load.survive or self.load.stopping.is_set():
                    raise
                self.load.stopping.wait(0.1)

    def recover(self):
        """After a lost connection: which rows are there is read back, what was prepared is ended."""
        self.lost += 1
        while True:
            try:
                self.connect()
                self.connection.autocommit = True
                with self.connection.cursor() as cursor:
                    cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE %s",
                                   [f"{self.load.gid_prefix}{self.number} %"])
                    for gid, in cursor.fetchall():
                        cursor.execute("ROLLBACK PREPARED %s", [gid])
                    self.prepared = []
                    for shape in self.shapes:
                        if shape.keys_sql():
                            cursor.execute(shape.keys_sql(), [self.number])
                            self.keys[shape.name] = {tuple(row) for row in cursor.fetchall()}
                self.connection.autocommit = False
                return
            except SERVER_IS_AWAY:
                if self.load.stopping.is_set():
                    raise

    # --- what it does

    def run(self, transactions, seconds):
        try:
            self.connect()
            end = time.monotonic() + seconds if seconds else None
            while not self.load.stopping.is_set():
                if transactions and self.done >= transactions or end and time.monotonic() > end:
                    break
                self.load.wait_for_turn()
                try:
                    self.transaction()
                    self.done += 1
                except SERVER_IS_AWAY as error:
                    if not self.load.survive:
                        raise
                    if not isinstance(error, psycopg2.extensions.TransactionRollbackError) or self.connection.closed:
                        self.recover()
            self.end_prepared(everything=True)
        except Exception as error:  # shown by join()
            if not (self.load.survive and self.load.stopping.is_set() and isinstance(error, SERVER_IS_AWAY)):
                self.error = error
                self.load.stopping.set()
        finally:
            if self.connection is not None:
                self.connection.close()

    def execute(self, cursor, statement, parameters=()):
        if self.trace is not None:
            self.trace.append((statement, parameters))
        try:
            cursor.execute(statement, parameters)
        except (psycopg2.IntegrityError, psycopg2.ProgrammingError, psycopg2.DataError,
                psycopg2.NotSupportedError, psycopg2.InternalError) as error:
            raise Statement(f"client {self.number}, transaction {self.done}: {error}in {statement} "
                            f"{str(parameters)[:300]}; replay: {self.load.replay}") from error

    def copy_keys(self):
        return {name: set(keys) for name, keys in self.keys.items()}

    def transaction(self):
        """A deadlock or serialization failure (TRUNCATE against others) is a rollback, no error."""
        before = self.copy_keys()
        state = self.random.getstate()
        try:
            self._transaction()
        except psycopg2.extensions.TransactionRollbackError:
            self.connection.rollback()
            self.keys = before
            self.random.setstate(state)
            self.random.random()  # the rest of the sequence goes on elsewhere

    def _transaction(self):
        dice = self.random.random()
        before = self.copy_keys()
        with self.connection.cursor() as cursor:
            for _ in range(self.random.choice((1, 1, 2, 3, 5, 8, 15))):
                if self.random.random() < 0.15:
                    self.savepoint(cursor, depth=1)
                else:
                    self.operation(cursor)
            if dice < self.load.prepared_share:
                gid = f"{self.load.gid_prefix}{self.number} {self.done}"
                self.execute(cursor, "PREPARE TRANSACTION %s", (gid,))
                # psycopg2 believes to be in a transaction still; there is none to commit.
                self.connection.rollback()
                self.prepared.append((gid, before))
                self.end_prepared(everything=True)
            elif dice < self.load.prepared_share + self.load.rollback_share:
                self.connection.rollback()
                self.keys = before
            else:
                self.connection.commit()

    def end_prepared(self, everything=False):
        """Commits or rolls back what was prepared (its rows are locked until then)."""
        while self.prepared and everything:
            gid, before = self.prepared[0]
            keep = self.random.random() < 0.7
            self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                self.execute(cursor, f"{'COMMIT' if keep else 'ROLLBACK'} PREPARED %s", (gid,))
            self.connection.autocommit = False
            self.prepared.pop(0)
            if not keep:
                self.keys = before

    def savepoint(self, cursor, depth):
        name = f"s{depth}"
        before = self.copy_keys()
        self.execute(cursor, f"SAVEPOINT {name}")
        for _ in range(self.random.randrange(1, 5)):
            if depth < 4 and self.random.random() < 0.2:
                self.savepoint(cursor, depth + 1)
            else:
                self.operation(cursor)
        dice = self.random.random()
        if dice < 0.5:
            self.execute(cursor, f"ROLLBACK TO {name}")
            self.keys = before
        elif dice < 0.8:
            self.execute(cursor, f"RELEASE {name}")

    def operation(self, cursor):
        shape = self.random.choices(self.shapes, weights=[shape.weight for shape in self.shapes])[0]
        operation = self.random.choice(shape.operations())
        for statement, parameters in operation(self.number, self.random, self.keys[shape.name]):
            self.execute(cursor, statement, parameters)


class Workload:
    """shapes: names of table shapes (all); more_shapes: other shapes, besides. rate: transactions a second of all
    clients together. survive: clients reconnect when the server goes away, instead of failing."""

    def __init__(self, dsn, seed, clients=2, shapes=None, rate=None, survive=False, prepared_share=0.04,
                 rollback_share=0.1, more_shapes=()):
        self.dsn, self.seed, self.rate, self.survive = dsn, seed, rate, survive
        self.prepared_share, self.rollback_share = prepared_share, rollback_share
        self.shapes = [shape for shape in workload_tables.SHAPES if shapes is None or shape.name in shapes]
        self.shapes += more_shapes
        assert self.shapes, f"no table shape is named one of {shapes}"
        self.gid_prefix = f"load {seed} {uuid.uuid4().hex[:6]} "
        self.replay = (f"python3 -m support.workload URI --seed {seed} --clients {clients}"
                       + (f" --shapes {','.join(shapes)}" if shapes else ""))
        self.stopping, self.lock, self.turn = threading.Event(), threading.Lock(), time.monotonic()
        self.clients = [Client(self, number) for number in range(clients)]
        self.threads = []

    def create(self):
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(workload_tables.PRELUDE)
            for shape in self.shapes:
                for statement in [shape.create] if isinstance(shape.create, str) else shape.create:
                    # The texts are written for execution with parameters, where % is doubled.
                    cursor.execute(statement.replace("%%", "%"))
        connection.close()
        return self

    def wait_for_turn(self):
        if not self.rate:
            return
        with self.lock:
            self.turn = max(self.turn, time.monotonic() - 1) + 1 / self.rate
            delay = self.turn - time.monotonic()
        if delay > 0:
            self.stopping.wait(delay)

    def start(self, transactions=None, seconds=None):
        self.stopping.clear()
        self.threads = [threading.Thread(target=client.run, args=(transactions, seconds), daemon=True)
                        for client in self.clients]
        for thread in self.threads:
            thread.start()
        return self

    def join(self):
        for thread in self.threads:
            thread.join()
        for client in self.clients:
            if client.error is not None:
                raise client.error
        return self

    def stop(self):
        """Lets every client finish its transaction."""
        self.stopping.set()
        return self.join()

    def run(self, transactions=None, seconds=None):
        """To the end of so many transactions per client or so many seconds."""
        return self.start(transactions, seconds).join()

    @property
    def transactions(self):
        return sum(client.done for client in self.clients)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stopping.set()
        if kind is None:
            self.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsn")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--shapes", type=lambda names: names.split(","))
    parser.add_argument("--transactions", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--no-create", action="store_true")
    options = parser.parse_args()
    load = Workload(options.dsn, options.seed, options.clients, options.shapes)
    if not options.no_create:
        load.create()
    load.run(options.transactions or (None if options.seconds else 100), options.seconds)
    print(f"{load.transactions} transactions; replay: {load.replay}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

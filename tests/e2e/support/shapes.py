"""Many small databases' worth of cases through one run of the service, without one hiding another.

A shape is a schema of its own: `setup` is run before the copy, `live` while the service streams. All
shapes of a test share one pair of databases and one service, because a run costs seconds and there are
hundreds of shapes. If the service stops, the shape it names (its schema stands in the error) is blamed
and the others are run again without it in new databases; if it names none, halves are run, until the
one that stops it is alone.
"""
import re

from . import compare as judge
from .cluster import quote_identifier
from .towline import Towline

SECONDS = 120


class Shape:
    """setup: statements, each a transaction of its own. live: texts, each one transaction (statements
    in one text share it). at_destination: what its owner does there between copy and stream. All run
    with the shape's schema first in search_path. text_only: table → columns whose binary form holds OIDs
    or does not exist, so that only their text can be compared. ignore: patterns of tables."""

    def __init__(self, name, setup, live=(), text_only=None, settings="", ignore=(), at_destination=()):
        self.name, self.setup, self.live, self.at_destination = name, setup, live, at_destination
        self.text_only, self.settings, self.ignore = text_only or {}, settings, list(ignore)

    def pattern(self):
        return f"{self.name}.*"

    def connect(self, database):
        connection = database.connect()
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path = {quote_identifier(self.name)}, public; {self.settings}")
        return connection

    def execute(self, database, statements):
        if not statements:
            return
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    try:
                        cursor.execute(statement)
                    except Exception as error:
                        raise RuntimeError(f"shape {self.name}: the test's own statement failed: {error}; "
                                           f"{statement[:500]}") from error
        finally:
            connection.close()

    def create(self, database):
        self.execute(database, [f"CREATE SCHEMA {quote_identifier(self.name)}", *self.setup])


class Verdict:
    """What was found: shape → texts; a shape without an entry is equal in every phase."""

    def __init__(self):
        self.found, self.seen = {}, set()

    def blame(self, name, text):
        self.found.setdefault(name, []).append(text)

    def check(self, name):
        assert name in self.seen, f"shape {name} was not run"
        assert name not in self.found, "\n".join(self.found[name])


class Play:
    """make_database(which) gives a fresh source or destination; directory is the service's."""

    def __init__(self, make_database, directory, binary, arguments=(), prepare=None, largest_row=0,
                 binary_check=True):
        self.make_database, self.directory, self.binary = make_database, directory, binary
        self.arguments, self.prepare, self.largest_row = list(arguments), prepare, largest_row
        self.binary_check = binary_check
        self.runs = 0
        self.peak_memory = 0

    def run(self, shapes, verdict=None):
        verdict = verdict or Verdict()
        rest = list(shapes)
        while rest:
            stopped = self._once(rest, verdict)
            if stopped is None:
                break
            # The error names the table; the log around it names others.
            error = "\n".join(line for line in stopped.splitlines() if "error: " in line) or stopped
            blamed = [shape for shape in rest if re.search(rf'\b{re.escape(shape.name)}\b', error)]
            if len(blamed) == 1 or len(rest) == 1:
                shape = (blamed or rest)[0]
                verdict.blame(shape.name, stopped)
                verdict.seen.add(shape.name)
                rest.remove(shape)
                continue
            half = len(rest) // 2
            self.run(rest[:half], verdict)
            self.run(rest[half:], verdict)
            break
        return verdict

    def _once(self, shapes, verdict):
        """Runs them together. Returns None, or why the service stopped."""
        self.runs += 1
        source, destination = self.make_database("source"), self.make_database("destination")
        if self.prepare is not None:
            self.prepare(source, destination)
        for shape in shapes:
            shape.create(source)
        service = Towline(source, destination, directory=self.directory, binary=self.binary,
                          arguments=self.arguments, largest_row=self.largest_row, name=f"run-{self.runs}")
        found = Verdict()
        try:
            service.start()
            try:
                service.wait_for_state("streaming", seconds=SECONDS)
                self._judge("after the copy", shapes, source, destination, found)
                for shape in shapes:
                    shape.execute(destination, shape.at_destination)
                for shape in shapes:
                    shape.execute(source, shape.live)
                service.wait_until_caught_up(SECONDS)
            except AssertionError as error:
                return str(error)
            self._judge("after the stream", shapes, source, destination, found)
            status = service.stop()
            if status != 0:
                return f"SIGTERM: exit status {status}; {service.tail()}"
        finally:
            service.close()
            self.peak_memory = max(self.peak_memory, service.peak_memory)
        for shape in shapes:
            verdict.seen.add(shape.name)
            for text in found.found.get(shape.name, []):
                verdict.blame(shape.name, text)
        source.drop()
        destination.drop()
        return None

    def _judge(self, phase, shapes, source, destination, verdict):
        for binary in (False, True) if self.binary_check else (False,):
            # All at once first: a comparison per shape costs two sessions each.
            if judge_shapes(shapes, source, destination, binary):
                continue
            for shape in shapes:
                result = judge_shapes([shape], source, destination, binary)
                if not result:
                    kind = "binary" if binary else "text"
                    verdict.blame(shape.name, f"{phase}, as {kind}: {result}")


def judge_shapes(shapes, source, destination, binary):
    columns = {}
    if binary:
        for shape in shapes:
            for table, left_out in shape.text_only.items():
                names = [name for name, in source.query(
                    "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                    "AND NOT attisdropped ORDER BY attnum",
                    [f"{quote_identifier(shape.name)}.{quote_identifier(table)}"])]
                columns[f"{shape.name}.{table}"] = [name for name in names if name not in left_out]
    return judge.compare(source.uri(), destination.uri(), tables=[shape.pattern() for shape in shapes],
                         ignore=[pattern for shape in shapes for pattern in shape.ignore],
                         binary=binary, columns=columns)

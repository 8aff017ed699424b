"""Fixtures: two servers per module, two fresh databases per test, the service between them.

On failure the directories stay and their paths are printed. Random tests take `seed`, which is printed
with the command that replays the test. Every service that a test started is held to the memory limit.
"""
import faulthandler
import fcntl
import itertools
import os
import pathlib
import random
import shutil
import signal
import sys

import pytest

from support import cluster as clusters
from support.towline import MEMORY_LIMIT, Towline, wait_until_caught_up  # noqa: F401 (for tests)

DIRECTORY_NUMBERS = itertools.count(1)  # a count of what is there would repeat: servers' directories are removed


def pytest_addoption(parser):
    parser.addoption("--towline-binary", default=str(clusters.ROOT / "build/bin/towline"))
    parser.addoption("--seed", type=int, default=None, help="seed of the random tests")
    parser.addoption("--size", type=int, default=1, help="multiplies the amounts of data")
    parser.addoption("--no-memory-limit", action="store_true", help="sanitizer builds need more")
    parser.addoption("--keep", action="store_true", help="keep all directories")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, f"report_{report.when}", report)
    if report.failed:
        item.config.stash_failed = True
        directory = getattr(item.config, "towline_directory", None)
        if directory is not None:
            report.sections.append(("kept", f"logs and data: {directory}"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Ends a test that hangs, with the stacks of all threads."""
    marker = item.get_closest_marker("limit")
    seconds = marker.args[0] if marker else 300

    def too_long(_signal, _frame):
        faulthandler.dump_traceback(file=sys.__stderr__)
        raise AssertionError(f"the test took longer than its limit of {seconds} s")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def pytest_sessionfinish(session):
    directory = getattr(session.config, "towline_directory", None)
    if directory is None or session.config.getoption("--keep"):
        return
    if not getattr(session.config, "stash_failed", False):
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def session_directory(request):
    # SIGTERM ends pytest in the orderly way, so that servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    request.config.towline_directory = clusters.session_directory()
    return request.config.towline_directory


def failed(node):
    return any(getattr(node, f"report_{when}", None) is not None and getattr(node, f"report_{when}").failed
               for when in ("setup", "call"))


class ClusterFactory:
    """Makes servers and removes them, unless a test of their scope failed."""

    def __init__(self, directory, label):
        self.directory, self.label, self.made = directory, label, []

    def __call__(self, name="server", start=True, **options):
        directory = self.directory / f"{self.label}-{len(self.made)}"
        clusters.make_directory(directory, 0o755)
        made = clusters.Cluster(directory, name, **options)
        self.made.append(made)
        return made.start() if start else made

    def close(self, keep):
        for made in self.made:
            made.stop("immediate")
            if not keep:
                shutil.rmtree(made.directory.parent, ignore_errors=True)


@pytest.fixture(scope="module")
def module_clusters(request, session_directory):
    before = request.session.testsfailed
    factory = ClusterFactory(session_directory, request.module.__name__.split(".")[-1])
    yield factory
    factory.close(request.session.testsfailed > before or request.config.getoption("--keep"))


@pytest.fixture
def new_cluster(request, session_directory):
    """Factory of servers for one test: new_cluster("name", settings={...}, hba=[...])."""
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:24]
    factory = ClusterFactory(session_directory, name)
    yield factory
    factory.close(failed(request.node) or request.config.getoption("--keep"))


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source")


@pytest.fixture(scope="module")
def destination_cluster(module_clusters):
    return module_clusters("destination")


def fresh_database(request, cluster, prefix):
    request.config.database_number = getattr(request.config, "database_number", 0) + 1
    if not cluster.is_running:
        cluster.start()
    return cluster.create_database(f"{prefix}{request.config.database_number}")


@pytest.fixture
def source(request, source_cluster):
    """A fresh database with the extension."""
    database = fresh_database(request, source_cluster, "src")
    database.execute("CREATE EXTENSION towline")
    yield database
    if not source_cluster.is_running:
        source_cluster.start()
    database.drop()


@pytest.fixture
def destination(request, destination_cluster):
    database = fresh_database(request, destination_cluster, "dst")
    yield database
    if not destination_cluster.is_running:
        destination_cluster.start()
    database.drop()


@pytest.fixture
def towline_factory(request, session_directory):
    """towline_factory(source, destination, **options) makes a service (not started); all are ended
    after the test, and one that used more memory than it may fails the test."""
    made = []

    def make(source, destination, **options):
        options.setdefault("binary", request.config.getoption("--towline-binary"))
        directory = session_directory / f"towline-{os.getpid()}-{next(DIRECTORY_NUMBERS)}"
        made.append(Towline(source, destination, directory=directory, **options))
        return made[-1]

    yield make
    for service in made:
        service.close()
        if failed(request.node):
            print(f"log of the service: {service.log}\n{service.tail()}")
    if not request.config.getoption("--no-memory-limit"):
        for service in made:
            limit = MEMORY_LIMIT + 3 * service.largest_row
            assert service.peak_memory <= limit, \
                f"the service used {service.peak_memory >> 20} MiB, its limit is {limit >> 20} MiB (P13)"


@pytest.fixture
def towline(towline_factory, source, destination):
    """The service between the test's two databases, not started."""
    return towline_factory(source, destination)


PROBE_EXTENSION = {
    "towline_probe.control": "default_version = '1.0'\nrelocatable = true\n",
    "towline_probe--1.0.sql": """
CREATE TABLE system (id int PRIMARY KEY, v text);
INSERT INTO system VALUES (1, 'its own'), (2, 'its own');
CREATE TABLE inner_part (id int PRIMARY KEY);
INSERT INTO inner_part VALUES (1);
CREATE TABLE job (id int PRIMARY KEY);
CREATE TABLE by_value (id int PRIMARY KEY, is_mine bool);
CREATE SEQUENCE job_number;
CREATE SEQUENCE inner_number;
SELECT pg_extension_config_dump('job_number', '');
SELECT pg_extension_config_dump('system', 'WHERE id > 100');
SELECT pg_extension_config_dump('job', '');
SELECT pg_extension_config_dump('by_value', 'where is_mine');
"""}


@pytest.fixture
def probe_extension(source):
    """The name of an extension of our own, in the private copy of the server that the tests run: what is the
    users' in table system are the ids above 100, in job all, in inner_part nothing; of its sequences the users' is job_number."""
    directory = pathlib.Path(source.value("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")) / "extension"
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # other groups of tests run by the same copy at the same time
    try:
        for name, text in PROBE_EXTENSION.items():
            (directory / name).write_text(text)
        yield "towline_probe"
        for name in PROBE_EXTENSION:
            (directory / name).unlink(missing_ok=True)
    finally:
        os.close(lock)


@pytest.fixture
def seed(request):
    chosen = request.config.getoption("--seed")
    if chosen is None:
        chosen = random.SystemRandom().randrange(1 << 31)
    print(f"seed {chosen}; replay: ./dev test '{request.node.name.split('[')[0]}' --seed {chosen}")
    return chosen


@pytest.fixture
def size(request):
    return request.config.getoption("--size")

"""The result does not depend on how it is got (I9): one seeded load on one source, several services with
other limits and PostgreSQL's own logical replication as the referee, at the same time.
"""
import re
import subprocess

import pytest

from support.cluster import server_bin
from support.compare import assert_equal
from support.waiting import wait_until
from support.workload import Workload

# One row a transaction, everything in parts, many small copies, much at once.
VARIANTS = {
    "as it comes": [],
    "sets of any size": ["--set-rows-min", "2"],
    "a row a batch": ["--batch-rows-max", "1", "--copy-workers", "1"],
    "tiny queue and batches": ["--queue-bytes-max", "64kB", "--batch-bytes-max", "4kB", "--copy-part-bytes", "8kB",
                               "--copy-workers", "4", "--durable-interval-max", "10ms"],
    "slow and large": ["--batch-time-max", "3s", "--durable-interval-max", "5s", "--copy-part-bytes", "64kB"],
}


def copy_schema(source, destination):
    dump = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--exclude-schema=towline", "-d", source.uri()],
                          check=True, text=True, stdout=subprocess.PIPE).stdout
    destination.psql("\n".join(line for line in dump.splitlines()
                               if not re.search(r"EXTENSION (IF NOT EXISTS )?towline", line)))


class Native:
    """PostgreSQL's own publication and subscription."""

    def __init__(self, source, destination):
        self.source, self.destination = source, destination
        copy_schema(source, destination)
        source.execute("CREATE PUBLICATION referee FOR ALL TABLES")

    def start(self):
        source = self.source
        self.destination.execute(
            f"CREATE SUBSCRIPTION referee CONNECTION 'host=127.0.0.1 port={source.cluster.port} user=postgres "
            f"dbname={source.name}' PUBLICATION referee")

    def wait_until_caught_up(self):
        self.destination.wait_for("SELECT count(*) > 0 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel", 60)
        target = self.source.value("SELECT pg_current_wal_insert_lsn()")
        self.source.execute("SELECT pg_logical_emit_message(true, 'test', '')")
        self.source.wait_for("SELECT coalesce(bool_and(replay_lsn >= "
                             f"'{target}'), false) FROM pg_stat_replication WHERE application_name = 'referee'", 60)

    def close(self):
        self.destination.script("ALTER SUBSCRIPTION referee DISABLE", "DROP SUBSCRIPTION referee")
        self.source.execute("DROP PUBLICATION referee")


@pytest.mark.limit(400)
def test_the_same_load_through_other_limits_gives_the_same_rows(source, destination_cluster, towline_factory, seed, size):
    load = Workload(source.uri(), seed, clients=3, rate=120).create().run(transactions=60)
    destinations = {name: destination_cluster.create_database(f"variant{number}")
                    for number, name in enumerate([*VARIANTS, "native"])}
    native = Native(source, destinations["native"])
    services = {name: towline_factory(source, destinations[name], arguments=arguments)
                for name, arguments in VARIANTS.items()}
    with load:
        native.start()
        for service in services.values():
            service.start()
        for service in services.values():
            service.wait_for_state("streaming", seconds=180)
        enough = load.transactions + 900 * size
        wait_until(lambda: load.transactions >= enough, 120 * size, "the load")
        load.stop()
        source.execute("INSERT INTO load.insert_only SELECT 99, now(), md5(i::text) FROM generate_series(1, 5000) i; "
                       "UPDATE load.composite SET v = v + 1; UPDATE load.no_key_full SET n = n + 1")
        native.wait_until_caught_up()
        for service in services.values():
            service.wait_until_caught_up(180)
    # Each against the source, and against the referee in binary too: what the source's output hides.
    for name in destinations:
        assert_equal(source.uri(), destinations[name].uri())
    for name, service in services.items():
        # Would hide what a set does wrong.
        assert service.status()["batches_refused"] == 0, name
        assert service.stop() == 0
    native.close()
    for database in destinations.values():
        database.drop()

"""pgbench with a schema change every second: equal at the end, and no change waits for longer than it takes."""
import subprocess
import time

import pytest

from support.compare import assert_equal

APPLY = ("--ddl", "apply")
CHANGES = (
    "ALTER TABLE pgbench_accounts ADD COLUMN a int DEFAULT 7",
    "CREATE INDEX CONCURRENTLY by_balance ON pgbench_accounts (abalance)",
    "ALTER TABLE pgbench_tellers ADD COLUMN at timestamptz DEFAULT now()",
    "ALTER TABLE pgbench_history RENAME COLUMN filler TO filling; ALTER TABLE pgbench_history RENAME COLUMN filling TO filler",
    "ALTER TABLE pgbench_branches ALTER COLUMN filler TYPE text USING coalesce(filler, '') || random()",
    "DROP INDEX CONCURRENTLY by_balance",
    "CREATE TABLE part_1 (id int PRIMARY KEY); INSERT INTO part_1 VALUES (1); ALTER TABLE parted ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (100)",
    "TRUNCATE pgbench_history",
    "ALTER TABLE pgbench_accounts DROP COLUMN a",
    "ALTER TABLE parted DETACH PARTITION part_1; INSERT INTO part_1 VALUES (200)",
)


@pytest.mark.limit(300)
def test_a_change_every_second(towline, source, destination):
    def pgbench(*arguments):
        return [source.cluster.programs / "pgbench", "-h", "127.0.0.1", "-p", str(source.cluster.port), "-U", "postgres", *arguments, source.name]
    subprocess.run(pgbench("-i", "-q", "--foreign-keys"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    source.script("CREATE EXTENSION IF NOT EXISTS towline", "SELECT towline.enable_ddl()", "ALTER TABLE pgbench_history REPLICA IDENTITY FULL",
                  "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    towline.start(*APPLY).wait_for_state("streaming")
    load = subprocess.Popen(pgbench("-n", "-c", "2", "-R", "100", "-T", str(len(CHANGES) + 2)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for change in CHANGES:
            source.execute(change)
            time.sleep(1)  # the load's rhythm, not a wait for something
        printed, _ = load.communicate(timeout=120)
        assert load.returncode == 0, printed
    finally:
        load.kill()
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True)
    assert {fate for fate, in destination.query("SELECT fate FROM towline_state.ddl_history")} == {"applied"}
    assert towline.stop() == 0

"""What waits for the copy's locks must not stop the copy.

The session that exports the snapshot locks every table (ACCESS SHARE) first. A TRUNCATE or ALTER of the
user then queues behind it, and whoever wants the table after that queues behind the TRUNCATE: also the
session that is to copy the table, which would wait for the TRUNCATE, which waits for us.
"""
import threading

import pytest

from support.compare import assert_equal
from support.waiting import wait_until

LOCKED = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'last'::regclass AND mode = 'AccessShareLock' " \
         "AND granted AND pid <> pg_backend_pid()"
WAITING = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'last'::regclass AND NOT granted"


@pytest.mark.limit(600)
def test_truncate_waits_for_the_copy_and_not_the_copy_for_it(towline_factory, source, destination):
    source.script("CREATE TABLE last (id int PRIMARY KEY)", "INSERT INTO last VALUES (1)",
                  *(f"CREATE TABLE first_{i} (id int PRIMARY KEY, v text)" for i in range(20)),
                  *(f"INSERT INTO first_{i} SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 10000) n"
                    for i in range(20)))
    service = towline_factory(source, destination, arguments=["--copy-workers", "1"])
    service.start()
    source.wait_for(LOCKED, 60)
    truncating = threading.Thread(target=source.execute, args=("TRUNCATE last",), daemon=True)
    truncating.start()
    wait_until(lambda: source.value(WAITING) or not truncating.is_alive(), 60, "TRUNCATE to wait")
    service.wait_until_caught_up(180)
    truncating.join(60)
    assert not truncating.is_alive()
    service.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert source.value("SELECT count(*) FROM last") == 0

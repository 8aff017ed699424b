"""What only a walsender shows: unlike the SQL functions it has no transaction and no snapshot of its own
while it decodes, so that looking into a catalog at the wrong moment ends the whole server."""
import select
import time

import psycopg2.extras
import pytest

from support.cluster import quote_literal

MARK = "the end of this test"
SECONDS = 60


@pytest.fixture(scope="module")
def source_cluster(module_clusters):
    return module_clusters("source", settings={"logical_decoding_work_mem": "64kB"})


def frames(source, **options):
    """All that a walsender sends up to now."""
    source.execute("SELECT pg_logical_emit_message(false, %s, '')", [MARK])
    source.wait_for("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'w'")
    connection = psycopg2.connect(source.uri(), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    try:
        cursor = connection.cursor()
        texts = ", ".join(f"{name} {quote_literal(value)}" for name, value in options.items())
        cursor.start_replication_expert(f"START_REPLICATION SLOT w LOGICAL 0/0 ({texts})", decode=False)
        received, deadline = [], time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            message = cursor.read_message()
            if message is None:
                select.select([connection], [], [], 1)
                continue
            received.append(message.payload)
            if MARK.encode() in message.payload:
                return received[:-1]
        raise AssertionError(f"the mark has not come, only {len(received)} frames")
    finally:
        connection.close()


def test_the_end_of_a_transaction_names_its_origin(source):
    """Of one that was sent in runs, of a prepared one, and of one that was both."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source.query("SELECT pg_create_logical_replication_slot('w', 'towline', false, true)")
    source.query("SELECT pg_replication_origin_create('upstream')")
    large = "INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series({}, {} + 2999) i"
    source.script(
        "SELECT pg_replication_origin_session_setup('upstream')",
        "BEGIN", large.format(0, 0), "COMMIT",
        "BEGIN", "INSERT INTO t VALUES (-1)", "PREPARE TRANSACTION 'small'", "COMMIT PREPARED 'small'",
        "BEGIN", large.format(10000, 10000), "PREPARE TRANSACTION 'large'", "COMMIT PREPARED 'large'",
        "BEGIN", "INSERT INTO t VALUES (-2)", "PREPARE TRANSACTION 'undone'", "ROLLBACK PREPARED 'undone'")
    source.execute("INSERT INTO t VALUES (-3)")  # of no origin
    kinds = source.query("SELECT kind FROM towline.changes('w', options => '{streaming,on,two_phase,on,messages,off}') "
                         "WHERE detail LIKE '%upstream%'")
    sent = frames(source, streaming="on", two_phase="on")
    assert sum(frame.count(b"upstream") for frame in sent) == len(kinds) >= 5
    source.query("SELECT pg_replication_origin_drop('upstream')")
    # One without a name is foreign all the same.
    assert len(frames(source, streaming="on", two_phase="on")) >= len(sent)

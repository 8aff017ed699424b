"""Anyone may emit a logical message; none of them ever becomes anything at the destination (I11)."""
import pytest

from support.cluster import quote_literal, server_bin
from support.compare import assert_equal
import re
import subprocess

PREFIXES = ["", "towline", "towline.ddl", "towline_ddl", "towline.ddl_log", "towline_state",
            "towline_state.task", "towline.task",
            "towline.changes", "towline.marker", "towline_marker", "towline.keepalive", "towline.position",
            "towline.control",
            "ddl", "pgoutput", "ali_decoding", "TOWLINE", "towline\n", "towline'; DROP TABLE t; --",
            "p" * 5000]
STATEMENT = "DROP TABLE t; CREATE TABLE forged (id int); UPDATE towline_state.task SET position = 'FFFFFFFF/FFFFFFFF'"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytearray([number]))


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def contents():
    """A statement, a captured command as the plugin would write it, a frame of changes, rubbish, much."""
    ddl = b"\x08\x01" + field(3, b"DROP TABLE") + field(4, STATEMENT.encode()) + field(6, b"postgres")
    yield STATEMENT.encode()
    yield b'{"tag": "DROP TABLE", "statement": "%s", "role": "postgres"}' % STATEMENT.encode()
    yield ddl
    yield field(11, ddl)
    yield field(1, field(11, ddl))
    yield field(1, field(2, b"\x08\x01")) + field(1, field(1, b"\x08\x01"))
    yield b""
    yield b"\xff\xfe\x00" * 100


def schema(database):
    """The destination's schema, without our state."""
    done = subprocess.run([server_bin() / "pg_dump", "--schema-only", "--exclude-schema=towline_state", "-d",
                           database.uri()],
                          text=True, check=True, stdout=subprocess.PIPE)
    # Some releases write a line with a random key.
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.M)


@pytest.fixture
def nobody(source):
    name = f"nobody_{source.name}"
    source.cluster.database().execute(f"CREATE ROLE {name} LOGIN")
    return {"user": name}


def test_messages_of_an_unprivileged_user_do_nothing(towline, source, destination, nobody):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v text)",
                  "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 100) i")
    towline.start().wait_for_state("streaming")
    towline.wait_until_caught_up()
    before, state = schema(destination), towline.row()[0]
    connection = source.cluster.database(source.name).connect(**nobody)
    with connection.cursor() as cursor:
        for prefix in PREFIXES:
            for transactional in (True, False):
                for content in contents():
                    cursor.execute("SELECT pg_logical_emit_message(%s, %s, %s::bytea)",
                                   [transactional, prefix, content])
        # In one transaction with each other, and in one that is rolled back.
        cursor.execute("; ".join(["BEGIN",
                                  *[f"SELECT pg_logical_emit_message({kind}, {quote_literal(prefix)}, "
                                    f"{quote_literal(STATEMENT)})"
                                             for prefix in PREFIXES for kind in ("true", "false")],
                                             "ROLLBACK"]))
    connection.close()
    # Between changes of rows.
    source.script("BEGIN; INSERT INTO t VALUES (500, 'a'); SELECT pg_logical_emit_message(true, "
                  "'towline.ddl', 'DROP TABLE t'); "
                  "UPDATE t SET v = 'b' WHERE id = 500; COMMIT", "DELETE FROM t WHERE id = 3")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri(), definitions=True)
    assert schema(destination) == before
    assert towline.row()[0] == state, "the task was taken over"
    assert towline.stop() == 0


def test_huge_messages_do_not_break_the_stream(towline, source, destination, nobody):
    """Above any frame's size; the memory limit holds as in every test."""
    source.script("CREATE TABLE t (id int PRIMARY KEY)")
    towline.start().wait_for_state("streaming")
    epoch = towline.row()[0]
    for megabytes in (17, 200):
        for transactional in ("true", "false"):
            source.execute(f"SELECT pg_logical_emit_message({transactional}, 'towline', repeat('x', "
                           f"{megabytes << 20}))", **nobody)
    source.execute("INSERT INTO t VALUES (1)")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.row()[0] == epoch, "the stream was interrupted"
    assert towline.stop() == 0

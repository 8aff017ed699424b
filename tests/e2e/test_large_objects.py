"""Large objects are copied once: every byte under its own number, with comment, owner and rights as asked for;
a copy that is interrupted makes them anew and leaves those of the destination alone."""
import json
import signal

import pytest

MANY = 230  # more than two batches
PIECE = 1 << 20
FIRST = 64 << 10


def everything(database, only=None):
    """number → (bytes, their hash, comment); read by the server's own functions."""
    rows = database.query("SELECT oid::bigint, octet_length(lo_get(oid)), md5(lo_get(oid)), obj_description(oid, 'pg_largeobject') "
                          "FROM pg_largeobject_metadata")
    return {row[0]: row[1:] for row in rows if only is None or row[0] in only}


def rights(database, number):
    return database.query("SELECT pg_get_userbyid(m.lomowner)::text, coalesce(g.rolname::text, 'PUBLIC'), a.privilege_type, a.is_grantable "
                          "FROM pg_largeobject_metadata m LEFT JOIN LATERAL aclexplode(coalesce(m.lomacl, "
                          "acldefault('L', m.lomowner))) a ON true LEFT JOIN pg_roles g ON g.oid = a.grantee "
                          "WHERE m.oid = %s ORDER BY 2, 3", [number])


def clean(*databases):
    """Large objects go with their database, roles do not."""
    for database in databases:
        for role in ("lo_owner", "lo_reader", "lo_missing"):
            database.execute(f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "
                             f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}; END IF; END $$")


@pytest.fixture
def roles(source, destination):
    source.script("CREATE ROLE lo_owner", "CREATE ROLE lo_reader", "CREATE ROLE lo_missing")
    destination.script("CREATE ROLE lo_owner", "CREATE ROLE lo_reader")
    yield
    clean(source, destination)


def fill(source):
    source.script("CREATE TABLE t (id int PRIMARY KEY, o oid)",
                  f"INSERT INTO t SELECT i, lo_from_bytea(0, decode(md5(i::text), 'hex')) FROM generate_series(1, {MANY}) i",
                  "SELECT lo_create(7001)",
                  # At the borders of what is read at once.
                  *[f"SELECT lo_from_bytea({7010 + i}, decode(repeat('a1b2c3d4', {size} / 4) || repeat('0f', {size} % 4), 'hex'))"
                    for i, size in enumerate((1, FIRST - 1, FIRST, FIRST + 1, FIRST + PIECE - 1, FIRST + PIECE,
                                              FIRST + PIECE + 1, FIRST + 3 * PIECE + 5))],
                  # A hole of two megabytes reads as zeros.
                  "SELECT lo_from_bytea(4000000000, 'begin')", "SELECT lo_put(4000000000, 2000000, 'end')",
                  "COMMENT ON LARGE OBJECT 7001 IS 'it''s empty'")


def test_every_byte_arrives_with_comment_owner_and_rights(towline_factory, source, destination, roles):
    fill(source)
    source.script("ALTER LARGE OBJECT 7010 OWNER TO lo_owner", "GRANT SELECT ON LARGE OBJECT 7010 TO lo_reader, lo_missing",
                  "GRANT UPDATE ON LARGE OBJECT 7010 TO lo_reader WITH GRANT OPTION", "GRANT SELECT ON LARGE OBJECT 7010 TO PUBLIC",
                  "ALTER LARGE OBJECT 7011 OWNER TO lo_missing")
    destination.execute("SELECT lo_from_bytea(5, 'of its own')")
    towline = towline_factory(source, destination, arguments=["--owners", "on", "--privileges", "on"])
    towline.start().wait_for_state("streaming")
    assert len(everything(source)) == MANY + 10
    assert everything(destination, everything(source)) == everything(source)
    assert len(everything(destination)) == MANY + 11
    expected = [row for row in rights(source, 7010) if row[1] != "lo_missing"]
    assert rights(destination, 7010) == expected and len(expected) >= 5
    assert rights(destination, 7011)[0][0] == "postgres"
    assert "a role of the source does not exist" in towline.output() and "lo_missing" in towline.output()
    assert "large objects copied" in towline.output()
    assert destination.query("SELECT * FROM towline_state.made_object") == []
    # The rows name them by the same numbers.
    source.execute("INSERT INTO t VALUES (1000, 7001)")
    towline.wait_until_caught_up()
    assert destination.value("SELECT count(*) FROM t JOIN pg_largeobject_metadata m ON m.oid = t.o") == MANY + 1
    assert towline.stop() == 0


def test_a_copy_that_is_killed_makes_them_anew(towline_factory, source, destination):
    fill(source)
    destination.execute("SELECT lo_from_bytea(5, 'of its own')")
    towline = towline_factory(source, destination, fault="copy:large-objects-made:kill:2")
    towline.start()
    assert towline.wait_exit(60) == -signal.SIGKILL
    made = len(everything(destination)) - 1
    assert 0 < made < MANY and destination.value("SELECT count(*) FROM towline_state.made_object") == made
    source.script("SELECT lo_unlink(7010)", "SELECT lo_put(7001, 0, 'not empty any more')")
    towline.fault = None
    towline.start().wait_for_state("streaming")
    assert everything(destination, everything(source)) == everything(source)
    assert set(everything(destination)) == set(everything(source)) | {5}
    assert destination.query("SELECT * FROM towline_state.made_object") == []
    assert towline.stop() == 0


def finding(towline, *more):
    findings = json.loads(towline.call("check", "--json", *more).stdout)["findings"]
    return next(found for found in findings if found["id"] == "source.large_objects")


def test_one_of_the_same_number_stops_before_anything_is_done(towline, source, destination):
    source.script("SELECT lo_from_bytea(4711, 'abc')", "CREATE TABLE t (id int PRIMARY KEY)")
    assert finding(towline)["level"] == "warn" and finding(towline)["found"] == "1 large object: later changes of them do not follow"
    destination.execute("SELECT lo_from_bytea(4711, 'mine')")
    found = finding(towline)
    assert found["level"] == "fail" and "lo_unlink(4711)" in found["mend"]
    towline.start()
    assert towline.wait_exit(30) == 3
    assert destination.value("SELECT to_regclass('t') IS NULL")
    for more in (["--large-objects", "off"], ["--include", "public.t"]):
        assert finding(towline, *more)["found"] == "1 large object, not copied"
    towline.start("--large-objects", "off").wait_for_state("streaming")
    assert destination.value("SELECT lo_get(4711)").tobytes() == b"mine"
    assert towline.stop() == 0


def test_what_may_not_be_read_is_named_beforehand(towline, source, destination, roles):
    source.script("SELECT lo_from_bytea(4711, 'abc')", "SELECT lo_from_bytea(4712, 'abc')", "CREATE TABLE t (id int PRIMARY KEY)",
                  "ALTER ROLE lo_reader LOGIN REPLICATION", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO lo_reader",
                  "GRANT SELECT ON LARGE OBJECT 4711 TO lo_reader")
    towline.source_uri = towline.source_uri.replace("postgres@", "lo_reader@")
    found = finding(towline)
    assert found["level"] == "fail" and found["found"] == "large object 4712 may not be read", found
    source.execute("GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC")
    assert finding(towline)["level"] == "warn"
    towline.start().wait_for_state("streaming")
    assert everything(destination) == everything(source)
    assert towline.stop() == 0

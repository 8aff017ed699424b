"""A slot that is made while others change their tables: the server's decoder may begin with a wrong idea of the
catalogs (docs/plugin.md), and must not be believed before it has been set right."""
from support.compare import assert_equal
from support.waiting import wait_until

WAITS_FOR = """SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'transactionid' AND NOT l.granted AND l.transactionid = %s::text::xid AND a.application_name LIKE '%%src slot'"""


def begin(source, *statements):
    """A session amid a transaction, and the transaction's number."""
    connection = source.connect(autocommit=False)
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SELECT pg_current_xact_id()::text::bigint & 4294967295")
        return connection, str(cursor.fetchone()[0])


def test_a_change_of_the_catalogs_that_the_decoder_has_missed(source, destination, towline):
    source.script("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (0, 0)", "CREATE TABLE u (id int PRIMARY KEY)")

    def waits_for(xid):
        wait_until(lambda: source.query(WAITS_FOR, [xid]), 60, "the slot's creation to wait", explain=towline.tail)

    older, older_xid = begin(source)
    towline.start()
    waits_for(older_xid)
    # Its first record comes before the decoder looks at changes, its end after another transaction has been looked at.
    changing, changing_xid = begin(source, "ALTER TABLE t ADD c int DEFAULT 7")
    older.commit()
    waits_for(changing_xid)
    source.execute("INSERT INTO u VALUES (1)")
    changing.commit()
    towline.wait_for_state("streaming")
    source.script("INSERT INTO t SELECT i, i FROM generate_series(1, 20) i", "UPDATE t SET v = -1 WHERE id > 15")
    source.execute("UPDATE t SET c = id WHERE id < 5")
    towline.wait_until_caught_up()
    assert_equal(source.uri(), destination.uri())
    assert towline.stop() == 0
    older.close()
    changing.close()

"""What may happen to rows: orders within a transaction and a batch, keys that move, values that are not
sent, rows that are there several times."""
from support.shapes import Shape

BIG = "(SELECT string_agg(md5((i * 7 + {0})::text), '') FROM generate_series(1, 300) i)"


def big(number):
    """Some 10 kB that do not compress into the row, another for each number."""
    return BIG.format(number)


def identities(columns, key, fill):
    """The same table under each replica identity that names rows. Its unique columns: `key`."""
    statements = []
    for name, how in (("by_default", "DEFAULT"), ("by_full", "FULL"),
                      ("by_index", "USING INDEX by_index_key"),
                      ("by_full_no_key", "FULL")):
        constraint = {"by_default": f"PRIMARY KEY ({key})", "by_full": f"PRIMARY KEY ({key})",
                      "by_index": f"CONSTRAINT by_index_key UNIQUE ({key})"}.get(name)
        statements += [f"CREATE TABLE {name} ({columns}{', ' + constraint if constraint else ''})",
                       f"ALTER TABLE {name} REPLICA IDENTITY {how}", fill.format(name)]
    return statements


def each(*texts):
    return [text.format(table) for table in ("by_default", "by_full", "by_index", "by_full_no_key") for
            text in texts]


def key_shapes():
    yield Shape("swapped_keys", identities("id int NOT NULL, v text", "id",
                                           "INSERT INTO {} VALUES (1, 'a'), (2, 'b'), (3, 'c')"),
                each("UPDATE {0} SET id = -1 WHERE id = 1; UPDATE {0} SET id = 1 WHERE id = 2; "
                     "UPDATE {0} SET id = 2 WHERE id = -1",
                     # Round three places, then back in another transaction of perhaps the same batch.
                     "UPDATE {0} SET id = id + 10; UPDATE {0} SET id = CASE id WHEN 11 THEN 2 WHEN 12 THEN 3 "
                     "ELSE 1 END",
                     "UPDATE {0} SET id = id + 10; UPDATE {0} SET id = CASE id WHEN 12 THEN 1 WHEN 13 THEN 2 "
                     "ELSE 3 END, "
                     "v = v || '!'"))
    yield Shape("key_chain", identities("id int NOT NULL, v text, n int", "id",
                                        "INSERT INTO {} SELECT i, 'v' || i, 0 FROM generate_series(1, 20) i"),
                each("UPDATE {0} SET id = 101 WHERE id = 1; UPDATE {0} SET id = 102 WHERE id = 101; "
                     "UPDATE {0} SET n = 1 WHERE id = 102; DELETE FROM {0} WHERE id = 102; INSERT INTO {0} "
                     "VALUES (101, 'again', 2)",
                     "DELETE FROM {0} WHERE id = 2; UPDATE {0} SET id = 2 WHERE id = 3; INSERT INTO {0} "
                     "VALUES (3, 'new', 3)",
                     "INSERT INTO {0} VALUES (50, 'x', 0); UPDATE {0} SET id = 51 WHERE id = 50; UPDATE {0} "
                     "SET id = 50 WHERE id = 51",
                     "UPDATE {0} SET id = id + 1000 WHERE id BETWEEN 10 AND 15",
                     "UPDATE {0} SET id = id - 1000, n = n + 1 WHERE id > 1000",
                     "UPDATE {0} SET v = v, n = n; UPDATE {0} SET id = id"))
    yield Shape("churn", identities("id int NOT NULL, v text, n int", "id",
                                    "INSERT INTO {} VALUES (0, 'stays', 0)"),
                each("INSERT INTO {0} VALUES (1, 'x', 0); " +
                     "; ".join(["UPDATE {0} SET n = n + 1 WHERE id = 1"] * 10)
                     + "; DELETE FROM {0} WHERE id = 1",
                     "INSERT INTO {0} VALUES (2, 'x', 0)", *["UPDATE {0} SET n = n + 1 WHERE id = 2"] * 10,
                     "DELETE FROM {0} WHERE id = 2",
                     *["DELETE FROM {0} WHERE id = 3; INSERT INTO {0} VALUES (3, 'round', 0)"] * 5,
                     "INSERT INTO {0} VALUES (4, 'a', 0)", "DELETE FROM {0} WHERE id = 4",
                     "INSERT INTO {0} VALUES (4, 'b', 1)",
                     "UPDATE {0} SET n = 5 WHERE id = 0; DELETE FROM {0} WHERE id = 0; INSERT INTO {0} "
                     "VALUES (0, 'back', NULL); "
                     "UPDATE {0} SET v = NULL WHERE id = 0"))
    yield Shape("composite_keys", [
        "CREATE TABLE t (b text, x int, a int, c date, v text, PRIMARY KEY (a, b, c))",
        "INSERT INTO t SELECT 'k' || i % 7, i, i, date '2000-01-01' + i, 'v' FROM generate_series(1, 50) i",
        "CREATE TABLE included (a int, b int, v text, PRIMARY KEY (a) INCLUDE (b))",
        "INSERT INTO included VALUES (1, 2, 'x'), (2, 3, 'y')",
        "CREATE TABLE long_key (k text PRIMARY KEY, v int)",
        "INSERT INTO long_key SELECT string_agg(md5((i * j)::text), ''), i FROM generate_series(1, 5) i, "
        "generate_series(1, 70) j GROUP BY i"], [
        "UPDATE t SET b = 'moved' WHERE a < 5; UPDATE t SET a = -a WHERE a > 45; UPDATE t SET v = NULL WHERE "
        "a = 20",
        "DELETE FROM t WHERE b = 'k3'", "UPDATE included SET b = b + 1; DELETE FROM included WHERE a = 1",
        "UPDATE long_key SET k = reverse(k) WHERE v < 3; UPDATE long_key SET v = v + 10; DELETE FROM "
        "long_key WHERE v = 14"])
    # The identity index is not the primary key: an update of the key is an ordinary one.
    yield Shape("identity_by_other_index", [
        "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, n int NOT NULL, v text)",
        "CREATE UNIQUE INDEX t_code ON t (n, code)", "ALTER TABLE t REPLICA IDENTITY USING INDEX t_code",
        "ALTER TABLE t ALTER v SET STORAGE EXTERNAL",
        f"INSERT INTO t SELECT i, 'c' || i, i % 3, {big(1)} FROM generate_series(1, 12) i"], [
        "UPDATE t SET id = id + 100", "UPDATE t SET id = id - 100 WHERE id % 2 = 0; UPDATE t SET code = code "
                                      "|| '!' WHERE n = 1",
        "UPDATE t SET id = -id, n = n + 10, code = 'x' || code WHERE n = 2", "DELETE FROM t WHERE n = 0",
        "INSERT INTO t VALUES (1, 'c1', 1, 'short'); UPDATE t SET v = NULL WHERE code = 'c1'"])
    yield Shape("unique_columns", [
        "CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, rank int UNIQUE DEFERRABLE INITIALLY "
        "DEFERRED, "
        "place int UNIQUE DEFERRABLE, span int4range, EXCLUDE USING gist (span WITH &&))",
        "INSERT INTO t SELECT i, 'm' || i, i, i, int4range(i * 10, i * 10 + 5) FROM generate_series(1, 10) i"], [
        "UPDATE t SET mail = NULL WHERE id = 1; UPDATE t SET mail = 'm1' WHERE id = 2; UPDATE t SET mail = "
        "'m2' WHERE id = 1",
        "UPDATE t SET rank = 11 - rank",
        "UPDATE t SET place = CASE WHEN place = 10 THEN 1 ELSE place + 1 END",
        "UPDATE t SET rank = 5 WHERE id = 1; UPDATE t SET rank = 10 WHERE id = 6",
        "DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (30, 'm3', 8, 4, int4range(30, 35))",
        "UPDATE t SET span = int4range(1000, 1001) WHERE id = 4; UPDATE t SET span = int4range(40, 45) WHERE "
        "id = 5"])
    # A deferrable key is no identity; during the update two rows have one value.
    yield Shape("deferrable_key", [
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text)", "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) i"], [
        "UPDATE t SET id = id + 1", "UPDATE t SET id = id - 1; UPDATE t SET id = 11 - id",
        "DELETE FROM t WHERE id > 8"])


def toast_shapes():
    yield Shape("unsent_values", identities("id int NOT NULL, a text, b text, n int", "id",
                                            f"INSERT INTO {{}} SELECT i, {big(1)}, {big(2)}, 0 FROM "
                                            f"generate_series(1, 12) i"),
                each("UPDATE {0} SET n = 1 WHERE id < 4",
                     "UPDATE {0} SET id = id + 100 WHERE id = 1; UPDATE {0} SET n = 2 WHERE id = 101",  # key and rest
                     "UPDATE {0} SET a = 'short' WHERE id = 2; UPDATE {0} SET n = 3 WHERE id = 2",
                     "UPDATE {0} SET a = NULL WHERE id = 3; UPDATE {0} SET b = '' WHERE id = 3",
                     # The value that is not sent was itself written in this transaction.
                     f"INSERT INTO {{0}} VALUES (50, {big(3)}, {big(4)}, 0); UPDATE {{0}} SET n = 9 WHERE id "
                     f"= 50; "
                     f"UPDATE {{0}} SET id = 51 WHERE id = 50; UPDATE {{0}} SET a = {big(5)} WHERE id = 51; "
                     "UPDATE {0} SET n = 10 WHERE id = 51",
                     f"UPDATE {{0}} SET a = {big(6)} WHERE id = 4", "UPDATE {0} SET n = 11 WHERE id = 4",
                     f"UPDATE {{0}} SET b = {big(7)}, id = 104 WHERE id = 4",
                     "UPDATE {0} SET id = 4 WHERE id = 104",
                     f"DELETE FROM {{0}} WHERE id = 5; INSERT INTO {{0}} VALUES (5, {big(8)}, NULL, 1); "
                     f"UPDATE {{0}} SET n = 2 WHERE id = 5",
                     "DELETE FROM {0} WHERE id = 6; UPDATE {0} SET id = 6 WHERE id = 7; UPDATE {0} SET id = "
                     "7, n = 8 WHERE id = 8",
                     "DELETE FROM {0} WHERE id = 12"))
    yield Shape("unsent_in_wide_key", [
        "CREATE TABLE t (id int, part text, doc text, n int, PRIMARY KEY (id, part))",
        f"INSERT INTO t SELECT i, repeat('k', 500) || i, {big(1)}, 0 FROM generate_series(1, 6) i"], [
        "UPDATE t SET n = 1", "UPDATE t SET id = id + 10 WHERE id < 3",
        "UPDATE t SET part = 'short' WHERE id = 4",
        "DELETE FROM t WHERE id = 5"])


    # Key values that stand out of line themselves.
    yield Shape("key_out_of_line", identities("id text NOT NULL, v text, n int", "id",
                                              "INSERT INTO {} SELECT i || repeat(md5(i::text), 75), 'v', 0 "
                                              "FROM generate_series(1, 6) i") + [
        f"ALTER TABLE {table} ALTER id SET STORAGE EXTERNAL" for table in
        ("by_default", "by_full", "by_index", "by_full_no_key")],
        each("INSERT INTO {0} SELECT i || repeat(md5(i::text), 75), 'v', 0 FROM generate_series(10, 14) i",
             "UPDATE {0} SET n = n + 1", "UPDATE {0} SET id = reverse(id) WHERE id LIKE '10%'",
             "DELETE FROM {0} WHERE id LIKE '11%'; UPDATE {0} SET id = 'short' WHERE id LIKE '12%'",
             "UPDATE {0} SET n = 7 WHERE id = 'short'; DELETE FROM {0} WHERE id LIKE '3%'"))
    yield Shape("compressed", [
        "CREATE TABLE t (id int PRIMARY KEY, p text COMPRESSION pglz, l text COMPRESSION lz4, m text, n int)",
        "ALTER TABLE t ALTER m SET STORAGE MAIN",
        "INSERT INTO t SELECT i, repeat('p' || i, 300000), repeat('l' || i, 300000), repeat('m', 3000), 0 "
        "FROM generate_series(1, 5) i", "ALTER TABLE t ALTER p SET COMPRESSION lz4",
        "INSERT INTO t SELECT i, repeat('p' || i, 3000), repeat('l' || i, 3000), repeat('m', 30000), 0 "
        "FROM generate_series(6, 9) i"], [
        "UPDATE t SET n = 1", "UPDATE t SET p = repeat('new', 100000) WHERE id IN (1, 6); UPDATE t SET n = 2",
        "INSERT INTO t SELECT i, repeat('p' || i, 900000), repeat('l' || i, 3000), NULL, 0 "
        "FROM generate_series(10, 12) i", "UPDATE t SET id = id + 100, l = NULL WHERE id IN (2, 7)"])


def multiset_shapes():
    third = "ctid = (SELECT ctid FROM {0} ORDER BY ctid OFFSET {1} LIMIT 1)"
    yield Shape("twins", [
        "CREATE TABLE t (a int, b text, c numeric)", "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t SELECT 1, 'x', 1.0 FROM generate_series(1, 10)",
        "INSERT INTO t SELECT 1, 'x', 1.00 FROM generate_series(1, 10)",
        "INSERT INTO t SELECT NULL, NULL, NULL FROM generate_series(1, 5)",
        "INSERT INTO t SELECT 1, NULL, 1.0 FROM generate_series(1, 5)"], [
        f"DELETE FROM t WHERE {third.format('t', 0)}",
        *[f"DELETE FROM t WHERE {third.format('t', number)}" for number in (3, 12, 20, 22)],
        f"UPDATE t SET a = 2 WHERE {third.format('t', 2)}; UPDATE t SET b = NULL WHERE {third.format('t', 4)}",
        f"UPDATE t SET b = 'was null' WHERE {third.format('t', 17)}; UPDATE t SET c = 1.000 WHERE "
        f"{third.format('t', 1)}",
        "UPDATE t SET c = c + 0.00 WHERE a = 1 AND b = 'x'",
        "DELETE FROM t WHERE a IS NULL; INSERT INTO t VALUES (NULL, NULL, NULL), (NULL, NULL, NULL)",
        # All of them change to one value and back: the order must not matter.
        "UPDATE t SET a = 7, b = 'same', c = 0; UPDATE t SET a = 8 WHERE ctid IN (SELECT ctid FROM t LIMIT 3)",
        "INSERT INTO t VALUES (9, 'n', 9); UPDATE t SET a = 10 WHERE a = 9; DELETE FROM t WHERE a = 10"])
    yield Shape("one_column_no_key", [
        "CREATE TABLE t (j json)", "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES ('{\"a\":1}'), ('{\"a\":1}'), ('{\"a\": 1}'), (NULL), (NULL)",
        "CREATE TABLE p (p point, x xml)", "ALTER TABLE p REPLICA IDENTITY FULL",
        "INSERT INTO p VALUES ('(1,2)', '<a/>'), ('(1,2)', '<a/>'), ('(1,2.0000000001)', '<a />')"], [
        f"DELETE FROM t WHERE {third.format('t', 0)}; UPDATE t SET j = '[]' WHERE {third.format('t', 1)}",
        f"DELETE FROM t WHERE {third.format('t', 1)}", f"UPDATE p SET x = NULL WHERE {third.format('p', 2)}",
        f"DELETE FROM p WHERE {third.format('p', 0)}"])
    # Fewer columns identify rows than a key would: indexes at hand must not mislead.
    yield Shape("full_with_indexes", [
        "CREATE TABLE t (a int, b int, c text)", "CREATE INDEX ON t (a)",
        "CREATE UNIQUE INDEX ON t (b) WHERE b > 100",
        "CREATE UNIQUE INDEX ON t ((b + 0)) WHERE c = 'never'", "CREATE UNIQUE INDEX nullable ON t (a, b, c)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, NULL, 'x'), (1, NULL, 'x'), (1, NULL, 'y'), (2, 1, NULL), (2, 1, NULL), "
        "(3, 101, 'u')"], [
        f"DELETE FROM t WHERE {third.format('t', 0)}", f"UPDATE t SET c = 'z' WHERE {third.format('t', 2)}",
        "UPDATE t SET b = 102 WHERE a = 3; UPDATE t SET b = NULL WHERE a = 3; DELETE FROM t WHERE a = 3"])


def transaction_shapes():
    yield Shape("savepoints", ["CREATE TABLE t (id int PRIMARY KEY, v text)",
                               "CREATE TABLE log (id int, v text)",
                               "ALTER TABLE log REPLICA IDENTITY FULL", "INSERT INTO t VALUES (0, 'zero')"], [
        "BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT s; INSERT INTO t VALUES (2, 'gone'); UPDATE t SET v "
        "= 'gone'; "
        "SAVEPOINT s2; DELETE FROM t; ROLLBACK TO s; INSERT INTO t VALUES (2, 'b'); SAVEPOINT s3; "
        "UPDATE t SET v = v || '+'; RELEASE s3; INSERT INTO log SELECT * FROM t; COMMIT",
        "BEGIN; INSERT INTO t VALUES (3, 'rolled back'); ROLLBACK",
        # A thousand of them, every other one rolled back, and a large transaction around.
        "DO $$ BEGIN FOR i IN 1 .. 1000 LOOP BEGIN INSERT INTO t VALUES (1000 + i, repeat('x', 100)); "
        "UPDATE t SET v = v || i WHERE id = 1000 + i; IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF; "
        "EXCEPTION WHEN raise_exception THEN INSERT INTO log VALUES (i, 'rolled back'); END; END LOOP; END $$",
        "DELETE FROM log WHERE id % 4 = 0; UPDATE t SET v = left(v, 3) WHERE id % 3 = 0"])
    yield Shape("ways_to_write", [
        "CREATE TABLE t (id int PRIMARY KEY, v text, n int DEFAULT 0)", "INSERT INTO t VALUES (1, 'one')",
        "CREATE FUNCTION take(text, int) RETURNS void LANGUAGE sql AS 'INSERT INTO t VALUES ($2, $1) ON "
        "CONFLICT (id) "
        "DO UPDATE SET v = excluded.v, n = t.n + 1'"], [
        "INSERT INTO t VALUES (1, 'again'), (2, 'two') ON CONFLICT (id) DO UPDATE SET v = excluded.v, n = "
        "t.n + 1",
        "INSERT INTO t VALUES (2, 'no') ON CONFLICT DO NOTHING",
        "SELECT take('by function', 3), take('twice', 3)",
        "MERGE INTO t USING (VALUES (1, 'merged'), (4, 'four')) s (id, v) ON t.id = s.id WHEN MATCHED AND "
        "t.id = 1 "
        "THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)",
        "WITH gone AS (DELETE FROM t WHERE id = 4 RETURNING *) INSERT INTO t SELECT id + 10, v FROM gone",
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE; FETCH 1 FROM c; UPDATE t SET n = 100 WHERE "
        "CURRENT OF c; COMMIT",
        "BEGIN; SELECT * FROM t FOR KEY SHARE; COMMIT",
        "INSERT INTO t SELECT i, 'bulk ' || i FROM generate_series(100, 3000) i",
        "BEGIN; INSERT INTO t VALUES (50, 'prepared'); UPDATE t SET n = 7 WHERE id = 100; PREPARE "
        "TRANSACTION 'ways_1'",
        "BEGIN; INSERT INTO t VALUES (51, 'never'); DELETE FROM t WHERE id = 101; PREPARE TRANSACTION "
        "'ways_2'",
        "INSERT INTO t VALUES (52, 'between')", "COMMIT PREPARED 'ways_1'", "ROLLBACK PREPARED 'ways_2'"])
    yield Shape("copied_in", [
        "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE f (v text)",
        "ALTER TABLE f REPLICA IDENTITY FULL"], [
        "COPY t (id) FROM PROGRAM 'seq 1 5000'; UPDATE t SET v = 'x' WHERE id % 2 = 0",
        "COPY f FROM PROGRAM 'seq 1 100'; COPY f FROM PROGRAM 'seq 1 100'",
        "DELETE FROM f WHERE ctid IN (SELECT min(ctid) FROM f GROUP BY v)"])
    # What identifies a row changes while changes are under way.
    yield Shape("identity_changes", [
        "CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL UNIQUE, v text)",
        "INSERT INTO t SELECT i, i, 'v' || i FROM generate_series(1, 40) i"], [
        "UPDATE t SET v = 'a', id = -id WHERE id = 1; ALTER TABLE t REPLICA IDENTITY FULL; "
        "UPDATE t SET v = 'b', id = -id WHERE id = 2; ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key; "
        "UPDATE t SET v = 'c', id = -id WHERE id = 3; UPDATE t SET code = -code WHERE id = 4; DELETE FROM t "
        "WHERE id = 5",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "UPDATE t SET code = -code WHERE id = 6; DELETE FROM t WHERE id = 7",
        "ALTER TABLE t REPLICA IDENTITY DEFAULT", "UPDATE t SET code = -code, id = -id WHERE id = 8",
        "ALTER TABLE t REPLICA IDENTITY NOTHING; INSERT INTO t VALUES (100, 100, 'x'); ALTER TABLE t REPLICA "
        "IDENTITY DEFAULT",
        "DELETE FROM t WHERE id = 100"])
    # Changes of the catalog that leave the rows' shape alone go unnoticed.
    yield Shape("harmless_ddl", [
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 100) i",
        "ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t REPLICA IDENTITY DEFAULT"], [
        "UPDATE t SET v = 'a' WHERE id = 1", "VACUUM FULL t", "UPDATE t SET v = 'b' WHERE id = 2",
        "CLUSTER t USING t_pkey",
        "UPDATE t SET v = 'c' WHERE id = 3; CREATE INDEX later ON t (v); UPDATE t SET v = 'd' WHERE id = 4",
        "ALTER TABLE t SET (fillfactor = 50); COMMENT ON TABLE t IS 'x'; ANALYZE t; GRANT SELECT ON t TO "
        "public",
        "DELETE FROM t WHERE id = 5; REINDEX TABLE t; DELETE FROM t WHERE id = 6",
        "ALTER TABLE t RENAME CONSTRAINT t_pkey TO other_name; UPDATE t SET id = 500 WHERE id = 7"])
    yield Shape("many_rows", [
        "CREATE TABLE t (id int PRIMARY KEY, v text, n int)",
        "INSERT INTO t SELECT i, md5(i::text), 0 FROM generate_series(1, 20000) i"], [
        "UPDATE t SET n = n + 1; DELETE FROM t WHERE id % 3 = 0; INSERT INTO t SELECT -i, 'neg', i FROM "
        "generate_series(1, 5000) i",
        "UPDATE t SET n = n + 1 WHERE id % 2 = 0; INSERT INTO t SELECT i * 3, 'again', 1 FROM "
        "generate_series(1, 500) i"])


def shapes():
    return [*key_shapes(), *toast_shapes(), *multiset_shapes(), *transaction_shapes()]

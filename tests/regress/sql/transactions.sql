-- Rolled back work is not sent; transactions that have nothing to send are not opened.
CREATE TABLE tx (id int PRIMARY KEY, a text);
CREATE TABLE other (id int PRIMARY KEY);
SELECT test.open();
BEGIN;
INSERT INTO tx VALUES (1, 'rolled back');
ROLLBACK;
BEGIN;
INSERT INTO tx VALUES (2, 'kept');
SAVEPOINT a;
INSERT INTO tx VALUES (3, 'undone');
SAVEPOINT b;
INSERT INTO tx VALUES (4, 'undone too');
RELEASE b;
ROLLBACK TO a;
INSERT INTO tx VALUES (5, 'kept');
SAVEPOINT c;
UPDATE tx SET a = 'in c' WHERE id = 2;
RELEASE c;
COMMIT;
-- the xid is the top-level one, with its epoch
BEGIN;
SELECT pg_current_xact_id() AS top \gset
SAVEPOINT s;
INSERT INTO tx VALUES (6, 'sub');
COMMIT;
SELECT kind, xid = :'top'::xid8 AS is_top, lsn IS NOT NULL AS has_lsn, committed_at IS NOT NULL AS has_time
FROM towline.changes('regress') WHERE new LIKE '%sub%' OR xid = :'top'::xid8;
-- nothing to send: DDL, no effect, filtered tables
CREATE TABLE ddl_only (a int);
DROP TABLE ddl_only;
UPDATE tx SET a = 'x' WHERE false;
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL;
COMMIT;
INSERT INTO other VALUES (1);
SELECT test.stream('exclude_tables', 'other');
SELECT test.stream('include_tables', 'other');
SELECT test.close();
-- a large transaction is several frames, each below the wished size, and spills to disk
SELECT test.open();
INSERT INTO tx SELECT i, repeat('r', 100) FROM generate_series(1000, 5999) i;
SELECT count(*) > 5 AS several, max(length(data)) < 66000 AS bounded
FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL);
SELECT count(*) > 200 AS several, max(length(data)) < 2200 AS bounded
FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL, 'frame_bytes', '2000');
SELECT kind, count(*), count(DISTINCT xid) AS xids FROM towline.changes('regress') GROUP BY kind ORDER BY kind;
SELECT test.close();
-- changes of DDL and rows in one transaction
SELECT test.open();
BEGIN;
CREATE TABLE fresh (id int PRIMARY KEY);
INSERT INTO fresh VALUES (1);
ALTER TABLE fresh ADD a text;
INSERT INTO fresh VALUES (2, 'two');
ALTER TABLE fresh RENAME a TO b;
INSERT INTO fresh VALUES (3, 'three');
ALTER TABLE fresh RENAME TO fresher;
INSERT INTO fresher VALUES (4, 'four');
ALTER TABLE fresher ALTER id TYPE bigint;
INSERT INTO fresher VALUES (5, 'five');
COMMIT;
SELECT test.stream();
SELECT test.close();
DROP TABLE tx, other, fresher;

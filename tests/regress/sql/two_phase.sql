-- Needs server 14.
-- Prepared transactions are sent at PREPARE when the option asks, else when they commit.
SET client_min_messages = warning;
CREATE TEMP TABLE sent (n bigserial, xid xid8, owner text, line text);
CREATE TABLE tp (id int PRIMARY KEY, a text);
CREATE TABLE other (id int PRIMARY KEY);
CREATE FUNCTION test.open_two_phase() RETURNS void LANGUAGE sql AS $$
    SELECT pg_create_logical_replication_slot('regress', 'towline', false, true)
$$;
-- the SQL functions do not make a slot one that decodes prepared transactions
SELECT test.open();
\set VERBOSITY default
SELECT test.stream('two_phase', 'on');
SELECT two_phase FROM pg_replication_slots WHERE slot_name = 'regress';
SELECT test.close();

SELECT test.open_two_phase();
BEGIN;
INSERT INTO tp VALUES (1, 'prepared');
SAVEPOINT s;
INSERT INTO tp VALUES (2, 'undone');
ROLLBACK TO s;
INSERT INTO tp VALUES (3, 'prepared');
PREPARE TRANSACTION 'a gid, it''s "quoted" – ü';
INSERT INTO tp VALUES (4, 'meanwhile');
SELECT test.stream('two_phase', 'on');
-- not asked for: nothing of it before its commit
SELECT test.stream();
COMMIT PREPARED 'a gid, it''s "quoted" – ü';
SELECT test.stream('two_phase', 'on');
SELECT test.stream();
-- the xid is the same in all of them, and every one says where and when
SELECT count(DISTINCT xid), count(DISTINCT lsn), count(committed_at) FROM towline.changes('regress', options => '{two_phase,on}')
WHERE detail LIKE '%gid%' OR kind = 'prepare';
-- its prepare was read before: the end alone comes
BEGIN;
INSERT INTO tp VALUES (5, 'prepared');
PREPARE TRANSACTION 'two';
BEGIN;
INSERT INTO tp VALUES (6, 'rolled back');
PREPARE TRANSACTION 'three';
SELECT count(*) > 0 AS consumed FROM pg_logical_slot_get_binary_changes('regress', NULL, NULL, 'two_phase', 'on');
SELECT test.stream('two_phase', 'on');
COMMIT PREPARED 'two';
ROLLBACK PREPARED 'three';
SELECT kind, regexp_replace(detail, '\w+/\w+', 'LSN') FROM towline.changes('regress', options => '{two_phase,on}') WHERE kind <> 'hello';
SELECT test.close();

-- rolled back: with the end of its prepare
SELECT test.open_two_phase();
BEGIN;
INSERT INTO tp VALUES (7, 'rolled back');
PREPARE TRANSACTION 'four';
SELECT test.stream('two_phase', 'on');
SELECT lsn AS prepare_end FROM towline.changes('regress', options => '{two_phase,on}') WHERE kind = 'prepare' \gset
ROLLBACK PREPARED 'four';
INSERT INTO tp VALUES (8, 'after');
-- how much of it is still sent depends on when the server notices
SELECT kind, regexp_replace(detail, 'up to .*', 'up to') AS detail, substring(detail, 'up to (.*)')::pg_lsn = :'prepare_end' AS to_its_end
FROM towline.changes('regress', options => '{two_phase,on}')
WHERE kind IN ('begin_prepare', 'rollback_prepared') OR kind IN ('insert', 'commit') AND xid > (SELECT xid
    FROM towline.changes('regress', options => '{two_phase,on}') WHERE kind = 'rollback_prepared');
SELECT count(*) FROM towline.changes('regress', options => '{two_phase,on}') WHERE kind = 'prepare';
SELECT test.stream();
SELECT test.close();

-- nothing to send: the reader is told all the same, because it will be told of the end
SELECT test.open_two_phase();
BEGIN;
INSERT INTO other VALUES (1);
PREPARE TRANSACTION 'empty';
COMMIT PREPARED 'empty';
SELECT test.stream('two_phase', 'on', 'include_tables', 'tp');
SELECT test.stream('include_tables', 'tp');
SELECT test.close();

-- DDL in a prepared transaction does not reach the others
SELECT test.open_two_phase();
INSERT INTO other VALUES (2);
BEGIN;
ALTER TABLE tp ADD b int;
INSERT INTO tp VALUES (20, 'new shape', 1);
PREPARE TRANSACTION 'ddl';
INSERT INTO other VALUES (3);
COMMIT PREPARED 'ddl';
INSERT INTO tp VALUES (21, 'new shape', 2);
SELECT test.stream('two_phase', 'on');
SELECT test.close();

-- origins
SELECT pg_replication_origin_create('up') IS NOT NULL;
SELECT test.open_two_phase();
SELECT pg_replication_origin_session_setup('up');
BEGIN;
SELECT pg_replication_origin_xact_setup('AB/CD', '2020-01-01 00:00+00');
INSERT INTO tp VALUES (30, 'foreign');
PREPARE TRANSACTION 'abroad';
SELECT pg_replication_origin_xact_setup('AB/EF', '2020-01-01 00:00+00');
COMMIT PREPARED 'abroad';
SELECT pg_replication_origin_session_reset();
SELECT test.stream('two_phase', 'on');
SELECT test.stream('two_phase', 'on', 'origin', 'none');
SELECT test.close();
SELECT pg_replication_origin_drop('up');

-- streamed while in progress, then prepared
SELECT test.open_two_phase();
BEGIN;
INSERT INTO tp SELECT i, repeat('p', 200) FROM generate_series(1000, 2999) i;
SAVEPOINT s;
INSERT INTO tp SELECT i, repeat('p', 200) FROM generate_series(3000, 3999) i;
ROLLBACK TO s;
INSERT INTO tp SELECT i, repeat('q', 200) FROM generate_series(3000, 3999) i;
PREPARE TRANSACTION 'large';
SELECT test.compare('two_phase', 'on'), test.compare();
SELECT kind, detail ~ '^gid large, changes: \d{4}$' AS detail FROM towline.changes('regress', options => '{two_phase,on,streaming,on}')
WHERE kind IN ('begin_prepare', 'prepare', 'stream_prepare', 'stream_commit');
COMMIT PREPARED 'large';
SELECT test.compare('two_phase', 'on'), test.compare();
SELECT kind, detail FROM towline.changes('regress', options => '{two_phase,on,streaming,on}') WHERE kind LIKE '%prepared';
-- nothing of it to send: as if it had not been streamed
SELECT test.stream('two_phase', 'on', 'streaming', 'on', 'exclude_tables', 'tp');
SELECT count(*) > 0 AS consumed FROM pg_logical_slot_get_binary_changes('regress', NULL, NULL, 'two_phase', 'on', 'streaming', 'on');
-- prepared before, ended after a restart of decoding
BEGIN;
UPDATE tp SET a = a || 'r' WHERE id >= 1000;
PREPARE TRANSACTION 'large two';
SELECT count(*) > 0 AS consumed FROM pg_logical_slot_get_binary_changes('regress', NULL, NULL, 'two_phase', 'on', 'streaming', 'on');
BEGIN;
DELETE FROM other;
PREPARE TRANSACTION 'small';
COMMIT PREPARED 'large two';
ROLLBACK PREPARED 'small';
SELECT kind, substring(detail, 'gid [^,]*') AS gid FROM towline.changes('regress', options => '{two_phase,on,streaming,on}')
WHERE kind IN ('stream_start', 'stream_prepare', 'begin_prepare', 'commit_prepared', 'rollback_prepared');
SELECT test.close();
-- nothing was changed: the server does not decode its PREPARE, so its outcome is not sent either
SELECT test.open_two_phase();
BEGIN;
SELECT count(*) FROM (SELECT 1 FROM tp WHERE id < 10 FOR UPDATE) locked;
PREPARE TRANSACTION 'locks';
COMMIT PREPARED 'locks';
BEGIN;
SELECT count(*) FROM (SELECT 1 FROM tp WHERE id < 10 FOR UPDATE) locked;
PREPARE TRANSACTION 'locks';
ROLLBACK PREPARED 'locks';
SELECT test.stream('two_phase', 'on');
SELECT test.close();
-- frames without changes do not count as what upto_changes asks for
SELECT test.open_two_phase();
BEGIN;
DELETE FROM other;
INSERT INTO other VALUES (1);
PREPARE TRANSACTION 'elsewhere';
COMMIT PREPARED 'elsewhere';
INSERT INTO tp VALUES (-1, 'one'), (-2, 'two');
INSERT INTO tp VALUES (-3, 'three');
INSERT INTO tp VALUES (-4, 'four');
SELECT kind, new FROM towline.changes('regress', upto_changes => 3, options => '{two_phase,on,exclude_tables,other}') WHERE kind <> 'hello' AND kind <> 'relation';
SELECT test.close();
DROP TABLE tp, other;

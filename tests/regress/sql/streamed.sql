-- Needs server 14.
-- Transactions in progress: what a reader makes of their runs is what it gets of whole transactions.
SET client_min_messages = warning;
-- Made outside of the function: decoding would look for a table of its own transaction in old catalogs.
CREATE TEMP TABLE sent (n bigserial, xid xid8, owner text, line text);
-- The reader: keeps the entries of runs until their transaction ends, cuts an aborted subtransaction
-- off at its first entry, and holds the stream to the order of docs/protocol.md.
CREATE FUNCTION test.replayed(VARIADIC options text[] DEFAULT '{}') RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    e record;
    in_run bool := false;
    owner text;
    count bigint;
    counts jsonb := '{}';
BEGIN
    DELETE FROM sent;
    FOR e IN SELECT * FROM towline.changes('regress', options => options) LOOP
        IF e.kind = 'stream_start' THEN
            IF in_run THEN RAISE 'a run in a run'; END IF;
            IF (e.detail IS NOT NULL) <> (NOT counts ? e.xid::text) THEN RAISE 'first run: %', e; END IF;
            in_run := true;
            owner := 'top level';
            counts := counts || jsonb_build_object(e.xid::text, coalesce((counts->>e.xid::text)::bigint, 0));
        ELSIF e.kind = 'subtransaction' THEN
            IF NOT in_run OR owner = e.detail THEN RAISE 'subtransaction: %', e; END IF;
            owner := e.detail;
        ELSIF e.kind = 'stream_stop' THEN
            IF NOT in_run THEN RAISE 'stop without start'; END IF;
            in_run := false;
        ELSIF e.kind = 'stream_abort' THEN
            IF in_run OR NOT counts ? e.xid::text THEN RAISE 'abort: %', e; END IF;
            DELETE FROM sent WHERE sent.xid = e.xid AND n >= CASE WHEN e.detail = 'whole transaction' THEN 0
                ELSE (SELECT min(n) FROM sent s WHERE s.xid = e.xid AND s.owner = e.detail) END;
            IF e.detail = 'whole transaction' THEN counts := counts - e.xid::text; END IF;
        ELSIF e.kind IN ('stream_commit', 'stream_prepare') THEN
            IF in_run OR e.detail !~ ('changes: ' || (counts->>e.xid::text) || '\M') IS NOT FALSE THEN
                RAISE '% counted %', e, counts;
            END IF;
            RETURN NEXT replace(e.kind, 'stream_', '') || coalesce(substring(e.detail, 'gid [^,]*'), '');
            RETURN QUERY SELECT line FROM sent WHERE sent.xid = e.xid ORDER BY n;
            DELETE FROM sent WHERE sent.xid = e.xid;
            counts := counts - e.xid::text;
        ELSIF e.kind IN ('begin', 'begin_prepare') THEN
            IF in_run THEN RAISE 'begin in a run'; END IF;
            counts := counts || jsonb_build_object(e.xid::text, 0);
            owner := 'top level';
            IF e.kind = 'begin_prepare' THEN
                INSERT INTO sent (xid, line) VALUES (e.xid, substring(e.detail, 'gid [^,]*'));
            END IF;
        ELSIF e.kind IN ('commit', 'prepare') THEN
            IF e.detail <> 'changes: ' || (counts->>e.xid::text) THEN RAISE '% counted %', e, counts; END IF;
            RETURN NEXT e.kind || coalesce((SELECT line FROM sent WHERE sent.xid = e.xid AND sent.owner IS NULL), '');
            RETURN QUERY SELECT line FROM sent WHERE sent.xid = e.xid AND sent.owner IS NOT NULL ORDER BY n;
            DELETE FROM sent WHERE sent.xid = e.xid;
            counts := counts - e.xid::text;
        ELSIF e.kind IN ('commit_prepared', 'rollback_prepared') THEN
            RETURN NEXT e.kind || ' ' || e.detail;
        ELSIF e.kind NOT IN ('hello', 'relation') THEN
            IF e.kind IN ('insert', 'update', 'delete', 'truncate') THEN
                count := (counts->>e.xid::text)::bigint + 1;
                counts := counts || jsonb_build_object(e.xid::text, count);
            END IF;
            INSERT INTO sent (xid, owner, line) VALUES (e.xid, owner, concat_ws(' | ', e.kind, e.relation,
                e.old_image, e.old, '-> ' || e.new, CASE WHEN e.kind = 'value_part' THEN e.detail END));
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION test.compare(VARIADIC options text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    streamed text[] := ARRAY(SELECT test.replayed(VARIADIC options || '{streaming,on}'));
    whole text[] := ARRAY(SELECT test.replayed(VARIADIC options || '{streaming,off}'));
BEGIN
    IF streamed = whole THEN RETURN cardinality(whole) || ' lines, equal'; END IF;
    FOR i IN 1 .. greatest(cardinality(whole), cardinality(streamed)) LOOP
        CONTINUE WHEN streamed[i] IS NOT DISTINCT FROM whole[i];
        RETURN format('%s and %s lines; line %s is %s, whole it is %s', cardinality(streamed), cardinality(whole),
            i, left(streamed[i], 60), left(whole[i], 60));
    END LOOP;
END $$;
-- Kinds, runs counted only as far as every server agrees about their number.
CREATE FUNCTION test.kinds(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (kind text, count text)
LANGUAGE sql AS $$
    SELECT kind, CASE WHEN kind IN ('stream_start', 'stream_stop', 'value_part', 'subtransaction') AND count(*) > 1
                 THEN 'several' ELSE count(*)::text END
    FROM towline.changes('regress', options => options) GROUP BY kind ORDER BY kind COLLATE "C"
$$;

CREATE TABLE st (id int PRIMARY KEY, a text);
CREATE TABLE quiet (id int PRIMARY KEY, a text);
CREATE FUNCTION test.fill(from_id int, rows int DEFAULT 700) RETURNS void LANGUAGE sql AS $$
    INSERT INTO st SELECT i, repeat('s', 150) || i FROM generate_series(from_id, from_id + rows - 1) i
$$;

-- one large transaction
SELECT test.open();
SELECT test.fill(1, 3000);
SELECT * FROM test.kinds('streaming', 'on');
SELECT test.compare(), test.compare('frame_bytes', '1024'), test.compare('binary', 'on');
-- all of it belongs to one transaction, and is sent in several frames
SELECT count(DISTINCT xid) FROM towline.changes('regress', options => '{streaming,on}') WHERE kind <> 'hello';
SELECT max(length(data)) < 2000 AS bounded
FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL, 'streaming', 'on', 'frame_bytes', '1024');
-- small transactions are sent whole
SELECT test.close(), test.open();
INSERT INTO st VALUES (9001, 'small');
SELECT test.stream('streaming', 'on');
SELECT test.close();

-- subtransactions: released, rolled back, nested, released and rolled back with the one around them
SELECT test.open();
BEGIN;
SELECT test.fill(10000);
SAVEPOINT released;
SELECT test.fill(11000);
RELEASE released;
SAVEPOINT undone;
SELECT test.fill(12000);
SAVEPOINT nested;
SELECT test.fill(13000);
RELEASE nested;
UPDATE st SET a = 'undone' WHERE id < 300;
ROLLBACK TO undone;
SELECT test.fill(12000);
SAVEPOINT outer_one;
SELECT test.fill(14000);
SAVEPOINT inner_undone;
DELETE FROM st WHERE id >= 10000;
SELECT test.fill(10000);
ROLLBACK TO inner_undone;
UPDATE st SET a = 'outer', id = id + 100000 WHERE id BETWEEN 14000 AND 14500;
COMMIT;
SELECT test.compare(), test.compare('frame_bytes', '2000');
SELECT count(*) > 0 AS aborts FROM towline.changes('regress', options => '{streaming,on}') WHERE kind = 'stream_abort';
SELECT test.close();

-- exception blocks: many small subtransactions within one large transaction
SELECT test.open();
DO $$
BEGIN
    FOR i IN 1 .. 200 LOOP
        INSERT INTO st VALUES (35000 + i, 'outside of the block');
        BEGIN
            PERFORM test.fill(20000 + i * 20, 20);
            IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
        EXCEPTION WHEN division_by_zero THEN
            INSERT INTO st VALUES (30000 + i, 'in the handler');
        END;
    END LOOP;
END $$;
SELECT test.compare();
-- a subtransaction is named when its entries come, the top level when they come again
SELECT count(*) FILTER (WHERE detail = 'top level') > 10 AS top, count(DISTINCT detail) > 10 AS subtransactions
FROM towline.changes('regress', options => '{streaming,on}') WHERE kind = 'subtransaction';
SELECT test.close();

-- the whole transaction is rolled back; the next one is not touched by it
SELECT test.open();
BEGIN;
SELECT test.fill(40000, 2000);
SAVEPOINT s;
SELECT test.fill(42000, 2000);
ROLLBACK;
SELECT test.fill(40000, 10);
SELECT test.compare();
SELECT test.close();

-- large values travel in parts within a run
CREATE TABLE big (id int PRIMARY KEY, a bytea);
ALTER TABLE big ALTER a SET STORAGE EXTERNAL;
CREATE FUNCTION test.bytes(size int) RETURNS bytea LANGUAGE sql AS
    $$ SELECT decode(repeat(md5(size::text), size / 16), 'hex') $$;
SELECT test.open();
BEGIN;
INSERT INTO big VALUES (1, test.bytes(3000000)), (2, test.bytes(100)), (3, test.bytes(2100000));
SAVEPOINT s;
INSERT INTO big VALUES (4, test.bytes(5000000));
ROLLBACK TO s;
UPDATE big SET id = id + 10 WHERE id < 3;
INSERT INTO big VALUES (4, test.bytes(1500000));
COMMIT;
SELECT * FROM test.kinds('streaming', 'on', 'binary', 'on') WHERE kind NOT IN ('relation', 'stream_abort', 'insert', 'subtransaction');
SELECT test.compare('binary', 'on');
SELECT test.close();

-- TRUNCATE and messages, in subtransactions that are kept or not; a message is all that one has done
SELECT test.open();
BEGIN;
SELECT test.fill(50000);
SAVEPOINT a;
SELECT 1 FROM pg_logical_emit_message(true, 'app', 'undone ' || repeat('m', 100000));
ROLLBACK TO a;
SAVEPOINT b;
SELECT 1 FROM pg_logical_emit_message(true, 'app', 'kept ' || repeat('m', 100000));
RELEASE b;
SAVEPOINT c;
TRUNCATE st, quiet;
SELECT test.fill(1, 1000);
ROLLBACK TO c;
SELECT 1 FROM pg_logical_emit_message(false, 'app', 'at once');
TRUNCATE quiet;
SELECT test.fill(51000);
COMMIT;
SELECT test.compare('messages', 'off');
SELECT left(new, 15) AS message, length(new) FROM towline.changes('regress', options => '{streaming,on}')
WHERE kind = 'message' AND detail LIKE 'not%';
SELECT left(substring(line, 'message.*'), 30) AS replayed FROM test.replayed('streaming', 'on') line
WHERE line LIKE 'message | -> kept%' OR line LIKE '%undone%';
SELECT test.close();

-- nothing to send: no run, no end
SELECT test.open();
BEGIN;
INSERT INTO quiet SELECT i, repeat('q', 200) FROM generate_series(1, 2000) i;
SAVEPOINT s;
INSERT INTO quiet SELECT i, repeat('q', 200) FROM generate_series(2001, 4000) i;
ROLLBACK TO s;
INSERT INTO quiet SELECT i, repeat('q', 200) FROM generate_series(2001, 4000) i;
COMMIT;
BEGIN;
DELETE FROM quiet;
ROLLBACK;
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL, 'streaming', 'on', 'exclude_tables', 'quiet');
-- something to send in one of the later runs only
BEGIN;
UPDATE quiet SET a = a || 'r';
INSERT INTO st VALUES (60000, 'among many');
UPDATE quiet SET a = a || 's';
COMMIT;
SELECT kind, relation, detail LIKE 'first%' AS first, detail LIKE 'changes: 1' AS one
FROM towline.changes('regress', options => '{streaming,on,exclude_tables,quiet}') WHERE kind NOT IN ('hello', 'relation');
SELECT test.compare('exclude_tables', 'quiet'), test.compare('include_tables', 'quiet');
SELECT test.close();

-- DDL in the middle, kept and rolled back; descriptions are right before and after it
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'glad');
CREATE TABLE shop.d (id int PRIMARY KEY, a text, m shop.mood);
CREATE FUNCTION test.fill_d(from_id int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO shop.d (id, a) SELECT i, repeat('d', 200) FROM generate_series(from_id, from_id + 699) i
$$;
SELECT test.open();
BEGIN;
SELECT test.fill_d(1);
ALTER TABLE shop.d ADD b int DEFAULT 5;
SELECT test.fill_d(1000);
SAVEPOINT s;
-- nothing that is changed again later: the server would take the rolled back change of its catalogs for real
ALTER TABLE shop.d ADD c text DEFAULT 'c';
SELECT test.fill_d(2000);
ROLLBACK TO s;
SELECT test.fill_d(3000);
ALTER TABLE shop.d RENAME b TO bb;
ALTER TYPE shop.mood RENAME TO temper;
SELECT test.fill_d(4000);
COMMIT;
BEGIN;
ALTER TABLE shop.d ADD z int;
SELECT test.fill_d(5000);
ALTER TABLE shop.d ALTER z TYPE bigint;
SELECT test.fill_d(6000);
ROLLBACK;
INSERT INTO shop.d VALUES (7000, 'after');
SELECT test.compare();
-- what the last row refers to is described without what was rolled back
SELECT detail LIKE '%b% int4%' AS b, detail LIKE '%; z%' AS z, detail LIKE '%temper%' AS temper
FROM towline.changes('regress', options => '{streaming,on}') WHERE kind = 'relation' ORDER BY substring(detail, 'number (\d+)')::int DESC LIMIT 1;
SELECT test.close();

-- origins: a foreign transaction is named at its end, or is not sent at all
SELECT pg_replication_origin_create('up') IS NOT NULL;
SELECT test.open();
SELECT pg_replication_origin_session_setup('up');
BEGIN;
SELECT pg_replication_origin_xact_setup('AB/CD', '2020-01-01 00:00+00');
SELECT test.fill(70000, 2000);
COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT test.fill(80000, 2000);
SELECT kind, detail FROM towline.changes('regress', options => '{streaming,on}') WHERE kind = 'stream_commit';
SELECT kind, detail FROM towline.changes('regress', options => '{streaming,on,origin,none}') WHERE kind IN ('stream_commit', 'stream_abort');
SELECT test.compare('origin', 'none');
-- rules decide row by row, in runs as in whole transactions
SELECT test.compare('table_rules', '[{"schema": "public", "table": "st", "where": "id % 100 = 0", "columns": ["id", {"name": "length", "expression": "length(a)"}]}]');
SELECT count(*) FROM towline.changes('regress', options => ARRAY['streaming', 'on', 'table_rules', '[{"schema": "public", "table": "st", "where": "false"}]']) WHERE kind IN ('insert', 'relation');
SELECT pg_replication_origin_drop('up');
SELECT test.close();
DROP TABLE st, quiet, big;
DROP SCHEMA shop CASCADE;

-- What is not known is refused, with what would be.
CREATE TABLE o (id int PRIMARY KEY);
SELECT test.open();
INSERT INTO o VALUES (1);
\set VERBOSITY default
SELECT test.stream('streeming', 'on');
SELECT test.stream('streaming', 'parallel');
SELECT test.stream('streaming', 'on', 'max_protocol', '1');
SELECT test.stream('two_phase', 'true');
SELECT test.stream('two_phase', 'on', 'max_protocol', '1');
SELECT test.stream('binary', 'yes');
SELECT test.stream('partitions', 'both');
SELECT test.stream('messages', '');
SELECT test.stream('origin', 'local');
SELECT test.stream('frame_bytes', '10');
SELECT test.stream('frame_bytes', '64kB');
SELECT test.stream('frame_bytes', '99999999999999999999');
SELECT test.stream('min_protocol', '6', 'max_protocol', '7');
SELECT test.stream('min_protocol', '0');
SELECT test.stream('include_tables', '');
SELECT test.stream('include_tables', 'a,,b');
SELECT test.stream('include_tables', 'a.b.c');
SELECT test.stream('include_tables', 'a,"b');
SELECT test.stream('exclude_tables', 'a(');
SELECT test.stream('binary', 'on', 'binary', 'on');
SELECT test.stream('binary');
-- in range
SELECT test.stream('min_protocol', '1', 'max_protocol', '9', 'frame_bytes', '4194304', 'origin', 'none', 'messages', 'on', 'streaming', 'off', 'two_phase', 'off');
-- text mode of the server's functions does not fit
SELECT pg_logical_slot_peek_changes('regress', NULL, NULL);
SELECT test.close();
-- origins
SELECT pg_replication_origin_create('up "stream"') IS NOT NULL;
SELECT test.open();
INSERT INTO o VALUES (2);
SELECT pg_replication_origin_session_setup('up "stream"');
BEGIN;
SELECT pg_replication_origin_xact_setup('AB/CD', '2020-01-01 00:00+00');
INSERT INTO o VALUES (3);
COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT test.stream();
SELECT test.stream('origin', 'none');
SELECT pg_replication_origin_drop('up "stream"');
SELECT test.stream();
SELECT test.close();
DROP TABLE o;

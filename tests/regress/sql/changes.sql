-- towline.changes() itself.
CREATE TABLE c (id int PRIMARY KEY);
SELECT test.open();
INSERT INTO c VALUES (1);
SELECT pg_current_wal_lsn() AS middle \gset
INSERT INTO c VALUES (2), (3), (4);
INSERT INTO c VALUES (5);
SELECT kind, detail IS NOT NULL AS has_detail FROM towline.changes('regress') WHERE kind = 'hello';
-- it consumes nothing
SELECT count(*) FROM towline.changes('regress') WHERE kind = 'insert';
SELECT count(*) FROM towline.changes('regress') WHERE kind = 'insert';
-- limits: whole transactions, at least as many changes as asked for
SELECT kind, new FROM towline.changes('regress', :'middle') WHERE kind = 'insert';
SELECT kind, new FROM towline.changes('regress', NULL, 2) WHERE kind = 'insert';
SELECT count(*) FROM towline.changes('regress', NULL, 1) WHERE kind = 'insert';
SELECT count(*) FROM towline.changes('regress', upto_changes => 100) WHERE kind = 'insert';
-- errors
SELECT count(*) FROM towline.changes(NULL);
SELECT count(*) FROM towline.changes('regress', NULL, 0);
SELECT count(*) FROM towline.changes('absent');
SELECT count(*) FROM towline.changes('regress', options => '{binary}');
SELECT count(*) FROM towline.changes('regress', options => '{binary,NULL}');
SELECT test.close();
SELECT 1 FROM pg_create_logical_replication_slot('regress', 'test_decoding');
SELECT count(*) FROM towline.changes('regress');
SELECT test.close();
SELECT 1 FROM pg_create_physical_replication_slot('regress');
SELECT count(*) FROM towline.changes('regress');
SELECT test.close();
-- rights are the server's
SELECT test.open();
CREATE ROLE regress_reader;
SET ROLE regress_reader;
\set VERBOSITY sqlstate
SELECT count(*) FROM towline.changes('regress');
\set VERBOSITY default
RESET ROLE;
DROP ROLE regress_reader;
-- many frames
INSERT INTO c SELECT i FROM generate_series(1000, 30999) i;
SELECT count(*), min(new), max(new) FROM towline.changes('regress') WHERE kind = 'insert';
SELECT test.close();
-- a slot may be created and read in one session again and again
DO $$
BEGIN
    FOR i IN 1 .. 20 LOOP
        PERFORM test.open();
        PERFORM test.close();
    END LOOP;
END $$;
DROP TABLE c;

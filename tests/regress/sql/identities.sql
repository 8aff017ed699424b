-- All replica identities, and changes without one, which are sent with no old image.
CREATE TABLE by_key (id int PRIMARY KEY, a text, b text);
CREATE TABLE by_two (id int, a text, b text, PRIMARY KEY (b, id));
CREATE TABLE by_index (id int PRIMARY KEY, a text NOT NULL, b text);
CREATE UNIQUE INDEX by_index_a ON by_index (a) INCLUDE (b);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a;
CREATE TABLE by_full (id int, a text, b text);
ALTER TABLE by_full REPLICA IDENTITY FULL;
CREATE TABLE by_nothing (id int PRIMARY KEY, a text, b text);
ALTER TABLE by_nothing REPLICA IDENTITY NOTHING;
CREATE TABLE without_key (id int, a text, b text);
CREATE TABLE deferrable_key (id int PRIMARY KEY DEFERRABLE, a text, b text);
SELECT test.open();
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY '{by_key,by_two,by_index,by_full,by_nothing,without_key,deferrable_key}'::text[] LOOP
        EXECUTE format('INSERT INTO %I VALUES (1, ''a'', ''b''), (2, ''c'', NULL)',
                       t) ;
    END LOOP;
EXCEPTION WHEN not_null_violation THEN
    RAISE NOTICE 'by_two refuses the null';
END $$;
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY '{by_key,by_two,by_index,by_full,by_nothing,without_key,deferrable_key}'::text[] LOOP
        EXECUTE format('INSERT INTO %I VALUES (1, ''a'', ''b'')', t);
        EXECUTE format('UPDATE %I SET a = ''x''', t);
        EXECUTE format('UPDATE %I SET id = 2', t);
        EXECUTE format('UPDATE %I SET b = ''y''', t);
        EXECUTE format('DELETE FROM %I', t);
    END LOOP;
END $$;
SELECT test.stream();
-- changed in the middle of a transaction: each change as it was then
SELECT test.close();
SELECT test.open();
BEGIN;
INSERT INTO by_key VALUES (1, 'a', 'b');
ALTER TABLE by_key REPLICA IDENTITY FULL;
UPDATE by_key SET a = 'c';
ALTER TABLE by_key REPLICA IDENTITY NOTHING;
UPDATE by_key SET a = 'd';
ALTER TABLE by_key REPLICA IDENTITY DEFAULT;
DELETE FROM by_key;
COMMIT;
SELECT test.stream();
SELECT test.close();
DROP TABLE by_key, by_two, by_index, by_full, by_nothing, without_key, deferrable_key;

-- NULL, the text 'NULL', an empty value, an unchanged TOAST value and a value in parts are told
-- apart.
CREATE TABLE doc (id int PRIMARY KEY, note text, body text);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
CREATE TABLE doc_full (id int, note text, body text);
ALTER TABLE doc_full ALTER body SET STORAGE EXTERNAL;
ALTER TABLE doc_full REPLICA IDENTITY FULL;
CREATE TABLE doc_body_key (id int, body text NOT NULL);
ALTER TABLE doc_body_key ALTER body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX doc_body_key_i ON doc_body_key (body);
ALTER TABLE doc_body_key REPLICA IDENTITY USING INDEX doc_body_key_i;
-- 'xxxxx…' → 'x...(number)'. No back reference: some servers take minutes over one in a megabyte.
CREATE FUNCTION test.short(line text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    letter text;
BEGIN
    FOREACH letter IN ARRAY string_to_array('l,m,s,t,w,x,y', ',') LOOP
        IF position(repeat(letter, 100) IN line) > 0 THEN
            line := regexp_replace(line, letter || '{100,}',
                                   letter || '...(' || length(substring(line FROM letter || '{100,}')) || ')', 'g');
        END IF;
    END LOOP;
    RETURN line;
END $$;
SELECT test.open();
INSERT INTO doc VALUES (1, NULL, repeat('x', 3000)), (2, 'NULL', NULL), (3, '', ''), (4, '<unchanged>', 'it''s');
UPDATE doc SET note = 'changed' WHERE id = 1;
UPDATE doc SET id = 11 WHERE id = 1;
UPDATE doc SET body = repeat('y', 3000) WHERE id = 11;
UPDATE doc SET body = NULL WHERE id = 11;
-- under FULL the unsent value is taken from the old image
INSERT INTO doc_full VALUES (1, 'a', repeat('x', 3000));
UPDATE doc_full SET note = 'b';
UPDATE doc_full SET body = repeat('y', 3000);
UPDATE doc_full SET body = NULL;
DELETE FROM doc_full;
-- a TOASTed key column comes whole in the key image
INSERT INTO doc_body_key VALUES (1, repeat('x', 2100));
UPDATE doc_body_key SET id = 2;
DELETE FROM doc_body_key;
SELECT test.short(test.stream());
SELECT test.close();
-- large values go in parts of 1 MiB, before the row they belong to; exactly 1 MiB goes inline
SELECT test.open();
INSERT INTO doc VALUES (100, 'small', repeat('s', 1024 * 1024)), (101, 'large', repeat('l', 1024 * 1024 + 1));
INSERT INTO doc VALUES (102, 'larger', repeat('m', 3 * 1024 * 1024));
INSERT INTO doc_full VALUES (103, 'two', repeat('t', 2 * 1024 * 1024));
UPDATE doc_full SET note = 'both images' WHERE id = 103;
DELETE FROM doc_full;
SELECT test.short(test.stream());
-- the inline values of one row are bounded too: of ten values of 1 MiB eight are inline
SELECT test.close();
CREATE TABLE wide (a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 text, a8 text, a9 text, a10 text);
SELECT test.open();
INSERT INTO wide SELECT r, r, r, r, r, r, r, r, r, r FROM repeat('w', 1024 * 1024) r;
SELECT test.short(test.stream());
-- no frame is larger than the protocol allows
SELECT max(length(data)) <= 16 * 1024 * 1024 AS bounded, max(length(data)) > 8 * 1024 * 1024 AS large
FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL);
SELECT test.close();
DROP TABLE doc, doc_full, doc_body_key, wide;

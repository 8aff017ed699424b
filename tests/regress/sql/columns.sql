-- Dropped, generated, added and identity columns; a table without columns.
CREATE TABLE col (gone1 text, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone2 text, a int DEFAULT 7,
    twice int GENERATED ALWAYS AS (a * 2) STORED, b text COLLATE "C", gone3 text);
ALTER TABLE col DROP gone1, DROP gone2, DROP gone3;
CREATE TABLE gen_key (a int, b int GENERATED ALWAYS AS (a + 100) STORED PRIMARY KEY, c text);
CREATE TABLE gen_full (a int, b int GENERATED ALWAYS AS (a + 100) STORED);
ALTER TABLE gen_full REPLICA IDENTITY FULL;
CREATE TABLE no_columns ();
SELECT test.open();
INSERT INTO col (b) VALUES ('first');
ALTER TABLE col ADD c text DEFAULT 'filled';
UPDATE col SET b = 'second';
ALTER TABLE col DROP twice, DROP a;
INSERT INTO col (b) VALUES ('third');
DELETE FROM col;
INSERT INTO gen_key VALUES (1);
UPDATE gen_key SET c = 'the key stays';
UPDATE gen_key SET a = 2;
DELETE FROM gen_key;
INSERT INTO gen_full VALUES (1);
UPDATE gen_full SET a = 2;
DELETE FROM gen_full;
INSERT INTO no_columns DEFAULT VALUES;
SELECT test.stream();
SELECT test.close();
DROP TABLE col, gen_key, gen_full, no_columns;

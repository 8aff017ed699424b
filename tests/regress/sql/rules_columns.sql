-- Column lists and expressions.
CREATE FUNCTION test.columns(list text, VARIADIC options text[] DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
    SELECT test.rules('[{"schema": "public", "table": "c", "columns": ' || list || '}]', VARIADIC options)
$$;
CREATE FUNCTION test.columns_refusal(list text, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
    SELECT test.refusal('[{"schema": "public", "table": "c", "columns": ' || list || more || '}]')
$$;
CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE c (id int PRIMARY KEY, email varchar(20), owner mail, n numeric(10, 2), twice int GENERATED ALWAYS AS (id * 2) STORED);
SELECT test.open();
INSERT INTO c VALUES (1, 'ann@example.org', 'a@b', 1.5), (2, NULL, NULL, NULL);
UPDATE c SET email = 'bob@example.org' WHERE id = 1;
UPDATE c SET id = 3 WHERE id = 1;
DELETE FROM c;
-- listed ones alone, in the table's order
SELECT test.columns('["n", "id"]');
-- replaced: made to be of the column's type, as by INSERT; added: of their own
SELECT test.columns('["id", {"name": "email", "expression": "left(email, 2)"}, {"name": "tag", "expression": "''eu''"}, {"name": "len", "expression": "length(email)"}, {"name": "n", "expression": "n * 2 + 0.001"}]');
SELECT test.columns('["id", {"name": "len", "expression": "length(email)"}]', 'binary', 'on');
SELECT test.columns('["id", {"name": "owner", "expression": "''hidden''"}, {"name": "n", "expression": "NULL"}]');
-- a generated column may be listed, and is not sent all the same
SELECT test.columns('["id", "twice"]');
-- a filter sees the whole row, and neither list nor expressions
SELECT test.rules('[{"schema": "public", "table": "c", "where": "id = 1", "columns": ["id", {"name": "email", "expression": "id::text"}]}]');
SELECT test.columns_refusal('["email"]');
SELECT test.columns_refusal('["email", {"name": "id", "expression": "id + 1"}]');
SELECT test.columns_refusal('["email", {"name": "id", "expression": "id + 1"}]', ', "operations": ["insert", "truncate"]');
SELECT test.columns_refusal('["id", "nothing"]');
SELECT test.columns_refusal('["id", {"name": "twice", "expression": "1"}]');
SELECT test.columns_refusal('["id", {"name": "n", "expression": "''x''::text"}]');
SELECT test.columns_refusal('["id", {"name": "n", "expression": "true"}]');
SELECT test.columns_refusal('["id", {"name": "email", "expression": "email || nobody"}]');
SELECT test.columns_refusal('["id", {"name": "x", "expression": "1 / (id - 1)"}]');
SELECT test.columns_refusal('["id", {"name": "email", "expression": "repeat(email, 5)"}]');
SELECT test.close();
-- under FULL any column may be left out or replaced, in the old images as well
ALTER TABLE c REPLICA IDENTITY FULL;
SELECT test.open();
INSERT INTO c VALUES (1, 'ann', 'a@b', 1.5);
UPDATE c SET email = 'bob';
DELETE FROM c;
SELECT test.columns('["n", {"name": "email", "expression": "upper(email)"}, {"name": "key", "expression": "id + 100"}]');
SELECT test.close();
DROP TABLE c;
DROP DOMAIN mail;
-- large values that an UPDATE leaves out: the expression's value is unchanged if all that it reads is
CREATE TABLE c (id int PRIMARY KEY, n int, price numeric(8, 2), body text);
ALTER TABLE c ALTER body SET STORAGE EXTERNAL;
SELECT test.open();
INSERT INTO c VALUES (1, 1, 1, repeat('y', 3000));
UPDATE c SET n = 2;
UPDATE c SET body = 'small';
SELECT test.columns('["id", {"name": "len", "expression": "length(body)"}, {"name": "own", "expression": "id + length(body)"}, {"name": "cost", "expression": "n * price"}]');
SELECT test.columns_refusal('["id", {"name": "body", "expression": "left(body, n)"}]');
SELECT test.columns_refusal('["id", {"name": "body", "expression": "left(body, n)"}]', ', "operations": ["insert", "delete", "truncate"]');
UPDATE c SET body = repeat('z', 3000);
UPDATE c SET id = 2;
SELECT test.columns_refusal('["id", {"name": "own", "expression": "id + length(body)"}]');
SELECT test.close();
ALTER TABLE c REPLICA IDENTITY FULL;
SELECT test.open();
UPDATE c SET n = 3;
SELECT test.columns('["id", {"name": "body", "expression": "left(body, n)"}]');
SELECT test.close();
-- rows of an alteration's time: the description follows
SELECT test.open();
INSERT INTO c VALUES (5, 5, 5, 'five');
ALTER TABLE c ADD COLUMN other int;
INSERT INTO c VALUES (6, 6, 6, 'six', 6);
ALTER TABLE c ALTER n TYPE bigint;
INSERT INTO c VALUES (7, 7, 7, 'seven', 7);
SELECT test.columns('["id", {"name": "n", "expression": "n + 1"}]');
SELECT test.close();
DROP TABLE c;
-- in root mode by the root's order and the leaf's rows
CREATE TABLE c (id int PRIMARY KEY, a text, b text) PARTITION BY RANGE (id);
CREATE TABLE c1 (b text, junk int, a text, id int NOT NULL);
ALTER TABLE c1 DROP COLUMN junk;
ALTER TABLE c ATTACH PARTITION c1 FOR VALUES FROM (1) TO (10);
SELECT test.open();
INSERT INTO c VALUES (1, 'a', 'b');
UPDATE c SET a = 'A';
SELECT test.columns('["id", {"name": "b", "expression": "b || ''!''"}]', 'partitions', 'root');
SELECT test.columns('["id", {"name": "b", "expression": "b || ''!''"}]');
TRUNCATE c;
SELECT test.rules('[{"schema": "public", "table": "c", "operations": ["truncate"]}]', 'partitions', 'root');
SELECT test.rules('[{"schema": "public", "table": "c", "operations": ["update"]}]', 'partitions', 'root');
SELECT test.rules('[{"schema": "public", "table": "c1", "operations": ["insert"]}]');
SELECT test.close();
DROP TABLE c;
-- operations: judged by what the statement did, not by what the filter makes of it
CREATE TABLE c (id int PRIMARY KEY);
SELECT test.open();
INSERT INTO c VALUES (1);
UPDATE c SET id = 20;
UPDATE c SET id = 2;
DELETE FROM c;
TRUNCATE c;
SELECT operation, test.rules(json_build_array(json_build_object('schema', 'public', 'table', 'c', 'where', 'id < 10', 'operations', ARRAY[operation]))::text)
FROM unnest('{insert,update,delete,truncate}'::text[]) operation;
SELECT test.close();
DROP TABLE c;

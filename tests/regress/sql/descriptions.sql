-- A relation is described once, and again only when its description changed.
CREATE TYPE color AS ENUM ('red');
CREATE TABLE d (id int PRIMARY KEY, a text, c color);
CREATE TABLE bystander (id int PRIMARY KEY, a text);
SELECT test.open();
INSERT INTO d VALUES (1, 'described');
-- these touch the relation's cache entry, not its description
CREATE INDEX ON d (a);
INSERT INTO d VALUES (2, 'an index');
ANALYZE d;
INSERT INTO d VALUES (3, 'statistics');
ALTER TABLE d SET (fillfactor = 50);
INSERT INTO d VALUES (4, 'a parameter');
GRANT SELECT ON d TO PUBLIC;
INSERT INTO d VALUES (5, 'a right');
ALTER TABLE d ADD CONSTRAINT a_check CHECK (a <> '');
INSERT INTO d VALUES (6, 'a constraint');
ALTER TABLE bystander ADD b int;
CREATE TEMP TABLE unrelated (id int);
ALTER TYPE color ADD VALUE 'green';
INSERT INTO d VALUES (7, 'other objects', 'green');
VACUUM FULL d;
INSERT INTO d VALUES (8, 'a new file');
-- these change it
ALTER TABLE d ALTER a SET NOT NULL;
INSERT INTO d VALUES (9, 'not null');
ALTER TABLE d ALTER a TYPE varchar(99);
INSERT INTO d VALUES (10, 'a type');
ALTER TYPE color RENAME TO colour;
INSERT INTO d VALUES (11, 'the name of a type');
ALTER TABLE d REPLICA IDENTITY FULL;
INSERT INTO d VALUES (12, 'the identity');
ALTER TABLE d DROP c;
INSERT INTO d VALUES (13, 'a column less');
ALTER TABLE d SET SCHEMA test;
INSERT INTO test.d VALUES (14, 'the schema');
ALTER SCHEMA test RENAME TO test2;
INSERT INTO test2.d VALUES (15, 'the name of the schema');
ALTER SCHEMA test2 RENAME TO test;
-- a table of the same name is another relation
DROP TABLE test.d;
CREATE TABLE test.d (id int PRIMARY KEY);
INSERT INTO test.d VALUES (1);
INSERT INTO bystander VALUES (1, 'described late', 1);
SELECT test.stream();
-- a composite type that gets a column by user-defined type goes over to text
SELECT test.close();
CREATE TYPE comp AS (a int);
CREATE TABLE with_comp (id int PRIMARY KEY, c comp);
SELECT test.open();
INSERT INTO with_comp VALUES (1, '(1)');
ALTER TYPE comp ADD ATTRIBUTE m colour;
INSERT INTO with_comp VALUES (2, '(1,red)');
SELECT test.stream('binary', 'on');
SELECT test.close();
-- the schema of a column's collation
CREATE SCHEMA of_collation;
CREATE COLLATION of_collation.mine FROM "C";
CREATE TABLE collated (id int PRIMARY KEY, a text COLLATE of_collation.mine);
SELECT test.open();
INSERT INTO collated VALUES (1, 'described');
ALTER SCHEMA of_collation RENAME TO renamed;
INSERT INTO collated VALUES (2, 'the name of the schema of a collation');
SELECT test.stream();
SELECT test.close();
DROP TABLE collated;
DROP SCHEMA renamed CASCADE;
DROP TABLE test.d, bystander, with_comp;
DROP TYPE comp, colour;

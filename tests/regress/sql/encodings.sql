-- A database whose encoding is neither UTF8 nor SQL_ASCII is refused when its slot is made.
\set main :DBNAME
CREATE DATABASE regress_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_latin1
SELECT pg_create_logical_replication_slot('regress', 'towline');
SELECT count(*) FROM pg_replication_slots;
\c :main
DROP DATABASE regress_latin1;
-- SQL_ASCII: the bytes are passed on as they are
CREATE DATABASE regress_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_ascii
SET client_encoding = 'SQL_ASCII';
CREATE EXTENSION towline;
SELECT 1 FROM pg_create_logical_replication_slot('regress', 'towline');
CREATE TABLE bytes (id int PRIMARY KEY, t text);
INSERT INTO bytes VALUES (1, E'\xe9\xff');
SELECT substring(detail from 'encoding.*') FROM towline.changes('regress') WHERE kind = 'hello';
SELECT convert_to(new, 'SQL_ASCII') FROM towline.changes('regress') WHERE kind = 'insert';
SELECT pg_drop_replication_slot('regress');
\c :main
DROP DATABASE regress_ascii;

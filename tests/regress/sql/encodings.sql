-- Texts are sent in UTF-8 whatever the database's encoding: values in either format, names, and
-- what types of every kind are made of.
\set main :DBNAME
CREATE DATABASE regress_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_latin1
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
CREATE EXTENSION towline;
CREATE FUNCTION public.sent(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (is_utf8 bool, holds text)
LANGUAGE sql AS $$
    SELECT position(needle.bytes in data) > 0, needle.name
    FROM (SELECT string_agg(data, '') AS data
          FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL, VARIADIC options)) frames,
        (VALUES ('utf8 é', '\xc3a9'::bytea), ('utf8 ü', '\xc3bc'), ('latin1 é in a value', '\xe922')) needle(name, bytes)
$$;
SELECT 1 FROM pg_create_logical_replication_slot('regress', 'towline');
CREATE TYPE public."stimmüng" AS ENUM ('é', 'ß');
CREATE TYPE public.pair AS (a int, b text);
CREATE DOMAIN public.short AS text;
CREATE SCHEMA "sché";
CREATE TABLE "sché"."tablé" ("cölumn" int PRIMARY KEY, t text, v varchar(5), c char(3), n name, j json, jb jsonb,
    e public."stimmüng", a text[], p public.pair, d public.short, ea public."stimmüng"[], tv tsvector, by bytea, q "char");
INSERT INTO "sché"."tablé" VALUES (1, 'é', 'ü', 'é', 'né', '"é"', '{"é": "ü"}', 'é', '{é,"ü "}', '(1,é)', 'ß', '{é}', 'né', 'é', 'x');
ALTER TABLE "sché"."tablé" REPLICA IDENTITY FULL;
UPDATE "sché"."tablé" SET t = 'ü';
SELECT pg_replication_origin_create('né') > 0 AS made;
SELECT pg_replication_origin_session_setup('né');
DELETE FROM "sché"."tablé";
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_drop('né');
SELECT 1 FROM pg_logical_emit_message(true, 'prefix é', 'content é');
-- Since 17 json is a word that is quoted.
SELECT replace(regexp_replace(concat_ws(' | ', kind, relation, old_image, old, '-> ' || new, detail), 'changes at.*', ''), '"json"', 'json')
FROM towline.changes('regress', options => '{messages,on}') WHERE kind NOT IN ('hello', 'begin', 'commit');
SELECT detail FROM towline.changes('regress') WHERE kind = 'begin' AND detail LIKE 'origin %' AND detail LIKE '%?%';
SELECT new FROM towline.changes('regress', options => '{binary,on}') WHERE kind = 'insert';
-- whatever the client's encoding
SET client_encoding = 'LATIN1';
SELECT is_utf8, encode(convert_to(holds, 'SQL_ASCII'), 'escape') FROM sent('binary', 'on');
SELECT is_utf8, encode(convert_to(holds, 'SQL_ASCII'), 'escape') FROM sent('binary', 'off');
SHOW client_encoding;
-- A default conversion of a user's that search_path finds first is not run: this one would fail.
CREATE SCHEMA mine;
DO $$ BEGIN
    EXECUTE (SELECT format('CREATE FUNCTION mine.broken(%s) RETURNS %s LANGUAGE c STRICT AS %L, %L', pg_get_function_arguments(oid),
        pg_get_function_result(oid), probin, prosrc) FROM pg_proc WHERE oid = 'pg_catalog.iso8859_1_to_utf8'::regproc);
END $$;
CREATE DEFAULT CONVERSION mine.wrong FOR 'LATIN1' TO 'UTF8' FROM mine.broken;
UPDATE pg_proc SET prosrc = 'no_such_symbol' WHERE oid = 'mine.broken'::regproc;
SET search_path = mine, public, pg_catalog;
DO $$ BEGIN PERFORM convert_to('e', 'UTF8');
EXCEPTION WHEN undefined_function THEN RAISE WARNING 'the default conversion is broken'; END $$;
SELECT is_utf8, encode(convert_to(holds, 'SQL_ASCII'), 'escape') FROM sent('binary', 'on');
RESET search_path;
DROP CONVERSION mine.wrong;
SET client_encoding = 'UTF8';
SELECT substring(detail from 'encoding.*') FROM towline.changes('regress') WHERE kind = 'hello';
-- the row that an error is about is named by the hash of its key as it is sent
CREATE TABLE public.keyed (id text PRIMARY KEY, n int);
INSERT INTO public.keyed VALUES ('é', 0);
DO $$
DECLARE
    context text;
BEGIN
    PERFORM * FROM towline.changes('regress', options => ARRAY['table_rules', '[{"schema": "public", "table": "keyed", "where": "10 / n > 1", "operations": ["insert"]}]']);
EXCEPTION WHEN division_by_zero THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RAISE EXCEPTION '%', SQLERRM USING DETAIL = substring(context from 'row with [^\n]*');
END $$;
-- patterns are names in the database's encoding
SELECT count(*) FROM towline.changes('regress', options => ARRAY['include_tables', 'schÉ.tablé']) WHERE kind = 'insert';
SELECT count(*) FROM towline.changes('regress', options => ARRAY['include_tables', 'sch?."tablé"']) WHERE kind = 'insert';
SELECT pg_drop_replication_slot('regress');
\c :main
DROP DATABASE regress_latin1;
-- A character that UTF-8 lacks is an error that names relation and column; a message's prefix stops nothing.
CREATE DATABASE regress_euc ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_euc
SET client_min_messages = warning;
CREATE EXTENSION towline;
SELECT 1 FROM pg_create_logical_replication_slot('regress', 'towline');
CREATE TABLE t (id int PRIMARY KEY, v text, w varchar);
INSERT INTO t VALUES (1, convert_from('\xc6fccbdcb8ec', 'EUC_JP'), 'ascii');
SELECT position('\xe697a5e69cace8aa9e'::bytea in data) > 0 AS is_utf8 FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL) LIMIT 1;
SELECT 1 FROM pg_logical_emit_message(true, convert_from('\xa9a1', 'EUC_JP'), '');
SELECT detail FROM towline.changes('regress', options => '{messages,on}') WHERE kind = 'message';
INSERT INTO t VALUES (2, 'ascii', convert_from('\xa9a1', 'EUC_JP'));
DO $$
DECLARE
    context text;
BEGIN
    PERFORM * FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL);
EXCEPTION WHEN untranslatable_character THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RAISE EXCEPTION '%', SQLERRM USING DETAIL = substring(context from 'INSERT on relation [^,]*, column [^,]*');
END $$;
SELECT pg_drop_replication_slot('regress');
\c :main
DROP DATABASE regress_euc;
-- SQL_ASCII: the bytes are passed on as they are
CREATE DATABASE regress_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_ascii
SET client_encoding = 'SQL_ASCII';
CREATE EXTENSION towline;
SELECT 1 FROM pg_create_logical_replication_slot('regress', 'towline');
CREATE TABLE bytes (id int PRIMARY KEY, t text);
INSERT INTO bytes VALUES (1, E'\xe9\xff');
SELECT 1 FROM pg_logical_emit_message(true, E'prefix \xe9', '');
SELECT substring(detail from 'encoding.*') FROM towline.changes('regress') WHERE kind = 'hello';
SELECT convert_to(new, 'SQL_ASCII') FROM towline.changes('regress') WHERE kind = 'insert';
SELECT detail FROM towline.changes('regress', options => '{messages,on}') WHERE kind = 'message';
-- names are UTF-8 always
CREATE TABLE "né" (id int PRIMARY KEY);
INSERT INTO "né" VALUES (1);
SELECT convert_to(relation, 'SQL_ASCII') FROM towline.changes('regress') WHERE kind = 'insert' AND relation <> 'public.bytes';
DO $$ BEGIN EXECUTE E'CREATE TABLE "n\xe9" (id int PRIMARY KEY); INSERT INTO "n\xe9" VALUES (1)'; END $$;
\set VERBOSITY terse
DO $$ BEGIN PERFORM * FROM towline.changes('regress');
EXCEPTION WHEN character_not_in_repertoire THEN RAISE EXCEPTION '%', convert_to(SQLERRM, 'SQL_ASCII'); END $$;
SELECT pg_drop_replication_slot('regress');
\c :main
DROP DATABASE regress_ascii;

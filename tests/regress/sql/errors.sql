-- An error while a change is encoded says where; the session is as before afterwards.
SET client_min_messages = error;
CREATE TYPE evil;
CREATE FUNCTION evil_in(cstring) RETURNS evil LANGUAGE internal STRICT IMMUTABLE AS 'int4in';
-- refuses what is no enum value's OID
CREATE FUNCTION evil_out(evil) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'enum_out';
CREATE TYPE evil (INPUT = evil_in, OUTPUT = evil_out, INTERNALLENGTH = 4, PASSEDBYVALUE);
RESET client_min_messages;
CREATE TABLE "Victim" (id int PRIMARY KEY, "Bad" evil);
CREATE TABLE healthy (id int PRIMARY KEY);
CREATE FUNCTION test.failure(VARIADIC options text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    PERFORM count(*) FROM test.stream(VARIADIC options);
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN SQLERRM || E'\n' || regexp_replace(regexp_replace(split_part(context, E'\nSQL', 1), 'transaction \d+', 'transaction N'), '[0-9A-F]+/[0-9A-F]+', 'X/X');
END $$;
SELECT test.open();
INSERT INTO healthy VALUES (1);
INSERT INTO "Victim" VALUES (1, NULL);
SELECT test.failure();
INSERT INTO "Victim" VALUES (2, '7');
SET timezone = 'Asia/Tokyo';
SELECT test.failure();
SELECT test.failure('binary', 'on');
SHOW timezone;
SHOW search_path;
SHOW client_encoding;
-- the slot can still be read without the table
SELECT test.stream('exclude_tables', '"Victim"');
-- an option that fails late leaves nothing behind either
SELECT test.failure('partitions', 'x');
SELECT active FROM pg_replication_slots WHERE slot_name = 'regress';
SHOW timezone;
SELECT test.stream('exclude_tables', '"Victim"');
RESET timezone;
-- the client's encoding does not change what is sent
SET client_encoding = 'LATIN1';
CREATE TABLE enc (id int PRIMARY KEY, t text, x xml);
INSERT INTO enc VALUES (1, U&'\00E9', U&'<a>\00E9</a>'::xml);
SELECT encode(substring(data from position('\xc3a9'::bytea in data) for 2), 'hex') FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL, 'include_tables', 'enc');
SHOW client_encoding;
RESET client_encoding;
SELECT test.close();
SET client_min_messages = error;
DROP TABLE "Victim", healthy, enc;
DROP TYPE evil CASCADE;

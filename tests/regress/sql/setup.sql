-- What the other tests use: the stream of the slot "regress", one line an entry, without what
-- differs from run to run.
SET client_min_messages = warning;
CREATE EXTENSION towline;
CREATE SCHEMA test;
CREATE FUNCTION test.stream(VARIADIC options text[] DEFAULT '{}') RETURNS SETOF text
LANGUAGE sql AS $$
    SELECT concat_ws(' | ', kind, relation, old_image, old, '-> ' || new, detail)
    FROM towline.changes('regress', options => options)
    WHERE kind <> 'hello'
$$;
CREATE FUNCTION test.open() RETURNS void LANGUAGE sql AS $$
    SELECT pg_create_logical_replication_slot('regress', 'towline')
$$;
CREATE FUNCTION test.close() RETURNS void LANGUAGE sql AS $$
    SELECT pg_drop_replication_slot('regress')
$$;
SELECT extversion, extnamespace::regnamespace FROM pg_extension WHERE extname = 'towline';
\dn towline

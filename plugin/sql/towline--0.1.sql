-- The SQL side of the extension. The output plugin itself needs no SQL object: the server finds it
-- by the library's name.
\echo Use "CREATE EXTENSION towline" to load this file. \quit

-- Reading a slot asks for REPLICATION, which the server checks; the schema may be seen by all.
GRANT USAGE ON SCHEMA towline TO PUBLIC;

CREATE FUNCTION changes(
    slot name,
    upto_lsn pg_lsn DEFAULT NULL,
    upto_changes int DEFAULT NULL,
    options text[] DEFAULT '{}',
    OUT lsn pg_lsn,
    OUT xid xid8,
    OUT kind text,
    OUT relation text,
    OUT old_image text,
    OUT old text,
    OUT new text,
    OUT detail text,
    OUT committed_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'towline_changes';

COMMENT ON FUNCTION changes(name, pg_lsn, int, text[]) IS
    'what a slot of plugin "towline" holds, as readable rows; consumes nothing';

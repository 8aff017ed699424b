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

-- Needs the attribute REPLICATION, as reading a slot does; the function itself looks.
CREATE FUNCTION check_table_rules(
    rules text,
    OUT schema_name text,
    OUT table_name text,
    OUT item text,
    OUT error text,
    OUT hint text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'towline_check_table_rules';

COMMENT ON FUNCTION check_table_rules(text) IS
    'what is wrong with the option table_rules, for the tables as they are now; no row: nothing';

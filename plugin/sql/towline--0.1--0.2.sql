\echo Use "ALTER EXTENSION towline UPDATE" to load this file. \quit

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

-- The option table_rules: what is not understood is refused, with rule, table and place.
CREATE FUNCTION test.rules(rules text, VARIADIC options text[] DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
    SELECT test.stream(VARIADIC ARRAY['table_rules', rules] || options)
$$;
-- Message, detail and hint of the error, and what names expression and row; "none" without one.
CREATE FUNCTION test.refusal(rules text, VARIADIC options text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
    detail text;
    hint text;
BEGIN
    PERFORM count(*) FROM test.rules(rules, VARIADIC options);
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', SQLERRM, nullif(detail, ''), nullif(hint, ''),
        (SELECT string_agg(regexp_replace(line, 'transaction \d+', 'transaction N'), E'\n')
         FROM regexp_split_to_table(context, E'\n') line WHERE line ~ '^(row|expression|(INSERT|UPDATE|DELETE|TRUNCATE) on)'));
END $$;
-- The detail of a rule that cannot be read.
CREATE FUNCTION test.detail(rules text) RETURNS text LANGUAGE sql AS $$
    SELECT split_part(test.refusal(rules), E'\n', CASE WHEN test.refusal(rules) LIKE '%table_rules%' THEN 2 ELSE 1 END)
$$;
CREATE TABLE o (id int PRIMARY KEY, a int, b text);
SELECT test.open();
INSERT INTO o VALUES (1, 10, 'x');
SELECT test.rules('[]');
SELECT test.rules('[{"schema": "public", "table": "o"}]');
\set VERBOSITY default
SELECT test.rules('{"schema": "public", "table": "o"}');
SELECT test.rules('[{"schema": "public", "table": "o",}]');
\set VERBOSITY terse
SELECT value AS rules, test.detail(value) FROM unnest(ARRAY[
    '7', '"x"', 'null', '[1]', '[[]]', '[{}]',
    '[{"schema": "public"}]',
    '[{"table": "o"}]',
    '[{"schema": "", "table": "o"}]',
    '[{"schema": "public", "table": 7}]',
    '[{"schema": "public", "table": "o", "filter": "a > 1"}]',
    '[{"schema": "public", "table": "o", "where": true}]',
    '[{"schema": "public", "table": "o", "where": null}]',
    '[{"schema": "public", "table": "o", "columns": "id"}]',
    '[{"schema": "public", "table": "o", "columns": []}]',
    '[{"schema": "public", "table": "o", "columns": ["id", 7]}]',
    '[{"schema": "public", "table": "o", "columns": ["id", "a", "id"]}]',
    '[{"schema": "public", "table": "o", "columns": ["id", {"name": "a"}]}]',
    '[{"schema": "public", "table": "o", "columns": ["id", {"expression": "1"}]}]',
    '[{"schema": "public", "table": "o", "columns": [{"name": "a", "expression": "1", "type": "int"}]}]',
    '[{"schema": "public", "table": "o", "operations": "insert"}]',
    '[{"schema": "public", "table": "o", "operations": []}]',
    '[{"schema": "public", "table": "o", "operations": ["insert", "INSERT"]}]',
    '[{"schema": "public", "table": "o"}, {"schema": "public", "table": "p"}, {"schema": "public", "table": "o"}]',
    json_build_array(json_build_object('schema', 'public', 'table', repeat('x', 64)))::text
    ]) value;
-- syntax is checked at once, whether or not the table has changes or exists
SELECT test.refusal('[{"schema": "public", "table": "nobody", "where": "a >"}]');
SELECT test.refusal('[{"schema": "public", "table": "Nobody", "columns": ["id", {"name": "B", "expression": "left(b,, 2)"}]}]');
SELECT value AS expression, test.refusal(json_build_array(json_build_object('schema', 'public', 'table', 'o', 'where', value))::text)
FROM unnest(ARRAY['', '  ', 'true)', 'true) FROM o WHERE (true', 'true); DROP TABLE o; SELECT (true', 'a > 1 AS x', 'a, b', 'SELECT true',
    'true) UNION SELECT (true', '1 = 1 -- a comment', E'a\n > ''é'' + 1)', '*', 'o.*', 'o.a > 1', 'ctid IS NULL', '$1', 'a IN (SELECT 1)',
    'EXISTS (SELECT 1)', 'count(*) > 1', 'sum(a) OVER () > 1', 'public.f(a)', 'a OPERATOR(public.=) 1', 'b::public.mood IS NULL',
    'b COLLATE public.c = ''x''', 'current_user = b', 'current_timestamp IS NULL', 'xmlparse(content b) IS NULL', '(b).x = 1', 'a = DEFAULT',
    'f(x => 1)', 'GROUPING(a) = 1'
    ]) value;
SELECT test.close();
DROP TABLE o;

-- What an expression may hold: nothing that runs users' code or depends on anything but the row.
SET client_min_messages = error;
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TYPE pair AS (x int, y int);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE evil;
CREATE FUNCTION evil_in(cstring) RETURNS evil LANGUAGE internal STRICT IMMUTABLE AS 'int4in';
CREATE FUNCTION evil_out(evil) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'int4out';
CREATE TYPE evil (INPUT = evil_in, OUTPUT = evil_out, INTERNALLENGTH = 4, PASSEDBYVALUE);
CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR === (FUNCTION = same, LEFTARG = text, RIGHTARG = text);
CREATE CAST (text AS positive) WITH INOUT AS IMPLICIT;
CREATE COLLATION mine FROM "C";
RESET client_min_messages;
CREATE TABLE s (id int PRIMARY KEY, t text, n numeric, d timestamptz, day date, j jsonb, a int[], m mood, ms mood[], p pair, e evil,
    pos positive, x xml, r int4range, c text COLLATE mine, pt point, pts point[], k regclass, u uuid, b boolean);
SELECT test.open();
INSERT INTO s (id, t, n, d, day, j, a, m, pos, r, c, b) VALUES (1, 'Text', 1.5, '2020-01-01', '2020-01-01', '{"k": 1}', '{1,2}', 'glad', 5, '[1,5)', 'c', true);
CREATE FUNCTION test.verdict(filter text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT CASE WHEN count(*) > 0 THEN 'sent' ELSE 'not sent' END FROM test.rules(json_build_array(json_build_object(
        'schema', 'public', 'table', 's', 'where', filter, 'operations', '{insert}'::text[]))::text));
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;
-- allowed
SELECT filter, test.verdict(filter) FROM unnest(ARRAY[
    'id = 1', 'id BETWEEN 1 AND 2', 'id IN (1, 2, 3)', 'id = ANY (a)', 'id <> ALL (ARRAY[5, 6])', 't LIKE ''T%''', 't ~ ''^T''', 'lower(t) = ''text''',
    't IS DISTINCT FROM ''x''', 'nullif(t, ''x'') IS NOT NULL', 'coalesce(t, ''-'') = ''Text''', 'greatest(id, 2) = 2', 'n > 1 AND NOT n > 2',
    'CASE id WHEN 1 THEN true ELSE false END', 'j ->> ''k'' = ''1''', 'j @> ''{"k": 1}''', '(j ->> ''k'')::int = 1', 'a[1] = 1', 'a = ARRAY[1, 2]::int[]', 'a = ''{1,2}''::int[2]', 'a[1:2] = ''{1,2}''',
    'd > ''2019-12-31 00:00+00''', 'd < timestamptz ''2021-01-01''', 'day = ''2020-01-01''', 'extract(year FROM day) = 2020', 'm = ''glad''', 'm <> ''sad''',
    'm IN (''glad'')', 'pos = 5', 'pos + 1 = 6', 'r @> 3', 'b', 'b IS TRUE', 't COLLATE "C" < ''z''', 'c COLLATE "C" = ''c''', '(id, t) = (1, ''Text'')',
    '(id, t) < (2, ''a'')', '(id, n) IN ((1, 1.5))', 'md5(t) = ''9dffbf69ffba8bc38bc4e01abf4b1675''', 'substring(t FROM 2 FOR 2) = ''ex''', 'trim(t) = ''Text''',
    'position(''x'' IN t) = 3', 'length(t || ''!'') = 5', 'id::text = ''1''', 'id::numeric(5,1) = 1.0', 'pg_catalog.upper(t) = ''TEXT''',
    't = ''now''', 'NULL', 'false', 'id OPERATOR(pg_catalog.=) 1', 'u IS NULL', 'E''\\x54'' = ''T''', 'date_trunc(''day'', day::timestamp) = day',
    'jsonb_path_exists(j, ''$.k'')', 'round(n) = 2', 'n < round(1.6)', 'round(coalesce(1.4, n)) = 1', 'lpad(''7'', 3) = ''  7''',
    'CASE id WHEN 1 THEN round(CASE id WHEN 1 THEN 1.6 END) END = 2', 'lpad(t, id + 1) = ''Te''', 'interval ''1 day'' + day > day', '''a\b'' = E''a\\b''', 'ROW(id, t) IS NOT NULL']) filter;
-- refused
SELECT filter, test.verdict(filter) FROM unnest(ARRAY[
    'satisfies_hash_partition(1::oid, 2, 0, id)', 'nobody = 1', 'id', 't', 'random() > 0.5', 'now() > d', 'clock_timestamp() > d', 'd::text = ''x''', 'd::date = ''2020-01-01''', 'date_trunc(''day'', d) = d',
    't::timestamptz = d', 'to_char(id, ''9'') = ''1''', 'concat(t, ''x'') = ''x''', 'd > ''now''', 'd > ''yesterday''', 'day = ''TODAY''', 'd = ANY (''{tomorrow,now}'')',
    'd > timestamptz ''now''', 'day = date(''now'')', 'day IN (''2020-01-01'', ''today'')', 'day = ANY (ARRAY[''today'']::date[])', 'd > E''\156ow''', 'd > (''n'' || ''ow'')::timestamptz', 'day <@ daterange ''[today,)''', 'pure(id) = 1', 'same(t, t)', 't === ''x''', 'e IS NULL', 'p IS NULL', 'x IS NULL', 'pts IS NULL', 'k IS NULL',
    'k = ''s''', 't::regclass IS NULL', '''s''::regclass IS NULL', 't::evil IS NULL', 't::mood = ''glad''', 'm::text = ''glad''', 'id::positive = 1',
    'count(id) > 1', 'generate_series(1, 2) = 1', 'row_number() > 1', 'unnest(a) = 1', 'c < ''z''', 'c = ''c''', 't COLLATE mine = ''x''', 't COLLATE nobody = ''x''',
    'to_tsvector(t) IS NULL', 'to_tsvector(''english'', t) IS NULL', 'pg_sleep(1) IS NULL', 'set_config(''work_mem'', t, false) IS NULL',
    'pg_read_file(t) IS NULL', 'query_to_xml(t, true, true, t) IS NULL', 'current_setting(t) IS NULL', 'nextval(''x'') = 1', 'pg_backend_pid() = 1',
    'pg_typeof(id) IS NULL', 'nofunction(id)', 'pt = pt', 'ROW(id, t)', 'ARRAY[p] IS NULL', 'xpath(t, x) IS NULL', 'txid_current() = 1',
    'information_schema._pg_char_max_length(25, 1) = 1', 't = 5', 'id = ''x''']) filter;
-- a column of a domain is a value of its base type: nothing else becomes one of the domain, whose constraints are users' code
CREATE FUNCTION spy(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF $1 LIKE 'bait%' THEN RAISE 'user code ran'; END IF;
    RETURN true;
END $$;
CREATE DOMAIN watched AS varchar(9) COLLATE "C" CHECK (spy(VALUE));
CREATE DOMAIN watched_more AS watched CHECK (spy(VALUE));
CREATE DOMAIN watched_list AS text[] CHECK (spy(VALUE[1]));
CREATE TABLE w (id int PRIMARY KEY, a watched, b watched_more, l watched_list, ws watched[]);
SELECT test.close(), test.open();
INSERT INTO w VALUES (1, 'x', 'x', '{x}', '{x}');
SELECT filter, (SELECT coalesce(string_agg(error, '; '), 'good') FROM towline.check_table_rules(rules)),
    split_part(test.refusal(rules), E'\n', 1) FROM unnest(ARRAY[
    'ARRAY[a, b] && ''{bait}''', 'ARRAY[a, a] && ''{bait}''', 'a = ''bait''', 'coalesce(a, ''bait'') = ''x''', 'CASE WHEN id = 1 THEN a ELSE ''bait'' END = ''x''',
    'a IN (''bait'', b)', 'greatest(a, ''bait'') = ''x''', 'nullif(a, ''bait'') = ''x''', 'l = ''{bait}''', 'l || ''bait'' = ''{x,bait}''', 'coalesce(l, ''{bait}'') = ''{x}''',
    'ARRAY[l, l] = ''{{bait},{bait}}''', 'ws = ''{bait}''', '(a, b) = (''bait'', ''bait'')', 'a || ''y'' = ''xy''', 'l[1] = ''x''']) filter,
    json_build_array(json_build_object('schema', 'public', 'table', 'w', 'where', filter, 'operations', '{insert}'::text[])) AS made(value),
    LATERAL (SELECT value::text) AS as_text(rules);
SELECT test.rules('[{"schema": "public", "table": "w", "columns": ["id", {"name": "a", "expression": "coalesce(a, ''bait'')"}, {"name": "more", "expression": "a"}]}]');
SELECT test.close(), test.open();
INSERT INTO s (id, t, day) VALUES (3, 'Text', '2020-01-01');
-- as many constants as anybody writes
SET statement_timeout = '30s';
SELECT test.verdict('day IN (' || string_agg(quote_literal(to_char(date '1900-01-01' + i, 'YYYY-MM-DD')), ', ') || ') AND t NOT IN (' || string_agg(quote_literal('now'), ', ') || ')')
FROM generate_series(1, 50000) i;
RESET statement_timeout;
-- a function of an extension in pg_catalog is not built in, nor is what shares its name
SET allow_system_table_mods = on;
CREATE FUNCTION pg_catalog.lower(evil) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'x' $$;
SELECT test.close(), test.open();
INSERT INTO s (id, t, d) VALUES (2, 'Text', '2020-01-01 00:00+00');
SELECT test.verdict('lower(t) = ''text'''), test.verdict('upper(t) = ''TEXT''');
DROP FUNCTION pg_catalog.lower(evil);
RESET allow_system_table_mods;
-- nothing of the session's own settings matters
SELECT current_setting('server_version_num')::int < 190000 AS has_old_strings \gset
\if :has_old_strings
    SET standard_conforming_strings = off;
\endif
SET transform_null_equals = on;
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';
SET timezone_abbreviations = 'Australia';
SELECT test.verdict($$d = '2019-12-31 19:00 EST'$$), test.verdict($$length('a\b') = 3$$), test.verdict($$u = NULL$$), test.verdict($$d = '2020-01-01 00:00'$$), test.verdict($$d < '02.01.2020'$$);
RESET ALL;
SELECT test.close();
SET client_min_messages = error;
DROP TABLE s;
DROP OPERATOR === (text, text);
DROP CAST (text AS positive);
DROP FUNCTION pure, same;
DROP TYPE mood, pair, evil CASCADE;
DROP DOMAIN positive;
DROP TABLE w;
DROP DOMAIN watched_more, watched, watched_list;
DROP FUNCTION spy;
DROP COLLATION mine;

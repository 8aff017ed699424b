-- Which types travel in binary. By the rule of docs/protocol.md text is for what holds OIDs.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE pair_of_mood AS (a int, m mood);
CREATE TYPE floats AS RANGE (subtype = float8);
CREATE TYPE moods AS RANGE (subtype = mood);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN ints AS int[];
CREATE DOMAIN class_name AS regclass;
CREATE DOMAIN mood_list AS mood[];
CREATE TABLE t_fixed (b bool, c "char", i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, o oid, u uuid,
    n name, d date, t time, ttz timetz, ts timestamp, tstz timestamptz, iv interval, m money, p point, x xid, l pg_lsn, mac macaddr);
CREATE TABLE t_var (t text, v varchar(10), bp char(5), by bytea, n numeric, j json, jb jsonb, bi bit(3), vb varbit, i inet, c cidr,
    tv tsvector, tq tsquery, jp jsonpath, po polygon, ov oidvector, iv2 int2vector);
CREATE TABLE t_made (e mood, p pair, pm pair_of_mood, r int4range, fr floats, er moods, dp positive, di ints,
    ai int[], at text[], ae mood[], ap pair[], adp positive[], ml mood_list);
CREATE TABLE t_oid (rc regclass, rt regtype, rp regproc, rr regrole, rn regnamespace, arc regclass[], dc class_name, acl aclitem);
SELECT test.open();
SET timezone = 'America/New_York';
SET datestyle = 'German';
SET intervalstyle = 'sql_standard';
SET extra_float_digits = 0;
SET bytea_output = 'escape';
INSERT INTO t_fixed VALUES (true, 'x', -2, -4, -8, 1.1, 'NaN', 4294967295, '00112233-4455-6677-8899-aabbccddeeff', 'nm',
    '4713-01-01 BC', '24:00:00', '12:00:00-15:59', '-infinity', '2020-02-29 12:00:00.000001+00', '-1 year +2 mons -3 days 04:05:06.7',
    '-12.34', '(1e300,-0)', '42', 'FF/10000001', '08:00:2b:01:02:03');
INSERT INTO t_var VALUES ('tëxt', 'v', 'bp', '\x00ff', '12345678901234567890.000000000000000000001', '{"b" : 1,"a":2}', '{"b":1,"a":2}', '101', '1', '::1/64', '10/8',
    'a:1 b:2', 'a & b', '$.a[*]', '((0,0),(1,1))', '1 2', '3 4');
INSERT INTO t_made VALUES ('it''s', '(1,"x y")', '(2,ok)', '[1,5)', '[1.5,2.5]', '[sad,ok]', 5, '{1,2}',
    '[2:3]={7,NULL}', '{"a,b","",NULL}', '{sad,"it''s"}', '{"(1,a)"}', '{1,2}', '{ok}');
INSERT INTO t_oid VALUES ('t_var', 'mood', 'pg_catalog.now', 'pg_monitor', 'towline', '{t_var,pg_class}', 't_made', 'pg_monitor=r/pg_monitor');
-- json: the server's list of keywords says whether the name is quoted
SELECT replace(line, '"json"', 'json') FROM test.stream() line;
-- the settings of this session are as they were
SHOW timezone;
SHOW datestyle;
SHOW search_path;
SELECT replace(line, '"json"', 'json') FROM test.stream('binary', 'on') line;
RESET ALL;
SELECT test.close();
DROP TABLE t_fixed, t_var, t_made, t_oid;
DROP DOMAIN positive, ints, class_name, mood_list;
DROP TYPE moods, floats, pair_of_mood, pair, mood;

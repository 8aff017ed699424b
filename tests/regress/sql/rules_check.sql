-- towline.check_table_rules(): what is wrong with rules, for the tables as they are now.
CREATE TABLE k (id int PRIMARY KEY, a int, b text, c text, twice int GENERATED ALWAYS AS (a * 2) STORED);
CREATE TABLE k_full (id int PRIMARY KEY, a int, b text);
ALTER TABLE k_full REPLICA IDENTITY FULL;
CREATE VIEW k_view AS SELECT 1 AS id;
CREATE FUNCTION test.check(rules text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', coalesce(schema_name || '.' || table_name, '-'), coalesce(item, '-'), error, hint) FROM towline.check_table_rules(rules)
$$;
SELECT * FROM towline.check_table_rules(NULL);
SELECT * FROM towline.check_table_rules('[{"schema": "public", "table": "k_full", "where": "a > 1", "columns": ["id", {"name": "b", "expression": "left(b, a)"}]}]');
SELECT test.check('nothing');
SELECT test.check('[{"schema": "public", "table": "k", "where": "a >"}]');
SELECT test.check('[{"schema": "public", "table": "nobody"}, {"schema": "nowhere", "table": "k"}, {"schema": "public", "table": "k_view"}]');
-- every problem of a table at once
SELECT test.check('[{"schema": "public", "table": "k", "where": "a > 1 AND nobody = 1", "columns": ["a", "gone", {"name": "twice", "expression": "1"},
    {"name": "b", "expression": "b || c"}, {"name": "c", "expression": "left(c, 2)"}, {"name": "d", "expression": "1 / 0"}, {"name": "e", "expression": "now()"}]}]');
SELECT test.check('[{"schema": "public", "table": "k", "where": "a > 1"}, {"schema": "public", "table": "k_full", "where": "a > 1"}]');
SELECT test.check('[{"schema": "public", "table": "k", "where": "a > 1", "operations": ["insert", "truncate"]}]');
-- partitions have identities of their own, and may have a rule of their own
CREATE TABLE k_root (id int PRIMARY KEY, a int) PARTITION BY RANGE (id);
CREATE TABLE k_1 PARTITION OF k_root FOR VALUES FROM (1) TO (10);
CREATE TABLE k_2 PARTITION OF k_root FOR VALUES FROM (10) TO (20);
CREATE TABLE k_3 PARTITION OF k_root FOR VALUES FROM (20) TO (30);
ALTER TABLE k_1 REPLICA IDENTITY FULL;
SELECT test.check('[{"schema": "public", "table": "k_root", "where": "a > 1"}, {"schema": "public", "table": "k_3", "where": "id > 1"}]');
-- for those who may read a slot
CREATE ROLE k_nobody;
CREATE ROLE k_reader REPLICATION;
SET ROLE k_nobody;
SELECT * FROM towline.check_table_rules('[]');
SET ROLE k_reader;
SELECT * FROM towline.check_table_rules('[{"schema": "public", "table": "k_full", "where": "a > 1"}]');
RESET ROLE;
-- settings are the session's again
SHOW search_path;
DROP ROLE k_nobody, k_reader;
DROP VIEW k_view;
DROP TABLE k, k_full, k_root;

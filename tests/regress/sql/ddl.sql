-- Captured DDL: what each command sends, and what nobody can forge.
SELECT test.open();
CREATE TABLE unseen (id int);
SELECT towline.enable_ddl();
SELECT evtname, evtenabled FROM pg_event_trigger WHERE evtname LIKE 'towline%' ORDER BY 1;
CREATE TABLE d (id int PRIMARY KEY, a text);
CREATE INDEX d_a ON d (a);
INSERT INTO d VALUES (1, 'x');
ALTER TABLE d ADD COLUMN b int DEFAULT 7, ADD COLUMN c date DEFAULT '2020-01-02';
INSERT INTO d VALUES (2, 'y');
ALTER TABLE d RENAME COLUMN b TO bb;
ALTER TABLE d DROP COLUMN c;
COMMENT ON TABLE d IS 'one';
CREATE VIEW v AS SELECT id FROM d;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT SELECT ON d TO PUBLIC;
DROP VIEW v;
SELECT test.stream('ddl', 'on');
-- without the option, and with a protocol that has no such entry
SELECT count(*) FROM towline.changes('regress') WHERE kind = 'ddl';
SELECT test.stream('ddl', 'on', 'max_protocol', '2');
SELECT test.close();
SELECT test.open();
-- with rows, in functions, several in a string, rolled back
BEGIN;
INSERT INTO d VALUES (3, 'z');
ALTER TABLE d ADD COLUMN e int;
UPDATE d SET e = 1 WHERE id = 3;
SAVEPOINT s;
ALTER TABLE d ADD COLUMN gone int;
ROLLBACK TO s;
ALTER TABLE d DROP COLUMN e;
INSERT INTO d VALUES (4, 'z');
COMMIT;
BEGIN;
DROP TABLE d;
ROLLBACK;
DO $$ BEGIN
    CREATE TABLE "In do" (id int);
    EXECUTE 'CREATE INDEX ON "In do" (id); ALTER TABLE "In do" ADD x int;';
END $$;
CREATE TABLE m1 (a int)\; CREATE TABLE m2 (a int) \; DROP TABLE m1, m2;
CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN
    CREATE TABLE pt (a int);
    COMMIT;
    DROP TABLE pt;
END $$;
CALL p();
SET session_replication_role = replica;
CREATE TABLE r (a int);
RESET session_replication_role;
SET search_path = test, pg_temp, "no such", public;
CREATE TABLE in_test (a int);
DROP TABLE in_test;
RESET search_path;
CREATE SCHEMA s1;
CREATE TABLE s1.s1t (id serial PRIMARY KEY);
DROP SCHEMA s1 CASCADE;
CREATE INDEX CONCURRENTLY dc ON d (id);
DROP INDEX CONCURRENTLY dc;
CREATE TABLE IF NOT EXISTS d (id int);
DROP TABLE IF EXISTS no_such;
CREATE TEMP TABLE t (a int);
ALTER TABLE t ADD b int;
DROP TABLE t;
SELECT test.stream('ddl', 'on', 'include_tables', 'd');
SELECT test.close();
-- the first command of a session, before the library is loaded, in whatever it stands
SELECT test.open();
\c -
DO $$ BEGIN
    EXECUTE format('CREATE TABLE %I (a int)', 'first "one"');
    CREATE TABLE second (a int);
END $$;
\c -
DO $$ BEGIN
    EXECUTE ' CREATE TABLE third (a int); CREATE INDEX ON third (a) ;';
END $$;
\c -
CREATE TABLE fourth (a int)\; CREATE TABLE fifth (a int);
CREATE FUNCTION make() RETURNS void LANGUAGE sql AS 'CREATE TABLE sixth (a int); CREATE INDEX ON fifth (a)';
\c -
SELECT make();
\c -
DROP TABLE "first ""one""", second, third, fourth, fifth, sixth;
DROP FUNCTION make();
SELECT test.stream('ddl', 'on', 'include_tables', 'd');
SELECT test.close();
-- rows that the source computes: rewritten tables, new ones, defaults that are not the same everywhere
CREATE TABLE w (id int PRIMARY KEY, a int);
INSERT INTO w VALUES (1, 10), (2, 20);
SELECT test.open();
ALTER TABLE w ALTER a TYPE text USING 'v' || a;
ALTER TABLE w ADD r float8 DEFAULT random() * 0;
SET timezone = 'UTC';
BEGIN;
ALTER TABLE w ADD at timestamptz DEFAULT now() - now() + 'epoch'::timestamptz, ADD k int DEFAULT 3;
COMMIT;
ALTER TABLE w ADD m money DEFAULT '12.50', ADD d date DEFAULT '2026-04-03';
CREATE TABLE made AS SELECT id FROM w;
SELECT id INTO made2 FROM w;
CREATE TEMP TABLE made3 AS SELECT 1;
CREATE MATERIALIZED VIEW mv AS SELECT id FROM w;
REFRESH MATERIALIZED VIEW mv;
SELECT test.stream('ddl', 'on');
SELECT test.stream();
SELECT test.close();
DROP MATERIALIZED VIEW mv;
DROP TABLE made, made2, w;
-- nobody forges a command
CREATE ROLE regress_forger;
GRANT CREATE ON SCHEMA public TO regress_forger;
SELECT test.open();
SET ROLE regress_forger;
INSERT INTO towline.ddl_log VALUES ('\x00');
SELECT * FROM towline.ddl_log;
SELECT towline.enable_ddl();
SELECT towline.disable_ddl();
CREATE FUNCTION public.mine() RETURNS event_trigger LANGUAGE c AS '$libdir/towline', 'towline_ddl_command_end';
CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION towline.ddl_command_end();
SELECT towline.ddl_command_end();
SELECT 1 FROM pg_logical_emit_message(true, 'towline.ddl', 'DROP TABLE d');
CREATE TABLE public.ddl_log (entry bytea);
INSERT INTO public.ddl_log VALUES ('\x00');
CREATE TABLE of_forger (a int);
DROP TABLE of_forger, public.ddl_log;
RESET ROLE;
SELECT test.stream('ddl', 'on');
SELECT test.close();
DROP OWNED BY regress_forger;
DROP ROLE regress_forger;
SELECT count(*) FROM towline.ddl_log;
-- what goes wrong is a gap, never an error
CREATE EXTENSION hstore;
SELECT test.open();
DROP EXTENSION hstore;
CREATE FOREIGN DATA WRAPPER fw;
CREATE SERVER secret FOREIGN DATA WRAPPER fw OPTIONS (password 'xyzzy');
DROP FOREIGN DATA WRAPPER fw CASCADE;
CREATE ROLE regress_ddl_user;
GRANT CREATE ON SCHEMA public TO regress_ddl_user;
REVOKE EXECUTE ON FUNCTION pg_event_trigger_ddl_commands() FROM PUBLIC;
SET ROLE regress_ddl_user;
CREATE TABLE g (a int);
RESET ROLE;
GRANT EXECUTE ON FUNCTION pg_event_trigger_ddl_commands() TO PUBLIC;
ALTER TABLE g OWNER TO CURRENT_USER;
REVOKE CREATE ON SCHEMA public FROM regress_ddl_user;
DROP ROLE regress_ddl_user;
-- nothing can be recorded: what follows brings no row of the command either
ALTER EXTENSION towline DROP TABLE towline.ddl_log;
ALTER TABLE towline.ddl_log RENAME TO mislaid;
CREATE TABLE g2 (a int);
ALTER TABLE towline.mislaid RENAME TO ddl_log;
CREATE TABLE g3 (a int);
ALTER EXTENSION towline ADD TABLE towline.ddl_log;
CREATE TABLE g4 (a int);
SELECT test.stream('ddl', 'on');
SELECT test.close();
-- a publication for all tables would take ddl_log along
SELECT towline.disable_ddl();
SET client_min_messages = error;
CREATE PUBLICATION everything FOR ALL TABLES;
RESET client_min_messages;
SELECT towline.enable_ddl();
SELECT towline.enable_ddl(true);
SELECT towline.disable_ddl();
DROP PUBLICATION everything;
SELECT test.open();
DROP TABLE d, "In do", r, g, g2, g3, g4, unseen;
DROP FUNCTION f();
DROP PROCEDURE p();
SELECT test.stream('ddl', 'on');
SELECT test.close();

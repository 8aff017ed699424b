\echo Use "ALTER EXTENSION towline UPDATE" to load this file. \quit

CREATE FUNCTION ddl_command_start() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'towline_ddl_command_start';
CREATE FUNCTION ddl_command_end() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'towline_ddl_command_end';
CREATE FUNCTION ddl_sql_drop() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'towline_ddl_sql_drop';
CREATE FUNCTION ddl_table_rewrite() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'towline_ddl_table_rewrite';
REVOKE ALL ON FUNCTION ddl_command_start(), ddl_command_end(), ddl_sql_drop(), ddl_table_rewrite() FROM PUBLIC;

CREATE EVENT TRIGGER towline_ddl_command_start ON ddl_command_start
    WHEN TAG IN ('CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION ddl_command_start();
ALTER EVENT TRIGGER towline_ddl_command_start DISABLE;
CREATE EVENT TRIGGER towline_ddl_sql_drop ON sql_drop EXECUTE FUNCTION ddl_sql_drop();
ALTER EVENT TRIGGER towline_ddl_sql_drop DISABLE;
CREATE EVENT TRIGGER towline_ddl_table_rewrite ON table_rewrite EXECUTE FUNCTION ddl_table_rewrite();
ALTER EVENT TRIGGER towline_ddl_table_rewrite DISABLE;
CREATE EVENT TRIGGER towline_ddl_command_end ON ddl_command_end EXECUTE FUNCTION ddl_command_end();
ALTER EVENT TRIGGER towline_ddl_command_end DISABLE;

-- Captured commands pass through the table ddl_log into the log. Its rows are written by the event
-- triggers' own code beside all rights, and deleted at once; what counts is their place in the log.
-- It is there only while DDL is captured: a publication FOR ALL TABLES publishes it as well, and
-- subscribers of another kind have no such table.
CREATE FUNCTION ddl_log_refuse() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
REVOKE ALL ON FUNCTION ddl_log_refuse() FROM PUBLIC;
CREATE FUNCTION enable_ddl(accept_publications boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    publication text;
BEGIN
    SELECT pubname INTO publication FROM pg_publication WHERE puballtables LIMIT 1;
    IF publication IS NOT NULL AND NOT accept_publications THEN
        RAISE EXCEPTION 'publication "%" is FOR ALL TABLES, and so for towline.ddl_log as well', publication
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Subscribers to it stop at the first captured command if they lack that table.',
                  HINT = 'CREATE EXTENSION towline at the subscribers, then SELECT towline.enable_ddl(true); or list the tables of the publication.';
    END IF;
    IF to_regclass('towline.ddl_log') IS NULL THEN
        CREATE TABLE towline.ddl_log (entry bytea);
        ALTER TABLE towline.ddl_log ALTER COLUMN entry SET STORAGE EXTERNAL;
        ALTER TABLE towline.ddl_log REPLICA IDENTITY NOTHING;
        REVOKE ALL ON towline.ddl_log FROM PUBLIC;
        COMMENT ON TABLE towline.ddl_log IS 'always empty: DDL commands pass through it into the log';
        -- Whoever may write into every table, or replicates another server's ddl_log into this
        -- one, must not be taken for the capture.
        CREATE TRIGGER refuse BEFORE INSERT ON towline.ddl_log
            FOR EACH ROW EXECUTE FUNCTION towline.ddl_log_refuse();
        ALTER TABLE towline.ddl_log ENABLE ALWAYS TRIGGER refuse;
        ALTER EXTENSION towline ADD TABLE towline.ddl_log;
    END IF;
    ALTER EVENT TRIGGER towline_ddl_command_start ENABLE ALWAYS;
    ALTER EVENT TRIGGER towline_ddl_sql_drop ENABLE ALWAYS;
    ALTER EVENT TRIGGER towline_ddl_table_rewrite ENABLE ALWAYS;
    ALTER EVENT TRIGGER towline_ddl_command_end ENABLE ALWAYS;
END $$;
CREATE FUNCTION disable_ddl() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ALTER EVENT TRIGGER towline_ddl_command_start DISABLE;
    ALTER EVENT TRIGGER towline_ddl_sql_drop DISABLE;
    ALTER EVENT TRIGGER towline_ddl_table_rewrite DISABLE;
    ALTER EVENT TRIGGER towline_ddl_command_end DISABLE;
    IF to_regclass('towline.ddl_log') IS NOT NULL THEN
        ALTER EXTENSION towline DROP TABLE towline.ddl_log;
        DROP TABLE towline.ddl_log;
    END IF;
END $$;
REVOKE ALL ON FUNCTION enable_ddl(boolean), disable_ddl() FROM PUBLIC;
COMMENT ON FUNCTION enable_ddl(boolean) IS 'from now on DDL commands of this database are captured for slots that ask for them';
COMMENT ON FUNCTION disable_ddl() IS 'ends what towline.enable_ddl() has begun';

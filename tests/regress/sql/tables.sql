-- include_tables and exclude_tables.
CREATE SCHEMA app;
CREATE SCHEMA "App";
CREATE TABLE app.orders (id int PRIMARY KEY);
CREATE TABLE app.order_lines (id int PRIMARY KEY);
CREATE TABLE "App"."Orders" (id int PRIMARY KEY);
CREATE TABLE orders (id int PRIMARY KEY);
CREATE FUNCTION test.tables(VARIADIC options text[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(DISTINCT relation, ', ' ORDER BY relation) FROM towline.changes('regress', options => options) WHERE kind = 'insert'
$$;
SELECT test.open();
INSERT INTO app.orders VALUES (1);
INSERT INTO app.order_lines VALUES (1);
INSERT INTO "App"."Orders" VALUES (1);
INSERT INTO orders VALUES (1);
SELECT pattern, test.tables('include_tables', pattern) AS included, test.tables('exclude_tables', pattern) AS left_over
FROM unnest('{orders,ORDERS,*.orders,app.*,app.order?,app.order*,"\"App\".*","\"App\".\"Orders\"","*.\"Orders\"",a*.*,(app|public).orders,"public.* , app.order_lines","\"*\"",nothing,?pp.*}'::text[]) pattern;
SELECT test.tables('include_tables', 'app.*', 'exclude_tables', '*lines');
-- a renamed table or schema is judged by its name at the time
ALTER TABLE app.order_lines RENAME TO positions;
INSERT INTO app.positions VALUES (2);
ALTER SCHEMA app RENAME TO shop;
INSERT INTO shop.positions VALUES (3);
SELECT test.tables('include_tables', 'app.*');
SELECT test.tables('include_tables', 'shop.*,positions');
SELECT test.close();
DROP SCHEMA shop, "App" CASCADE;
DROP TABLE orders;

-- One of every kind of object that a schema of a PostgreSQL 15 can hold, with odd names, comments and
-- dependencies across each other. Run by a superuser; test_schema.py says what it is for.
CREATE SCHEMA zoo;
CREATE SCHEMA "Odd ""Schema"".x; --";
CREATE SCHEMA extensions;
COMMENT ON SCHEMA zoo IS 'animals; -- it''s $$ "all" \n of them';

-- extensions
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm SCHEMA extensions;
CREATE EXTENSION btree_gist;
CREATE EXTENSION ltree;
CREATE EXTENSION intarray;
CREATE EXTENSION pgcrypto;
CREATE EXTENSION "uuid-ossp";
CREATE EXTENSION unaccent;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION file_fdw;
COMMENT ON EXTENSION hstore IS 'a comment of our own';

-- languages, access methods, transforms
CREATE FUNCTION zoo.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION zoo.inline_handler(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION zoo.validator(oid) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE zoo_language HANDLER zoo.handler INLINE zoo.inline_handler VALIDATOR zoo.validator;
COMMENT ON LANGUAGE zoo_language IS 'a language';
CREATE ACCESS METHOD zoo_index_method TYPE INDEX HANDLER gisthandler;
CREATE ACCESS METHOD zoo_table_method TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD zoo_table_method IS 'a method';
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal),
                                       TO SQL WITH FUNCTION int4recv(internal));
COMMENT ON TRANSFORM FOR int LANGUAGE sql IS 'a transform';

-- collations and conversions
CREATE COLLATION zoo.plain (locale = 'C');
CREATE COLLATION zoo.german (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION zoo.ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
COMMENT ON COLLATION zoo.german IS 'a collation';
CREATE CONVERSION zoo.conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION zoo.default_conversion FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
COMMENT ON CONVERSION zoo.conversion IS 'a conversion';

-- types
CREATE TYPE zoo.mood AS ENUM ('sad', 'it''s ok', 'happy; "very"', '');
ALTER TYPE zoo.mood ADD VALUE 'so so' BEFORE 'happy; "very"';
COMMENT ON TYPE zoo.mood IS 'an enum';
CREATE TYPE zoo.pair AS (first int, second text COLLATE zoo.german, moods zoo.mood[]);
COMMENT ON TYPE zoo.pair IS 'a composite';
COMMENT ON COLUMN zoo.pair.second IS 'a column of a composite';
CREATE TYPE zoo.nested AS (pairs zoo.pair[], span int4range);
CREATE TYPE zoo.text_range AS RANGE (subtype = text, collation = zoo.german, multirange_type_name = zoo.text_ranges);
CREATE FUNCTION zoo.distance(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
CREATE TYPE zoo.float_range AS RANGE (subtype = float8, subtype_diff = zoo.distance);
CREATE TYPE zoo.shell;
CREATE TYPE zoo.base;
CREATE FUNCTION zoo.base_in(cstring) RETURNS zoo.base LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION zoo.base_out(zoo.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE zoo.base (input = zoo.base_in, output = zoo.base_out, internallength = variable, storage = extended,
                      category = 'S', preferred = false, collatable = true, default = 'none; ''yet''');
CREATE DOMAIN zoo.positive AS int DEFAULT 1 NOT NULL CONSTRAINT above_zero CHECK (VALUE > 0);
ALTER DOMAIN zoo.positive ADD CONSTRAINT not_a_thousand CHECK (VALUE <> 1000) NOT VALID;
COMMENT ON DOMAIN zoo.positive IS 'a domain';
COMMENT ON CONSTRAINT above_zero ON DOMAIN zoo.positive IS 'a constraint of a domain';
CREATE DOMAIN zoo.email AS citext COLLATE "C" CHECK (VALUE ~ '^[^;]+@[^;]+$');
CREATE DOMAIN zoo.positives AS zoo.positive[];

-- functions and procedures
CREATE FUNCTION zoo.add_tax(amount numeric, VARIADIC rates numeric[] DEFAULT '{0.19}', OUT total numeric, OUT parts int)
  LANGUAGE plpgsql STABLE SECURITY DEFINER COST 7 SET search_path = zoo, pg_temp SET "work_mem" = '8MB' AS $body$
BEGIN
  total := amount; parts := 0;  -- a comment; with 'quotes
  FOR i IN 1 .. array_length(rates, 1) LOOP total := total * (1 + rates[i]); parts := parts + 1; END LOOP;
END $body$;
CREATE FUNCTION zoo.atomic_sum(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE LEAKPROOF PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE WHEN a > b THEN a ELSE b END;
  SELECT a + b;
END;
CREATE FUNCTION zoo.returning_expression(a int) RETURNS int LANGUAGE sql RETURN a * 2;
CREATE FUNCTION zoo.table_of(n int) RETURNS TABLE (i int, square bigint) LANGUAGE sql ROWS 17
  AS $$ SELECT i, (i * i)::bigint FROM generate_series(1, n) i; $$;
CREATE FUNCTION "Odd ""Schema"".x; --"."Strange; ""name"" $$ %s"("Arg; 1" text) RETURNS text LANGUAGE sql AS
  'SELECT $1 || '';'' -- $$ end';
CREATE PROCEDURE zoo.do_nothing(INOUT n int, extra text DEFAULT ';') LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
CREATE PROCEDURE zoo.atomic_procedure(n int) LANGUAGE sql BEGIN ATOMIC
  SELECT n;
  SELECT CASE n WHEN 1 THEN 2 END;
END;
CREATE FUNCTION zoo.polymorphic(anyelement, anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION zoo.in_own_language() RETURNS int LANGUAGE zoo_language AS 'BEGIN RETURN 1; END';
COMMENT ON FUNCTION zoo.atomic_sum(int, int) IS 'a function';
COMMENT ON PROCEDURE zoo.do_nothing(int, text) IS 'a procedure';

-- aggregates, operators, operator classes and families, casts
CREATE AGGREGATE zoo.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1', parallel = safe,
  combinefunc = numeric_mul);
CREATE AGGREGATE zoo.moving_sum(int) (sfunc = int4pl, stype = int, initcond = '0', msfunc = int4pl, minvfunc = int4mi,
  mstype = int, minitcond = '0');
CREATE AGGREGATE zoo.half(float8 ORDER BY anyelement) (sfunc = ordered_set_transition, stype = internal,
  finalfunc = percentile_disc_final, finalfunc_extra, finalfunc_modify = shareable);
CREATE AGGREGATE zoo.count_all(*) (sfunc = int8inc, stype = int8, initcond = '0');
COMMENT ON AGGREGATE zoo.product(numeric) IS 'an aggregate';
CREATE FUNCTION zoo.pair_less(zoo.pair, zoo.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.first < $2.first';
CREATE FUNCTION zoo.pair_equal(zoo.pair, zoo.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.first = $2.first';
CREATE FUNCTION zoo.pair_more(zoo.pair, zoo.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.first > $2.first';
CREATE FUNCTION zoo.pair_compare(zoo.pair, zoo.pair) RETURNS int LANGUAGE sql IMMUTABLE
  AS 'SELECT ($1.first > $2.first)::int - ($1.first < $2.first)::int';
CREATE OPERATOR zoo.<<<# (leftarg = zoo.pair, rightarg = zoo.pair, procedure = zoo.pair_less, commutator = OPERATOR(zoo.#>>>),
  restrict = scalarltsel, join = scalarltjoinsel);
CREATE OPERATOR zoo.#>>> (leftarg = zoo.pair, rightarg = zoo.pair, procedure = zoo.pair_more, commutator = OPERATOR(zoo.<<<#));
CREATE OPERATOR zoo.=#= (leftarg = zoo.pair, rightarg = zoo.pair, procedure = zoo.pair_equal, commutator = OPERATOR(zoo.=#=),
  hashes, merges);
CREATE OPERATOR zoo.!## (rightarg = int, procedure = zoo.returning_expression);
COMMENT ON OPERATOR zoo.=#= (zoo.pair, zoo.pair) IS 'an operator';
CREATE OPERATOR FAMILY zoo.pair_family USING btree;
CREATE OPERATOR CLASS zoo.pair_class DEFAULT FOR TYPE zoo.pair USING btree FAMILY zoo.pair_family AS
  OPERATOR 1 zoo.<<<#, OPERATOR 3 zoo.=#=, OPERATOR 5 zoo.#>>>, FUNCTION 1 zoo.pair_compare(zoo.pair, zoo.pair);
COMMENT ON OPERATOR FAMILY zoo.pair_family USING btree IS 'a family';
COMMENT ON OPERATOR CLASS zoo.pair_class USING btree IS 'a class';
CREATE OPERATOR FAMILY zoo.empty_family USING hash;
CREATE OPERATOR CLASS zoo.box_class DEFAULT FOR TYPE box USING zoo_index_method AS OPERATOR 3 &&,
  FUNCTION 1 gist_box_consistent(internal, box, smallint, oid, internal), FUNCTION 2 gist_box_union(internal, internal),
  FUNCTION 5 gist_box_penalty(internal, internal, internal), FUNCTION 6 gist_box_picksplit(internal, internal),
  FUNCTION 7 gist_box_same(box, box, internal);
CREATE FUNCTION zoo.int_to_pair(int) RETURNS zoo.pair LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1, NULL, NULL)::zoo.pair';
CREATE CAST (int AS zoo.pair) WITH FUNCTION zoo.int_to_pair(int) AS ASSIGNMENT;
CREATE CAST (zoo.pair AS varchar) WITH INOUT;
CREATE CAST (text AS zoo.base) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (int AS zoo.pair) IS 'a cast';

-- text search
CREATE TEXT SEARCH TEMPLATE zoo.template (init = dsimple_init, lexize = dsimple_lexize);
CREATE TEXT SEARCH PARSER zoo.parser (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end,
                                      lextypes = prsd_lextype, headline = prsd_headline);
CREATE TEXT SEARCH DICTIONARY zoo.dictionary (template = zoo.template, stopwords = 'english', accept = false);
CREATE TEXT SEARCH CONFIGURATION zoo.configuration (parser = zoo.parser);
ALTER TEXT SEARCH CONFIGURATION zoo.configuration ADD MAPPING FOR asciiword, word WITH zoo.dictionary, simple;
CREATE TEXT SEARCH CONFIGURATION zoo.german_words (COPY = pg_catalog.german);
COMMENT ON TEXT SEARCH CONFIGURATION zoo.configuration IS 'a configuration';
COMMENT ON TEXT SEARCH DICTIONARY zoo.dictionary IS 'a dictionary';
COMMENT ON TEXT SEARCH PARSER zoo.parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE zoo.template IS 'a template';

-- sequences
CREATE SEQUENCE zoo.free AS smallint INCREMENT -3 MINVALUE -1000 MAXVALUE 900 START 600 CACHE 5 CYCLE;
SELECT nextval('zoo.free'), nextval('zoo.free');
CREATE UNLOGGED SEQUENCE zoo.unlogged_sequence;
COMMENT ON SEQUENCE zoo.free IS 'a sequence';

-- tables
CREATE TABLE zoo.keeper (id serial PRIMARY KEY, name zoo.email UNIQUE, shift tstzrange DEFAULT '[,)',
  nickname text DEFAULT 'x;''y' COLLATE zoo.ignoring_case, EXCLUDE USING gist (id WITH =, shift WITH &&)
    DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE zoo.animal (
  id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 10 SEQUENCE NAME zoo."animal ""ids"""),
  tag int GENERATED BY DEFAULT AS IDENTITY,
  number smallint DEFAULT nextval('zoo.free'),
  name varchar(40) COLLATE zoo.german NOT NULL,
  feeling zoo.mood DEFAULT 'so so',
  couple zoo.pair, many zoo.nested, raw zoo.base, spans zoo.text_ranges, weight zoo.positive,
  attributes extensions.hstore DEFAULT ''::extensions.hstore, path ltree, digest bytea, area box,
  loud text GENERATED ALWAYS AS (upper(name)) STORED,
  notes text COMPRESSION pglz,
  keeper int CONSTRAINT animal_keeper REFERENCES zoo.keeper ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
  parent bigint,
  CONSTRAINT "animal; key" PRIMARY KEY (id) WITH (fillfactor = 70),
  CONSTRAINT animal_tag UNIQUE (tag) DEFERRABLE,
  CONSTRAINT animal_name UNIQUE NULLS NOT DISTINCT (name, keeper) INCLUDE (feeling),
  CONSTRAINT animal_parent FOREIGN KEY (parent) REFERENCES zoo.animal MATCH FULL ON DELETE SET NULL (parent),
  CONSTRAINT heavy CHECK (weight > 0 OR name = 'flea;') NO INHERIT
) WITH (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_vacuum_scale_factor = 0.5, user_catalog_table = false);
ALTER TABLE zoo.animal ALTER COLUMN name SET STATISTICS 500, ALTER COLUMN tag SET (n_distinct = -0.5),
  ALTER COLUMN notes SET STORAGE EXTERNAL, ALTER COLUMN digest SET STORAGE MAIN,
  DROP COLUMN number, ADD COLUMN "Added; ""later""" int DEFAULT zoo.atomic_sum(1, 2);
ALTER TABLE zoo.animal REPLICA IDENTITY FULL;
COMMENT ON TABLE zoo.animal IS E'a table;\n-- with ''lines''';
COMMENT ON COLUMN zoo.animal."Added; ""later""" IS 'a column';
COMMENT ON CONSTRAINT heavy ON zoo.animal IS 'a check';
COMMENT ON CONSTRAINT "animal; key" ON zoo.animal IS 'a key';
COMMENT ON CONSTRAINT animal_keeper ON zoo.animal IS 'a foreign key';
CREATE INDEX animal_words ON zoo.animal USING gin (to_tsvector('zoo.configuration', name)) WITH (fastupdate = off);
CREATE INDEX animal_trigrams ON zoo.animal USING gist (name extensions.gist_trgm_ops);
CREATE UNIQUE INDEX "animal; expression" ON zoo.animal (lower(name COLLATE "C") DESC NULLS LAST, (couple) ) WHERE keeper IS NOT NULL;
CREATE INDEX animal_couple ON zoo.animal (couple zoo.pair_class);
CREATE INDEX animal_brin ON zoo.animal USING brin (id int8_minmax_multi_ops (values_per_range = 16)) WITH (pages_per_range = 4);
CREATE INDEX animal_own_method ON zoo.animal USING zoo_index_method (area);
CREATE INDEX animal_hash ON zoo.animal USING hash (loud);
ALTER INDEX zoo.animal_words ALTER COLUMN 1 SET STATISTICS 300;
COMMENT ON INDEX zoo.animal_words IS 'an index';
CREATE TABLE zoo.by_index (a int NOT NULL, b text);
CREATE UNIQUE INDEX by_index_a ON zoo.by_index (a);
CREATE INDEX by_index_b ON zoo.by_index (b);
ALTER TABLE zoo.by_index REPLICA IDENTITY USING INDEX by_index_a;
ALTER TABLE zoo.by_index CLUSTER ON by_index_b;
ALTER TABLE zoo.by_index ADD CONSTRAINT by_index_key PRIMARY KEY USING INDEX by_index_a;
CREATE TABLE zoo.nothing ();
CREATE TABLE zoo.no_identity (x int);
ALTER TABLE zoo.no_identity REPLICA IDENTITY NOTHING;
CREATE TABLE zoo.typed OF zoo.pair (first PRIMARY KEY, second WITH OPTIONS DEFAULT 'd');
CREATE UNLOGGED TABLE zoo.unlogged (id int PRIMARY KEY);
CREATE TABLE zoo.own_method (id int PRIMARY KEY) USING zoo_table_method;
CREATE TABLE zoo.before_default (a int DEFAULT 5, b int DEFAULT NULL, c text DEFAULT CURRENT_USER, d timestamptz DEFAULT now(),
                                 e uuid DEFAULT gen_random_uuid(), f uuid DEFAULT uuid_generate_v4(), g int[] DEFAULT ARRAY[1, 2]);
CREATE TABLE "Odd ""Schema"".x; --"."T; "".x"" --  $$" ("C; "".x"" --" int PRIMARY KEY, "SELECT" text, "größe" int,
  "a very long name of a column, as long as it may be: 63 bytes in"  text);
CREATE INDEX "I; "" --" ON "Odd ""Schema"".x; --"."T; "".x"" --  $$" ("SELECT", "größe");
COMMENT ON TABLE "Odd ""Schema"".x; --"."T; "".x"" --  $$" IS '"odd"; \restrict x';
CREATE TABLE zoo.a_table_whose_name_is_exactly_sixty_three_bytes_long_0123456789 (
  a_column_whose_name_is_exactly_sixty_three_bytes_long_012345678 serial PRIMARY KEY);
CREATE SEQUENCE zoo.owned_elsewhere OWNED BY zoo.by_index.a;

-- inheritance
CREATE TABLE zoo.base_table (id int PRIMARY KEY, v text DEFAULT 'base', CONSTRAINT inherited CHECK (id > 0));
CREATE TABLE zoo.second_parent (extra int NOT NULL DEFAULT 3);
CREATE TABLE zoo.child (own date, v text DEFAULT 'child') INHERITS (zoo.base_table, zoo.second_parent);
ALTER TABLE zoo.child ADD CONSTRAINT child_key PRIMARY KEY (id);
CREATE TABLE zoo.grandchild () INHERITS (zoo.child);
ALTER TABLE ONLY zoo.grandchild ALTER COLUMN extra SET DEFAULT 9;

-- partitions: list, range with a default and subpartitions by hash, and one that was attached
CREATE TABLE zoo.by_list (id int, k text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE zoo.by_list_ab PARTITION OF zoo.by_list FOR VALUES IN ('a', 'b;''');
CREATE TABLE zoo.by_list_null PARTITION OF zoo.by_list FOR VALUES IN ('n');
CREATE TABLE zoo.by_list_default PARTITION OF zoo.by_list DEFAULT;
CREATE TABLE zoo.by_range (id bigint GENERATED BY DEFAULT AS IDENTITY, at date NOT NULL, amount numeric(10, 2) DEFAULT 0,
                           CONSTRAINT not_negative CHECK (amount >= 0)) PARTITION BY RANGE (at, (amount));
CREATE TABLE zoo.by_range_2024 PARTITION OF zoo.by_range (amount DEFAULT 24) FOR VALUES FROM ('2024-01-01', MINVALUE) TO ('2025-01-01', MINVALUE)
  PARTITION BY HASH (id);
CREATE TABLE zoo.by_range_2024_0 PARTITION OF zoo.by_range_2024 FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (fillfactor = 60);
CREATE TABLE zoo.by_range_2024_1 PARTITION OF zoo.by_range_2024 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE "Odd ""Schema"".x; --".by_range_2025 (extra int, amount numeric(10, 2) DEFAULT 25, at date NOT NULL, id bigint NOT NULL,
                                                   CONSTRAINT not_negative CHECK (amount >= 0));
ALTER TABLE "Odd ""Schema"".x; --".by_range_2025 DROP COLUMN extra;
ALTER TABLE zoo.by_range ATTACH PARTITION "Odd ""Schema"".x; --".by_range_2025 FOR VALUES FROM ('2025-01-01', MINVALUE) TO ('2026-01-01', MAXVALUE);
CREATE TABLE zoo.by_range_default PARTITION OF zoo.by_range DEFAULT;
CREATE INDEX by_range_at ON zoo.by_range (at);
CREATE INDEX by_range_only ON ONLY zoo.by_range (amount);
CREATE UNIQUE INDEX by_range_unique ON zoo.by_range (id, at, amount);
ALTER TABLE zoo.by_list ADD COLUMN keeper int REFERENCES zoo.keeper;
CREATE TABLE zoo.to_partitioned (id int, k text, FOREIGN KEY (id, k) REFERENCES zoo.by_list DEFERRABLE);
COMMENT ON TABLE zoo.by_range IS 'partitioned';
COMMENT ON INDEX zoo.by_range_at IS 'a partitioned index';

-- foreign keys that need each other, and one that is not valid
CREATE TABLE zoo.hen (id int PRIMARY KEY, egg int);
CREATE TABLE zoo.egg (id int PRIMARY KEY, hen int REFERENCES zoo.hen);
ALTER TABLE zoo.hen ADD CONSTRAINT hen_egg FOREIGN KEY (egg) REFERENCES zoo.egg ON DELETE CASCADE NOT VALID;

-- views
CREATE VIEW zoo.first_view WITH (security_barrier = true) AS SELECT id, name, feeling FROM zoo.animal WHERE name <> ';' WITH LOCAL CHECK OPTION;
CREATE VIEW zoo.second_view WITH (security_invoker = true, check_option = cascaded) AS SELECT id, name FROM zoo.first_view;
CREATE VIEW zoo.third_view AS SELECT s.id, a.total FROM zoo.second_view s, zoo.add_tax(s.id) a;
CREATE VIEW zoo.grouped AS SELECT id, name, count(*) AS n FROM zoo.animal GROUP BY id;
CREATE RECURSIVE VIEW zoo.recursive (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM recursive WHERE n < 10;
CREATE VIEW zoo.of_itself AS SELECT 1 AS x;
CREATE FUNCTION zoo.of_view() RETURNS SETOF zoo.of_itself LANGUAGE sql AS 'SELECT 1';
CREATE OR REPLACE VIEW zoo.of_itself AS SELECT x FROM zoo.of_view();
ALTER VIEW zoo.first_view ALTER COLUMN feeling SET DEFAULT 'sad';
COMMENT ON VIEW zoo.first_view IS 'a view';
COMMENT ON COLUMN zoo.first_view.name IS 'a column of a view';
CREATE MATERIALIZED VIEW zoo.counted WITH (fillfactor = 90) AS SELECT name, count(*) AS n FROM zoo.first_view GROUP BY name;
CREATE UNIQUE INDEX counted_name ON zoo.counted (name);
CREATE MATERIALIZED VIEW zoo.counted_again AS SELECT sum(n) AS n FROM zoo.counted;
CREATE MATERIALIZED VIEW zoo.empty_view AS SELECT 1 AS x WITH NO DATA;
ALTER MATERIALIZED VIEW zoo.counted CLUSTER ON counted_name;
COMMENT ON MATERIALIZED VIEW zoo.counted IS 'a materialized view';

-- functions over tables, also such that pg_dump must make them after the tables
CREATE FUNCTION zoo.all_animals() RETURNS SETOF zoo.animal LANGUAGE sql STABLE AS 'SELECT * FROM zoo.animal';
CREATE FUNCTION zoo.atomic_count() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM zoo.first_view; END;
CREATE FUNCTION zoo.name_of(zoo.animal) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1.name';
CREATE FUNCTION zoo.keep_last(zoo.animal, zoo.animal) RETURNS zoo.animal LANGUAGE sql AS 'SELECT $2';
CREATE AGGREGATE zoo.last_animal(zoo.animal) (sfunc = zoo.keep_last, stype = zoo.animal);
CREATE TABLE zoo.of_rows (id int PRIMARY KEY, keeper zoo.keeper, keepers zoo.keeper[]);
CREATE TABLE zoo.checked_by_function (id int CHECK (zoo.atomic_sum(id) > 0), twice int GENERATED ALWAYS AS (zoo.atomic_sum(id, id)) STORED);

-- rules
CREATE RULE log_insert AS ON INSERT TO zoo.hen WHERE NEW.id > 5 DO ALSO (INSERT INTO zoo.no_identity VALUES (NEW.id); INSERT INTO zoo.no_identity VALUES (-1););
CREATE RULE "redirect; ""it""" AS ON UPDATE TO zoo.grouped DO INSTEAD NOTHING;
CREATE RULE disabled_rule AS ON DELETE TO zoo.egg DO INSTEAD NOTHING;
ALTER TABLE zoo.egg DISABLE RULE disabled_rule;
COMMENT ON RULE log_insert ON zoo.hen IS 'a rule';

-- triggers
CREATE FUNCTION zoo.trigger_function() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER ordinary BEFORE INSERT OR UPDATE OF name, tag ON zoo.animal FOR EACH ROW WHEN (NEW.name <> ';') EXECUTE FUNCTION zoo.trigger_function('a;''', '2');
CREATE TRIGGER disabled AFTER DELETE ON zoo.animal FOR EACH STATEMENT EXECUTE FUNCTION zoo.trigger_function();
ALTER TABLE zoo.animal DISABLE TRIGGER disabled;
CREATE TRIGGER on_replica AFTER UPDATE ON zoo.keeper FOR EACH ROW EXECUTE FUNCTION zoo.trigger_function();
ALTER TABLE zoo.keeper ENABLE REPLICA TRIGGER on_replica;
CREATE TRIGGER always_there AFTER TRUNCATE ON zoo.hen EXECUTE FUNCTION zoo.trigger_function();
ALTER TABLE zoo.hen ENABLE ALWAYS TRIGGER always_there;
CREATE TRIGGER with_tables AFTER INSERT ON zoo.hen REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION zoo.trigger_function();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON zoo.animal FROM zoo.keeper DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION zoo.trigger_function();
CREATE TRIGGER "on partitions; ""all""" AFTER INSERT ON zoo.by_range FOR EACH ROW EXECUTE FUNCTION zoo.trigger_function();
ALTER TABLE zoo.by_range_default DISABLE TRIGGER "on partitions; ""all""";
CREATE TRIGGER instead INSTEAD OF INSERT ON zoo.third_view FOR EACH ROW EXECUTE FUNCTION zoo.trigger_function();
COMMENT ON TRIGGER ordinary ON zoo.animal IS 'a trigger';
CREATE FUNCTION zoo.event_function() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER zoo_event ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION zoo.event_function();
CREATE EVENT TRIGGER zoo_event_disabled ON sql_drop EXECUTE FUNCTION zoo.event_function();
ALTER EVENT TRIGGER zoo_event_disabled DISABLE;
CREATE EVENT TRIGGER zoo_event_always ON table_rewrite EXECUTE FUNCTION zoo.event_function();
ALTER EVENT TRIGGER zoo_event_always ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER zoo_event IS 'an event trigger';

-- row level security
ALTER TABLE zoo.keeper ENABLE ROW LEVEL SECURITY;
ALTER TABLE zoo.egg ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON zoo.keeper USING (name::text = CURRENT_USER) WITH CHECK (id > 0);
CREATE POLICY "restricted; ""more""" ON zoo.egg AS RESTRICTIVE FOR SELECT TO PUBLIC USING (id IN (SELECT egg FROM zoo.hen));
COMMENT ON POLICY own_rows ON zoo.keeper IS 'a policy';

-- statistics
CREATE STATISTICS zoo.together (ndistinct, dependencies) ON tag, keeper FROM zoo.animal;
CREATE STATISTICS zoo."of expressions" ON (lower(name)), (tag % 10) FROM zoo.animal;
ALTER STATISTICS zoo.together SET STATISTICS 200;
COMMENT ON STATISTICS zoo.together IS 'statistics';

-- foreign data
CREATE FOREIGN DATA WRAPPER zoo_wrapper OPTIONS (debug 'true;''');
CREATE SERVER zoo_server TYPE 'x' VERSION '2' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.example', dbname 'it''s; me');
CREATE USER MAPPING FOR PUBLIC SERVER zoo_server OPTIONS ("user" 'somebody', password 'secret; ''word''');
CREATE FOREIGN TABLE zoo.far_away (id int OPTIONS (column_name 'ID') NOT NULL, v text COLLATE zoo.plain DEFAULT 'd', CHECK (id > 0))
  SERVER zoo_server OPTIONS (table_name 'their; table');
CREATE VIEW zoo.over_far_away AS SELECT id FROM zoo.far_away;
COMMENT ON FOREIGN DATA WRAPPER zoo_wrapper IS 'a wrapper';
COMMENT ON SERVER zoo_server IS 'a server';
COMMENT ON FOREIGN TABLE zoo.far_away IS 'a foreign table';

-- what is not a schema's business
CREATE PUBLICATION zoo_all FOR ALL TABLES;
CREATE PUBLICATION zoo_some FOR TABLE zoo.hen WHERE (id > 1), TABLES IN SCHEMA extensions;
CREATE SUBSCRIPTION zoo_subscription CONNECTION 'host=nowhere.example password=secret' PUBLICATION p WITH (connect = false);

-- rows
INSERT INTO zoo.keeper (name) SELECT 'k' || i || '@example.com' FROM generate_series(1, 20) i;
INSERT INTO zoo.animal (name, couple, weight, keeper, raw, attributes) SELECT 'animal ' || i, ROW(i, 'x', '{sad}')::zoo.pair, i, 1 + i % 20, 'raw', 'a=>1'
  FROM generate_series(1, 200) i;
INSERT INTO zoo.by_list SELECT i, (ARRAY['a', 'n', 'z'])[1 + i % 3] FROM generate_series(1, 90) i;
INSERT INTO zoo.by_range (at, amount) SELECT date '2024-01-01' + i * 10, i FROM generate_series(1, 100) i;
INSERT INTO zoo.child VALUES (1, 'v', 2, now()), (2, DEFAULT, 4, NULL);
INSERT INTO zoo.base_table VALUES (5);
INSERT INTO zoo.hen SELECT i, NULL FROM generate_series(1, 5) i;
INSERT INTO zoo.egg SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO zoo.of_rows VALUES (1, ROW(1, 'a@b', '[,)', 'n'), NULL);
INSERT INTO zoo.checked_by_function VALUES (1), (2);
INSERT INTO zoo.to_partitioned VALUES (3, 'a');
INSERT INTO "Odd ""Schema"".x; --"."T; "".x"" --  $$" SELECT i, 'x', i FROM generate_series(1, 10) i;
INSERT INTO zoo.a_table_whose_name_is_exactly_sixty_three_bytes_long_0123456789 DEFAULT VALUES;
REFRESH MATERIALIZED VIEW zoo.counted;
REFRESH MATERIALIZED VIEW zoo.counted_again;
ALTER TABLE zoo.animal ADD CONSTRAINT unchecked CHECK (tag <> 13) NOT VALID;

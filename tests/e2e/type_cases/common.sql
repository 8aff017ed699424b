-- Types of every kind that a user can make, in a schema of their own; the other shapes use them.
CREATE SCHEMA types_common;
SET search_path = types_common, public;
CREATE TYPE mood AS ENUM ('sad', 'it''s', 'schön', '', 'comma,brace}',
  'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn');
ALTER TYPE mood ADD VALUE 'added later' BEFORE 'it''s';
-- A dropped attribute in the middle: the number of fields and their positions differ.
CREATE TYPE pair AS (a integer, gone text, b text);
ALTER TYPE pair DROP ATTRIBUTE gone;
CREATE TYPE nested AS (p pair, m mood[], r int4range);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN code AS varchar(2) COLLATE "C" CHECK (length(VALUE) = 2);
CREATE DOMAIN code_of_code AS code CHECK (VALUE ~ '^[A-Z]');
CREATE DOMAIN pair_domain AS pair CHECK ((VALUE).a > 0);
CREATE DOMAIN list_domain AS integer[] CHECK (cardinality(VALUE) < 1000000);
CREATE TYPE float_range AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi,
                                  MULTIRANGE_TYPE_NAME = float_multirange);
CREATE TYPE mood_range AS RANGE (SUBTYPE = mood);
-- A base type that has no binary form.
CREATE TYPE text_only;
CREATE FUNCTION text_only_in(cstring) RETURNS text_only LANGUAGE internal STRICT IMMUTABLE AS 'textin';
CREATE FUNCTION text_only_out(text_only) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'textout';
CREATE TYPE text_only (INPUT = text_only_in, OUTPUT = text_only_out, STORAGE = extended);
CREATE COLLATION no_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
CREATE TABLE "Odd table é" (id integer);
CREATE SEQUENCE some_sequence;

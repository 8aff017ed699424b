-- Names that need quoting, everywhere.
-- servers differ in how wide an emoji is
\pset format unaligned
CREATE SCHEMA "Odd ""Schema""";
CREATE TABLE "Odd ""Schema"""."Täble.with, all 'kinds'" ("select" int PRIMARY KEY, "a""b" text, "Ünï🙂" text, "x.y" text, "trailing " text);
CREATE TABLE "table" ("from" int PRIMARY KEY, "User" text);
CREATE TABLE a23456789012345678901234567890123456789012345678901234567890123 (b23456789012345678901234567890123456789012345678901234567890123 int PRIMARY KEY);
CREATE TABLE "ä2345678901234567890123456789012345678901234567890123456789012" (id int PRIMARY KEY);
SELECT test.open();
INSERT INTO "Odd ""Schema"""."Täble.with, all 'kinds'" VALUES (1, 'q"', 'é', 'dot', 'blank');
UPDATE "Odd ""Schema"""."Täble.with, all 'kinds'" SET "select" = 2;
INSERT INTO "table" VALUES (1, 'u');
INSERT INTO a23456789012345678901234567890123456789012345678901234567890123 VALUES (1);
INSERT INTO "ä2345678901234567890123456789012345678901234567890123456789012" VALUES (1);
SELECT test.stream();
-- and in patterns
SELECT test.stream('include_tables', '"Odd ""Schema"""."Täble.with, all ''kinds''"');
SELECT test.stream('include_tables', '"Odd ""Schema""".*');
SELECT test.stream('include_tables', 'a2*,public."ä?3*"');
SELECT test.stream('include_tables', 'public.ä?34*');
SELECT test.stream('include_tables', 'public."table"', 'exclude_tables', '"TABLE"');
SELECT test.close();
DROP SCHEMA "Odd ""Schema""" CASCADE;
DROP TABLE "table", a23456789012345678901234567890123456789012345678901234567890123, "ä2345678901234567890123456789012345678901234567890123456789012";

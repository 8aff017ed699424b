-- Needs server 14.
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE moods AS RANGE (subtype = mood);
CREATE TABLE t (i int4multirange, n nummultirange, m moods_multirange, a datemultirange[]);
SELECT test.open();
INSERT INTO t VALUES ('{[1,2),[5,9)}', '{}', '{[sad,ok]}', '{"{[2020-02-29,2020-03-02)}",NULL}');
SELECT test.stream();
SELECT test.stream('binary', 'on');
SELECT test.close();
DROP TABLE t;
DROP TYPE moods, mood;

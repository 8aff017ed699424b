-- A partition tree as its leaves or as its root. p2 has its columns in another order, p3 is
-- partitioned again.
CREATE TABLE root (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p1 PARTITION OF root FOR VALUES IN ('a');
CREATE TABLE p2 (gone int, note text, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region));
ALTER TABLE p2 DROP gone;
ALTER TABLE root ATTACH PARTITION p2 FOR VALUES IN ('b');
CREATE TABLE p3 PARTITION OF root FOR VALUES IN ('c', 'd') PARTITION BY LIST (region);
CREATE TABLE p3c PARTITION OF p3 FOR VALUES IN ('c');
CREATE TABLE p3d PARTITION OF p3 FOR VALUES IN ('d');
SELECT test.open();
INSERT INTO root VALUES (1, 'a', 'one'), (2, 'b', 'two'), (3, 'c', 'three');
UPDATE root SET note = 'zwei' WHERE id = 2;
UPDATE root SET region = 'd' WHERE id = 2;
UPDATE root SET id = 11 WHERE id = 1;
DELETE FROM root WHERE id = 3;
TRUNCATE root;
TRUNCATE p3;
TRUNCATE p1;
SELECT test.stream();
SELECT test.stream('partitions', 'root');
-- naming a partitioned table means its partitions, in either mode
SELECT test.stream('include_tables', 'root', 'exclude_tables', 'p3');
-- (the root itself is not selected here, so its TRUNCATE comes as one of the selected leaves)
SELECT test.stream('include_tables', 'p3', 'partitions', 'root');
SELECT test.stream('exclude_tables', 'p3', 'partitions', 'root');
SELECT test.close();
-- detached: it is on its own from then on; renamed root: described again
SELECT test.open();
INSERT INTO p1 VALUES (1, 'a');
ALTER TABLE root RENAME TO roots;
INSERT INTO p1 VALUES (2, 'a');
ALTER TABLE roots DETACH PARTITION p3;
INSERT INTO p3 VALUES (3, 'c');
ALTER TABLE roots DETACH PARTITION p1;
INSERT INTO p1 VALUES (4, 'a');
SELECT test.stream('partitions', 'root');
SELECT test.close();
DROP TABLE roots, p1, p3;

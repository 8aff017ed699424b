-- INSERT, UPDATE, DELETE in their variants.
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(8,2));
SELECT test.open();
INSERT INTO item VALUES (1, 'one', 1.5), (2, NULL, NULL);
INSERT INTO item VALUES (3, '', 0);
UPDATE item SET name = 'uno' WHERE id = 1;
UPDATE item SET id = 10 WHERE id = 1;
DELETE FROM item WHERE id = 2;
-- ON CONFLICT: inserted and updated
INSERT INTO item VALUES (3, 'three', 3), (4, 'four', 4)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO item VALUES (3, 'three', 3) ON CONFLICT DO NOTHING;
-- COPY
COPY item FROM stdin;
20	twenty	20
21	\N	\N
\.
-- several operations in one transaction are one begin and one commit
BEGIN;
INSERT INTO item VALUES (30, 'thirty', 30);
UPDATE item SET price = 31 WHERE id = 30;
DELETE FROM item WHERE id = 30;
COMMIT;
SELECT test.stream();
-- the same in binary
SELECT test.stream('binary', 'on') LIMIT 4;
SELECT test.close();
DROP TABLE item;

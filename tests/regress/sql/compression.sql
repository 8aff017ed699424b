-- Compressed frames hold the same entries in fewer bytes. The expected results are three: of servers
-- with both libraries, with lz4 only (14), and with neither (13).
CREATE TABLE z (id int PRIMARY KEY, note text, noise bytea);
SELECT test.open();
INSERT INTO z SELECT i, repeat('some words ', 3) || i FROM generate_series(1, 3000) i;
INSERT INTO z VALUES (0, 'too small to gain');
-- nothing to gain
INSERT INTO z SELECT -1, NULL, string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 9000) i;
-- in parts
INSERT INTO z VALUES (-2, repeat('some words ', 300000), NULL);
UPDATE z SET note = note || ' more' WHERE id > 0;
DELETE FROM z WHERE id % 2 = 0;
CREATE FUNCTION test.entries(VARIADIC options text[]) RETURNS text LANGUAGE sql AS $$
    SELECT count(*) || ' ' || md5(string_agg(concat_ws('|', lsn, xid, kind, relation, old_image, old, new), '/'))
    FROM towline.changes('regress', options => options) WHERE kind <> 'hello'
$$;
CREATE FUNCTION test.bytes(VARIADIC options text[]) RETURNS TABLE (frames bigint, compressed bigint, bytes bigint)
LANGUAGE sql AS $$
    -- 0x12: Frame.compressed
    SELECT count(*), count(*) FILTER (WHERE get_byte(data, 0) = 18), sum(length(data))
    FROM pg_logical_slot_peek_binary_changes('regress', NULL, NULL, VARIADIC options)
$$;
SELECT test.entries('compression', 'none') = test.entries('max_protocol', '1') AS is_equal;
SELECT test.entries('compression', 'lz4') = test.entries('compression', 'none') AS is_equal;
SELECT c.frames = p.frames AS as_many_frames, c.compressed > 0 AS some_compressed,
       c.compressed < c.frames - 2 AS not_all, c.bytes < p.bytes - p.bytes / 4 AS smaller
FROM test.bytes('compression', 'lz4') c, test.bytes('compression', 'none') p;
SELECT detail LIKE '%, compression lz4' AS is_said
FROM towline.changes('regress', options => '{compression,lz4}') WHERE kind = 'hello';
SELECT test.entries('compression', 'zstd') = test.entries('compression', 'none') AS is_equal;
SELECT c.frames = p.frames AS as_many_frames, c.compressed > 0 AS some_compressed,
       c.compressed < c.frames - 2 AS not_all, c.bytes < p.bytes - p.bytes / 4 AS smaller
FROM test.bytes('compression', 'zstd') c, test.bytes('compression', 'none') p;
SELECT detail LIKE '%, compression zstd' AS is_said
FROM towline.changes('regress', options => '{compression,zstd}') WHERE kind = 'hello';
-- small frames
SELECT test.entries('compression', 'lz4', 'frame_bytes', '1024') = test.entries('frame_bytes', '1024') AS is_equal;
SELECT test.entries('compression', 'zstd', 'frame_bytes', '1024') = test.entries('frame_bytes', '1024') AS is_equal;
\set VERBOSITY default
SELECT test.stream('compression', 'gzip');
SELECT test.stream('compression', 'lz4', 'max_protocol', '1');
SELECT test.stream('compression', 'zstd', 'max_protocol', '1');
SELECT test.close();
DROP TABLE z;
DROP FUNCTION test.entries, test.bytes;

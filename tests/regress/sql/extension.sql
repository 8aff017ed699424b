-- The extension made at once and by an update from each older version holds the same.
CREATE FUNCTION test.objects() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', pg_describe_object(classid, objid, objsubid), obj_description(objid, 'pg_proc'),
        (SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM pg_proc WHERE oid = objid AND classid = 'pg_proc'::regclass),
        (SELECT nspacl::text FROM pg_namespace WHERE oid = objid AND classid = 'pg_namespace'::regclass))
    FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'towline') AND deptype = 'e'
    ORDER BY 1
$$;
CREATE TEMP TABLE at_once AS SELECT * FROM test.objects() object;
SELECT count(*) > 2 AS has_objects FROM at_once;
SELECT extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'towline') AS is_newest FROM pg_extension WHERE extname = 'towline';
DROP EXTENSION towline;
CREATE EXTENSION towline VERSION '0.1';
SELECT (SELECT count(*) FROM test.objects()) < (SELECT count(*) FROM at_once) AS has_less;
ALTER EXTENSION towline UPDATE;
SELECT extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'towline') AS is_newest FROM pg_extension WHERE extname = 'towline';
(TABLE at_once EXCEPT SELECT * FROM test.objects()) UNION ALL (SELECT * FROM test.objects() EXCEPT TABLE at_once);
SELECT count(*) = (SELECT count(*) FROM at_once) AS has_as_many FROM test.objects();

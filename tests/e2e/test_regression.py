"""PostgreSQL's own regression suite runs in the source while Towline streams; the two databases end alike.

Minutes, and it gets the suite from Debian's mirror: `./dev test regression`, not part of the usual run.
"""
import os
import re

import pytest

from support import regression_allowed as allowed, regression_fingerprint as fingerprint, regression_suite
from support.compare import USER_SCHEMA, compare

EQUAL_MIN = 0.95  # of the objects that pg_dump writes
STEPS = "TOWLINE_REGRESSION_STEPS"  # set: the databases are compared in the midst of each file, too; that takes an hour
ARGUMENTS = ("--ddl", "apply", "--ddl", "foreign=apply", "--on-ddl-error", "park", "--on-failure", "park")
# Not those without log, of which only the structure comes.
TABLES = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND (c.relkind <> 'm' OR c.relispopulated) AND c.relpersistence = 'p' AND {USER_SCHEMA} ORDER BY 1, 2"""
REASONS = """
SELECT fate, tag, left(regexp_replace(reason, '"[^"]*"', '"…"', 'g'), 120), count(*) FROM towline_state.ddl_history
 WHERE fate <> 'applied' GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3"""
SETTINGS = {"allow_in_place_tablespaces": "on"}


# Without it updates of tables without a key have nothing that says which row they are of.
IDENTITIES = ("""CREATE FUNCTION public.towline_test_identity() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE made record;
BEGIN
    FOR made IN SELECT c.oid FROM pg_event_trigger_ddl_commands() e JOIN pg_class c ON e.classid = 'pg_class'::regclass AND c.oid = e.objid
                 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relreplident = 'd'
                   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
    LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', made.oid::regclass);
    END LOOP;
END $$""", """CREATE EVENT TRIGGER towline_ddl_test_identity ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA') EXECUTE FUNCTION public.towline_test_identity()""")


def differences(source, destination):
    """(kind, schema, name) → how it differs, of what pg_dump writes and of the tables that have left the stream; and
    how many objects are equal, of how many."""
    ours, theirs = regression_suite.dumped_objects(source), regression_suite.dumped_objects(destination)
    found = {key: "differs" if key in theirs else "is missing" for key in ours if theirs.get(key) != ours[key]}
    equal = len(ours) - len(found)
    found.update({key: "is at the destination only" for key in theirs if key not in ours})
    for schema, table in destination.query("SELECT schema_name, table_name FROM towline_state.piece WHERE state = 'parked'"):
        found[("PARKED", schema, table)] = "has left the stream"
    return found, equal, len(ours.keys() | theirs.keys())


def refused(destination):
    """What was not run of the source's commands: (tag, objects, reason), with what is not the same in each run taken out."""
    rows = destination.query("SELECT tag, objects, reason FROM towline_state.ddl_history WHERE fate NOT IN ('applied', 'ignored') ORDER BY number")
    return [(tag, re.sub(r"large object \d+", "large object N", objects), reason) for tag, objects, reason in rows]


@pytest.mark.long
@pytest.mark.limit(3000)
def test_the_servers_own_suite(new_cluster, towline_factory, tmp_path, request):
    source_cluster, destination_cluster = (new_cluster(name, settings=SETTINGS) for name in ("source", "destination"))
    source = source_cluster.create_database("regression", "TEMPLATE template0")
    destination = destination_cluster.create_database("regression", "TEMPLATE template0")
    directory = source_cluster.directory / "suite"
    directory.mkdir()
    suite = regression_suite.Suite(directory)
    for database in (source, destination):
        suite.prepare(database)
    # Roles do not travel; an administrator has made them.
    for role in suite.roles():
        destination.execute(f"CREATE ROLE {role}")
    source.script("CREATE EXTENSION towline", "SELECT towline.enable_ddl()", *IDENTITIES)
    towline = towline_factory(source, destination)
    towline.start(*ARGUMENTS).wait_for_state("streaming")
    output = regression_suite.ROOT / "build" / "test-results" / "regression.txt"
    output.parent.mkdir(exist_ok=True)
    in_steps = STEPS in os.environ
    with open(output, "w", encoding="utf-8") as told:
        for name in suite.files:
            if in_steps:
                look = fingerprint.Fingerprint(source, destination)

                def between(place, look=look):
                    towline.wait_until_caught_up(600)
                    for line in look.differences():
                        print(f"{place}: {line}", file=told, flush=True)
                suite.run_in_steps(source, name, between)
                look.close()
            else:
                suite.run(source, name)
            assert towline.is_running, f"the service ended after {name}; {towline.tail()}"
        towline.wait_until_caught_up(1200)
        found, equal, count = differences(source, destination)
        # pg_dump says of each table what it is; here are the rows of all that stand on both sides.
        kinds = {key[1:]: how for key, how in found.items() if key[0] in ("TABLE", "PARKED", "MATERIALIZED VIEW")}
        tables = [f"{schema}.{table}" for schema, table in source.query(TABLES) if (schema, table) not in kinds]
        result = compare(source.uri(), destination.uri(), tables=tables)
        unexpected = [f"{' '.join(key)} {how}" for key, how in sorted(found.items()) if not allowed.reason_for(key, how)]
        unexpected += [f"refused: {' | '.join(what)}" for what in refused(destination) if not allowed.reason_for_refusal(*what)]
        lines = [f"{equal} of {count} dumped objects are equal ({equal / count:.2%}); {len(result.rows)} tables of "
                 f"{sum(result.rows.values())} rows compared, {len(result.differences)} differ; {len(suite.files)} files; "
                 f"server {source.value('SHOW server_version')}",
                 *(f"  {' '.join(key)} {how}: {allowed.reason_for(key, how)}" for key, how in sorted(found.items())),
                 *(f"  {count:4d} {fate} {tag}: {reason}" for fate, tag, reason, count in destination.query(REASONS)),
                 *(f"NOT ALLOWED: {line}" for line in unexpected)]
        print("\n".join(lines), file=told)
    print("\n".join(lines))
    assert result, str(result)
    assert not unexpected, "\n".join(unexpected)
    assert equal >= EQUAL_MIN * count, lines[0]
    assert towline.stop() == 0

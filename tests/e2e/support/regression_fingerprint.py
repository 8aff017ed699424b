"""A quick look whether two databases are alike in the midst of the regression suite: shapes, definitions and the rows of new
tables. Not the judge of the end (compare.py), which takes minutes there."""
import psycopg2

from . import compare

SETTINGS = compare.SETTINGS.split("BEGIN")[0]
NEW_TABLES = f"""
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND {compare.USER_SCHEMA} AND c.oid > FIRST
   AND (c.relkind <> 'm' OR c.relispopulated) ORDER BY 1"""
OTHERS = f"""
SELECT format('type %I.%I %s %s %s', n.nspname, t.typname, t.typtype, format_type(t.typbasetype, t.typtypmod),
              (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE {compare.USER_SCHEMA} AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
UNION ALL
SELECT format('%s %I.%I %s %s of %s', CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'relation' END, n.nspname, c.relname, c.reloptions,
              c.relpersistence, (SELECT i.inhparent::regclass::text || coalesce(pg_get_expr(c.relpartbound, c.oid), '')
                                   FROM pg_inherits i WHERE i.inhrelid = c.oid LIMIT 1))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {compare.USER_SCHEMA} AND c.relpersistence <> 't' AND c.relkind <> 'c'
UNION ALL
SELECT format('operator %s', o.oid::regoperator) FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE {compare.USER_SCHEMA}
UNION ALL
SELECT format('policy %I on %s %s %s', p.polname, p.polrelid::regclass, p.polcmd, pg_get_expr(p.polqual, p.polrelid)) FROM pg_policy p
UNION ALL
SELECT format('rule %I on %s %s', r.rulename, r.ev_class::regclass, r.ev_enabled) FROM pg_rewrite r WHERE r.oid >= 16384
UNION ALL
SELECT format('schema %I', n.nspname) FROM pg_namespace n WHERE {compare.USER_SCHEMA}
UNION ALL
SELECT format('statistics %s', pg_get_statisticsobjdef(s.oid)) FROM pg_statistic_ext s
UNION ALL
SELECT format('aggregate %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind = 'a' AND {compare.USER_SCHEMA}"""


class Side:
    def __init__(self, database):
        self.connection = psycopg2.connect(database.uri(application_name="fingerprint"))
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.cursor.execute(SETTINGS)
        self.cursor.execute("SET lock_timeout = '3s'")

    def query(self, sql):
        self.cursor.execute(sql)
        return self.cursor.fetchall()

    def lines(self, tables):
        found = {f"table {schema}.{name} {kind} {shape}" for schema, name, kind, _, shape in self.query(compare.TABLES)}
        for sql in (compare.DEFINITIONS, OTHERS):
            found |= {line for line, in self.query(sql) if line is not None}
        for table in tables:
            try:
                found |= {f"rows of {table}: {row}" for row in self.query(
                    f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM ONLY {table} t")}
            except psycopg2.Error as error:
                found.add(f"rows of {table}: {str(error).splitlines()[0]}")
        return {line for line in found if "towline" not in line and "pg_temp_" not in line}


class Fingerprint:
    """differences() gives each difference once: what it has told before is not told again."""

    def __init__(self, source, destination):
        self.sides, self.told = (Side(source), Side(destination)), set()
        self.first_oid = self.sides[0].query("SELECT max(oid)::bigint FROM pg_class")[0][0]

    def close(self):
        for side in self.sides:
            side.connection.close()

    def differences(self):
        tables = [name for name, in self.sides[0].query(NEW_TABLES.replace("FIRST", str(self.first_oid)))]
        try:
            left, right = (side.lines(tables) for side in self.sides)
        except psycopg2.errors.LockNotAvailable:  # the file's transaction is open, against what the server has said of it
            return []
        found = [("S " if line in left else "D ") + line for line in sorted(left ^ right) if line not in self.told]
        self.told |= left ^ right
        return found
